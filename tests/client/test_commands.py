"""Which command does an answer belong to, and when is it to be expected?"""

from __future__ import annotations

import itertools
import math
from collections import deque
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipecat_agenthuman.client.commands import AnswerTime, Command, CommandKind, CommandLedger
from pipecat_agenthuman.playout.pacing import distinct_size
from pipecat_agenthuman.wire.protocol import ServerError, classify_error

TIMEOUT_SECS = 5.0


def ledger_of(max_unconfirmed: int = 1) -> CommandLedger:
    return CommandLedger(max_unconfirmed=max_unconfirmed, confirm_timeout_secs=TIMEOUT_SECS)


@pytest.fixture
def ledger() -> CommandLedger:
    return ledger_of()


def error(text: str) -> ServerError:
    return ServerError(text, classify_error(text))


def samples_of(command: Command | None) -> int | None:
    return None if command is None else command.samples


# --- order ----------------------------------------------------------------------------------


def test_speech_waits_for_the_confirmation_before_it(ledger):
    assert ledger.can_speak
    ledger.speak(1000, 0.0)
    assert not ledger.can_speak
    command = ledger.confirm_speak(1000, 0.1)
    assert command is not None
    assert (command.kind, command.samples, command.sent_at) == (CommandKind.SPEAK, 1000, 0.0)
    assert ledger.can_speak


def test_as_much_speech_as_allowed_is_under_way():
    ledger = ledger_of(3)
    for samples in (1000, 1001, 1002):
        assert ledger.can_speak
        ledger.speak(samples, 0.0)
    assert not ledger.can_speak
    assert [samples_of(ledger.confirm_speak(n, 0.1)) for n in (1000, 1001, 1002)] == [
        *(1000, 1001, 1002)
    ]


def test_the_oldest_command_sets_the_deadline():
    ledger = ledger_of(2)
    assert ledger.deadline is None
    assert ledger.oldest is None
    ledger.speak(1000, 1.0)
    ledger.speak(1001, 2.0)
    assert ledger.deadline == 1.0 + TIMEOUT_SECS
    ledger.confirm_speak(1000, 2.5)
    assert ledger.deadline == 2.0 + TIMEOUT_SECS
    ledger.interrupt(3.0)
    assert ledger.deadline == 3.0 + TIMEOUT_SECS
    ledger.confirm_interrupt()
    assert ledger.deadline is None


def test_a_confirmation_of_nothing_matches_nothing(ledger):
    assert ledger.confirm_speak(1000, 0.0) is None
    assert ledger.confirm_speak(None, 0.0) is None
    assert ledger.confirm_interrupt() is None
    assert ledger.can_speak


# --- interruption ---------------------------------------------------------------------------


def test_no_speech_leaves_before_the_interrupt_is_confirmed(ledger):
    ledger.interrupt(0.0)
    assert not ledger.can_speak
    assert ledger.confirm_interrupt() is not None
    assert ledger.can_speak


def test_every_one_of_two_interrupts_is_waited_for(ledger):
    ledger.interrupt(0.0)
    ledger.interrupt(0.1)
    first = ledger.confirm_interrupt()
    assert first is not None
    assert first.sent_at == 0.0
    assert not ledger.can_speak
    assert ledger.confirm_interrupt() is not None
    assert ledger.can_speak


def test_a_confirmation_of_interrupted_speech_matches_nothing_before_the_interrupt_is_confirmed(
    ledger,
):
    ledger.speak(1000, 0.0)
    ledger.interrupt(0.1)
    assert ledger.confirm_speak(1000, 0.2) is None
    assert not ledger.can_speak
    assert ledger.confirm_interrupt() is not None


@pytest.mark.parametrize("late_secs", [0.2, 4.0, 30.0])
def test_a_late_confirmation_of_interrupted_speech_is_not_credited_to_the_next(ledger, late_secs):
    ledger.speak(1000, 0.0)
    ledger.interrupt(0.1)
    ledger.confirm_interrupt()
    assert 1000 in ledger.ambiguous_sizes(late_secs)
    ledger.speak(999, late_secs)
    assert ledger.confirm_speak(1000, late_secs + 0.1) is None
    assert samples_of(ledger.confirm_speak(999, late_secs + 0.2)) == 999


def test_what_is_overtaken_is_counted_until_it_is_answered(ledger):
    ledger.speak(1000, 0.0)
    assert ledger.overtaken == 0
    ledger.interrupt(0.1)
    assert ledger.overtaken == 1
    ledger.confirm_speak(1000, 0.2)
    assert ledger.overtaken == 0


def test_a_late_confirmation_that_comes_twice_is_not_credited_to_the_next(ledger):
    ledger.speak(1000, 0.0)
    ledger.interrupt(0.1)
    ledger.confirm_interrupt()
    ledger.speak(999, 0.2)
    assert ledger.confirm_speak(1000, 0.3) is None
    assert ledger.confirm_speak(1000, 0.3) is None
    assert samples_of(ledger.confirm_speak(999, 0.4)) == 999


def test_a_size_that_could_not_be_avoided_is_first_credited_to_what_still_waits(ledger):
    """A single sample that is left over can have no other size."""
    ledger.speak(1, 0.0)
    ledger.interrupt(0.1)
    ledger.confirm_interrupt()
    ledger.speak(1, 0.2)
    assert ledger.confirm_speak(1, 0.3) is None
    assert samples_of(ledger.confirm_speak(1, 0.4)) == 1


def test_a_confirmation_that_interrupted_speech_never_gets_is_not_missed(ledger):
    ledger.speak(1000, 0.0)
    ledger.interrupt(0.1)
    ledger.confirm_interrupt()
    ledger.speak(999, 0.2)
    assert samples_of(ledger.confirm_speak(999, 0.3)) == 999
    assert ledger.deadline is None


# --- counts ---------------------------------------------------------------------------------


def test_a_confirmation_that_comes_twice_is_not_credited_to_the_next(ledger):
    ledger.speak(1000, 0.0)
    ledger.confirm_speak(1000, 0.1)
    ledger.speak(999, 0.1)
    assert ledger.confirm_speak(1000, 0.2) is None
    assert samples_of(ledger.confirm_speak(999, 0.3)) == 999


def test_a_confirmation_of_the_same_number_much_later_is_no_repetition(ledger):
    ledger.speak(1000, 0.0)
    ledger.confirm_speak(1000, 0.1)
    ledger.speak(1000, 9.0)
    assert samples_of(ledger.confirm_speak(1000, 9.1)) == 1000


def test_the_sizes_of_what_can_still_be_answered_are_ambiguous():
    ledger = ledger_of(3)
    assert ledger.ambiguous_sizes(0.0) == set()
    ledger.speak(1000, 0.0)
    ledger.interrupt(0.1)
    assert ledger.ambiguous_sizes(0.1) == {1000}
    ledger.confirm_interrupt()
    ledger.speak(1001, 0.2)
    assert ledger.ambiguous_sizes(0.2) == {1000, 1001}
    ledger.confirm_speak(1001, 0.3)
    assert ledger.ambiguous_sizes(0.3) == {1000}
    assert ledger.ambiguous_sizes(59.0) == {1000}
    assert ledger.ambiguous_sizes(99.0) == set()


def test_a_size_is_free_again_when_the_answer_to_interrupted_speech_came_and_comes_no_more():
    """Else the same short word would go in two messages for a minute, with a gap between."""
    ledger = ledger_of()
    ledger.speak(1000, 0.0)
    ledger.interrupt(0.1)
    ledger.confirm_speak(1000, 0.2)
    ledger.confirm_interrupt()
    assert ledger.ambiguous_sizes(1.9) == {1000}
    assert ledger.ambiguous_sizes(2.3) == set()
    ledger.speak(1000, 2.3)
    assert samples_of(ledger.confirm_speak(1000, 2.4)) == 1000


def test_an_answer_that_comes_once_more_may_come_once_more_again():
    ledger = ledger_of()
    ledger.speak(1000, 0.0)
    ledger.interrupt(0.1)
    ledger.confirm_speak(1000, 0.2)
    ledger.confirm_interrupt()
    ledger.confirm_speak(1000, 1.9)
    assert ledger.ambiguous_sizes(3.8) == {1000}
    assert ledger.ambiguous_sizes(4.0) == set()


def test_what_is_never_answered_is_forgotten(ledger):
    for number in range(1000):
        ledger.speak(1000 + number, number / 10)
        ledger.interrupt(number / 10)
        ledger.confirm_interrupt()
    assert len(ledger.ambiguous_sizes(100.0)) < 100
    assert ledger.ambiguous_sizes(1000.0) == set()


@pytest.mark.parametrize("counted", [None, 0, 1, 500, 10**6])
def test_a_server_that_counts_otherwise_or_not_at_all_is_understood_by_the_order(counted):
    ledger = ledger_of(2)
    for number in range(20):
        ledger.speak(1000 - number % 2, number)
        ledger.speak(2000 - number % 2, number)
        assert samples_of(ledger.confirm_speak(counted, number)) == 1000 - number % 2
        assert samples_of(ledger.confirm_speak(counted, number)) == 2000 - number % 2
        ledger.interrupt(number)
        ledger.confirm_interrupt()


@pytest.mark.parametrize("off_by", [-1, 1])
def test_a_server_that_is_off_by_one_is_understood(ledger, off_by):
    """Its count of one message can be our size of the message before."""
    for number in range(20):
        samples = 1000 - number % 2
        ledger.speak(samples, number / 10)
        assert samples_of(ledger.confirm_speak(samples + off_by, number / 10)) == samples


def test_a_server_that_counts_in_blocks_is_understood(ledger):
    ledger.speak(777, 0.0)
    assert samples_of(ledger.confirm_speak(1024, 0.0)) == 777
    for number in range(1, 20):
        samples = 1024 - number % 4
        ledger.speak(samples, number / 10)
        assert samples_of(ledger.confirm_speak(1024, number / 10)) == samples


@pytest.mark.parametrize("counted", [None, 123])
def test_speech_after_an_interruption_is_confirmed_although_the_count_does_not_tell(
    ledger, counted
):
    """The server dropped the answer to the interrupted speech: the order tells."""
    ledger.speak(1000, 0.0)
    ledger.interrupt(0.1)
    ledger.confirm_interrupt()
    ledger.speak(999, 0.2)
    assert samples_of(ledger.confirm_speak(counted, 0.3)) == 999


@pytest.mark.parametrize("counted", [None, 123])
def test_interrupted_speech_is_answered_before_its_interrupt_although_the_count_does_not_tell(
    ledger, counted
):
    ledger.speak(1000, 0.0)
    ledger.interrupt(0.1)
    assert ledger.confirm_speak(counted, 0.2) is None
    ledger.confirm_interrupt()
    ledger.speak(999, 0.3)
    assert samples_of(ledger.confirm_speak(999, 0.4)) == 999


# --- errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["Failed to process audio: bad", "No audio data provided", "Invalid JSON format", "Whatever"],
)
def test_an_error_rejects_the_oldest_speech(text):
    ledger = ledger_of(2)
    ledger.speak(1000, 0.0)
    ledger.speak(1001, 0.0)
    assert samples_of(ledger.reject(error(text), 0.1)) == 1000
    assert samples_of(ledger.confirm_speak(1001, 0.2)) == 1001


def test_an_error_about_audio_does_not_answer_an_interrupt(ledger):
    ledger.interrupt(0.0)
    assert ledger.reject(error("Failed to process audio: bad"), 0.1) is None
    assert not ledger.can_speak


def test_an_error_about_audio_answers_interrupted_speech_before_its_interrupt(ledger):
    ledger.speak(1000, 0.0)
    ledger.interrupt(0.1)
    assert ledger.reject(error("Failed to process audio: bad"), 0.2) is None
    ledger.confirm_interrupt()
    ledger.speak(999, 0.3)
    assert samples_of(ledger.reject(error("Failed to process audio: bad"), 0.4)) == 999


def test_an_unknown_error_answers_an_interrupt_that_waits(ledger):
    ledger.interrupt(0.0)
    command = ledger.reject(error("Whatever"), 0.1)
    assert command is not None
    assert command.kind is CommandKind.INTERRUPT
    assert ledger.can_speak


@pytest.mark.parametrize("kind", list(CommandKind))
def test_an_unknown_message_type_names_its_command(kind):
    ledger = ledger_of(2)
    ledger.speak(1000, 0.0)
    ledger.interrupt(0.1)
    ledger.confirm_interrupt()
    ledger.speak(999, 0.2)
    if kind is CommandKind.INTERRUPT:
        ledger.interrupt(0.3)
    command = ledger.reject(error(f"Unknown message type: {kind}"), 0.4)
    assert command is not None
    assert command.kind is kind


@pytest.mark.parametrize("text", ["Session not found", "Missing session id"])
def test_an_error_about_the_session_answers_no_command(ledger, text):
    ledger.speak(1000, 0.0)
    assert ledger.reject(error(text), 0.1) is None
    assert not ledger.can_speak


def test_an_error_without_a_command_answers_nothing(ledger):
    assert ledger.reject(error("Whatever"), 0.0) is None
    assert ledger.reject(error("No audio data provided"), 0.0) is None
    assert ledger.reject(error("Unknown message type: agent.speak"), 0.0) is None


def test_rejected_speech_that_is_confirmed_all_the_same_confirms_no_other(ledger):
    ledger.speak(1000, 0.0)
    ledger.reject(error("Failed to process audio: bad"), 0.1)
    assert 1000 in ledger.ambiguous_sizes(0.2)
    ledger.speak(999, 0.2)
    assert ledger.confirm_speak(1000, 0.3) is None
    assert samples_of(ledger.confirm_speak(999, 0.4)) == 999


# --- against a server -----------------------------------------------------------------------


FATES = [0.0, 0.3, 3.0, 20.0, math.inf]
"""How much later an answer comes to speech that an interrupt overtook."""


@dataclass
class Server:
    """Answers in order; what an interrupt overtook may be answered late, twice or never."""

    random: Random
    answers: list[tuple[float, str, int]] = field(default_factory=list)  # when, kind, number
    latest: float = 0.0

    def take(self, kind: str, number: int, now: float) -> None:
        self.latest = max(self.latest, now + self.random.choice([0.0, 0.01, 0.1, 0.4]))
        when = self.latest
        self.answers.append((when, kind, number))
        if self.random.random() < 0.2:
            self.answers.append((when, kind, number))  # once more

    def interrupt(self, number: int, now: float) -> None:
        """The answers to what it overtakes: as they are, dropped, or late by themselves."""
        fates = {overtaken: self.random.choice(FATES) for _, _, overtaken in self.answers}
        overtaken = self.answers
        self.answers = [
            answer for answer in overtaken if answer[1] == "interrupt" or not fates[answer[2]]
        ]
        self.take("interrupt", number, now)
        for when, kind, number in overtaken:
            late_secs = fates[number]
            if kind == "speak" and late_secs:
                self.answers.append((when + late_secs, kind, number))

    def due(self, now: float) -> list[tuple[str, int]]:
        due = sorted((answer for answer in self.answers if answer[0] <= now), key=lambda a: a[0])
        self.answers = [answer for answer in self.answers if answer[0] > now]
        return [(kind, number) for _, kind, number in due]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    max_unconfirmed=st.integers(1, 3),
    sizes=st.lists(st.sampled_from([320, 320, 1600, 8000, 16_000]), min_size=1, max_size=4),
    hurry=st.sampled_from([0.0, 0.05, 0.3]),
)
def test_a_confirmation_is_never_credited_to_other_speech(seed, max_unconfirmed, sizes, hurry):
    """Promise 4: each message has one number here, of which the ledger knows nothing."""
    random = Random(seed)
    server, ledger = Server(random), ledger_of(max_unconfirmed)
    numbers, wanted = itertools.count(), itertools.cycle(sizes)
    size_of: dict[int, int] = {}
    live: dict[float, int] = {}  # by the moment of sending: what was sent and not answered
    recent: deque[int] = deque(maxlen=4)  # as a playout avoids them, too
    now = 0.0
    for _ in range(150):
        now += random.choice([0.001, 0.02, hurry])
        if random.random() < 0.1:
            ledger.interrupt(now)
            live.clear()
            server.interrupt(next(numbers), now)
        for kind, number in [*server.due(now), ("nothing", -1)]:
            now += 1e-6  # what happens between two answers has a moment of its own
            if kind == "interrupt":
                ledger.confirm_interrupt()
            elif kind == "speak":
                command = ledger.confirm_speak(size_of[number], now)
                assert command is None or live.pop(command.sent_at) == number
            if ledger.can_speak:  # even between an answer and its repetition
                number = next(numbers)
                avoid = {*ledger.ambiguous_sizes(now), *recent}
                size = distinct_size(next(wanted), avoid, is_rest=random.random() < 0.3)
                recent.append(size)
                ledger.speak(size, now)
                size_of[number], live[now] = size, number
                server.take("speak", number, now)
    # What is live and was answered was credited; nobody waits for an answer that came.
    while any(when < math.inf for when, _, _ in server.answers):
        now += 0.05
        for kind, number in server.due(now):
            if kind == "interrupt":
                ledger.confirm_interrupt()
            else:
                command = ledger.confirm_speak(size_of[number], now)
                assert command is None or live.pop(command.sent_at) == number
    assert not live
    assert ledger.can_speak
    assert ledger.deadline is None


def test_speech_that_never_left_before_an_interrupt_is_not_waited_for():
    ledger = ledger_of(max_unconfirmed=2)
    ledger.speak(160, 0.0)
    ledger.speak(320, 0.1)
    ledger.interrupt(0.2, unsent=1)
    assert 320 not in ledger.ambiguous_sizes(0.2)
    assert 160 in ledger.ambiguous_sizes(0.2)
    assert ledger.confirm_interrupt() is not None
    ledger.speak(320, 0.3)
    confirmed = ledger.confirm_speak(320, 0.4)
    assert confirmed is not None
    assert confirmed.sent_at == 0.3


def test_an_interrupt_that_never_left_is_not_confirmed(ledger):
    ledger.interrupt(0.0)
    assert ledger.confirm_interrupt(unsent=1) is None
    ledger.interrupt(0.1)
    confirmed = ledger.confirm_interrupt(unsent=1)
    assert confirmed is not None
    assert confirmed.sent_at == 0.0
    assert not ledger.can_speak


# --- the time of an answer ------------------------------------------------------------------


def test_the_answer_time_follows_what_is_measured():
    answers = AnswerTime()
    assert answers.expected_secs == 0.0
    answers.observe(0.3)
    assert answers.expected_secs == 0.3
    for _ in range(60):
        answers.observe(0.1)
    assert answers.expected_secs == pytest.approx(0.1, abs=0.01)
    for took_secs in [0.05, 0.15] * 30:
        answers.observe(took_secs)
    assert 0.13 < answers.expected_secs < 0.17  # the spread counts


def test_before_there_is_a_measurement_something_similar_counts():
    answers = AnswerTime()
    answers.guess(0.4)
    assert answers.expected_secs == 0.4
    answers.observe(0.1)
    assert answers.expected_secs == 0.1
