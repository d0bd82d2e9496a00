"""Judges a call by what was heard and seen, and by nothing that the service says of itself.

Every judgement is a rule with a name. What it finds has a subject (a word, a frame, a time), so
that it can be compared with the same call of a transport that plays everything itself: what goes
wrong there, too, is Pipecat's own.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    HeartbeatFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)

from tests.support.fuzz import tones
from tests.support.fuzz.call import Call, MarkFrame, PasserFrame, Seen, UpFrame, play, speech
from tests.support.fuzz.script import (
    Break,
    End,
    Expire,
    Leave,
    Lose,
    Mark,
    Message,
    Say,
    Script,
    Sound,
    Step,
    Tone,
    Update,
)

# --- tolerances, in seconds --------------------------------------------------------------------

READING_SECS = 0.012
"""The tones are read in steps of 5 ms, and a clock of the avatar's may be off by as much."""

HIDDEN_SECS = 0.005
"""Of a word before a pause, too little for the tones to be read, but not for the service."""

TAIL_SECS = 0.06
"""From an interruption to silence, beside the network: a chunk of the transport is 40 ms."""

OVERLAP_SECS = 0.045
"""Two voices at a time for less than this is the end of a chunk."""

TEXT_SECS = 0.1
BOT_SECS = 0.1
LATE_SECS = 0.3
STOP_SECS = 0.25
NO_STOP_SECS = 3.0
"""Silence after which Pipecat takes an utterance without an end for over."""

HELD_SECS = 0.12
"""What a resampler holds of an utterance until its end, at 8 kHz (92 ms), and a little more."""

CRUMB_SECS = 0.12
"""Of a sound that does not fill the transport's chunk and resampler: it waits for more there."""

CRUMB_AT_8_KHZ_SECS = 0.24
"""The same where the resampler goes from 8 kHz, or to it."""

PASS_SECS = 0.005
LOSS_SECS = 0.06
"""What is lost, or heard twice, where another mouth takes over, beside the network."""

ANSWER_SECS = 6.0
"""How long nobody knows what a server that fell silent has taken: 5 s for an answer, and a bit."""

END_SECS = 17.0
"""From an ``EndFrame``, or from the last sound, to the end of the pipeline: draining, closing."""


@dataclass(frozen=True)
class Finding:
    """Something that should not be.

    Attributes:
        rule: Which rule it breaks.
        subject: What it is about; the same in the call of a transport.
        detail: For people.
        secs: By how much, if that can be told.
    """

    rule: str
    subject: str
    detail: str = ""
    secs: float = 0.0

    def __str__(self) -> str:
        return f"{self.rule}: {self.subject}: {self.detail}"


@dataclass(frozen=True)
class Heard:
    """A stretch of sound of one cell, and whose mouth it came from."""

    at: float
    until: float
    cell: tones.Cell
    by_avatar: bool


def judge(call: Call) -> list[Finding]:
    """Judge a call."""
    return _Judge(call).findings()


COMPARED = {
    "bot pairs", "bot early", "bot late", "bot silent", "speech unannounced", "frame order",
    "frame lost", "frame late", "frame early", "text lost", "text late", "context",
    "text after stop", "never ends", "ends late", "log", "heard missing", "heard order",
    "heard twice", "tail", "busy floor", "passer late", "heartbeat late", "text unheard",
    "text early", "crumb",
}  # fmt: skip
"""Rules that a transport can break, too, for the same subject."""

EXCUSED_SECS = 0.06
"""By how much more than the transport the avatar may break a rule that both break."""


def examine(script: Script) -> list[Finding]:
    """Play a script, and find what is not Pipecat's own."""
    found = judge(play(script))
    if any(finding.rule in COMPARED for finding in found):
        plain: dict[tuple[str, str], float] = {}
        for one in judge(play(script, plain=True)):
            key = (one.rule, one.subject)
            plain[key] = max(one.secs, plain.get(key, 0.0))

        def is_excused(finding: Finding) -> bool:
            worst = plain.get((finding.rule, finding.subject))
            return (
                finding.rule in COMPARED
                and worst is not None
                and finding.secs <= worst + EXCUSED_SECS
            )

        found = [finding for finding in found if not is_excused(finding)]
    return found


class _Judge:
    def __init__(self, call: Call) -> None:
        self.call, self.script, self.setup = call, call.script, call.script.setup
        self.steps = [step for step in call.script.steps if step in call.fed]
        self.says = [step for step in self.steps if isinstance(step, Say)]
        self.step_of_word: dict[int, Say | Sound] = {}
        for step in self.script.steps:
            if isinstance(step, Say):
                self.step_of_word |= {number: step for number, _ in step.words}
            elif isinstance(step, Sound):
                self.step_of_word[step.word[0]] = step
        self.found: list[Finding] = []

    def findings(self) -> list[Finding]:
        for rule in (
            self.end, self.leftovers, self.sound, self.cuts, self.one_voice, self.texts,
            self.context, self.bot, self.frames, self.passers, self.floor, self.calm,
        ):  # fmt: skip
            rule()
        return self.found

    def find(self, rule: str, subject: str, detail: str = "", secs: float = 0.0) -> None:
        self.found.append(Finding(rule, subject, detail, secs))

    def rel(self, at: float) -> str:
        return f"{at - self.call.begun_at:.3f}"

    # --- what is known of the call ---

    @cached_property
    def heard(self) -> list[Heard]:
        """All cells that were heard, in order of time."""
        both = [(sighted, True) for sighted in self.call.avatar]
        both += [(sighted, False) for sighted in self.call.transport]
        cells = [
            Heard(sighted.at, sighted.until, sighted.cell, by_avatar)
            for sighted, by_avatar in both
            if sighted.cell.word in self.step_of_word
        ]
        return sorted(cells, key=lambda one: (one.at, one.cell))

    @cached_property
    def heard_of(self) -> dict[Step, list[Heard]]:
        found: dict[Step, list[Heard]] = defaultdict(list)
        for one in self.heard:
            found[self.step_of_word[one.cell.word]].append(one)
        return found

    @cached_property
    def heard_word(self) -> dict[int, list[Heard]]:
        found: dict[int, list[Heard]] = defaultdict(list)
        for one in self.heard:
            found[one.cell.word].append(one)
        return found

    @cached_property
    def gate_of(self) -> dict[Step, list[Seen]]:
        """The frames of each step as they came to the service."""
        found: dict[Step, list[Seen]] = defaultdict(list)
        for seen in self.call.gate:
            step = seen.frame.metadata.get("step")
            if step is not None and not seen.up:
                found[step].append(seen)
        return found

    @cached_property
    def behind_at(self) -> dict[int, float]:
        """When each frame that went down was seen behind the transport."""
        return {seen.frame.id: seen.at for seen in self.call.behind if not seen.up}

    @cached_property
    def interruptions(self) -> list[float]:
        found = [seen.at for seen in self.call.gate if isinstance(seen.frame, InterruptionFrame)]
        return sorted(found)

    @cached_property
    def cancelled_at(self) -> float:
        for step in self.steps:
            if isinstance(step, End) and step.cancel:
                return self.call.fed[step]
        return math.inf

    @cached_property
    def end_at(self) -> float:
        for step in self.steps:
            if isinstance(step, End):
                seen = self.gate_of.get(step)
                return seen[0].at if seen else self.call.fed[step]
        return math.inf

    def cut_at(self, step: Step) -> float:
        """When an interruption, or the cancelling, cut what began before it; else never."""
        seen = self.gate_of.get(step)
        if not seen:
            return -math.inf
        first = seen[0].at
        if getattr(step, "kept", False):
            return self.cancelled_at
        later = [at for at in self.interruptions if at >= first - PASS_SECS]
        return min([*later, self.cancelled_at])

    @cached_property
    def faults(self) -> list[str]:
        """The kinds of faults that struck."""
        return [
            f"{entry['on']} {entry['kind']}"
            for entry in self.call.sandbox_log
            if entry["what"] == "fault"
        ]

    @cached_property
    def is_disturbed(self) -> bool:
        """Whether anything went wrong at the server, or the avatar was not there."""
        return bool(
            self.faults
            or any(isinstance(s, Lose | Expire | Leave | Break | Update) for s in self.steps)
            or self.setup.join_secs
        )

    @cached_property
    def losses(self) -> int:
        """How often another mouth may have had to take over."""
        some = sum(isinstance(step, Lose | Expire | Leave | Update) for step in self.steps)
        # To silence what follows uninterruptible speech, that is begun anew.
        some += len(self.interruptions) if any(say.kept for say in self.says) else 0
        return some + sum(not fault.endswith("delay") for fault in self.faults)

    @cached_property
    def is_deaf(self) -> bool:
        """Whether a server that did not listen any more was to stop the avatar."""
        return any(fault.endswith(("silent", "cut")) for fault in self.faults)

    @cached_property
    def may_miss(self) -> bool:
        """Whether speech may be lost without anybody's fault."""
        refused = any(fault == "agent.speak error" for fault in self.faults)
        dropped = self.setup.drop and self.is_disturbed
        return refused or self.left_unseen or dropped

    @cached_property
    def left_unseen(self) -> bool:
        """Whether the avatar left, and nobody told: then it seems to speak."""
        return not self.setup.announced and any(isinstance(s, Leave) for s in self.steps)

    @cached_property
    def slack_secs(self) -> float:
        return self.setup.round_trip_secs / 2

    @cached_property
    def delay_secs(self) -> float:
        """By how much a slow server may be late."""
        return sum(
            step.delay_secs
            for step in self.steps
            if isinstance(step, Break) and step.kind == "delay" and step.on != "ping"
        )

    @cached_property
    def _unknown_secs(self) -> float:
        """By how much less is known of when the other end sent what it sent.

        Half a round trip is a guess from pings. One that is not answered leaves nothing to guess
        from, and one that is answered late cannot be told from a slow network.
        """
        if not any("ping" in one for one in self.faults):
            return 0.0
        late = [one.delay_secs for one in self.steps if isinstance(one, Break) and one.on == "ping"]
        return self.slack_secs + max(late, default=0.0) / 2

    @cached_property
    def gone_at(self) -> list[float]:
        """When the avatar went, and with it all that it had yet to say."""
        begun_at = self.call.sandbox_started_at
        log = self.call.sandbox_log
        return [begun_at + one["at_secs"] for one in log if one["what"] == "avatar.left"]

    def is_news(self, at: float) -> bool:
        """Whether the avatar was silenced at a moment, and nobody could know that yet.

        Half a round trip long the avatar seems to speak, and a word that was to come then is
        told of. The clock may be off by as much as the tones are read.
        """
        return any(
            -READING_SECS <= at - gone <= self.slack_secs + READING_SECS for gone in self.gone_at
        )

    def onsets(self, number: int) -> list[float]:
        """When a word is heard to begin: mostly once.

        Twice if a few milliseconds of it stood before a pause, or before an interruption that
        was on its way to the avatar: then its text may come with one or the other.
        """
        cells = self.heard_word.get(number, [])
        if not cells:
            return []
        found = [cells[0].at]
        if (hidden := self._hidden_onset(number, cells[0])) is not None:
            found.insert(0, hidden)
        for one, next_one in pairwise(cells):
            is_crumb = one.until - cells[0].at < 2 * READING_SECS
            if next_one.at - one.until > TEXT_SECS and (is_crumb or self._on_its_way(one)):
                found.append(next_one.at)
        return found

    def _hidden_onset(self, number: int, first: Heard) -> float | None:
        """When a word began if that was too short to be read, and then there was a pause."""
        before = self.heard_word.get(number - 1, [])
        step = self.step_of_word[number]
        if not before or not isinstance(step, Say) or self.step_of_word[number - 1] is not step:
            return None
        begun = before[-1].at + tones.CELL_SECS
        if first.at - begun < TEXT_SECS:
            return None
        is_there = any(at < begun and until >= begun + HIDDEN_SECS for at, until in self.stretches)
        return begun if is_there else None

    @cached_property
    def stretches(self) -> list[tuple[float, float]]:
        """From when to when anything at all sounds."""
        both = [(pcm, 16_000) for pcm in self.call.avatar_pcm]
        both += [(pcm, self.setup.out_rate) for pcm in self.call.transport_pcm]
        return _merged([(at, at + len(samples) / rate) for (at, samples), rate in both])

    @property
    def tail_secs(self) -> float:
        """What is still heard of the avatar after an interruption."""
        return TAIL_SECS + READING_SECS + self.slack_secs + self.delay_secs + tones.CELL_SECS

    def is_doubtful(self, step: Step) -> bool:
        """Whether nothing tells whether an interruption was meant for it, too.

        It met it on its way; or nothing tells it from late frames of what was interrupted.
        """
        if not isinstance(step, Say) or not self.gate_of.get(step):
            return False
        first = self.gate_of[step][0].at
        return any(
            abs(at - first) < PASS_SECS or (at <= first and not step.started)
            for at in self.interruptions
        )

    def audio_at(self, say: Say) -> list[float]:
        return [s.at for s in self.gate_of[say] if isinstance(s.frame, TTSAudioRawFrame)]

    # --- the end ---

    def end(self) -> None:
        ended_at = self.call.ended_at
        if ended_at is None:
            self.find("never ends", "pipeline")
            return
        last = max([one.until for one in self.heard], default=0.0)
        busy = max([until for _, until in self.call.busy], default=0.0)
        asked_at = min(self.end_at, self.cancelled_at)
        limit = max(asked_at, last, busy) + END_SECS + self.delay_secs
        if ended_at > limit:
            self.find("ends late", "pipeline", f"{ended_at - limit + END_SECS:.1f} s")

    def leftovers(self) -> None:
        call = self.call
        for task in call.tasks:
            self.find("task left", task.split(":")[0], task)
        for complaint in call.complaints:
            self.find("log", complaint[:50], complaint[:300])
        if call.plain:
            return
        if call.most_sessions > 1:
            self.find("two sessions", str(call.most_sessions))
        for session in call.sessions:
            if session.status != "ended":
                self.find("session left", session.status, f"end requests: {session.end_requests}")
        stats = call.stats
        gone = stats.heard_secs + stats.dropped_secs + stats.rejected_secs + stats.fallback_secs
        allowed = 0.06 + HELD_SECS * len(self.interruptions)
        if abs(stats.taken_secs - gone) > allowed and call.ended_at is not None:
            self.find("books", "stats", f"taken {stats.taken_secs:.3f}, accounted {gone:.3f}")

    # --- the sound ---

    def sound(self) -> None:
        self._order()
        for step in self.steps:
            if not isinstance(step, Say | Sound):
                continue
            words = step.words if isinstance(step, Say) else (step.word,)
            heard = self.heard_of.get(step, [])
            self._twice(heard)
            if self.is_doubtful(step) or (self.may_miss and isinstance(step, Say)):
                continue
            if self.cut_at(step) == math.inf:
                self._missing(words, heard)

    @property
    def _most_cells(self) -> int:
        """How many cells a change of mouths may cost."""
        return math.ceil((LOSS_SECS + self.slack_secs) / tones.CELL_SECS)

    def _is_crumb(self, one: Heard) -> bool:
        """Whether it is the end of a sound, which a transport may keep for the next audio."""
        step = self.step_of_word[one.cell.word]
        if one.by_avatar or not isinstance(step, Sound):
            return False
        return one.cell.index >= step.word[1] - self._crumb_cells(step)

    def _crumb_cells(self, sound: Sound) -> int:
        is_slow = min(sound.rate, self.setup.out_rate) <= 8_000
        secs = CRUMB_AT_8_KHZ_SECS if is_slow else CRUMB_SECS
        return math.ceil(secs / tones.CELL_SECS)

    def _order(self) -> None:
        latest = tones.Cell(-1, 0)
        back = 0
        for one in self.heard:
            step = self.step_of_word[one.cell.word]
            if isinstance(step, Say) and one not in self._core(step, self.heard_of[step]):
                continue  # It waits for an end that is missing.
            if one.by_avatar and self._after_cut(one):
                continue  # The interruption was under way: the rule of tails judges it.
            if one.cell < latest and self._is_crumb(one):
                word = f"w{one.cell.word}"
                self.find("crumb", word, f"heard at {self.rel(one.at)}, after w{latest.word}")
                continue
            if one.cell < latest:
                back += 1
                allowed = self._most_cells * self.losses
                if back > allowed or one.cell.word < latest.word - 2:
                    self.find("heard order", f"w{one.cell.word}", f"{one} after w{latest.word}")
                    return
            latest = max(latest, one.cell)

    def _twice(self, heard: list[Heard]) -> None:
        secs: dict[tones.Cell, float] = defaultdict(float)
        for one in heard:
            secs[one.cell] += one.until - one.at
        twice = [cell for cell, total in secs.items() if total > 0.036]
        if len(twice) > self._most_cells * self.losses:
            self.find("heard twice", f"w{twice[0].word}", f"{len(twice)} cells, {twice[:4]}")

    def _missing(self, words: tuple[tuple[int, int], ...], heard: list[Heard]) -> None:
        there = {one.cell for one in heard}
        step = self.step_of_word[words[0][0]] if words else None
        by_transport = any(not one.by_avatar for one in heard)
        wanted = [tones.Cell(number, index) for number, cells in words for index in range(cells)]
        missing = [cell for cell in wanted if cell not in there]
        allowed = self._most_cells * self.losses
        if isinstance(step, Sound):
            allowed += self._crumb_cells(step)
        if by_transport and isinstance(step, Say):
            # Pipecat's transport throws away what it has not put together yet, also of the next
            # utterance, when one is over.
            allowed += math.ceil(HELD_SECS / tones.CELL_SECS)
        if len(missing) > allowed:
            self.find(
                "heard missing",
                f"w{missing[0].word}",
                f"{len(missing)} of {len(wanted)} cells, from {missing[0]}",
            )

    def cuts(self) -> None:
        """Nothing of what was interrupted is heard after it."""
        for step in self.steps:
            if not isinstance(step, Say | Sound):
                continue
            cut = self.cut_at(step)
            if cut == math.inf:
                continue
            if self.is_doubtful(step):
                continue
            for one in self.heard_of.get(step, []):
                tail = TAIL_SECS + READING_SECS
                tail += self.slack_secs + self.delay_secs if one.by_avatar else 0.0
                if one.by_avatar and (self.is_deaf or cut == self.cancelled_at):
                    continue
                if self._is_crumb(one):
                    continue
                if one.until > cut + tail + tones.CELL_SECS:
                    by = "avatar" if one.by_avatar else "transport"
                    self.find(
                        "tail",
                        f"w{one.cell.word}",
                        f"{by} {one.until - cut:.3f} s after the interruption at {self.rel(cut)}",
                    )
                    break

    def one_voice(self) -> None:
        """Never two voices, or a voice and a tone, at a time."""
        if self.call.plain:
            return
        if self.is_deaf:
            return  # An avatar that nobody can stop goes on for as long as it has speech.
        tones_at = [
            (at, until) for at, until in self.call.busy if (at, until) not in self.call.messages
        ]
        others = [
            (one.at, one.until)
            for one in self.heard
            if not one.by_avatar and not self._is_crumb(one)
        ]
        others += tones_at
        others = _merged(others)
        voice = _merged([(one.at, one.until) for one in self.heard if one.by_avatar])
        for begun, over in voice:
            for other_begun, other_over in others:
                both = min(over, other_over) - max(begun, other_begun)
                if both > OVERLAP_SECS + self.slack_secs + self.delay_secs:
                    at = max(begun, other_begun)
                    self.find("two voices", self.rel(at), f"for {both:.3f} s")
                    return

    # --- texts ---

    def texts(self) -> None:
        for say in self.says:
            if self.is_doubtful(say) or self.left_unseen:
                continue
            seen = [s for s in self.gate_of.get(say, []) if isinstance(s.frame, TTSTextFrame)]
            for text in seen:
                numbers = [int(word[1:]) for word in text.frame.text.split()]
                if say.texts.startswith("words"):
                    self._word(say, text, numbers[0])
                else:
                    self._sentence(say, text)

    def _word(self, say: Say, text: Seen, number: int) -> None:
        at = self.behind_at.get(text.frame.id)
        cells = self.heard_word.get(number, [])
        cut = self.cut_at(say)
        subject = f"w{number}"
        if at is None:
            if not cells:
                return
            length_secs = dict(say.words)[number] * tones.CELL_SECS
            if self.may_miss and cells[-1].until - cells[0].at < length_secs - HIDDEN_SECS:
                return  # A piece of it was refused, or never said.
            due = max(self.onsets(number)[-1], text.at)
            if due < min(cut, self.cancelled_at) - TEXT_SECS:
                self.find("text lost", subject, f"heard at {self.rel(due)}, cut {self.rel(cut)}")
            return
        if not cells:
            before = self.heard_word.get(number - 1, [])
            boundary = before and abs(before[-1].until - at) < TEXT_SECS
            lengths = dict(say.words)
            was_due = before[0].at + lengths.get(number - 1, 0) * tones.CELL_SECS if before else at
            is_news = self.is_news(at) or self.is_news(was_due)
            if not (boundary or is_news) and not (
                self.call.plain or (at > cut - TEXT_SECS > 0 and cut < math.inf)
            ):
                self.find("text unheard", subject, f"at {self.rel(at)}, and it was never said")
            return
        onsets = self.onsets(number)
        early = onsets[0] - at
        audio_at = self.audio_at(say)
        if not say.started and (not audio_at or text.at <= audio_at[0]):
            # It belongs to no utterance yet: then it waits for its own time.
            early = text.frame.metadata["due"] - at
        # It was told of at the very moment at which nobody went on.
        is_cut = say.kept and any(abs(cut - at) <= READING_SECS for cut in self.interruptions)
        if early > (-TEXT_SECS if self.call.plain else TEXT_SECS + self._unknown_secs) and not (
            is_cut or self.is_news(at)
        ):
            self.find("text early", subject, f"{early:.3f} s before its sound", early)
        if at > max(onsets[-1], text.at) + LATE_SECS:
            late = at - max(onsets[-1], text.at)
            self.find("text late", subject, f"{late:.3f} s, at {self.rel(at)}", late)

    def _sentence(self, say: Say, text: Seen) -> None:
        at = self.behind_at.get(text.frame.id)
        cut = self.cut_at(say)
        subject = text.frame.text.split()[0]
        if say.texts == "sentence first":
            # Without a start it may as well belong to refused speech before it.
            is_refused = self.may_miss and not (say.started and self.heard_of.get(say))
            if at is None and cut == math.inf and not (self.setup.drop or is_refused):
                self.find("text lost", subject, "no interruption, and it never came")
            return
        heard = self.heard_of.get(say, [])
        wanted = sum(cells for _, cells in say.words)
        may_lack = 1 if say.stopped else math.ceil(HELD_SECS / tones.CELL_SECS)
        whole = bool(heard) and len({one.cell for one in heard}) >= wanted - may_lack
        if at is None:
            is_over = bool(heard) and heard[-1].cell == tones.Cell(
                say.words[-1][0], say.words[-1][1] - 1
            )
            if (
                whole
                and is_over
                and max(heard[-1].until, text.at) < min(cut, self.cancelled_at) - TEXT_SECS
            ):
                self.find("text lost", subject, f"all was heard by {self.rel(heard[-1].until)}")
            return
        if not heard:
            if not self.call.plain:
                self.find("text unheard", subject, f"at {self.rel(at)}, and it was never said")
            return
        due = self._core(say, heard)[-1].until
        if self._is_held(say):
            due = at
        tolerance = self._unknown_secs + (HELD_SECS if say.rate <= 8_000 else TEXT_SECS)
        if say.delivery != "burst":
            tolerance += self.setup.latency_secs + self.setup.round_trip_secs
        if whole and due - at > (-TEXT_SECS if self.call.plain else tolerance):
            self.find("text early", subject, f"{due - at:.3f} s before its sound ends", due - at)
        may_be_less = self.may_miss or self.losses or self.call.plain
        if not whole and at < cut and not may_be_less:
            self.find("text unheard", subject, f"{len(heard)} of {wanted} cells were heard")
        late = at - max(heard[-1].until, text.at)
        if late > LATE_SECS + (ANSWER_SECS if self.is_deaf else 0.0):
            self.find("text late", subject, f"{late:.3f} s, at {self.rel(at)}", late)

    def _is_held(self, say: Say) -> bool:
        """Whether all of it waits in a resampler for an end that is missing.

        Then its text goes ahead, as with a transport: that keeps such audio for ever.
        """
        return not say.stopped and say.secs <= HELD_SECS + 2 * tones.CELL_SECS

    def context(self) -> None:
        """What stands in the context came by, and the other way round."""

        def came_by(before: float) -> Counter[str]:
            return Counter(
                word
                for seen in self.call.behind
                if isinstance(seen.frame, TTSTextFrame) and not seen.up and seen.at < before
                for word in seen.frame.text.split()
            )

        # What comes at the very moment of the cancelling is in it or not.
        surely = came_by(self.cancelled_at - PASS_SECS)
        at_most = came_by(self.cancelled_at + PASS_SECS)
        stands = Counter(self.call.context)
        cuts = [s.at for s in self.call.behind if isinstance(s.frame, InterruptionFrame)]
        at_cut = {
            word
            for seen in self.call.behind
            if isinstance(seen.frame, TTSTextFrame)
            and any(abs(seen.at - cut) < PASS_SECS for cut in cuts)
            for word in seen.frame.text.split()
        }
        for word in surely - stands:
            say = self.step_of_word[int(word[1:])]
            assert isinstance(say, Say)
            opens = say.started or say.turn
            closed = any(at >= self.gate_of[say][0].at - PASS_SECS for at in self.interruptions)
            if not opens or (say.kept and closed) or word in at_cut:
                continue  # No turn of the assistant is open then, also with a transport.
            self.find("context", word, "came by, and is not in the context")
        for word in stands - at_most:
            self.find("context", word, "is in the context, and never came by")

    # --- bot frames ---

    def bot(self) -> None:
        down = self._pairs([s for s in self.call.behind if not s.up], "down")
        self._pairs([s for s in self.call.gate if s.up], "up")
        cells = [one for one in self.heard if isinstance(self.step_of_word[one.cell.word], Say)]
        starts = [start for start, _ in down]
        unknown_secs = self._unknown_secs
        for one in cells:
            position = bisect_right(starts, one.at + BOT_SECS + unknown_secs) - 1
            if (
                position < 0
                or one.until
                > down[position][1]
                + BOT_SECS
                + max(self.slack_secs, unknown_secs)
                + tones.CELL_SECS
            ):
                if one.until > self.cancelled_at or (self.is_deaf and one.by_avatar):
                    continue
                if self._after_cut(one) or (one.by_avatar and self._on_its_way(one)):
                    continue
                self.find("speech unannounced", f"w{one.cell.word}", self.rel(one.at))
                break
        for start, stop in down:
            within = [one for one in cells if start - BOT_SECS <= one.at <= stop + BOT_SECS]
            if not within:
                if stop - start > BOT_SECS and not (
                    self.setup.drop or self.losses or self.may_miss
                ):
                    self.find("bot silent", self.rel(start), f"until {self.rel(stop)}")
                continue
            if within[0].at > start + BOT_SECS and not self.losses:
                self.find("bot early", f"w{within[0].cell.word}", f"{within[0].at - start:.3f} s")
            last = within[-1]
            say = self.step_of_word[last.cell.word]
            assert isinstance(say, Say)
            stopped = [s.at for s in self.gate_of[say] if isinstance(s.frame, TTSStoppedFrame)]
            silence = STOP_SECS if stopped else NO_STOP_SECS + STOP_SECS
            answer_secs = self.setup.latency_secs + self.setup.round_trip_secs
            due = max([last.until, *(at + answer_secs for at in stopped)])
            if stopped and stopped[0] - last.until > NO_STOP_SECS:
                due = last.until + NO_STOP_SECS
            limit = due + silence + self.slack_secs + self.delay_secs
            if stop > limit and not self.losses and stop < math.inf:
                self.find("bot late", f"w{last.cell.word}", f"{stop - due:.3f} s after its sound")
        self._stop_before_text(down)

    def _on_its_way(self, one: Heard) -> bool:
        """Whether an interruption was on its way to the avatar: then it may have just begun."""
        return any(cut < one.until <= cut + self.tail_secs for cut in self.interruptions)

    def _after_cut(self, one: Heard) -> bool:
        """Whether it is the last bit of what was cut: the rule of tails judges it."""
        cut = self.cut_at(self.step_of_word[one.cell.word])
        return one.until > cut

    def _pairs(self, seen: list[Seen], where: str) -> list[tuple[float, float]]:
        spans: list[tuple[float, float]] = []
        start: float | None = None
        for one in seen:
            if isinstance(one.frame, BotStartedSpeakingFrame):
                if start is not None:
                    self.find("bot pairs", where, f"started twice, at {self.rel(one.at)}")
                start = one.at
            elif isinstance(one.frame, BotStoppedSpeakingFrame):
                if start is None:
                    self.find("bot pairs", where, f"stopped twice, at {self.rel(one.at)}")
                else:
                    spans.append((start, one.at))
                start = None
        if start is not None:
            if self.cancelled_at == math.inf:
                self.find("bot pairs", where, f"started at {self.rel(start)}, and never stopped")
            spans.append((start, math.inf))
        return spans

    def _stop_before_text(self, spans: list[tuple[float, float]]) -> None:
        if self.left_unseen:
            return
        order = {seen.frame.id: at for at, seen in enumerate(self.call.behind)}
        stops = [
            (order[s.frame.id], s.at)
            for s in self.call.behind
            if isinstance(s.frame, BotStoppedSpeakingFrame) and not s.up
        ]
        for say in self.says:
            if self.cut_at(say) != math.inf or say.texts == "sentence first":
                continue
            heard = self.heard_of.get(say)
            if not heard:
                continue
            for text in self.gate_of[say]:
                if not isinstance(text.frame, TTSTextFrame) or text.frame.id not in order:
                    continue
                for position, at in stops:
                    if self.is_deaf and self._silent_secs(at) > NO_STOP_SECS - TEXT_SECS:
                        continue  # It is no end: what comes next is not known yet.
                    within = heard[0].at < at and text.at < at - PASS_SECS
                    until = heard[-1].until - READING_SECS
                    if within and at > until and position < order[text.frame.id]:
                        word = text.frame.text.split()[0]
                        self.find("text after stop", word, f"the stop came at {self.rel(at)}")
                        return

    def _silent_secs(self, at: float) -> float:
        """How long it has been silent at a moment."""
        return at - max((one.until for one in self.heard if one.at < at), default=0.0)

    # --- frames ---

    _IN_ORDER = (
        TTSStartedFrame, TTSStoppedFrame, LLMFullResponseStartFrame, MarkFrame,
    )  # fmt: skip

    def frames(self) -> None:
        ordered = [
            seen
            for seen in self.call.gate
            if not seen.up
            and (
                isinstance(seen.frame, self._IN_ORDER)
                or (
                    isinstance(seen.frame, TTSTextFrame | LLMFullResponseEndFrame)
                    and not seen.frame.pts
                )
            )
        ]
        came = {
            seen.frame.id: position for position, seen in enumerate(self.call.behind) if not seen.up
        }
        latest, latest_frame = -1, None
        for seen in ordered:
            position = came.get(seen.frame.id)
            if position is None:
                self._lost_frame(seen)
                continue
            if position < latest:
                assert latest_frame is not None
                self.find(
                    "frame order", self._subject(seen), f"before {self._subject(latest_frame)}"
                )
            else:
                latest, latest_frame = position, seen
        self._when()

    def _subject(self, seen: Seen) -> str:
        step = seen.frame.metadata.get("step")
        number = self.script.steps.index(step) if step is not None else -1
        return f"{type(seen.frame).__name__} of step {number}"

    def _lost_frame(self, seen: Seen) -> None:
        if isinstance(seen.frame, TTSTextFrame):
            return  # judged with its sound
        if self.is_doubtful(seen.frame.metadata.get("step")):
            return
        interruptible = getattr(seen.frame, "interruptible", True)
        step = seen.frame.metadata.get("step")
        if getattr(step, "kept", False) and isinstance(seen.frame, MarkFrame):
            interruptible = False
        after = [at for at in self.interruptions if at >= seen.at - PASS_SECS]
        if self.cancelled_at < math.inf or (interruptible and after):
            return
        if isinstance(step, Say) and self.cut_at(step) < math.inf:
            return  # Late frames of what was cut.
        if self.setup.drop and isinstance(seen.frame, TTSStartedFrame):
            return
        self.find("frame lost", self._subject(seen), f"came at {self.rel(seen.at)}")

    def _when(self) -> None:
        """Marks and heartbeats come when all before them was heard, and no later."""
        latest = 0.0
        previous: list[Step] = []
        for seen in self.call.gate:
            if seen.up:
                continue
            step = seen.frame.metadata.get("step")
            if isinstance(step, Say | Sound | Tone | Message) and step not in previous:
                previous.append(step)
            if not isinstance(seen.frame, MarkFrame | HeartbeatFrame):
                continue
            at = self.behind_at.get(seen.frame.id)
            if at is None:
                continue
            own_secs = seen.frame.secs if isinstance(seen.frame, MarkFrame) else 0.0
            came = [
                one
                for one in self.heard
                if self.step_of_word[one.cell.word] in previous
                and self._came_before(one.cell, seen, 0.0)
            ]
            sure = [
                one.until
                for one in came
                if self._came_before(one.cell, seen, HELD_SECS) and not self._is_crumb(one)
            ]
            last = max(sure, default=0.0)
            last_at_all = max([one.until for one in came], default=0.0)
            name = "heartbeat" if isinstance(seen.frame, HeartbeatFrame) else "frame"
            subject = name if name == "heartbeat" else self._subject(seen)
            is_cut = any(seen.at - PASS_SECS <= cut <= at + PASS_SECS for cut in self.interruptions)
            early = name == "frame" and at < last - BOT_SECS - self.slack_secs and not is_cut
            if early and not (self.losses or self.is_disturbed or self.call.plain):
                self.find("frame early", subject, f"{last - at:.3f} s before the sound's end")
            waits = max([seen.at, last_at_all, latest, self._busy_before(at)])
            if any(isinstance(one, Say) and not one.stopped for one in previous):
                # The tail of it, maybe too little to be read, comes with what follows.
                waits += self.setup.latency_secs + self.setup.round_trip_secs
            late = at > waits + own_secs + LATE_SECS + self.slack_secs and not is_cut
            if late and not (self.may_miss or self.losses):
                self.find(f"{name} late", subject, f"{at - waits - own_secs:.3f} s")
            latest = max(latest, at)

    def _busy_before(self, at: float) -> float:
        return max([until for _, until in self.call.busy if until <= at + LATE_SECS], default=0.0)

    def _came_before(self, cell: tones.Cell, seen: Seen, held_secs: float) -> bool:
        """Whether the audio of a cell had come to the service before a frame."""
        step = self.step_of_word[cell.word]
        if isinstance(step, Sound):
            return True
        offset = 0
        for number, cells in step.words:
            if number == cell.word:
                break
            offset += cells
        wanted = (offset + cell.index + 1) * tones.CELL_SECS + held_secs
        arrived = 0.0
        for one in self.gate_of[step]:
            if one.at > seen.at:
                return False
            if isinstance(one.frame, TTSStoppedFrame):
                return True
            if isinstance(one.frame, TTSAudioRawFrame):
                arrived += len(one.frame.audio) / (2 * step.channels * step.rate)
                if arrived >= wanted - 1e-6:
                    return True
        return False

    def passers(self) -> None:
        for seen in self.call.gate:
            if isinstance(seen.frame, PasserFrame):
                at = self.behind_at.get(seen.frame.id)
                if at is None:
                    if self.cancelled_at == math.inf and seen.at < self.end_at:
                        self.find("passer late", self._subject(seen), "never came")
                elif at > seen.at + PASS_SECS:
                    self.find("passer late", self._subject(seen), f"{at - seen.at:.3f} s")
        at_gate = {
            s.frame.metadata["step"]: s.at for s in self.call.gate if isinstance(s.frame, UpFrame)
        }
        for step in self.steps:
            if (
                not getattr(step, "up", False)
                or isinstance(step, Say)
                or type(step).__name__ != "Passer"
            ):
                continue
            fed = self.call.fed[step]
            if fed > min(self.end_at, self.cancelled_at) - PASS_SECS:
                continue
            at = at_gate.get(step)
            if at is None:
                self.find(
                    "passer late", f"UpFrame of step {self.script.steps.index(step)}", "never came"
                )
            elif at > fed + PASS_SECS:
                self.find(
                    "passer late",
                    f"UpFrame of step {self.script.steps.index(step)}",
                    f"{at - fed:.3f} s",
                )

    def floor(self) -> None:
        """What occupies the transport occupies the floor: speech behind it waits for it."""
        spans: dict[Step, float] = {}
        for step in self.steps:
            if isinstance(step, Message) and not step.urgent and step in self.call.sent_of:
                if not self._is_amid(step):
                    spans[step] = self.call.sent_of[step]
            elif isinstance(step, Mark) and step.secs:
                seen = self.gate_of.get(step)
                at = self.behind_at.get(seen[0].frame.id) if seen else None
                if at is not None and not self._is_amid(step):
                    spans[step] = at
        for step, until in spans.items():
            came = self.gate_of[step][0].at
            later = [
                say for say in self.says if self.gate_of.get(say) and self.gate_of[say][0].at > came
            ]
            for say in later:
                heard = self.heard_of.get(say)
                if heard and heard[0].at < until - OVERLAP_SECS - self.slack_secs:
                    number = self.script.steps.index(step)
                    self.find(
                        "busy floor",
                        f"step {number}",
                        f"w{heard[0].cell.word} is heard {until - heard[0].at:.3f} s too early",
                    )
                    break

    def _is_amid(self, step: Step) -> bool:
        """Whether it stands amid an utterance that goes on after it.

        In a resampler, or because nothing told that another one began. Amid an utterance only
        sounds are worth a pause.
        """
        came = self.gate_of[step][0].at
        said = [say for say in self.says if self.gate_of[say]]
        before = [say for say in said if self.gate_of[say][0].at <= came]
        after = [say for say in said if self.gate_of[say][0].at > came]
        if not before or before[-1].stopped:
            return False
        return before[-1].rate != 16_000 or (bool(after) and not after[0].started)

    # --- a call that nothing disturbs ---

    def calm(self) -> None:
        if self.call.plain or self.is_disturbed or self.delay_secs:
            return
        for one in self.heard:
            step = self.step_of_word[one.cell.word]
            if not one.by_avatar and isinstance(step, Say):
                self.find("avatar silent", f"w{one.cell.word}", "the transport said it")
                break
        self._gaps()
        self._exact()

    def _core(self, say: Say, heard: list[Heard]) -> list[Heard]:
        """What was heard of it, without the tail that waits for an end that is missing."""
        if say.stopped:
            return heard
        secs = 0.0
        core: list[Heard] = []
        offsets: dict[int, float] = {}
        for number, cells in say.words:
            offsets[number] = secs
            secs += cells * tones.CELL_SECS
        for one in heard:
            at = offsets[one.cell.word] + one.cell.index * tones.CELL_SECS
            if at < secs - HELD_SECS - 2 * tones.CELL_SECS:
                core.append(one)
        return core or heard[:1]

    def _gaps(self) -> None:
        for say in self.says:
            if say.delivery != "burst" or (say.kept and self.interruptions):
                continue  # To silence what follows it, the avatar has to begin it anew.
            heard = self._core(say, self.heard_of.get(say, []))
            for one, next_one in pairwise(heard):
                if next_one.at - one.until > 0.08:
                    self.find("gap", f"w{next_one.cell.word}", f"{next_one.at - one.until:.3f} s")
                    break

    def _exact(self) -> None:
        if any(say.rate != 16_000 or say.channels != 1 for say in self.says):
            return
        if self.interruptions or self.cancelled_at < math.inf:
            return
        wanted = [speech(say.words, say.rate) for say in self.says if say.words]
        heard = [samples for _, samples in self.call.avatar_pcm]
        if not wanted and not heard:
            return
        all_wanted = np.concatenate(wanted) if wanted else np.zeros(0, np.int16)
        all_heard = np.concatenate(heard) if heard else np.zeros(0, np.int16)
        if not np.array_equal(all_wanted, all_heard):
            self.find("samples", "all", f"{len(all_heard)} heard, {len(all_wanted)} said")


def _merged(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Put spans together that touch."""
    merged: list[tuple[float, float]] = []
    for begun, over in sorted(spans):
        if merged and begun <= merged[-1][1] + READING_SECS:
            merged[-1] = (merged[-1][0], max(merged[-1][1], over))
        else:
            merged.append((begun, over))
    return merged
