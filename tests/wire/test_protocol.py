"""The wire: what we send, what we make of anything that comes back."""

from __future__ import annotations

import base64
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipecat_agenthuman.wire import protocol
from pipecat_agenthuman.wire.protocol import (
    ERROR_CATALOGUE,
    MAX_MESSAGE_BYTES,
    MAX_SPEAK_SAMPLES,
    UNRECOGNIZED_ERROR,
    AgentInterrupt,
    AgentSpeak,
    Answers,
    ConnectionEstablished,
    InterruptConfirmed,
    ServerError,
    ServerErrorCode,
    SessionInit,
    SpeakConfirmed,
    UnknownEvent,
    Unreadable,
    classify_error,
    decode,
    encode,
)

# The table of the service's documentation, word for word.
DOCUMENTED_ERRORS = {
    "First message must be session.init": ServerErrorCode.INIT_NOT_FIRST,
    "Missing session id": ServerErrorCode.MISSING_SESSION_ID,
    "Invalid session id - server not assigned or session id mismatch": (
        ServerErrorCode.INVALID_SESSION_ID
    ),
    "Failed to fetch video path": ServerErrorCode.VIDEO_PATH_UNAVAILABLE,
    "Session not found": ServerErrorCode.SESSION_NOT_FOUND,
    "Invalid JSON format": ServerErrorCode.INVALID_JSON,
    "No audio data provided": ServerErrorCode.NO_AUDIO,
    "Failed to process audio: ...": ServerErrorCode.AUDIO_NOT_PROCESSED,
    "Unknown message type: ...": ServerErrorCode.UNKNOWN_MESSAGE_TYPE,
}


# --- what we send ---------------------------------------------------------------------------


def test_session_init_carries_the_id_and_the_token():
    message = json.loads(encode(SessionInit("sess_1", "token_1")))
    assert message == {
        "type": "session.init",
        "session_id": "sess_1",
        "session_token": "token_1",
    }


def test_agent_speak_carries_base64_audio_and_always_its_rate():
    message = json.loads(encode(AgentSpeak(b"\x01\x02\x03\x04")))
    assert message == {"type": "agent.speak", "audio": "AQIDBA==", "sample_rate": 16000}


def test_agent_interrupt_carries_nothing():
    assert json.loads(encode(AgentInterrupt())) == {"type": "agent.interrupt"}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(audio=st.binary(min_size=1).map(lambda half: half * 2), rate=st.integers(1, 192_000))
def test_speech_survives_the_way_onto_the_wire(audio, rate):
    text = encode(AgentSpeak(audio, rate))
    message = json.loads(text)
    assert text.isascii()
    assert base64.b64decode(message["audio"], validate=True) == audio
    assert message["sample_rate"] == rate
    assert AgentSpeak(audio, rate).samples == len(audio) // 2


@settings(max_examples=100, deadline=None, derandomize=True)
@given(session_id=st.text(), token=st.text())
def test_any_id_and_token_survive_the_way_onto_the_wire(session_id, token):
    text = encode(SessionInit(session_id, token))
    assert text.isascii()
    assert json.loads(text)["session_id"] == session_id
    assert json.loads(text)["session_token"] == token


def test_the_longest_speech_fits_into_a_message_and_no_more_is_taken():
    text = encode(AgentSpeak(bytes(2 * MAX_SPEAK_SAMPLES)))
    assert MAX_MESSAGE_BYTES - 1000 < len(text) <= MAX_MESSAGE_BYTES
    with pytest.raises(ValueError, match="10 MB"):
        encode(AgentSpeak(bytes(2 * MAX_SPEAK_SAMPLES + 2)))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (AgentSpeak(b""), "needs audio"),
        (AgentSpeak(b"\x00" * 3), "whole 16-bit samples"),
        (AgentSpeak(b"\x00\x00", 0), "positive sample_rate"),
        (AgentSpeak(b"\x00\x00", -16_000), "positive sample_rate"),
    ],
)
def test_speech_that_the_server_would_refuse_is_not_encoded(message, reason):
    with pytest.raises(ValueError, match=reason):
        encode(message)


def test_neither_token_nor_audio_is_shown():
    assert "secret" not in repr(SessionInit("sess_1", "secret"))
    assert repr(AgentSpeak(b"\x01\x02")) == "AgentSpeak(sample_rate=16000)"


# --- the four events ------------------------------------------------------------------------


def test_connection_established_tells_the_session():
    message = decode('{"type": "connection.established", "session_id": "sess_1"}')
    assert isinstance(message, ConnectionEstablished)
    assert message.session_id == "sess_1"
    assert message.event == {"type": "connection.established", "session_id": "sess_1"}


@pytest.mark.parametrize("missing", ["", ', "session_id": ""', ', "session_id": 7'])
def test_connection_established_counts_without_a_usable_session(missing):
    message = decode('{"type": "connection.established"' + missing + "}")
    assert isinstance(message, ConnectionEstablished)
    assert message.session_id is None


def test_agent_speak_confirmed_tells_the_samples():
    message = decode('{"type": "agent.speak.confirmed", "audio_samples": 48000}')
    assert isinstance(message, SpeakConfirmed)
    assert message.audio_samples == 48000


@pytest.mark.parametrize(
    ("count", "understood"),
    [
        ("0", 0),
        ("48000.0", 48000),
        ("48000.5", None),
        ("-1", None),
        ("true", None),
        ("null", None),
        ('"48000"', None),
        ("[48000]", None),
        ("1e300", None),
        ("1e999", None),
        ("NaN", None),
        ("9" * 400, None),
    ],
)
def test_agent_speak_confirmed_counts_whatever_its_number_is(count, understood):
    message = decode('{"type": "agent.speak.confirmed", "audio_samples": ' + count + "}")
    assert isinstance(message, SpeakConfirmed)
    assert message.audio_samples == understood


def test_agent_interrupt_confirmed_is_understood_with_the_comma_of_the_documentation():
    printed = '{\n  "type": "agent.interrupt.confirmed",\n}'
    for text in ('{"type": "agent.interrupt.confirmed"}', printed):
        assert isinstance(decode(text), InterruptConfirmed)


def test_commas_inside_texts_are_left_alone():
    message = decode('{"type": "error", "error": "a,} \\",] b", "more": [1, 2,],}')
    assert isinstance(message, ServerError)
    assert message.error == 'a,} ",] b'
    assert message.event["more"] == [1, 2]


@pytest.mark.parametrize("text", ["{,}", '{"type": "error",,}', "[,]", '{"type" "x",}', ","])
def test_other_broken_json_stays_broken(text):
    assert isinstance(decode(text), Unreadable)


def test_text_may_come_as_bytes():
    message = decode('{"type": "error", "error": "Grüße"}'.encode())
    assert isinstance(message, ServerError)
    assert message.error == "Grüße"


def test_an_event_of_another_type_is_kept_as_it_is():
    message = decode('{"type": "agent.mood", "mood": "fine"}')
    assert message == UnknownEvent("agent.mood", {"type": "agent.mood", "mood": "fine"})


# --- errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "code"), DOCUMENTED_ERRORS.items())
def test_every_documented_error_is_known(text, code):
    message = decode(json.dumps({"type": "error", "error": text}))
    assert isinstance(message, ServerError)
    assert message.error == text
    assert message.entry.code is code
    assert message.entry.meaning
    assert message.entry.remedy


def test_the_catalogue_has_the_documented_errors_and_no_others():
    assert [entry.code for entry in ERROR_CATALOGUE] == list(DOCUMENTED_ERRORS.values())
    for entry, text in zip(ERROR_CATALOGUE, DOCUMENTED_ERRORS, strict=True):
        assert text in (entry.text, f"{entry.text} ...")
    assert set(ServerErrorCode) == {entry.code for entry in ERROR_CATALOGUE} | {
        ServerErrorCode.UNRECOGNIZED
    }


@pytest.mark.parametrize("text", DOCUMENTED_ERRORS)
def test_only_errors_about_the_session_can_be_helped_by_a_new_one(text):
    helped = {
        "First message must be session.init",
        "Invalid session id - server not assigned or session id mismatch",
        "Failed to fetch video path",
        "Session not found",
    }
    assert classify_error(text).new_session_helps == (text in helped)


@pytest.mark.parametrize(
    ("text", "answers"),
    list(
        zip(
            DOCUMENTED_ERRORS,
            [Answers.INIT] * 5 + [Answers.OLDEST] + [Answers.SPEAK] * 2 + [Answers.NAMED],
            strict=True,
        )
    ),
)
def test_an_error_answers_the_command_that_it_speaks_of(text, answers):
    assert classify_error(text).answers is answers


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Failed to process audio: odd number of bytes", ServerErrorCode.AUDIO_NOT_PROCESSED),
        ("Failed to process audio:x", ServerErrorCode.AUDIO_NOT_PROCESSED),
        ("Failed to process audio", ServerErrorCode.AUDIO_NOT_PROCESSED),
        ("Unknown message type: agent.dance", ServerErrorCode.UNKNOWN_MESSAGE_TYPE),
        ("  session NOT   found.\n", ServerErrorCode.SESSION_NOT_FOUND),
        ("Session not found: sess_1", ServerErrorCode.SESSION_NOT_FOUND),
        ("Session not found (sess_1)", ServerErrorCode.SESSION_NOT_FOUND),
        ("Session not found or expired", ServerErrorCode.SESSION_NOT_FOUND),
        ("Error: session  not found", ServerErrorCode.SESSION_NOT_FOUND),
        ("Invalid session id", ServerErrorCode.INVALID_SESSION_ID),
        ("Failed to process audio: Session not found", ServerErrorCode.SESSION_NOT_FOUND),
    ],
)
def test_an_error_is_known_by_its_beginning_or_by_words_that_suffice(text, code):
    assert classify_error(text).code is code


@pytest.mark.parametrize(
    "text",
    ["GPU on fire", "", ".", "Session", "No session found", "Missing session ids", "No audio"],
)
def test_an_unknown_error_keeps_its_words_under_a_code_of_its_own(text):
    assert classify_error(text) is UNRECOGNIZED_ERROR
    message = decode(json.dumps({"type": "error", "error": text}))
    assert isinstance(message, ServerError)
    assert message.entry.code is ServerErrorCode.UNRECOGNIZED
    assert message.error == (text or "(the server gave no reason)")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ('{"message": "Session not found", "code": 7}', "Session not found"),
        ('{"code": 7}', "{'code': 7}"),
        ("null", "(the server gave no reason)"),
        ('"  "', "(the server gave no reason)"),
        ('{"message": null}', "(the server gave no reason)"),
        ("[1, 2]", "[1, 2]"),
        ("17", "17"),
        ("false", "False"),
    ],
)
def test_an_error_in_another_shape_still_says_what_it_can(error, words):
    message = decode('{"type": "error", "error": ' + error + "}")
    assert isinstance(message, ServerError)
    assert message.error == words


def test_an_error_without_a_reason_says_so():
    message = decode('{"type": "error"}')
    assert isinstance(message, ServerError)
    assert message.error == "(the server gave no reason)"


# --- anything else --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        "",
        " ",
        "hello",
        "null",
        "17",
        '"error"',
        "[]",
        '[{"type": "error"}]',
        "{}",
        '{"type": null}',
        '{"type": 7}',
        '{"type": ["error"]}',
        '{"Type": "error"}',
        '{"type": "error"',
        '{"type": "error"}}',
        "\ufeff{}",
        b"",
        b"\xff\xfe\x00",
        b"\x00" * 100,
        "9" * 5000,
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"type": "error", "error": ' + "[" * 500 + "]" * 500 + "}",
        '{"type": "agent.speak.confirmed", "x": ' + '{"x":' * 40 + "1" + "}" * 41,
    ],
    ids=lambda data: repr(data[:30]),
)
def test_what_cannot_be_understood_is_unreadable_and_says_why(data):
    message = decode(data)
    assert isinstance(message, Unreadable)
    assert message.reason
    assert len(message.excerpt) < 1000


@pytest.mark.parametrize(
    "text",
    ['"' + '\\"' * 500_000, '{"' + "\\" * 500_000, "," * 1_000_000, '"a' * 300_000, ", " * 500_000],
    ids=["an endless text", "backslashes", "commas", "quotes", "commas and blanks"],
)
def test_a_megabyte_of_nonsense_takes_no_time(text):
    began = time.monotonic()
    assert isinstance(decode(text), Unreadable)
    assert time.monotonic() - began < 5  # it takes a tenth of a second, or else hours


def test_half_a_character_does_no_harm():
    """JSON can name half of a surrogate pair, and a log could not write it."""
    for text in (r'{"type": "error", "error": "\ud800"}', r'{"type": "\ud800"}'):
        message = decode(text)
        assert isinstance(message, ServerError | UnknownEvent)
        shown = message.error if isinstance(message, ServerError) else message.type
        assert shown.encode() == b"?"


MESSAGES = protocol.ServerMessage.__args__

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([*DOCUMENTED_ERRORS, 48_000, 2**70]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
kinds = st.sampled_from(
    ["connection.established", "agent.speak.confirmed", "agent.interrupt.confirmed", "error", "x"]
)
events = st.fixed_dictionaries(
    {"type": st.one_of(kinds, values)},
    optional={"session_id": values, "audio_samples": values, "error": values, "more": values},
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.one_of(st.binary(), st.text(), st.text('{}[]",:\\ type')))
def test_anything_at_all_is_decoded(data):
    message = decode(data)
    assert isinstance(message, MESSAGES)
    repr(message)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.one_of(values, events), st.booleans())
def test_any_json_is_decoded(value, as_bytes):
    text = json.dumps(value)
    message = decode(text.encode() if as_bytes else text)
    assert isinstance(message, MESSAGES)
    repr(message)
    if isinstance(value, dict) and isinstance(value.get("type"), str):
        assert not isinstance(message, Unreadable)
        assert json.dumps(message.event) == text
    else:
        assert isinstance(message, Unreadable)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(events, st.data())
def test_a_damaged_event_is_decoded(value, data):
    text = json.dumps(value)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(start + 3, len(text))))
    damaged = text[:start] + data.draw(st.text(max_size=3)) + text[end:]
    assert isinstance(decode(damaged), MESSAGES)
