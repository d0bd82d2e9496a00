"""No key and no token is shown anywhere, however noisy the log and however rude the server."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest
from loguru import logger
from pipecat.frames.frames import AudioRawFrame

from pipecat_agenthuman import LiveKitRoom, SessionCredentials
from pipecat_agenthuman.client.api import AgentHumanApi
from pipecat_agenthuman.errors import AgentHumanError
from pipecat_agenthuman.sandbox import Sandbox
from pipecat_agenthuman.wire.protocol import SessionInit
from tests.support.calls import LATENCY_SECS, ROOM, ROOM_TOKEN, Call, calling
from tests.support.faults import fault
from tests.support.inside import holders_of_secrets, put_bug_into
from tests.support.waiting import undisturbed, until

API_KEY = "ah_live_key-that-nobody-may-see"


@pytest.fixture
def shown() -> Iterator[io.StringIO]:
    """Everything that is logged, by whomever, with the variables of every traceback."""
    stream = io.StringIO()
    sink = logger.add(stream, level=0, backtrace=True, diagnose=True)
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level, known = root.level, {name: logging.getLogger(name).level for name in LOGGERS}
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG)
    with undisturbed():
        yield stream
    root.removeHandler(handler)
    root.setLevel(level)
    for name, before in known.items():
        logging.getLogger(name).setLevel(before)
    logger.remove(sink)


LOGGERS = (
    "asyncio",
    "aiohttp",
    "aiohttp.client",
    "websockets",
    "websockets.client",
    "pipecat_agenthuman",
    "pipecat_agenthuman.websocket",
)


def secrets_of(sandbox: Sandbox) -> set[str]:
    return {API_KEY, ROOM_TOKEN, *(record.token for record in sandbox.sessions)}


def found(secrets: set[str], text: str) -> list[str]:
    """Where secrets stand in a text, with some of what is around."""
    places = [(text.find(secret), secret) for secret in secrets if secret in text]
    return [text[max(at - 200, 0) : at + len(secret) + 20] for at, secret in places]


def frames_of(call: Call) -> str:
    """Every frame that came by, in every way in which frames are printed."""
    texts: list[str] = []
    for recorder in call.recorders:
        for sighting in recorder.sightings:
            frame = sighting.frame
            texts.append(str(frame))
            if not isinstance(frame, AudioRawFrame):
                texts += [repr(frame), repr(vars(frame))]
    return "\n".join(texts)


def tell_of_exceptions(call: Call) -> None:
    """Log what the frames carry as exceptions, as an application would."""
    errors = [frame for frame in call.reported if frame.exception]
    assert errors
    for frame in errors:
        logger.opt(exception=frame.exception).error("application: {}", frame.exception)
        logging.getLogger("application").error("oh", exc_info=frame.exception)


async def be_rude(sandbox: Sandbox, token: str) -> None:
    """Send back what the client said, in all sorts of ways."""
    for text in (f"Invalid token {token}", "Failed to process audio: " + token, token):
        await sandbox.send(json.dumps({"type": "error", "error": text}))
    await sandbox.send(json.dumps({"type": "error", "error": {"message": token, "x": [token]}}))
    await sandbox.send(json.dumps({"type": "agent.nod", "session_token": token, token: token}))
    await sandbox.send(f"{token} is not JSON")
    await sandbox.send(b"\xff\xfe" + token.encode())
    await sandbox.send(json.dumps({"type": token}))


async def test_a_noisy_call_with_a_rude_server_shows_no_secret(shown: io.StringIO):
    asyncio.get_running_loop().set_debug(True)
    async with Sandbox(api_key=API_KEY, render_latency_secs=LATENCY_SECS) as sandbox:
        echo = {"error": f"bad key {API_KEY} for room {ROOM_TOKEN}", "details": ROOM_TOKEN}
        sandbox.inject(fault("create", "refuse", status=503, body=echo))
        sandbox.inject(fault("create", "refuse", status=429, body=f"{API_KEY} {ROOM_TOKEN}"))
        async with calling(sandbox) as call:
            first = sandbox.sessions[0]
            for secret in (first.token, ROOM_TOKEN, API_KEY):
                await be_rude(sandbox, secret)
            await call.say(0.2)
            await call.interrupt()
            await sandbox.drop(code=4000, reason=f"go away {first.token} {ROOM_TOKEN}"[:70])
            await call.until_ready(2)
            second = sandbox.sessions[-1]
            refusal = {"success": False, "error": {"message": second.token, "code": API_KEY}}
            sandbox.inject(fault("end", "refuse", status=500, body=refusal))
            sandbox.inject(fault("create", "refuse", status=401, body=echo, nth=1))
            error = {"type": "error", "error": "Session not found"}
            await sandbox.send(json.dumps(error))
            await until(lambda: not call.avatar.is_usable)
            await call.end()
        tell_of_exceptions(call)
    secrets = secrets_of(sandbox)
    assert len(secrets) >= 4
    text = shown.getvalue()
    assert "[redacted]" in text
    assert "go away" in text
    assert found(secrets, text) == []
    assert found(secrets, frames_of(call)) == []
    assert found(secrets, "\n".join(call.news)) == []
    assert found(secrets, repr(call.avatar.stats)) == []


async def test_a_bug_while_secrets_are_at_hand_shows_none(shown: io.StringIO, monkeypatch):
    async with Sandbox(api_key=API_KEY, render_latency_secs=LATENCY_SECS) as sandbox:
        async with calling(sandbox) as call:
            put_bug_into(monkeypatch, call.avatar, "taking")
            put_bug_into(monkeypatch, call.avatar, "connection")
            await sandbox.drop()
            await until(lambda: not call.avatar.is_usable)
            await call.end()
        tell_of_exceptions(call)
    assert "ZeroDivisionError" in shown.getvalue()
    assert found(secrets_of(sandbox), shown.getvalue()) == []
    assert found(secrets_of(sandbox), frames_of(call)) == []


async def test_no_object_shows_a_secret_when_it_is_printed(shown: io.StringIO):
    token = "a-session-token-that-nobody-may-see"
    async with (
        Sandbox(api_key=API_KEY, render_latency_secs=LATENCY_SECS) as sandbox,
        AgentHumanApi(API_KEY, api_url=sandbox.api_url) as api,
        calling(sandbox) as call,
    ):
        avatar = call.avatar
        objects: list[object] = [
            avatar,
            *holders_of_secrets(avatar),
            api,
            vars(api),
            ROOM,
            LiveKitRoom("wss://example.livekit.cloud", ROOM_TOKEN),
            SessionCredentials("sess_1", token),
            SessionInit("sess_1", token),
            *asyncio.all_tasks(),
        ]
        text = "\n".join(f"{thing!r} {thing}" for thing in objects)
        await call.end()
    assert found(secrets_of(sandbox) | {token}, text) == []


@pytest.mark.parametrize("field", ["session_id", "session_token"])
def test_bad_credentials_are_refused_without_being_quoted(field: str):
    values = {"session_id": "sess_1", "session_token": "token-4711"} | {field: "  "}
    with pytest.raises(ValueError, match=field) as caught:
        SessionCredentials(**values)
    assert "4711" not in str(caught.value)


async def test_an_answer_that_cannot_be_used_is_not_quoted(shown: io.StringIO):
    token = "a-token-in-an-odd-place"
    async with Sandbox(api_key=API_KEY) as sandbox:
        body = {"session": {"session_id": "", "session_token": token}, "message": token}
        sandbox.inject(fault("create", "refuse", status=200, body=body))
        async with AgentHumanApi(API_KEY, api_url=sandbox.api_url) as api:
            with pytest.raises(AgentHumanError) as caught:
                await api.create_session(avatar="avat_1", room=ROOM)
            logger.opt(exception=caught.value).error("application")
    assert found({token, API_KEY, ROOM_TOKEN}, shown.getvalue() + str(caught.value)) == []
