"""Makes random calls, of several kinds."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.support.fuzz import tones
from tests.support.fuzz.script import (
    Break,
    Delivery,
    End,
    Expire,
    Halt,
    Interrupt,
    Leave,
    Lose,
    Mark,
    Message,
    Passer,
    Return,
    Say,
    Script,
    Setup,
    Sound,
    Step,
    Texts,
    Tone,
    Update,
)


@dataclass(frozen=True)
class Profile:
    """What kind of call: how likely what is.

    Attributes:
        steps: Weight of each kind of step.
        odd: How likely each oddity of the speech is.
        faults: Whether the connection is slow and the server misbehaves from the start.
        rooms: Whether the transport tells of the avatar.
        drop: Whether speech is dropped while there is no avatar.
        cancel: How likely the call is cancelled.
        kept: How likely speech is uninterruptible.
        tiny: How likely an utterance is of a few milliseconds, or of none.
        woven: How likely two contexts are said at a time.
        expiry: Whether sessions expire.
        recorded: Whether what is heard is passed on to a recorder.
        unannounced: How likely words with their times come without a start of the utterance.
        last: How likely a text comes behind the stop.
    """

    steps: dict[str, float]
    odd: float = 0.15
    faults: float = 0.0
    rooms: float = 0.0
    drop: float = 0.0
    cancel: float = 0.05
    kept: float = 0.05
    tiny: float = 0.0
    woven: float = 0.0
    expiry: float = 0.0
    recorded: float = 0.0
    unannounced: float = 0.0
    last: float = 0.0


PROFILES: dict[str, Profile] = {
    "calm": Profile({"say": 10, "mark": 2, "passer": 1}, cancel=0.0, kept=0.0),
    "interruptions": Profile(
        {"say": 10, "interrupt": 6, "mark": 2, "passer": 1, "message": 0.5}, kept=0.15
    ),
    "sounds": Profile(
        {"say": 10, "sound": 5, "tone": 1.5, "message": 2, "mark": 2, "interrupt": 2, "passer": 1}
    ),
    "faults": Profile(
        {"say": 10, "lose": 1.5, "break": 2, "expire": 0.4, "mark": 1, "passer": 1},
        faults=0.5,
    ),
    "rooms": Profile(
        {"say": 10, "leave": 1.5, "lose": 0.7, "interrupt": 1, "mark": 1, "passer": 1}, rooms=1.0
    ),
    "mixed": Profile(
        {
            "say": 10, "interrupt": 3, "sound": 1.5, "tone": 0.5, "message": 1, "mark": 2,
            "passer": 1, "lose": 0.8, "break": 0.8, "expire": 0.2, "leave": 0.4, "update": 0.7,
        },
        faults=0.3, rooms=0.3, drop=0.1,
    ),
    "drop": Profile(
        {
            "say": 10, "interrupt": 2, "sound": 0.7, "mark": 2, "passer": 1, "lose": 1.5,
            "break": 1, "message": 0.5,
        },
        faults=0.4, rooms=0.2, drop=1.0,
    ),
    "crumbs": Profile(
        {"say": 12, "mark": 2, "interrupt": 1, "passer": 0.5, "halt": 1},
        odd=0.3, tiny=0.5, woven=0.1, unannounced=0.1, last=0.3,
    ),
    "turns": Profile(
        {"say": 10, "turn": 3, "flurry": 3, "mark": 2, "halt": 1.5, "sound": 1, "passer": 1},
        kept=0.15, tiny=0.1, woven=0.15, last=0.1,
    ),
    "woven": Profile(
        {"say": 10, "mark": 1.5, "interrupt": 3, "halt": 1, "lose": 0.4},
        woven=0.5, unannounced=0.4, last=0.2, tiny=0.1,
    ),
    "absences": Profile(
        {"say": 10, "absence": 2, "interrupt": 1, "mark": 1, "lose": 0.3, "halt": 0.5},
        rooms=1.0, tiny=0.1,
    ),
    "renewals": Profile(
        {"say": 10, "interrupt": 1.5, "mark": 1, "update": 0.5, "passer": 1, "wait": 2},
        rooms=0.3, tiny=0.1, expiry=1.0,
    ),
    "recorded": Profile(
        {"say": 10, "interrupt": 2, "turn": 0.5, "flurry": 0.5, "mark": 1, "passer": 0.5},
        tiny=0.1, woven=0.1, recorded=1.0,
    ),
    "amid": Profile(
        {"say": 10, "amid": 8, "interrupt": 1.5, "lose": 0.7, "mark": 0.5, "message": 0.5},
        faults=0.4, rooms=0.2, drop=0.05,
    ),
    "everything": Profile(
        {
            "say": 12, "interrupt": 2, "turn": 1, "flurry": 1, "sound": 1.5, "tone": 0.5,
            "message": 1, "mark": 2, "passer": 1, "halt": 1, "lose": 0.6, "break": 0.6,
            "expire": 0.2, "leave": 0.2, "absence": 0.6, "update": 0.5, "wait": 0.5,
        },
        faults=0.2, rooms=0.4, drop=0.15, tiny=0.15, woven=0.1, expiry=0.2, unannounced=0.1,
        last=0.1,
    ),
}  # fmt: skip


def make(profile: str, seed: int) -> Script:
    """Make a random script.

    Args:
        profile: One of ``PROFILES``.
        seed: The same one makes the same script.
    """
    return _Maker(PROFILES[profile], random.Random(f"{profile} {seed}"), seed).make()


_RATES = (8_000, 16_000, 16_000, 22_050, 24_000, 24_000, 44_100, 48_000)
_FRAMES_MS = (10, 20, 20, 30, 40, 40, 60, 100, 200, 1000)
_SPARE_WORDS = 6


class _Maker:
    def __init__(self, profile: Profile, chance: random.Random, seed: int) -> None:
        self.profile, self.chance, self.seed = profile, chance, seed
        self.next_word = 0
        self.contexts = 0
        self.names: list[str] = []
        self.at = 0.1
        self.rate = chance.choice(_RATES)
        # Pipecat's transport takes one rate in a call: its resampler cannot change.
        self.rates = _RATES if chance.random() < 0.15 else (self.rate,)
        # Pipecat's transport resamples both channels as if they were one.
        avatar_speaks = not (profile.faults or profile.rooms or "lose" in profile.steps)
        self.channels = 2 if avatar_speaks and chance.random() < 0.1 else 1
        self.delivery: Delivery = chance.choice(("burst", "burst", "real time", "slow"))
        self.texts: Texts = chance.choice(
            ("words", "words", "words ahead", "words late", "sentence", "sentence first", "none")
        )
        self.named = chance.random() < 0.75
        self.last_stopped = True

    def happens(self, likely: float) -> bool:
        """Whether something happens; no chance is spent on what never does."""
        return likely > 0 and self.chance.random() < likely

    def odd(self) -> bool:
        return self.chance.random() < self.profile.odd

    def make(self) -> Script:
        chance = self.chance
        kinds, weights = zip(*self.profile.steps.items(), strict=True)
        setup = self.setup()
        steps: list[Step] = []
        if chance.random() < self.profile.faults:
            steps.append(self.refusal(0.0))
        for _ in range(chance.randint(3, 11)):
            kind = chance.choices(kinds, weights)[0]
            made = getattr(self, kind)()
            if isinstance(made, tuple):
                steps += made
            elif made is not None:
                steps.append(made)
            self.pass_time(steps[-1] if steps else None)
        cancel = chance.random() < self.profile.cancel
        steps.append(End(self.time(), cancel=cancel))
        if chance.random() < 0.25 and not cancel and self.profile.cancel:
            # What happens while it ends: what was said last is still to be heard.
            late = chance.choices(kinds, weights)[0]
            if late in ("interrupt", "lose", "leave", "passer", "break", "expire"):
                self.at += chance.choice((0.05, 0.3, 1.0))
                steps.append(getattr(self, late)())
        steps.sort(key=lambda step: step.at)
        return Script(self.seed, setup, tuple(steps))

    def setup(self) -> Setup:
        chance, profile = self.chance, self.profile
        announced = chance.random() < profile.rooms
        late = announced and chance.random() < 0.5
        round_trip_secs = chance.choice((0.0, 0.0, 0.02, 0.1, 0.25))
        # Sound that comes before its confirmation is heard before anybody can know of it.
        latency_secs = max(chance.choice((0.0, 0.1, 0.1, 0.5)), round_trip_secs)
        return Setup(
            out_rate=chance.choice((16_000, 24_000, 24_000, 48_000, 8_000)),
            chunks=chance.choice((2, 4, 4)),
            mixer=chance.random() < 0.1,
            drop=chance.random() < profile.drop,
            announced=announced,
            join_secs=round(chance.choice((0.3, 1.5, 4.0)), 2) if late else 0.0,
            latency_secs=latency_secs,
            round_trip_secs=round_trip_secs,
            max_unconfirmed=chance.choice((1, 1, 1, 2, 3)),
            slow_handlers_secs=chance.choice((0.0, 0.0, 0.0, 0.5)),
            await_ready=chance.random() < (0.3 if late else 0.7),
            session_secs=chance.choice((4.0, 12.0, 90.0)) if self.happens(profile.expiry) else 0.0,
            recorded=self.happens(profile.recorded),
        )

    def time(self) -> float:
        return round(self.at, 2)

    def pass_time(self, last: Step | None) -> None:
        secs = last.secs if isinstance(last, Say) else 0.2
        choices = (0.0, 0.02, 0.3 * secs, secs, secs + 0.5, 2 * secs + 1.0)
        self.at += self.chance.choice(choices) + 0.1 * self.chance.random()

    def word(self) -> tuple[int, int]:
        self.next_word += 1
        return self.next_word - 1, self.chance.randint(3, tones.MOST_CELLS)

    # --- each kind of step ---

    def say(self) -> Say | None:
        chance = self.chance
        most = min(12, tones.MOST_WORDS - _SPARE_WORDS - self.next_word)
        if most < 1:
            return None
        count = 0 if chance.random() < 0.2 * self.profile.odd else chance.randint(1, most)
        cut_ms = None
        if self.happens(self.profile.tiny):
            count = chance.choice((0, 1, 1, 1))
            cut_ms = chance.choice((1, 2, 3, 5, 7, 9, 10, 11, 15, 20, 25, 30)) if count else None
        if self.named:
            if self.names and self.odd():
                context: str | None = chance.choice(self.names)
            else:
                self.contexts += 1
                context = f"c{self.contexts}"
            self.names.append(context)
        else:
            context = None
        # Whoever times words announces them, or nobody knows to what they belong.
        announces = self.texts.startswith("words")
        started = announces or not self.odd() or chance.random() < 0.5
        if announces and self.last_stopped and self.happens(self.profile.unannounced):
            started = False
        # Without a start nothing tells a name that is used again from what was interrupted of it.
        started = started or self.names.count(context or "") > 1
        texts = self.texts
        if not announces and self.happens(self.profile.last):
            texts = "sentence last"
        other = None
        # Times of words mean nothing where each service counts its own audio and both are heard.
        may_weave = context is not None and count > 1 and started and not announces
        if may_weave and self.happens(self.profile.woven):
            self.contexts += 1
            other = f"c{self.contexts}"
        say = Say(
            self.time(),
            words=tuple(self.word() for _ in range(count)),
            rate=chance.choice(self.rates),
            channels=self.channels,
            frame_ms=chance.choice(_FRAMES_MS),
            delivery="stalled" if self.odd() else self.delivery,
            texts=texts,
            context=context,
            started=started,
            stopped=started and not (self.odd() and chance.random() < 0.5),
            turn=chance.random() < 0.8,
            kept=chance.random() < self.profile.kept,
            deaf=started and context is not None and self.odd(),
            other=other,
            cut_ms=cut_ms,
        )
        # Amid speech that has no end yet, times of words that nobody announced mean nothing.
        self.last_stopped = say.stopped
        return say

    def sound(self) -> Sound | None:
        if self.next_word >= tones.MOST_WORDS - 1:
            return None
        return Sound(self.time(), self.word(), self.rate, kept=self.chance.random() < 0.2)

    def tone(self) -> Tone:
        return Tone(self.time())

    def message(self) -> Message:
        if self.chance.random() < 0.3:
            # A transport that is slow with these holds up all frames: nobody can help that.
            return Message(self.time(), urgent=True)
        return Message(self.time(), secs=self.chance.choice((0.0, 0.05, 0.5)))

    def mark(self) -> Mark:
        secs = self.chance.choice((0.0, 0.0, 0.0, 0.3))
        return Mark(self.time(), secs=secs, kept=self.chance.random() < 0.2)

    def amid(self) -> Step | None:
        """A frame that does not wait until the TTS service has said what it was told."""
        made = self.chance.choice((self.mark, self.mark, self.message, self.sound, self.tone))()
        return None if made is None else replace(made, amid=True)

    def passer(self) -> Passer:
        return Passer(self.time(), up=self.chance.random() < 0.5)

    def interrupt(self) -> Interrupt:
        return Interrupt(self.time(), up=self.chance.random() < 0.4)

    def flurry(self) -> tuple[Interrupt, ...]:
        """Several at almost the same moment."""
        found: list[Interrupt] = []
        for _ in range(self.chance.randint(2, 4)):
            found.append(Interrupt(round(self.at, 3), up=self.chance.random() < 0.5))
            self.at += self.chance.choice((0.0, 0.001, 0.003, 0.005))
        return tuple(found)

    def turn(self) -> tuple[Step, ...]:
        """The user begins to speak, and so interrupts, and stops."""
        up = self.chance.random() < 0.7
        began = Passer(round(self.at, 3), up=up, user=True)
        self.at += self.chance.choice((0.0, 0.001, 0.02))
        cut = Interrupt(round(self.at, 3), up=up)
        self.at += self.chance.choice((0.0, 0.002, 0.3))
        return began, cut, Passer(round(self.at, 3), up=up, user=False)

    def halt(self) -> Halt:
        return Halt(self.time())

    def absence(self) -> tuple[Step, ...]:
        """The avatar leaves, and comes back."""
        left = Leave(self.time())
        secs = self.chance.choice((0.0, 0.05, 0.4, 1.5, 4.0, 5.0, 7.0))
        return left, Return(round(self.at + secs, 2))

    def wait(self) -> None:
        """Nothing happens for so long that something expires."""
        self.at += self.chance.choice((1.0, 4.0, 12.0, 60.0))

    def update(self) -> Update:
        if self.chance.random() < 0.5:
            return Update(self.time(), avatar=f"avat_{self.chance.randint(1, 9)}")
        return Update(self.time(), max_lead_secs=self.chance.choice((1.0, 3.0, 8.0)))

    def lose(self) -> Lose:
        return Lose(
            self.time(),
            abort=self.chance.random() < 0.5,
            code=self.chance.choice((1000, 1001, 1011, 4000)),
        )

    def expire(self) -> Expire:
        return Expire(self.time())

    def leave(self) -> Leave:
        return Leave(self.time())

    def refusal(self, at: float) -> Break:
        chance = self.chance
        return Break(
            at,
            on=chance.choice(("create", "create", "connect")),
            kind="refuse",
            times=chance.choice((1, 1, 2, 3, None)),
            status=chance.choice((429, 500, 503)),
        )

    def break_(self) -> Break:
        chance = self.chance
        makers: list[Callable[[], Break]] = [
            lambda: self.refusal(self.time()),
            lambda: Break(
                self.time(),
                on=chance.choice(("agent.speak", "agent.speak", "agent.interrupt")),
                kind=chance.choice(("close", "abort", "silent", "cut")),
                nth=chance.randint(1, 3),
            ),
            lambda: Break(
                self.time(),
                on="agent.speak",
                kind="error",
                nth=chance.randint(1, 3),
                times=chance.choice((1, 1, 3)),
                text=chance.choice(("No audio data provided", "Something went wrong")),
            ),
            lambda: Break(
                self.time(),
                on=chance.choice(("agent.speak", "agent.interrupt", "ping")),
                kind="delay",
                nth=chance.randint(1, 3),
                delay_secs=chance.choice((0.3, 1.5)),
            ),
        ]
        return chance.choice(makers)()


setattr(_Maker, "break", _Maker.break_)  # ``break`` is a word of Python's
