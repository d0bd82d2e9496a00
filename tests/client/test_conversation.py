"""The rules of one WebSocket, in virtual time: nothing here waits, and no socket is open."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipecat_agenthuman._credentials import redact
from pipecat_agenthuman.client.conversation import Conversation
from pipecat_agenthuman.client.events import (
    ConnectionEvent,
    ErrorReported,
    Established,
    Loss,
    PlaybackStopped,
    SpeechConfirmed,
    Unexpected,
)
from pipecat_agenthuman.errors import LossKind
from pipecat_agenthuman.wire.protocol import ERROR_CATALOGUE, Answers, ServerErrorCode, SessionInit

TOKEN = "a-session-token-that-nobody-may-see"
KEY = "key-0123456789-abcdefghijkl"
SESSION = SessionInit("sess_1", TOKEN)

ESTABLISH_TIMEOUT_SECS = 10.0
CONFIRM_TIMEOUT_SECS = 5.0

ESTABLISHED = json.dumps({"type": "connection.established", "session_id": "sess_1"})
INTERRUPTED = json.dumps({"type": "agent.interrupt.confirmed"})


def pcm(samples: int) -> bytes:
    return np.arange(1, samples + 1, dtype="<i2").tobytes()


def confirmed(samples: object) -> str:
    return json.dumps({"type": "agent.speak.confirmed", "audio_samples": samples})


def error(text: str) -> str:
    return json.dumps({"type": "error", "error": text})


@dataclass
class Talk:
    """A conversation, a time that passes when it is told to, and what was sent."""

    max_unconfirmed: int = 1
    now: float = 100.0
    sent: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.conversation = Conversation(
            SESSION,
            redacted=lambda text: redact(text, TOKEN, KEY),
            max_unconfirmed=self.max_unconfirmed,
            establish_timeout_secs=ESTABLISH_TIMEOUT_SECS,
            confirm_timeout_secs=CONFIRM_TIMEOUT_SECS,
        )

    @classmethod
    def established(cls, **options: Any) -> Talk:
        talk = cls(**options)
        talk.send()
        talk.hear(ESTABLISHED)
        return talk

    # --- doing ---

    def send(self, most: int | None = None) -> list[str]:
        """Send what may be sent; returns the types of it."""
        before = len(self.sent)
        while most is None or len(self.sent) < before + most:
            message = self.conversation.to_send(self.now)
            if message is None:
                break
            self.sent.append(json.loads(message))
        return [message["type"] for message in self.sent[before:]]

    def speak(self, samples: int) -> None:
        self.conversation.speak(pcm(samples), self.now)

    def say(self, samples: int) -> None:
        self.speak(samples)
        self.send()

    def interrupt(self) -> None:
        assert self.conversation.interrupt(self.now)
        self.send()

    def hear(
        self, data: str | bytes, *, after_secs: float = 0.0, round_trip_secs: float = 0.0
    ) -> list[ConnectionEvent | Loss]:
        self.now += after_secs
        return self.conversation.receive(data, self.now, round_trip_secs=round_trip_secs)

    def hear_one(self, data: str | bytes, **options: Any) -> Any:
        (told,) = self.hear(data, **options)
        return told

    # --- looking ---

    @property
    def can_speak(self) -> bool:
        return self.conversation.can_speak

    @property
    def is_over(self) -> bool:
        """Whether nothing is said, waited for or understood any more."""
        return not (
            self.conversation.established
            or self.can_speak
            or self.conversation.interrupt(self.now)
            or self.send()
            or self.hear(ESTABLISHED)
            or self.hear(error("Whatever"))
            or self.conversation.deadline is not None
        )


@pytest.fixture
def talk() -> Talk:
    return Talk.established()


# --- coming up -------------------------------------------------------------------------


def test_session_init_is_the_first_message_and_nothing_follows_until_it_is_answered():
    talk = Talk()
    assert talk.send() == ["session.init"]
    assert talk.sent == [
        {"type": "session.init", "session_id": "sess_1", "session_token": TOKEN},
    ]
    assert not talk.can_speak
    assert not talk.conversation.interrupt(talk.now)
    with pytest.raises(RuntimeError):
        talk.speak(160)
    assert talk.send() == []
    assert talk.hear_one(ESTABLISHED, after_secs=0.3).took_secs == pytest.approx(0.3)
    assert talk.conversation.established
    assert talk.send() == []
    talk.speak(160)
    assert talk.send() == ["agent.speak"]


def test_an_answer_before_session_init_has_left_establishes_nothing():
    talk = Talk()
    assert "not been sent" in talk.hear_one(ESTABLISHED).why
    assert not talk.conversation.established
    assert talk.send() == ["session.init"]
    assert isinstance(talk.hear_one(ESTABLISHED), Established)


def test_a_session_that_is_not_ours_is_refused():
    talk = Talk()
    talk.send()
    loss = talk.hear_one(json.dumps({"type": "connection.established", "session_id": "sess_2"}))
    assert loss.kind is LossKind.SESSION_REFUSED
    assert "sess_2" in loss.reason
    assert talk.is_over


def test_an_answer_without_a_session_id_will_do():
    talk = Talk()
    talk.send()
    assert talk.hear_one('{"type": "connection.established"}').session_id == "sess_1"
    assert "established already" in talk.hear_one(ESTABLISHED).why


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("entry", ERROR_CATALOGUE, ids=lambda entry: entry.code)
def test_before_it_is_established_every_error_refuses_the_session(entry, sent: bool):
    talk = Talk()
    if sent:
        talk.send()
    loss = talk.hear_one(error(entry.text))
    assert loss.kind is LossKind.SESSION_REFUSED
    assert loss.error.entry is entry
    assert talk.is_over


# --- speaking --------------------------------------------------------------------------


def test_speech_leaves_in_order_and_to_the_sample():
    talk = Talk.established(max_unconfirmed=3)
    for samples in (160, 161, 162):
        talk.speak(samples)
    assert talk.send() == ["agent.speak"] * 3
    assert len({message["audio"] for message in talk.sent[1:]}) == 3
    told = [talk.hear_one(confirmed(samples)).samples for samples in (160, 161, 162)]
    assert told == [160, 161, 162]


@pytest.mark.parametrize("most", [1, 3])
def test_at_most_so_many_messages_wait_for_confirmation(most: int):
    talk = Talk.established(max_unconfirmed=most)
    for number in range(most):
        assert talk.can_speak
        talk.say(160 + number)
    assert not talk.can_speak
    with pytest.raises(RuntimeError):
        talk.speak(500)
    assert talk.hear_one(confirmed(160)).samples == 160
    assert talk.can_speak


@pytest.mark.parametrize("audio", [b"", b"\0\0\0", bytes(8_000_000)])
def test_audio_that_is_not_speech_is_refused_before_it_is_sent(talk: Talk, audio: bytes):
    with pytest.raises(ValueError, match=r"agent\.speak"):
        talk.conversation.speak(audio, talk.now)
    assert talk.send() == []
    assert talk.can_speak
    assert talk.conversation.deadline is None


def test_a_confirmation_tells_when_and_how_long_it_took(talk: Talk):
    talk.say(160)
    event = talk.hear_one(confirmed(160), after_secs=0.5, round_trip_secs=0.2)
    assert event.took_secs == pytest.approx(0.5)
    assert event.at == pytest.approx(talk.now - 0.1)
    assert talk.conversation.confirm_secs == pytest.approx(0.5)


def test_a_confirmation_that_is_quicker_than_the_latest_ping_was_given_half_way(talk: Talk):
    talk.say(160)
    event = talk.hear_one(confirmed(160), after_secs=0.1, round_trip_secs=3.0)
    assert event.at == pytest.approx(talk.now - 0.05)


def test_the_time_to_a_confirmation_is_guessed_then_measured():
    talk = Talk()
    talk.send()
    assert talk.conversation.confirm_secs == 0.0
    talk.hear(ESTABLISHED, after_secs=0.4)
    assert talk.conversation.confirm_secs == pytest.approx(0.4)
    talk.conversation.measured(0.1)
    assert talk.conversation.confirm_secs == 0.1


def test_a_confirmation_without_a_number_counts_all_the_same(talk: Talk):
    talk.say(160)
    assert talk.hear_one(confirmed(None)).samples == 160


def test_a_confirmation_that_comes_twice_counts_once(talk: Talk):
    talk.say(160)
    assert talk.hear_one(confirmed(160)).samples == 160
    assert "no speech that waits" in talk.hear_one(confirmed(160)).why
    talk.say(161)
    assert isinstance(talk.hear_one(confirmed(160)), Unexpected)
    assert talk.hear_one(confirmed(161)).samples == 161


def test_a_server_that_confirms_what_has_not_left_does_not_let_speech_pile_up(talk: Talk):
    for samples in range(160, 260):
        if not talk.can_speak:
            break
        talk.speak(samples)
        talk.hear(confirmed(samples))
    assert talk.send() == ["agent.speak"]
    assert talk.can_speak


# --- interrupting ----------------------------------------------------------------------


def test_an_interrupt_overtakes_speech_that_has_not_left_and_waits_for_nothing():
    talk = Talk.established(max_unconfirmed=3)
    talk.say(160)
    talk.speak(161)
    assert talk.conversation.interrupt(talk.now)
    assert talk.send() == ["agent.interrupt"]
    assert not talk.can_speak


def test_speech_that_never_left_expects_no_answer():
    talk = Talk.established(max_unconfirmed=3)
    talk.say(160)
    talk.speak(161)
    talk.interrupt()
    assert talk.conversation.ambiguous_sizes(talk.now) == {160}
    assert isinstance(talk.hear_one(INTERRUPTED), PlaybackStopped)
    talk.say(161)
    assert talk.hear_one(confirmed(161)).samples == 161


def test_interrupts_that_cannot_leave_do_not_pile_up(talk: Talk):
    assert all(talk.conversation.interrupt(talk.now) for _ in range(1000))
    assert talk.send() == ["agent.interrupt"]
    assert isinstance(talk.hear_one(INTERRUPTED), PlaybackStopped)
    assert talk.can_speak
    talk.say(160)
    assert talk.hear_one(confirmed(160)).samples == 160


def test_after_an_interrupt_speech_waits_for_its_confirmation(talk: Talk):
    talk.interrupt()
    assert not talk.can_speak
    with pytest.raises(RuntimeError):
        talk.speak(160)
    event = talk.hear_one(INTERRUPTED, after_secs=0.3)
    assert event.took_secs == pytest.approx(0.3)
    assert talk.can_speak


def test_every_interrupt_that_left_is_waited_for(talk: Talk):
    talk.interrupt()
    talk.interrupt()
    assert isinstance(talk.hear_one(INTERRUPTED), PlaybackStopped)
    assert not talk.can_speak
    assert isinstance(talk.hear_one(INTERRUPTED), PlaybackStopped)
    assert talk.can_speak


def test_an_interrupt_that_has_not_left_is_not_confirmed(talk: Talk):
    assert talk.conversation.interrupt(talk.now)
    assert "no interrupt waits" in talk.hear_one(INTERRUPTED).why
    assert not talk.can_speak
    assert talk.send() == ["agent.interrupt"]
    assert isinstance(talk.hear_one(INTERRUPTED), PlaybackStopped)


def test_a_confirmation_of_the_interrupt_before_is_not_that_of_one_that_has_not_left(talk: Talk):
    talk.interrupt()
    assert talk.conversation.interrupt(talk.now)
    assert isinstance(talk.hear_one(INTERRUPTED), PlaybackStopped)
    assert isinstance(talk.hear_one(INTERRUPTED), Unexpected)
    assert not talk.can_speak
    assert talk.send() == ["agent.interrupt"]


def test_a_late_confirmation_is_not_credited_to_the_next_utterance(talk: Talk):
    talk.say(160)
    talk.interrupt()
    assert isinstance(talk.hear_one(INTERRUPTED), PlaybackStopped)
    assert 160 in talk.conversation.ambiguous_sizes(talk.now)
    talk.say(161)
    assert talk.hear(confirmed(160), after_secs=0.4) == []  # as expected, so nothing to tell
    assert not talk.can_speak
    assert talk.hear_one(confirmed(161)).samples == 161


def test_a_misprinted_interrupt_confirmation_is_understood(talk: Talk):
    talk.interrupt()
    event = talk.hear_one('{"type": "agent.interrupt.confirmed",}')
    assert isinstance(event, PlaybackStopped)


# --- errors ----------------------------------------------------------------------------

SPEAKING = [entry for entry in ERROR_CATALOGUE if entry.answers is not Answers.INIT]


@pytest.mark.parametrize(
    "entry",
    [entry for entry in SPEAKING if entry.answers is not Answers.NAMED],
    ids=lambda entry: entry.code,
)
def test_an_error_resolves_the_speech_that_waits(talk: Talk, entry):
    talk.say(160)
    event = talk.hear_one(error(entry.text))
    assert event.speech_rejected
    assert event.error.entry is entry
    assert talk.can_speak
    talk.say(161)
    assert talk.hear_one(confirmed(161)).samples == 161


def test_an_error_that_names_the_command_resolves_it_and_another_does_not(talk: Talk):
    talk.say(160)
    assert talk.hear_one(error("Unknown message type: agent.speak")).speech_rejected
    talk.say(161)
    assert not talk.hear_one(error("Unknown message type: agent.dance")).speech_rejected
    assert talk.hear_one(confirmed(161)).samples == 161


def test_an_error_while_nothing_waits_is_reported_and_changes_nothing(talk: Talk):
    event = talk.hear_one(error("The moon is full"))
    assert event.error.entry.code is ServerErrorCode.UNRECOGNIZED
    assert not event.speech_rejected
    talk.say(160)
    assert talk.hear_one(confirmed(160)).samples == 160


@pytest.mark.parametrize("text", ["The moon is full", "Invalid JSON format", "No audio data"])
def test_an_error_while_an_interrupt_waits_does_not_answer_it(talk: Talk, text: str):
    talk.interrupt()
    assert not talk.hear_one(error(text)).speech_rejected
    assert not talk.can_speak
    assert isinstance(talk.hear_one(INTERRUPTED), PlaybackStopped)


def test_an_error_about_audio_answers_what_was_interrupted(talk: Talk):
    talk.say(160)
    talk.interrupt()
    assert not talk.hear_one(error("No audio data provided")).speech_rejected
    talk.hear(INTERRUPTED)
    assert isinstance(talk.hear_one(confirmed(160)), Unexpected)  # It has its answer already.
    talk.say(161)
    assert talk.hear_one(error("No audio data provided")).speech_rejected


def test_an_avatar_that_refuses_to_stop_is_left(talk: Talk):
    talk.interrupt()
    loss = talk.hear_one(error("Unknown message type: agent.interrupt"))
    assert loss.kind is LossKind.INTERRUPT_REFUSED
    assert talk.is_over


@pytest.mark.parametrize(
    "entry",
    [entry for entry in ERROR_CATALOGUE if entry.answers is Answers.INIT],
    ids=lambda entry: entry.code,
)
def test_an_error_about_the_session_ends_it_at_any_time(talk: Talk, entry):
    talk.say(160)
    loss = talk.hear_one(error(entry.text))
    assert loss.kind is LossKind.SESSION_REFUSED
    assert loss.error.entry is entry
    assert talk.is_over


def test_a_server_that_takes_no_more_speech_is_left_whatever_its_words(talk: Talk):
    def refuse(samples: int) -> list[ConnectionEvent | Loss]:
        talk.say(samples)
        return talk.hear(error("The moon is full"))

    for samples in (160, 161):
        (told,) = refuse(samples)
        assert told.speech_rejected
    talk.say(162)
    talk.hear(confirmed(162))  # Two in a row are no reason yet.
    assert [len(refuse(samples)) for samples in (163, 164)] == [1, 1]
    reported, loss = refuse(165)
    assert reported.speech_rejected
    assert loss.kind is LossKind.SPEECH_REFUSED
    assert "The moon is full" in loss.reason
    assert talk.is_over


def test_errors_that_refuse_no_speech_are_no_reason_to_leave(talk: Talk):
    for _ in range(20):
        assert isinstance(talk.hear_one(error("The moon is full")), ErrorReported)
    assert talk.can_speak


# --- deadlines -------------------------------------------------------------------------


def test_session_init_is_to_be_answered_in_time():
    talk = Talk()
    assert talk.conversation.deadline is None
    talk.send()
    assert talk.conversation.deadline == talk.now + ESTABLISH_TIMEOUT_SECS
    loss = talk.conversation.time_out()
    assert loss.kind is LossKind.SILENT
    assert "did not answer session.init within 10 s" in loss.reason
    assert talk.is_over


@pytest.mark.parametrize("command", ["agent.speak", "agent.interrupt"])
def test_a_command_is_to_be_answered_in_time(talk: Talk, command: str):
    assert talk.conversation.deadline is None
    if command == "agent.speak":
        talk.say(160)
    else:
        talk.interrupt()
    assert talk.conversation.deadline == talk.now + CONFIRM_TIMEOUT_SECS
    loss = talk.conversation.time_out()
    assert loss.kind is LossKind.SILENT
    assert f"did not answer {command} within 5 s" in loss.reason
    assert talk.is_over


def test_speech_that_cannot_leave_is_overdue_too(talk: Talk):
    talk.speak(160)
    assert talk.conversation.deadline == talk.now + CONFIRM_TIMEOUT_SECS


def test_the_oldest_command_sets_the_deadline_and_answers_move_it():
    talk = Talk.established(max_unconfirmed=2)
    talk.say(160)
    first = talk.now
    talk.now += 1.0
    talk.say(161)
    assert talk.conversation.deadline == first + CONFIRM_TIMEOUT_SECS
    talk.hear(confirmed(160))
    assert talk.conversation.deadline == first + 1.0 + CONFIRM_TIMEOUT_SECS
    talk.hear(confirmed(161))
    assert talk.conversation.deadline is None


def test_speech_that_was_interrupted_is_not_waited_for(talk: Talk):
    talk.say(160)
    talk.now += 1.0
    talk.interrupt()
    assert talk.conversation.deadline == talk.now + CONFIRM_TIMEOUT_SECS
    talk.hear(INTERRUPTED)
    assert talk.conversation.deadline is None


def test_after_its_end_nothing_is_said(talk: Talk):
    talk.speak(160)
    talk.conversation.end()
    talk.conversation.end()
    assert talk.is_over
    with pytest.raises(RuntimeError):
        talk.speak(161)


# --- garbage ---------------------------------------------------------------------------

GARBAGE: list[str | bytes] = [
    "",
    "hello",
    b"\xff\xfe\x00",
    "[]",
    "null",
    "{}",
    '{"type": 7}',
    '{"type": "agent.nod", "times": 2}',
    '{"type": "agent.speak.confirmed", "audio_samples": -1}',
    '{"type": "agent.speak.confirmed", "audio_samples": 1e999}',
    "[" * 100_000,
    '{"type": ' + "9" * 5000 + "}",
    ESTABLISHED.replace('"sess_1"', "17"),
    ESTABLISHED,
    INTERRUPTED,
]


def test_garbage_changes_nothing(talk: Talk):
    for garbage in GARBAGE:
        assert isinstance(talk.hear_one(garbage), Unexpected)
    talk.say(160)
    assert talk.hear_one(confirmed(160)).samples == 160


@pytest.mark.parametrize(
    "said",
    [
        error(f"go away, {KEY}"),
        '{"type": "error", "error": "key-0123456789-abcdefg\\u0068ijkl"}',
        error(f"cut short: {KEY[:19]}"),
        json.dumps({"type": "agent.nod", KEY: [KEY]}),
        f"{KEY} is not JSON",
        b"\xff " + KEY.encode(),
        error(f"what is {TOKEN}?"),
        f"{TOKEN} is not JSON",
        json.dumps({"type": "agent.nod", "token": TOKEN}),
    ],
)
def test_whatever_secret_the_server_echoes_however_it_writes_it_is_not_told(talk: Talk, said):
    told = talk.hear_one(said)
    message = told.error if isinstance(told, ErrorReported) else told.message
    (loss,) = talk.hear(error(f"Session not found {KEY} {TOKEN}"))
    shown = repr([told, vars(message), loss, vars(loss.error), talk.conversation])
    assert KEY[:12] not in shown
    assert TOKEN[:12] not in shown
    assert "[redacted]" in loss.reason


def test_words_without_measure_that_end_a_session_are_cut_and_printable(talk: Talk):
    loss = talk.hear_one(error("Session not found: \x1b[31m\n" + "x" * 100_000))
    assert loss.error.entry.code is ServerErrorCode.SESSION_NOT_FOUND
    assert len(loss.reason) < 500
    assert loss.reason.isprintable()


# --- whatever happens ------------------------------------------------------------------

SIZES = st.integers(1, 8)  # few, so that answers mean something
SERVER = st.one_of(
    st.sampled_from([ESTABLISHED, INTERRUPTED, *GARBAGE]),
    st.builds(confirmed, SIZES | st.none() | st.integers(-5, 10**8)),
    st.sampled_from([error(f"{entry.text} agent.speak") for entry in SPEAKING]),
    st.just(error("The moon is full")),
)
ENDING = st.one_of(
    st.sampled_from([error(entry.text) for entry in ERROR_CATALOGUE]),
    st.just(error("Unknown message type: agent.interrupt")),
    st.text(max_size=20),
    st.binary(max_size=20),
)
STEPS = st.one_of(
    st.tuples(st.just("pass"), st.sampled_from([0.001, 0.1, 3.0, 70.0])),
    st.tuples(st.just("speak"), SIZES),
    st.tuples(st.just("interrupt"), st.none()),
    st.tuples(st.just("send"), st.sampled_from([None, 1])),
    st.tuples(st.just("hear"), SERVER),
    st.tuples(st.just("answer"), st.sampled_from([False, True])),
    st.tuples(st.just("measure"), st.floats(0, 5)),
)
RARE_STEPS = st.one_of(STEPS, st.tuples(st.just("hear"), ENDING), st.just(("time out", None)))


def many(steps: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Lists of any length; by itself Hypothesis makes few long ones."""
    return st.integers(0, 60).flatmap(lambda n: st.lists(steps, min_size=n, max_size=n))


class Model:
    """What a conversation promises, whatever it is told."""

    def __init__(self, max_unconfirmed: int) -> None:
        self.talk = Talk(max_unconfirmed=max_unconfirmed)
        self.established = False
        self.lost = False
        self.unanswered: list[tuple[int, float]] = []  # speech: its size, and when it was said
        self.interrupts = 0  # that left, and were not confirmed
        self.interrupting = False  # one has not left yet
        self.refused = 0  # messages of speech in a row

    def step(self, kind: str, detail: Any) -> None:
        match kind:
            case "pass":
                self.talk.now += detail
            case "speak":
                self.speak(detail)
            case "interrupt":
                self.interrupt()
            case "send":
                self.send(detail)
            case "hear":
                self.hear(self.talk.hear(detail, round_trip_secs=0.1))
            case "answer":
                self.answer(refuses=detail)
            case "measure":
                self.talk.conversation.measured(detail)
            case _:
                if self.talk.conversation.deadline is not None:
                    self.hear([self.talk.conversation.time_out()])
        self.check()

    def speak(self, samples: int) -> None:
        if not self.talk.can_speak:
            with pytest.raises(RuntimeError):
                self.talk.speak(samples)
            return
        assert self.established
        assert not self.lost
        assert not self.interrupts
        assert not self.interrupting
        self.talk.speak(samples)
        self.unanswered.append((samples, self.talk.now))

    def interrupt(self) -> None:
        told = self.talk.conversation.interrupt(self.talk.now)
        assert told is (self.established and not self.lost)
        if told:
            self.interrupting = True
            self.unanswered.clear()

    def answer(self, *, refuses: bool) -> None:
        """What a server says that answers in order, if too soon."""
        if self.interrupts:
            said = INTERRUPTED
        elif self.unanswered:
            said = error("The moon is full") if refuses else confirmed(self.unanswered[0][0])
        else:
            return
        self.hear(self.talk.hear(said, round_trip_secs=0.1))

    def send(self, most: int | None) -> None:
        before = len(self.talk.sent)
        sent = self.talk.send(most)
        assert len(sent) <= self.talk.max_unconfirmed
        assert not (sent and self.lost)
        for number, message in enumerate(sent, start=before):
            assert (message == "session.init") is (number == 0)
            if message == "agent.interrupt":
                assert self.interrupting
                self.interrupting = False
                self.interrupts += 1
            elif message == "agent.speak":
                assert self.established
                assert not self.interrupting
                assert not self.interrupts

    def hear(self, told: list[ConnectionEvent | Loss]) -> None:
        for event in told:
            assert not self.lost, "something is told after the end"
            match event:
                case Established():
                    assert len(self.talk.sent) == 1
                    assert not self.established
                    self.established = True
                case SpeechConfirmed():
                    when = self.talk.now - event.took_secs
                    found = [s for s in self.unanswered if s[0] == event.samples]
                    found = [s for s in found if s[1] == pytest.approx(when)]
                    assert found, "credited to what does not wait, or was interrupted"
                    self.unanswered.remove(found[0])
                    assert when <= event.at <= self.talk.now
                    self.refused = 0
                case ErrorReported(speech_rejected=True):
                    self.unanswered.pop(0)
                    self.refused += 1
                case PlaybackStopped():
                    assert self.interrupts
                    self.interrupts -= 1
                case Loss():
                    self.lost = True
                    assert event.reason
                    assert (self.refused == 3) is (event.kind is LossKind.SPEECH_REFUSED)
                    assert event.reason.isprintable()
                case _:
                    pass

    def check(self) -> None:
        conversation = self.talk.conversation
        assert conversation.established is (self.established and not self.lost)
        assert len(self.unanswered) <= self.talk.max_unconfirmed
        assert len(conversation.ambiguous_sizes(self.talk.now)) < 100
        assert conversation.confirm_secs >= 0
        if not self.lost and (self.unanswered or self.interrupts or self.interrupting):
            assert conversation.deadline is not None
            for _, said_at in self.unanswered:
                assert conversation.deadline <= said_at + CONFIRM_TIMEOUT_SECS
        elif self.established:
            assert conversation.deadline is None
            assert conversation.can_speak or self.lost or self.talk.conversation._outbox


@settings(max_examples=400, deadline=None)
@given(
    max_unconfirmed=st.integers(1, 3),
    comes_up=st.booleans(),
    steps=many(STEPS) | many(RARE_STEPS),
)
def test_whatever_is_said_and_heard_the_rules_hold(max_unconfirmed, comes_up, steps):
    model = Model(max_unconfirmed)
    if comes_up:
        model.step("send", None)
        model.step("hear", ESTABLISHED)
    for kind, detail in steps:
        model.step(kind, detail)
    if model.lost:
        assert model.talk.is_over


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32), max_unconfirmed=st.integers(1, 3))
def test_an_answer_however_late_is_credited_to_what_it_answers_or_to_nothing(seed, max_unconfirmed):
    """Each message has a size of its own here, and is answered once, twice, late or never."""
    random, sizes = Random(seed), itertools.count(1)
    talk = Talk.established(max_unconfirmed=max_unconfirmed)
    under_way: list[tuple[str, int]] = []  # answers, and how often they come
    live: set[int] = set()

    def answer(said: str, times: int) -> None:
        for _ in range(times):
            for event in talk.hear(said):
                if isinstance(event, SpeechConfirmed):
                    assert said == confirmed(event.samples)
                    live.remove(event.samples)

    for _ in range(100):
        talk.now += random.choice([0.0, 0.01, 0.1])
        act = random.choice(["speak", "speak", "answer", "answer", "answer", "interrupt"])
        if act == "speak" and talk.can_speak:
            samples = next(sizes)
            talk.say(samples)
            live.add(samples)
            under_way.append((confirmed(samples), random.choice([0, 1, 1, 1, 2])))
        elif act == "interrupt" and random.random() < 0.3:
            talk.interrupt()
            live.clear()
            under_way.append((INTERRUPTED, 1))
        elif act == "answer" and under_way:
            answer(*under_way.pop(random.randrange(len(under_way))))
    for said, times in under_way:
        answer(said, times)


def test_the_rules_need_neither_a_socket_nor_an_event_loop():
    code = (
        "import sys, pipecat_agenthuman.client.conversation;"
        "print(sorted({'asyncio', 'websockets', 'aiohttp', 'pipecat'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
