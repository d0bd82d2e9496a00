"""What went wrong in a call that the service is not to blame for, and what that excuses."""

from __future__ import annotations

import math
from functools import cached_property
from itertools import pairwise, takewhile

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    LLMFullResponseStartFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)

from tests.support.fuzz import tones
from tests.support.fuzz.oracle.busy_transport import BusyTransport
from tests.support.fuzz.oracle.evidence import Heard
from tests.support.fuzz.oracle.tolerances import (
    CRUMB_AT_8_KHZ_SECS,
    CRUMB_SECS,
    HELD_SECS,
    HIDDEN_SECS,
    LEAD_SECS,
    LOSS_SECS,
    PASS_SECS,
    READING_SECS,
    TAIL_SECS,
    TEXT_SECS,
)
from tests.support.fuzz.script import (
    Break,
    Expire,
    Interrupt,
    Leave,
    Lose,
    Return,
    Say,
    Sound,
    Step,
    Tone,
    Update,
)


class Circumstances(BusyTransport):
    """What was heard and seen in a call, and what in it may be as it is without anybody's fault."""

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
            or self.setup.session_secs
        )

    @cached_property
    def losses(self) -> int:
        """How often another mouth may have had to take over."""
        some = sum(isinstance(step, Lose | Expire | Leave | Update) for step in self.steps)
        some += max(self.expired - sum(isinstance(step, Expire) for step in self.steps), 0)
        return some + sum(not fault.endswith("delay") for fault in self.faults)

    @cached_property
    def expired(self) -> int:
        """How many sessions the server ended because their time was over."""
        return sum(
            entry["what"] == "session.ended" and entry["reason"] == "expired"
            for entry in self.call.sandbox_log
        )

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
        left = self.ended_unseen or any(isinstance(step, Leave) for step in self.steps)
        return left and not self.setup.announced

    @cached_property
    def ended_unseen(self) -> bool:
        """Whether the server ended a session, and could not say so on a dead connection."""
        dead: set[str | None] = set()
        for entry in self.call.sandbox_log:
            session_id = entry.get("session_id")
            if entry["what"] == "fault" and entry["kind"] in ("silent", "cut"):
                dead.add(session_id)
            has_expired = entry["what"] == "session.ended" and entry["reason"] == "expired"
            if has_expired and session_id in dead:
                return True
        return False

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
    def unknown_secs(self) -> float:
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

    def began_as_news(self, step: Step) -> bool:
        """Whether speech seemed to begin when nobody could know yet that the avatar had gone."""
        seen = self.gate_of.get(step)
        begun = (s.at for s in self.call.behind if isinstance(s.frame, BotStartedSpeakingFrame))
        return bool(seen) and any(at >= seen[0].at and self.is_news(at) for at in begun)

    def seemed_until(self, say: Say) -> float:
        """Until when the rest of speech seemed to be said by an avatar that had gone."""
        if self.is_over(say):
            return -math.inf
        last = self.heard_of[say][-1]
        news = (at for at in self.queued_for if at > last.until and self.is_news(at))
        return max((self._known_gone_at(at) for at in news), default=-math.inf)

    def _known_gone_at(self, at: float) -> float:
        """When it came to be known that the avatar had gone at a moment."""
        return max(gone for gone in self.gone_at if gone <= at + READING_SECS) + self.slack_secs

    def went_amid_onset(self, say: Say) -> bool:
        """Whether the avatar went when it had said too little of it for that to be read."""
        says = [one for one in self.says if self.audio_at(one)]
        if say not in says or any(not self.is_over(one) for one in says[: says.index(say)][-1:]):
            return False
        came_at = self.audio_at(say)[0]
        return any(
            begun >= came_at and abs(until - gone) <= PASS_SECS
            for begun, until in self.unread
            for gone in self.gone_at
        )

    def is_over(self, say: Say) -> bool:
        """Whether the last of it was heard."""
        heard = self.heard_of[say]
        return bool(heard) and heard[-1].cell == tones.Cell(say.words[-1][0], say.words[-1][1] - 1)

    def onsets(self, number: int) -> list[float]:
        """When a word is heard to begin: mostly once.

        Twice if a few milliseconds of it stood before a pause, or before an interruption that
        was on its way to the avatar: then its text may come with one or the other.
        """
        cells = self.heard_word.get(number, [])
        if not cells:
            return []
        found = [cells[0].at]
        returns = any(isinstance(step, Return) for step in self.steps)
        if (hidden := self._hidden_onset(number, cells[0])) is not None:
            found.insert(0, hidden)
        for one, next_one in pairwise(cells):
            is_crumb = one.until - cells[0].at < 2 * READING_SECS
            is_cut = is_crumb or returns or self.on_its_way(one)
            if next_one.at - one.until > TEXT_SECS and is_cut:
                found.append(next_one.at)
        if (more_at := self.more_came_at(number)) is not None:
            found.append(more_at)
        return found

    def more_came_at(self, number: int) -> float | None:
        """When the rest of a word came, of which only a few milliseconds were ever heard.

        A word is known by what follows its beginning, also if that is not heard any more.
        """
        cells = self.heard_word.get(number, [])
        step = self.step_of_word[number]
        if not (cells and isinstance(step, Say)) or cells[-1].until - cells[0].at > READING_SECS:
            return None
        return next((at for at in self.audio_at(step) if at > cells[-1].until), None)

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

    @property
    def tail_secs(self) -> float:
        """What is still heard of the avatar after an interruption."""
        return TAIL_SECS + READING_SECS + self.slack_secs + self.delay_secs + tones.CELL_SECS

    def start_was_cut(self, say: Say, at: float) -> bool:
        """Whether an interruption, or the cancelling, dropped the start of a word that came out.

        While a transport plays something, it lets starts out between two chunks, and words at
        their own times: one that plays everything itself, too.
        """
        starts = (
            seen.frame.id in self.behind_at
            for seen in self.gate_of[say]
            if isinstance(seen.frame, TTSStartedFrame | LLMFullResponseStartFrame)
        )
        chunk_secs = self.setup.chunks / 100
        played = (
            (begun, begun + len(samples) / self.setup.out_rate)
            for begun, samples in self.call.transport_pcm
        )
        return (
            not any(starts)
            and any(begun <= at < until for begun, until in played)
            and any(
                at <= cut <= at + chunk_secs for cut in [*self.interruptions, self.cancelled_at]
            )
        )

    def met_the_transport(self, cut: float) -> bool:
        """Whether an interruption met speech on its way to the transport that was to go on.

        It came from behind the transport, which has it before the service: what is given to the
        transport between, because the avatar goes at that very moment, is not cut any more.
        """
        return any(
            isinstance(step, Interrupt) and step.up and abs(self.call.fed[step] - cut) <= PASS_SECS
            for step in self.steps
        ) and any(
            isinstance(step, Lose | Expire | Leave) and abs(self.call.fed[step] - cut) <= PASS_SECS
            for step in self.steps
        )

    def lag_secs(self, say: Say) -> float:
        """By how much later than it seems the transport may begin with speech.

        It still plays speech that was on its way to it when an interruption met that.
        """
        begun = self.heard_of[say][0].at
        cuts = (cut for cut in self.interruptions if 0 <= begun - cut <= LEAD_SECS + TAIL_SECS)
        return LEAD_SECS if any(map(self.met_the_transport, cuts)) else 0.0

    def is_doubtful(self, step: Step) -> bool:
        """Whether nothing tells whether an interruption was meant for it, too.

        It met it on its way, or the start of its other context; or nothing tells it from late
        frames of what was interrupted. Of speech with neither a start nor a name it may have met
        any frame: that is new speech.
        """
        if not isinstance(step, Say) or not self.gate_of.get(step):
            return False
        seen = self.gate_of[step]
        first = seen[0].at
        is_nameless = not step.started and step.context is None
        begins_at = [first, *(s.at for s in seen if isinstance(s.frame, TTSStartedFrame))]
        met_at = [s.at for s in seen] if is_nameless else begins_at
        return any(
            any(abs(at - met) < PASS_SECS for met in met_at) or (at <= first and not step.started)
            for at in self.interruptions
        )

    @property
    def most_cells(self) -> int:
        """How many cells a change of mouths may cost."""
        secs = LOSS_SECS + self.slack_secs
        if any(isinstance(step, Return) for step in self.steps):
            secs += self.delay_secs  # It comes back before a slow server has silenced it.
        return math.ceil(secs / tones.CELL_SECS)

    def is_crumb(self, one: Heard) -> bool:
        """Whether it is the end of a sound, which a transport may keep for the next audio."""
        step = self.step_of_word[one.cell.word]
        if one.by_avatar or not isinstance(step, Sound):
            return False
        return one.cell.index >= step.word[1] - self.crumb_cells(step)

    def crumb_cells(self, sound: Sound) -> int:
        is_slow = min(sound.rate, self.setup.out_rate) <= 8_000
        secs = CRUMB_AT_8_KHZ_SECS if is_slow else CRUMB_SECS
        return math.ceil(secs / tones.CELL_SECS)

    def told_over_at(self, say: Say) -> list[float]:
        """When it was told to be over, if it was: by its stop, by the next start, by the end."""
        stops = [s.at for s in self.gate_of[say] if isinstance(s.frame, TTSStoppedFrame)]
        if stops:
            return stops
        starts = [
            s.at
            for one in self.says
            if one is not say
            for s in self.gate_of[one]
            if isinstance(s.frame, TTSStartedFrame) and s.at > self.gate_of[say][0].at
        ]
        return [at for at in [min([*starts, self.end_at])] if at < math.inf]

    def rest_given_at(self, say: Say) -> list[float]:
        """When a resampler gave what it held of it: when it was over, or to a sound behind it."""
        last_at = self.audio_at(say)[-1]
        sounds = [
            self.gate_of[step][0].at
            for step in self.steps
            if isinstance(step, Sound | Tone) and self.gate_of.get(step)
        ]
        return [*self.told_over_at(say), *sorted(at for at in sounds if at >= last_at)[:1]]

    def core(self, say: Say, heard: list[Heard]) -> list[Heard]:
        """What was heard of it, without the tail that waits for an end that is missing."""
        if say.stopped:
            return heard
        core = [one for one in heard if not self.is_rest(say, one)]
        return core or heard[:1]

    def is_rest(self, say: Say, one: Heard) -> bool:
        """Whether it is of the last of speech, which a resampler may hold until its end."""
        return self._place_secs(say, one) >= say.secs - HELD_SECS - 2 * tones.CELL_SECS

    def is_rest_amid(self, say: Say, one: Heard) -> bool:
        """Whether it is what a resampler held of speech until a tone or a sound came amid it."""
        place_secs = self._place_secs(say, one)
        came = (self._came_secs(say, at) for at in self.barred_at if at <= one.at)
        return any(0 < secs - place_secs <= HELD_SECS + 2 * tones.CELL_SECS for secs in came)

    def _place_secs(self, say: Say, one: Heard) -> float:
        """How far from its beginning it stands in its speech."""
        before = takewhile(lambda word: word[0] != one.cell.word, say.words)
        return (sum(cells for _, cells in before) + one.cell.index) * tones.CELL_SECS

    def _came_secs(self, say: Say, at: float) -> float:
        """How much of it had come at a moment."""
        return sum(
            len(seen.frame.audio) / (2 * say.channels * say.rate)
            for seen in self.gate_of[say]
            if isinstance(seen.frame, TTSAudioRawFrame) and seen.at <= at
        )

    def on_its_way(self, one: Heard) -> bool:
        """Whether an interruption was on its way to the avatar: then it may have just begun."""
        return any(cut < one.until <= cut + self.tail_secs for cut in self.interruptions)

    def counts_as_unheard(self, one: Heard) -> bool:
        """Whether it must be said, and was heard while an interrupt was on its way.

        That stops uninterruptible speech at the avatar, too, if other speech is before or behind
        it. Nobody can tell what is heard until then: a server that answers late may have stopped
        the avatar at once. So that counts as unheard, and is said anew.
        """
        step = self.step_of_word[one.cell.word]
        return isinstance(step, Say) and step.kept and one.by_avatar and self.on_its_way(one)

    def said_anew_at(self, say: Say) -> float:
        """When the last of speech is over, as far as anybody can know."""
        last = self.heard_of[say][-1]
        if not (say.kept and last.by_avatar):
            return last.until
        again_secs = 1.5 * self.setup.round_trip_secs + self.setup.latency_secs + self.tail_secs
        over_at = last.until
        for cut in self.interruptions:
            if last.until - self.tail_secs <= cut < over_at + READING_SECS:
                over_at = cut + again_secs + self.delay_secs
        return over_at

    def is_said_anew_behind(self, say: Say, at: float) -> bool:
        """Whether the last of it may be said anew after a moment, be it too short to be read."""
        return say.kept and bool(self.heard_of.get(say)) and self.said_anew_at(say) > at

    def after_cut(self, one: Heard) -> bool:
        """Whether it is the last bit of what was cut: the rule of tails judges it."""
        cut = self.cut_at(self.step_of_word[one.cell.word])
        return one.until > cut
