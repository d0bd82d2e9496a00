"""The demo: run once as a user runs it, and everything that it promises is looked at."""

from __future__ import annotations

import argparse
import io
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
import wave
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from loguru import logger

from pipecat_agenthuman.cli import main
from pipecat_agenthuman.demo import stage
from pipecat_agenthuman.demo.command import add_arguments, is_headless
from pipecat_agenthuman.demo.performance import (
    Lane,
    Milestone,
    Performance,
    Take,
    describe_success,
    find_flaws,
    measure,
)
from pipecat_agenthuman.demo.script import DEFAULT_TEXTS, ScriptLine, write_script
from pipecat_agenthuman.demo.terminal import Terminal
from pipecat_agenthuman.sandbox import Fault, Sandbox
from pipecat_agenthuman.sandbox.sound import Heard, Segment

TEXTS = ("One, two.", "Nobody will ever hear the end of this.", "Good bye.")


@pytest.fixture(autouse=True)
def usual_log() -> Iterator[None]:
    """Undo what ``main`` does to the log of its process."""
    yield
    logger.remove()
    logger.add(sys.stderr)


@dataclass
class Run:
    """What a user got of the demo."""

    status: int
    out: str
    err: str
    wav: Path

    def lines(self, lane: Lane) -> list[str]:
        """What the timeline says in a lane."""
        row = re.compile(rf"^ +\d+\.\d\d  {lane} *  (.*)$", re.MULTILINE)
        return row.findall(self.out)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Run:
    wav = tmp_path_factory.mktemp("demo") / "heard.wav"
    said = [f"--text={text}" for text in TEXTS]
    done = subprocess.run(
        [sys.executable, "-m", "pipecat_agenthuman.cli", "demo", f"--out={wav}", *said],
        capture_output=True,
        encoding="utf-8",
        env=utf8_environment(),
        timeout=90,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr, wav)


def utf8_environment() -> dict[str, str]:
    return os.environ | {"PYTHONIOENCODING": "utf-8", "COLUMNS": "90"}


# --- as a user sees it ------------------------------------------------------------------


def test_all_is_well(demo: Run) -> None:
    assert demo.status == 0, demo.out + demo.err
    assert "\N{BALLOT X}" not in demo.out
    assert demo.out.count("\N{CHECK MARK}") == 4


def test_nothing_of_pipecat_s_log_spoils_the_output(demo: Run) -> None:
    assert "Pipecat 1." not in demo.out + demo.err
    assert "DEBUG" not in demo.out + demo.err
    noise = [line for line in demo.err.splitlines() if not line.startswith("[nltk_data]")]
    assert noise == []


def test_a_pipe_gets_no_colours(demo: Run) -> None:
    assert "\x1b" not in demo.out


def test_no_line_is_wider_than_the_terminal_and_none_ends_in_blanks(demo: Run) -> None:
    for line in demo.out.splitlines():
        assert len(line) <= 90 or str(demo.wav) in line
        assert line == line.rstrip()


def test_every_text_is_said_in_order(demo: Run) -> None:
    assert demo.lines(Lane.SCRIPT) == list(TEXTS)


def test_the_bot_starts_and_stops_once_for_each_text(demo: Run) -> None:
    assert demo.lines(Lane.BOT) == ["started speaking", "stopped speaking"] * 3


def test_confirmations_are_one_line_a_text(demo: Run) -> None:
    confirmed = [line for line in demo.lines(Lane.WIRE) if "confirmed in" in line]
    assert len(confirmed) == 3


def test_words_appear_as_they_are_heard_and_the_interrupted_ones_do_not(demo: Run) -> None:
    heard = " ".join(demo.lines(Lane.HEARD))
    assert heard.startswith("One, two. Nobody will")
    assert heard.endswith("Good bye.")
    assert "the end of this" not in heard


def test_an_interruption_reaches_the_wire_and_is_confirmed(demo: Run) -> None:
    assert demo.lines(Lane.USER) == ["interrupts"]
    wire = demo.lines(Lane.WIRE)
    assert wire.index("interrupt arrived") < wire.index("interrupt confirmed")


def test_the_context_holds_what_was_heard(demo: Run) -> None:
    context = re.findall(r"^  assistant  (.*)$", demo.out, re.MULTILINE)
    assert context[0] == TEXTS[0]
    assert TEXTS[1].startswith(context[1])
    assert context[1] != TEXTS[1]
    assert context[2:] == [TEXTS[2]]


def test_the_file_holds_the_whole_speech_that_was_not_interrupted(demo: Run) -> None:
    with wave.open(str(demo.wav)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
        heard_secs = file.getnframes() / 16_000
    rooms = [re.findall(r"[\d.]+", line) for line in demo.lines(Lane.ROOM)[1:]]
    (one, one_made), (two, two_made), (three, three_made) = rooms
    assert one == one_made
    assert three == three_made
    assert float(two) < float(two_made)
    assert heard_secs > float(one) + float(two) + float(three)  # and the silences between


# --- when something is wrong ------------------------------------------------------------


@pytest.fixture
def spoilt_sandbox(monkeypatch: pytest.MonkeyPatch) -> list[Fault]:
    """Faults that the demo's own sandbox will have."""
    faults: list[Fault] = []
    monkeypatch.setattr(stage, "Sandbox", lambda: Sandbox(faults=faults))
    return faults


def test_an_error_of_the_server_fails_the_demo(
    spoilt_sandbox: list[Fault], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoilt_sandbox.append(Fault(on="agent.speak", kind="error", text="Failed to process audio: x"))
    assert main(["demo", "--text", "Hello.", "--out", str(tmp_path / "a.wav")]) == 1
    captured = capsys.readouterr()
    assert "Failed to process audio: x" in captured.out
    assert captured.err.splitlines()[-1].startswith("pipecat-agenthuman: The demo failed: ")


def test_a_session_that_cannot_be_made_fails_the_demo(
    spoilt_sandbox: list[Fault], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoilt_sandbox.append(Fault(on="create", kind="refuse", status=403, times=None))
    assert main(["demo", "-q", "--text", "Hello.", "--out", str(tmp_path / "a.wav")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "The demo failed" in captured.err
    assert "Traceback" not in captured.err


def test_quiet_prints_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--quiet", "--text", "Hi.", "--out", str(tmp_path / "a.wav")]) == 0
    out = capsys.readouterr().out
    assert re.fullmatch(r"ok: \d+\.\d\d s heard, in .*a\.wav\n", out)


def test_a_file_that_cannot_be_written_is_told_before_anything_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--out", str(tmp_path / "missing" / "a.wav")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert "Cannot write" in captured.err


def test_a_text_without_a_word_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--text", "..."]) == 2
    assert "can be pronounced" in capsys.readouterr().err


# --- with a browser or without ----------------------------------------------------------


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "on_terminal", "headless"),
    [
        ([], True, False),
        ([], False, True),
        (["--headless"], True, True),
        (["-q"], True, True),
        (["--text", "Hello."], True, True),
        (["--out", "a.wav"], True, True),
        (["--no-browser"], False, False),
        (["--port", "0"], False, False),
        (["--llm", "a-model"], False, False),
        (["--stt", "whisper"], False, False),
    ],
)
def test_the_room_is_for_who_sits_at_a_terminal_or_asks_for_it(
    words: list[str], on_terminal: bool, headless: bool
) -> None:
    assert is_headless(arguments(*words), on_terminal=on_terminal) is headless


def test_one_demo_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--headless", "--port", "1"]) == 2
    assert "--port is for the room, --headless for" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--port", "65536"], "--port must be between 0 and 65535"),
        (["--stt", "siri"], "--stt must be one of"),
    ],
)
def test_a_room_that_cannot_be_is_wrong_usage(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert complaint in captured.err


def test_a_recogniser_that_is_not_installed_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("faster_whisper", "pipecat.services.whisper.stt"):
        monkeypatch.setitem(sys.modules, module, None)
    assert main(["demo", "--stt", "whisper"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "--stt whisper needs pip install 'pipecat-ai[whisper]'" in captured.err


def test_a_room_whose_port_is_in_use_says_so_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["demo", "--no-browser", "--port", str(port)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert f"port {port}" in captured.err


def test_the_room_is_open_until_ctrl_c() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "pipecat_agenthuman.cli", "demo", "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=utf8_environment(),
    ) as running:
        assert running.stdout is not None
        told = [running.stdout.readline() for _ in range(3)]
        url = told[0].removeprefix("The room is open: ").strip()
        with urllib.request.urlopen(url, timeout=60) as page:
            assert b"<title>" in page.read()
        assert "script" in told[1]
        while "session.created" not in told[-1]:
            told.append(running.stdout.readline())
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 0
    assert "session.ended" in out
    assert [line for line in err.splitlines() if not line.startswith("[nltk_data]")] == []


# --- the script -------------------------------------------------------------------------


def test_the_last_text_but_one_is_interrupted() -> None:
    assert [line.interrupted for line in write_script(DEFAULT_TEXTS)] == [False, False, True, False]
    assert [line.interrupted for line in write_script(["a"])] == [False]
    assert [line.interrupted for line in write_script(["a", "b"])] == [True, False]


def test_a_script_needs_a_text() -> None:
    with pytest.raises(ValueError, match="nothing to say"):
        write_script([])


# --- the verdict ------------------------------------------------------------------------

WHOLE, CUT = (np.arange(1, n, dtype=np.int16) for n in (1001, 2001))


def performance() -> Performance:
    """One that is as it should be: a text, and one that was cut after 500 samples."""
    whole = Take(
        ScriptLine("Good morning.", False),
        {
            Milestone.FIRST_AUDIO: 9.0,
            Milestone.ARRIVED: 9.1,
            Milestone.SYNTHESISED: 9.2,
            Milestone.FIRST_SOUND: 10.0,
            Milestone.STARTED: 10.021,
            Milestone.LAST_SOUND: 10.0 + 1000 / 16_000,
            Milestone.STOPPED: 10.0 + 1000 / 16_000,
        },
        synthesised=bytearray(WHOLE.tobytes()),
        words=["Good", "morning."],
        heard=WHOLE.tobytes(),
    )
    cut = Take(
        ScriptLine("How are you?", True),
        {
            Milestone.FIRST_AUDIO: 19.0,
            Milestone.ARRIVED: 19.3,
            Milestone.FIRST_SOUND: 20.5,
            Milestone.LAST_SOUND: 20.5 + 500 / 16_000,
            Milestone.INTERRUPTED: 20.5,
            Milestone.INTERRUPT_ARRIVED: 20.504,
            Milestone.SILENCED: 20.54,
            Milestone.INTERRUPT_CONFIRMED: 20.55,
        },
        synthesised=bytearray(CUT.tobytes()),
        words=["How"],
        heard=CUT[:500].tobytes(),
    )
    heard = Heard(
        np.concatenate([WHOLE, CUT[:500]]), (Segment(10.0, 0, 1000), Segment(20.5, 1000, 500))
    )
    return Performance([whole, cut], heard, ["Good morning.", "How"], None, 0)


def test_what_is_as_it_should_be_has_no_fault() -> None:
    assert find_flaws(performance()) == []
    assert describe_success(performance()) == [
        "Every sample of the text said to the end was heard.",
        "Nothing of the interrupted text was heard after the interrupt.",
        "The context holds the words that were heard, and no others.",
        "The session was ended, and there was no error.",
    ]


def test_one_wrong_sample_is_found() -> None:
    spoilt = performance()
    spoilt.takes[0].heard = WHOLE[:700].tobytes() + b"\x01\x00" + WHOLE[701:].tobytes()
    assert find_flaws(spoilt) == ["What was heard is not what was synthesised: Good morning."]


def test_a_missing_end_is_found() -> None:
    spoilt = performance()
    spoilt.takes[0].synthesised += b"\x01\x00"
    assert find_flaws(spoilt) == ["What was heard is not what was synthesised: Good morning."]


def test_sound_that_nobody_said_is_found() -> None:
    good = performance()
    more = Heard(np.concatenate([good.heard.audio, WHOLE]), good.heard.segments)
    assert find_flaws(replace(good, heard=more)) == ["0.062 s were heard that nobody said."]


def test_an_interrupted_text_that_was_heard_to_its_end_is_found() -> None:
    spoilt = performance()
    spoilt.takes[1].synthesised = spoilt.takes[1].synthesised[:1000]
    assert find_flaws(spoilt) == ["The interrupted text was not cut: How are you?"]


def test_other_sound_in_place_of_an_interrupted_text_is_found() -> None:
    spoilt = performance()
    spoilt.takes[1].heard = CUT[1:501].tobytes()
    assert find_flaws(spoilt) == ["The interrupted text was not cut: How are you?"]


def test_sound_after_the_interrupt_is_found() -> None:
    spoilt = performance()
    spoilt.takes[1].milestones[Milestone.SILENCED] = 20.53
    assert find_flaws(spoilt) == ["Heard 0.001 s of the interrupted text too much."]


@pytest.mark.parametrize("milestone", [Milestone.SILENCED, Milestone.LAST_SOUND])
def test_an_interrupt_that_silenced_nothing_is_found(milestone: Milestone) -> None:
    spoilt = performance()
    del spoilt.takes[1].milestones[milestone]
    assert find_flaws(spoilt) == ["The interrupted text was not heard, or not interrupted."]


def test_a_word_too_much_in_the_context_is_found() -> None:
    spoilt = replace(performance(), context=["Good morning.", "How are"])
    assert find_flaws(spoilt) == ["The context is not what was heard: 'Good morning. How are'"]


def test_a_word_that_was_never_passed_on_is_found() -> None:
    spoilt = performance()
    spoilt.takes[0].words.pop()
    assert find_flaws(spoilt)[0] == "Passed on as heard: 'Good'"


def test_an_error_and_a_session_left_behind_are_found() -> None:
    spoilt = replace(performance(), failure="It broke.", live_sessions=1)
    assert find_flaws(spoilt) == ["It broke.", "1 session(s) never ended."]


def test_the_numbers_are_taken_from_the_sound() -> None:
    assert measure(performance()) == {
        "First audio to the wire": "200 ms",
        "First audio to the first sound in the room": "1250 ms",
        "Interruption to the wire": "4.0 ms",
        "Interruption to its confirmation": "50 ms",
        "Bot speaking frames off the real sound by at most": "21 ms",
        "Speech synthesised": "0.19 s",
        "Speech heard": "0.09 s",
    }


def test_what_did_not_happen_has_no_number() -> None:
    nothing = Performance([], Heard(), [], "It broke.", 0)
    assert list(measure(nothing).values()) == ["none"] * 5 + ["0.00 s"] * 2


# --- the terminal -----------------------------------------------------------------------


def test_words_go_on_on_the_next_line_with_their_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = io.StringIO()
    terminal = Terminal(stream)
    for second, word in enumerate(("something", "longer", "than", "one", "line")):
        terminal.tell(float(second), Lane.HEARD, word)
    terminal.tell(9.0, Lane.BOT, "stopped speaking")
    assert stream.getvalue().splitlines() == [
        "    0.00  heard  something longer than",
        "    3.00  heard  one line",
        "    9.00  bot    stopped speaking",
    ]


def test_a_long_text_goes_on_below_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = io.StringIO()
    Terminal(stream).tell(1.0, Lane.ROOM, "somebody heard more than fits")
    assert stream.getvalue().splitlines() == [
        "    1.00  room   somebody heard more",
        f"{'':17}than fits",
    ]
