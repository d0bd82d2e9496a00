"""Hundreds of utterances in a call: the memory stays flat and the books balance.

Two soaks: two thousand utterances in virtual time through the playout and the ledger of
commands, and hundreds of short ones through whole pipelines. ``AGENTHUMAN_SOAK`` multiplies both,
for one ``AGENTHUMAN_SOAK=20 uv run pytest tests/calls/test_soak.py``.
"""

import asyncio
import gc
import os
import random
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from pipecat.frames.frames import TTSStartedFrame, TTSStoppedFrame, TTSTextFrame

from pipecat_agenthuman import RenewalPolicy
from pipecat_agenthuman.client.commands import CommandKind, CommandLedger
from pipecat_agenthuman.pipeline.frame_traits import speech_frame
from pipecat_agenthuman.playout.cues import Release, Started, Stopped
from pipecat_agenthuman.playout.pacing import Pace
from pipecat_agenthuman.playout.playout import Playout
from pipecat_agenthuman.sandbox import Sandbox
from pipecat_agenthuman.wire.protocol import ServerError, classify_error
from tests.support import virtual_time
from tests.support.calls import Call, calling
from tests.support.inside import (
    avatar_is_idle,
    background_tasks,
    playout_of,
    transport_is_busy,
    untold_events,
)
from tests.support.sounds import RATE
from tests.support.virtual_playout import poll
from tests.support.waiting import quiet_log, undisturbed, until

LONGER = int(os.environ.get("AGENTHUMAN_SOAK", "1"))

MAY_GROW = 25
"""Objects, over hundreds of utterances: one that is kept of every tenth is found. As many
commands as that may be waiting for their answers."""

# --- in virtual time -------------------------------------------------------------------


@dataclass
class Books:
    """Samples, by what became of them."""

    written: int = 0
    heard: int = 0
    dropped: int = 0
    rejected: int = 0
    recalled: int = 0
    starts: int = 0
    stops: int = 0
    held: int = 0
    released: int = 0
    lost_items: int = 0


@dataclass
class VirtualCall:
    """A playout and a ledger, with a server that answers at random times or not at all."""

    chance: random.Random
    rejections: bool = True
    now: float = 0.0
    playout: Playout[str] = field(
        default_factory=lambda: Playout(Pace(avatar_latency_secs=0.05, max_message_secs=0.3))
    )
    ledger: CommandLedger = field(
        default_factory=lambda: CommandLedger(max_unconfirmed=1, confirm_timeout_secs=5.0)
    )
    answers: list[tuple[float, str, int]] = field(default_factory=list)
    books: Books = field(default_factory=Books)

    def speak(self) -> None:
        """One utterance, with an item behind every piece."""
        self.playout.open_utterance()
        for _ in range(self.chance.randint(1, 4)):
            samples = self.chance.randint(1, 3200)
            self.playout.write(bytes(2 * samples), self.now)
            self.playout.hold("word")
            self.books.written += samples
            self.books.held += 1
            self.advance(self.chance.random() * 0.1)
        self.playout.close_utterance()

    def advance(self, secs: float) -> None:
        """Let time pass in small steps."""
        until_at = self.now + secs
        while self.now < until_at:
            self.now = min(self.now + 0.02, until_at)
            self.read_answers()
            self.send()
            self.deliver()

    def send(self) -> None:
        while self.ledger.can_speak:
            message = self.playout.outgoing.take_message(
                self.now, avoid=self.ledger.ambiguous_sizes(self.now)
            )
            if message is None:
                return
            self.ledger.speak(message.samples, self.now)
            fate = self.chance.choices(["confirm", "twice", "reject"], self.fates())[0]
            at = self.now + self.chance.random() * 0.08
            self.answers.append((at, fate, message.samples))
            if fate == "twice":
                self.answers.append((at + 0.01, "confirm", message.samples))

    def fates(self) -> list[int]:
        return [90, 5, 5 if self.rejections else 0]

    def read_answers(self) -> None:
        due = [answer for answer in self.answers if answer[0] <= self.now]
        self.answers = [answer for answer in self.answers if answer[0] > self.now]
        for at, fate, samples in sorted(due):
            if fate == "interrupted":
                self.ledger.confirm_interrupt()
            elif fate == "reject":
                self.reject()
            elif self.ledger.confirm_speak(samples, self.now) is not None:
                self.playout.outgoing.confirmed(at)

    def reject(self) -> None:
        text = "Failed to process audio: no"
        command = self.ledger.reject(ServerError(text, classify_error(text)), self.now)
        if command is not None and command.kind is CommandKind.SPEAK:
            self.books.rejected += self.playout.outgoing.rejected(self.now)

    def deliver(self) -> None:
        while (cue := poll(self.playout, self.now)) is not None:
            self.books.starts += isinstance(cue, Started)
            self.books.stops += isinstance(cue, Stopped)
            self.books.released += isinstance(cue, Release)
        self.books.heard += len(self.playout.take_heard(self.now)) // 2

    def interrupt(self) -> None:
        before = self.playout.held_items
        interruption = self.playout.interrupt(self.now)
        self.books.heard += len(interruption.heard) // 2
        self.books.dropped += interruption.dropped_samples
        self.books.stops += interruption.stopped
        self.books.lost_items += before - self.playout.held_items
        if interruption.send_interrupt:
            self.ledger.interrupt(self.now)
            self.answers.append((self.now + self.chance.random() * 0.05, "interrupted", 0))

    def lose(self) -> None:
        self.books.heard += len(self.playout.take_heard(self.now)) // 2
        self.books.recalled += self.playout.outgoing.recall(self.now)
        self.answers.clear()
        self.ledger = CommandLedger(max_unconfirmed=1, confirm_timeout_secs=5.0)


def remembered() -> Counter[str]:
    """How many objects of this package there are, by type; the sandbox's do not count."""
    gc.collect()
    kinds = Counter(map(type, gc.get_objects()))
    # Of some classes of other packages, the module is no text.
    named = {f"{kind.__module__}.{kind.__qualname__}": count for kind, count in kinds.items()}
    ours = {
        name: count
        for name, count in named.items()
        if name.startswith("pipecat_agenthuman.") and ".sandbox." not in name
    }
    return Counter(ours)


@pytest.mark.parametrize("rejections", [True, False])
@pytest.mark.parametrize("seed", range(2))
def test_many_utterances_in_virtual_time(seed: int, rejections: bool):
    call = VirtualCall(random.Random(seed), rejections=rejections)
    early: Counter[str] = Counter()
    for number in range(500 * LONGER):
        call.speak()
        act = call.chance.choices(["nothing", "pause", "interrupt", "lose"], [50, 30, 15, 5])[0]
        if act == "pause":
            call.advance(call.chance.random() * 2)
        elif act == "interrupt":
            call.interrupt()
        elif act == "lose":
            call.lose()
        if number % 100 == 99:
            call.advance(30.0)
            assert call.playout.finished(call.now)
            assert not call.playout.speaking
            early = early or remembered()
    books = call.books
    accounted = books.heard + books.dropped + books.rejected
    assert accounted == books.written
    assert books.held == books.released + books.lost_items
    assert books.starts == books.stops
    assert min(books.heard, books.dropped, books.recalled) > 1000
    assert bool(books.rejected) is rejections
    grown = remembered() - early
    assert grown.total() < MAY_GROW, grown


# --- whole calls -----------------------------------------------------------------------

UTTERANCES = 250 * LONGER
CALLS = 2
UTTERANCES_IN_REAL_TIME = 60
CALLS_IN_REAL_TIME = 2

TIRELESS = RenewalPolicy(
    max_short_sessions=100_000, max_total_secs=100_000, first_pause_secs=0.01, max_pause_secs=0.05
)
"""The sessions of this call die within seconds, again and again."""


@dataclass
class Heard:
    """What came by in a call, kept while its recorders are emptied again and again.

    Attributes:
        early: What was remembered early in the call.
        above: Beginnings and ends of speech that went up, whoever spoke.
        avatar: Those of the avatar.
    """

    early: Counter[str] = field(default_factory=Counter)
    above: list[str] = field(default_factory=list)
    avatar: list[str] = field(default_factory=list)

    def empty(self, call: Call) -> None:
        """Take note of what the recorders saw, and empty them."""
        self.above += call.speaking(call.above, upstream=True)
        self.avatar += call.speaking(call.between, upstream=False)
        for recorder in call.recorders:
            recorder.sightings.clear()

    @property
    def paired(self) -> bool:
        """Whether the avatar's beginnings and ends alternate."""
        return self.avatar == ["start", "stop"] * (len(self.avatar) // 2)

    @property
    def overlaps(self) -> int:
        """How often one began while the other spoke."""
        return sum(two == ("start", "start") for two in pairwise(self.above))


async def converse(call: Call, sandbox: Sandbox, chance: random.Random, utterances: int) -> Heard:
    """Say many short things, with interruptions and losses."""
    heard = Heard()
    for number in range(utterances):
        interruptible = chance.random() < 0.9
        await call.feed(TTSStartedFrame())
        for _ in range(chance.randint(1, 3)):
            audio = np.ones(chance.randint(160, 640), dtype="<i2").tobytes()
            await call.feed(speech_frame(audio, RATE, interruptible=interruptible))
        await call.feed(TTSTextFrame("word", "sentence"), TTSStoppedFrame())
        await asyncio.sleep(chance.random() * 0.12)
        act = chance.choices(["nothing", "interrupt", "lose", "noise"], [75, 15, 5, 5])[0]
        if act == "interrupt":
            await call.interrupt()
        elif act == "noise":
            await _ignore(sandbox.send("noise"))
        elif act == "lose":
            await _ignore(sandbox.drop(abort=chance.random() < 0.5))
        heard.empty(call)
        if number == utterances // 3:
            heard.early = remembered()
    return heard


async def _ignore(work: object) -> None:
    """Do something to a socket, if there is one just now."""
    try:
        await work  # type: ignore[misc]
    except LookupError:
        return


def nobody_speaks(call: Call) -> bool:
    return avatar_is_idle(call.avatar) and not transport_is_busy(call.avatar)


async def one_call(seed: int, utterances: int) -> tuple[Call, Heard]:
    latency_secs = 0.01
    async with Sandbox(render_latency_secs=latency_secs, max_sessions=3) as sandbox:
        settings = {"avatar_latency_secs": latency_secs}
        async with calling(sandbox, settings=settings, renewal=TIRELESS) as call:
            heard = await converse(call, sandbox, random.Random(seed), utterances)
            await until(lambda: nobody_speaks(call))
            await call.end()
        heard.empty(call)
        assert not sandbox.live_sessions
        assert sandbox.peak_live_sessions == 1
        assert all(record.end_requests for record in sandbox.sessions)
    return call, heard


def check(call: Call, heard: Heard, utterances: int) -> None:
    """Assert that a call came out even, and left nothing behind."""
    stats = call.avatar.stats
    accounted = stats.heard_secs + stats.dropped_secs + stats.rejected_secs + stats.fallback_secs
    assert accounted == pytest.approx(stats.taken_secs, abs=1e-6)
    assert stats.sent_secs <= stats.taken_secs + stats.repeated_secs + 1e-6
    assert stats.heard_secs > utterances / 250
    assert stats.losses > 0
    assert stats.renewals > 0
    assert stats.interruptions > 0
    assert heard.paired
    # Pipecat's transport may begin one more chunk right behind an interruption.
    assert heard.overlaps <= 3
    assert heard.above.count("start") == heard.above.count("stop")
    assert len(heard.above) > utterances / 4
    assert not untold_events(call.avatar)
    assert not background_tasks(call.avatar)
    playout = playout_of(call.avatar)
    assert playout.held_items == 0
    assert playout.outgoing.backlog_secs == 0


def complaints(lines: list[str]) -> list[str]:
    return [line for line in lines if "Traceback" in line or "internal_error" in line]


def test_many_utterances_in_whole_calls():
    before = remembered()
    with undisturbed(), quiet_log(level="ERROR") as lines:
        for seed in range(CALLS):
            call, heard = virtual_time.run(lambda s=seed: one_call(s, UTTERANCES), seed=seed)
            check(call, heard, UTTERANCES)
    assert complaints(lines) == []
    grown = remembered() - heard.early - before
    assert grown.total() < MAY_GROW, grown


async def test_some_of_them_through_real_sockets():
    with undisturbed(), quiet_log(level="ERROR") as lines:
        calls = await asyncio.gather(
            *(one_call(seed, UTTERANCES_IN_REAL_TIME) for seed in range(CALLS_IN_REAL_TIME))
        )
    assert complaints(lines) == []
    for call, heard in calls:
        check(call, heard, UTTERANCES_IN_REAL_TIME)
