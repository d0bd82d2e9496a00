"""The page's pure parts, each for itself: time, lips, sound, words."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import pytest_asyncio

from pipecat_agenthuman.sandbox import Ending, Sandbox
from pipecat_agenthuman.sandbox.faces import Gallery
from tests.support.browser import Visit, visiting

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def visit(browser: Browser) -> AsyncIterator[Visit]:
    async with Sandbox() as sandbox, visiting(browser, sandbox) as visit:
        yield visit


async def run(visit: Visit, module: str, names: str, body: str, argument: Any = None) -> Any:
    """Run a few lines with what a module of the page exports."""
    load = f"const {{ {names} }} = await import('/room/{module}.js');"
    return await visit.look(f"async (argument) => {{ {load} {body} }}", argument)


async def test_the_quickest_round_trip_is_believed(visit: Visit) -> None:
    offsets = await run(
        visit,
        "sandbox-clock",
        "SandboxClock",
        """
        const clock = new SandboxClock();
        const seen = [clock.offset];
        clock.guess(10, 110.2); seen.push(clock.offset);
        clock.take(11, 11.4, 111.3); seen.push(clock.offset);
        clock.take(12, 12.01, 112.005); seen.push(clock.offset);
        clock.take(13, 13.5, 113.9); seen.push(clock.offset);
        return [...seen, clock.at(20)];
        """,
    )
    assert offsets[0] is None
    assert offsets[1:] == pytest.approx([100.2, 100.1, 100.0, 100.0, 120.0])


async def test_a_quick_round_trip_is_not_believed_for_ever(visit: Visit) -> None:
    offset = await run(
        visit,
        "sandbox-clock",
        "SandboxClock",
        """
        const clock = new SandboxClock();
        clock.take(0, 0.001, 100);
        for (let at = 1; at < 40; at++) clock.take(at, at + 0.01, at + 105.005);
        return clock.offset;
        """,
    )
    assert offset == pytest.approx(105.0)


async def test_lips_are_drawn_between_what_is_known_of_them(visit: Visit) -> None:
    seen = await run(
        visit,
        "mouth-track",
        "MouthTrack",
        """
        const track = new MouthTrack(100);
        track.take(5, Uint8Array.of(0, 128, 0, 255, 255, 255, 51, 0, 255, 1, 0, 0));
        const seen = [4.99, 5, 5.005, 5.01, 5.02, 5.2].map((at) => track.at(at));
        track.take(5.01, Uint8Array.of(102, 128, 0, 0)); // replaces what came from there on
        seen.push(track.at(5.01));
        track.cut(5.005);
        seen.push(track.at(5.01), track.at(5));
        return seen;
        """,
    )
    assert seen[0] == {"open": 0, "wide": 0, "teeth": 0, "press": 0}
    assert seen[1] == {"open": 0, "wide": 0, "teeth": 0, "press": 1}
    assert seen[2] == pytest.approx({"open": 0.5, "wide": 0.5, "teeth": 0.1, "press": 0.5})
    assert seen[3] == pytest.approx({"open": 1, "wide": 1, "teeth": 0.2, "press": 0})
    assert seen[4] == pytest.approx({"open": 1, "wide": -1, "teeth": 0, "press": 0})
    assert seen[5]["open"] == 0
    assert seen[6]["open"] == pytest.approx(0.4)
    assert seen[7]["open"] == 0
    assert seen[8]["press"] == 1


async def test_a_speech_message_is_read_to_the_byte(visit: Visit) -> None:
    session_id, pcm, mouth = b"sess_12345", np.array([1, -2, 32767], "<i2"), bytes(range(8))
    head = struct.pack("<BBHIddII", 1, 1, len(session_id), len(pcm), 12.5, 12.4, 2, 7)
    message = head + session_id + b"\0\0" + pcm.tobytes() + mouth
    body = """
        const speech = readSpeech(Uint8Array.from(argument).buffer);
        return speech && { ...speech, pcm: [...speech.pcm], mouth: [...speech.mouth] };
    """
    assert await run(visit, "speech-message", "readSpeech", body, list(message)) == {
        "sessionId": "sess_12345",
        "continues": True,
        "startsAt": 12.5,
        "mouthAt": 12.4,
        "number": 7,
        "pcm": [1, -2, 32767],
        "mouth": list(mouth),
    }
    unknown = [9, *message[1:]]
    assert await run(visit, "speech-message", "readSpeech", body, unknown) is None
    assert await run(visit, "speech-message", "readSpeech", body, [1, 2, 3]) is None


async def test_sound_is_known_by_its_runs(visit: Visit) -> None:
    runs = await run(
        visit,
        "sound-track",
        "SoundTrack",
        """
        const track = new SoundTrack(16000);
        const loud = Int16Array.from({ length: 3200 }, () => 16384);
        track.take(1, loud); track.take(1.2, loud); // one after the other
        track.take(1.2, loud); // known already
        track.take(2, loud);
        const told = [track.runs.length, track.runs[0].endsAt, track.runs[0].peaks[3], track.soundsAt(1.3), track.soundsAt(1.5)];
        track.cut(1.25);
        return [...told, track.runs.length, track.runs[0].endsAt, track.soundsAt(2.1)];
        """,  # noqa: E501 - one line of a list
    )
    assert runs == [2, pytest.approx(1.4), 0.5, True, False, 1, 1.25, False]


async def test_lead_rises_falls_and_ends_with_a_cut(visit: Visit) -> None:
    corners = await run(
        visit,
        "wire-words",
        "leadCorners",
        """
        const queued = (at, sounds, samples) => ({ what: "speech.queued", at_secs: at, sounds_at_secs: sounds, samples });
        return leadCorners([queued(1, 1.5, 16000), queued(2, 2.5, 16000), { what: "pong", at_secs: 2.5 }, { what: "speech.cut", at_secs: 3 }, queued(5, 5.5, 8000)]);
        """,  # noqa: E501 - entries
    )
    expected = [(1, 0), (1, 1.5), (2, 0.5), (2, 1.5), (3, 0.5), (3, 0), (3, 0), (5, 0), (5, 1)]
    assert [tuple(corner) for corner in corners] == [*expected, (6, 0)]


async def test_every_ending_has_its_words(visit: Visit) -> None:
    endings = [str(ending) for ending in Ending]
    labels = await run(
        visit,
        "session-words",
        "describeSession",
        """
        const session = { session_id: "sess_1", status: "ended", created_at_secs: 1, ended_at_secs: 5 };
        const about = { sounds: false, activity: {}, successor: null, now: 9 };
        return argument.map((ended_by) => describeSession({ ...session, ended_by }, about).label);
        """,  # noqa: E501
        endings,
    )
    assert len(set(labels)) == len(endings)
    assert "Ended" not in labels, "an ending without words of its own"


async def test_an_avatar_has_the_face_it_is_named_for_and_always_the_same(visit: Visit) -> None:
    names = await run(
        visit,
        "face/characters",
        "characterOf",
        "return argument.map((avatar) => characterOf(avatar).name);",
        ["avat_sandbox_ada", "avat_sandbox_alan", "avat_7f3", "avat_7f3", ""],
    )
    assert names[:2] == ["Ada", "Alan"]
    assert names[2] == names[3]
    faces = await visit.look(
        "import('/room/face/characters.js').then((all) => all.CHARACTERS.map((one) => one.name))"
    )
    listed = [avatar["avatar_id"] for avatar in Gallery().listing("")["public_avatars"]]
    assert listed == [f"avat_sandbox_{name.lower()}" for name in faces]
    many = await run(
        visit,
        "face/characters",
        "characterOf, CHARACTERS",
        "const seen = new Set(argument.map((avatar) => characterOf(avatar).name));"
        " return [seen.size, CHARACTERS.length];",
        [f"avat_{number:03x}" for number in range(60)],
    )
    assert many[0] == many[1]


async def test_all_faces_are_drawn_in_every_mood(visit: Visit) -> None:
    pictures = await visit.look(
        """async () => {
          const { CHARACTERS } = await import("/room/face/characters.js");
          const { drawBackdrop, drawCharacter } = await import("/room/face/face.js");
          const { poseAt } = await import("/room/face/pose.js");
          const mouths = [
            { open: 0, wide: 0, teeth: 0, press: 1 }, { open: 1, wide: 1, teeth: 1, press: 0 },
            { open: 0.4, wide: -1, teeth: 0, press: 0 },
          ];
          const canvas = new OffscreenCanvas(120, 90);
          const g = canvas.getContext("2d", { willReadFrequently: true });
          const draw = (character, mouth) => {
            drawBackdrop(g, character, 120, 90);
            drawCharacter(g, character, poseAt(3, character.seed), mouth, 0.5, 120, 90);
            return g.getImageData(0, 0, 120, 90).data.join();
          };
          return CHARACTERS.flatMap((one) => mouths.map((mouth) => draw(one, mouth)));
        }"""
    )
    assert len(set(pictures)) == len(pictures) == 15


async def test_a_character_blinks_now_and_then(visit: Visit) -> None:
    lids = await run(
        visit,
        "face/pose",
        "poseAt",
        "return Array.from({ length: 6000 }, (_, i) => poseAt(i / 100, 11).lids);",
    )
    closed = np.array(lids) > 0.9
    blinks = int((closed[1:] & ~closed[:-1]).sum())
    assert 10 <= blinks <= 30, "in a minute"
    assert closed.mean() < 0.05
