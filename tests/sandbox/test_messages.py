from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipecat_agenthuman.sandbox import messages
from pipecat_agenthuman.sandbox.messages import Init, Interrupt, Rejected, Speak
from pipecat_agenthuman.wire import protocol

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
types = st.sampled_from(["session.init", "agent.speak", "agent.interrupt"])


def audio_texts() -> st.SearchStrategy[str]:
    """Texts that are almost messages with audio."""
    return st.lists(st.sampled_from(['"audio"', ":", '"', "AQA=", " ", "\\", "{", ","])).map(
        "".join
    )


@given(st.text() | st.binary() | json_values.map(json.dumps))
def test_no_message_of_a_client_upsets_the_sandbox(message):
    assert isinstance(messages.read(message), Init | Speak | Interrupt | Rejected)


@given(type=types, audio=json_values, sample_rate=json_values, session_id=json_values)
def test_no_field_of_a_known_message_upsets_the_sandbox(type, audio, sample_rate, session_id):
    body = {"type": type, "audio": audio, "sample_rate": sample_rate, "session_id": session_id}
    assert isinstance(messages.read(json.dumps(body)), Init | Speak | Interrupt | Rejected)


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=200))
def test_speech_at_16_khz_arrives_sample_for_sample(values):
    audio = np.array(values, dtype="<i2").tobytes()
    command = messages.read(protocol.encode(protocol.AgentSpeak(audio)))
    assert isinstance(command, Speak)
    assert command.audio.tolist() == values


def test_commands_of_the_client_are_understood():
    sent = protocol.SessionInit("sess_1", "secret-token")
    assert messages.read(protocol.encode(sent)) == Init("sess_1", "secret-token")
    assert messages.read(protocol.encode(protocol.AgentInterrupt())) == Interrupt()


@pytest.mark.parametrize(
    ("sample_rate", "samples", "at_16_khz"),
    [(8_000, 800, 1600), (24_000, 2400, 1600), (44_100, 4410, 1600), (48_000, 4800, 1600)],
)
def test_other_rates_are_resampled(sample_rate, samples, at_16_khz):
    tone = (1e4 * np.sin(np.arange(samples) * 2 * np.pi * 440 / sample_rate)).astype("<i2")
    command = messages.read(protocol.encode(protocol.AgentSpeak(tone.tobytes(), sample_rate)))
    assert isinstance(command, Speak)
    assert (command.samples, command.sample_rate) == (samples, sample_rate)
    assert len(command.audio) == at_16_khz
    expected = 1e4 * np.sin(np.arange(at_16_khz) * 2 * np.pi * 440 / 16_000)
    inner = slice(200, -200)  # a resampler has no past at the ends
    assert np.abs(command.audio[inner] - expected[inner]).max() < 100


def test_a_missing_sample_rate_means_16_khz():
    body = {"type": "agent.speak", "audio": base64.b64encode(b"\1\0\2\0").decode()}
    command = messages.read(json.dumps(body))
    assert isinstance(command, Speak)
    assert command.audio.tolist() == [1, 2]


def speech(audio: object = "AQACAA==", **changes: object) -> str:
    return json.dumps({"type": "agent.speak", "audio": audio, "sample_rate": 16_000, **changes})


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("{", "Invalid JSON format"),
        ("[]", "Invalid JSON format"),
        ('"agent.interrupt"', "Invalid JSON format"),
        (b'{"type": "agent.interrupt"}', "Invalid JSON format"),
        ("[" * 100_000, "Invalid JSON format"),
        ('{"type": "session.init"}', "Missing session id"),
        ('{"type": "session.init", "session_id": ""}', "Missing session id"),
        ('{"type": "session.init", "session_id": 7}', "Missing session id"),
        ('{"type": "agent.speak"}', "No audio data provided"),
        (speech(""), "No audio data provided"),
        (speech(None), "No audio data provided"),
        (speech(7), "Failed to process audio: audio must be a base64 string"),
        (speech("AQA*"), "Failed to process audio: audio is not valid base64"),
        (speech("AQA"), "Failed to process audio: audio is not valid base64"),
        (speech("AQAC"), "Failed to process audio: 3 bytes are not whole 16-bit samples"),
        (speech(sample_rate="16000"), "Failed to process audio: sample_rate must be an integer"),
        (speech(sample_rate=True), "Failed to process audio: sample_rate must be an integer"),
        (speech(sample_rate=None), "Failed to process audio: sample_rate must be an integer"),
        (
            speech(sample_rate=0),
            "Failed to process audio: sample_rate must be between 1000 and 384000",
        ),
        ('{"type": "agent.shout"}', "Unknown message type: agent.shout"),
        ("{}", "Unknown message type: None"),
    ],
)
def test_mistakes_are_answered_in_the_documented_words(message, error):
    command = messages.read(message)
    assert isinstance(command, Rejected)
    assert command.error == error


def test_confirmations_are_written_as_documented():
    assert protocol.decode(messages.established("sess_1")).event == {
        "type": "connection.established",
        "session_id": "sess_1",
    }
    assert json.loads(messages.speak_confirmed(48_000)) == {
        "type": "agent.speak.confirmed",
        "audio_samples": 48_000,
    }
    assert json.loads(messages.interrupt_confirmed()) == {"type": "agent.interrupt.confirmed"}
    assert json.loads(messages.error("No")) == {"type": "error", "error": "No"}


@given(st.text() | st.binary() | json_values.map(json.dumps) | audio_texts())
def test_every_message_can_be_shown(message):
    assert len(messages.shown(message)) <= 300


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            speech("AQACAA=="),
            '{"type": "agent.speak", "audio": "… 4 bytes in base64 …", "sample_rate": 16000}',
        ),
        ('{"audio":"AQAC', '{"audio":"AQAC'),
        ('{"audio" : 7, "x": "y"}', '{"audio" : 7, "x": "y"}'),
        ('{"session_token": "s\\"cret", "a": 1}', '{"session_token": "[redacted]", "a": 1}'),
        ('{"session_token":"half a tok', '{"session_token":"[redacted]'),
        (b"\x01\xff", "2 bytes: 01 ff"),
    ],
)
def test_audio_is_shown_by_its_length_and_a_token_not_at_all(message, shown):
    assert messages.shown(message) == shown


def test_the_misprinted_confirmation_is_not_json():
    with pytest.raises(ValueError, match=r"Expecting|Illegal"):
        json.loads(messages.BROKEN_INTERRUPT_CONFIRMED)
