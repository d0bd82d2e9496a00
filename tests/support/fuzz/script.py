"""What happens in a call: a value that can be printed, read, shrunk and played again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

from tests.support.fuzz import tones

Delivery = Literal["burst", "real time", "stalled", "slow"]
"""All at once; as fast as it sounds; with one long pause; slower than it sounds."""

Texts = Literal["words", "words ahead", "words late", "sentence", "sentence first", "none"]
"""By the word, each with its audio, all before the audio or all behind it; or the whole, behind
the audio or before it."""


# --- what can happen -----------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """Something that happens.

    Attributes:
        at: When, in seconds from the pipeline's start.
    """

    at: float


@dataclass(frozen=True)
class Say(Step):
    """The TTS service says something.

    Attributes:
        words: Each word's number, and its length in cells of 20 ms.
        rate: Samples per second.
        channels: Channels.
        frame_ms: Length of its audio frames.
        delivery: How fast they come.
        texts: How it tells what it says.
        context: Its name for it.
        started: Whether it announces it.
        stopped: Whether it tells when it is over.
        turn: Whether it is a turn of its own of the LLM.
        kept: Whether no interruption cuts it.
        deaf: Whether the service goes on with it when it is interrupted, as one does whose
            speech comes from a socket.
    """

    words: tuple[tuple[int, int], ...] = ()
    rate: int = 24_000
    channels: int = 1
    frame_ms: int = 40
    delivery: Delivery = "burst"
    texts: Texts = "words"
    context: str | None = None
    started: bool = True
    stopped: bool = True
    turn: bool = True
    kept: bool = False
    deaf: bool = False

    @property
    def secs(self) -> float:
        """How long it sounds."""
        return sum(cells for _, cells in self.words) * tones.CELL_SECS


@dataclass(frozen=True)
class Sound(Step):
    """A sound that is no speech: one word, played by the transport."""

    word: tuple[int, int] = (0, 5)
    rate: int = 24_000
    kept: bool = False


@dataclass(frozen=True)
class Tone(Step):
    """A DTMF tone."""


@dataclass(frozen=True)
class Message(Step):
    """A message to the client, which takes the transport some time to send."""

    secs: float = 0.0
    urgent: bool = False


@dataclass(frozen=True)
class Mark(Step):
    """A frame that has its place in the speech; ``secs`` is what the transport takes for it."""

    secs: float = 0.0
    kept: bool = False


@dataclass(frozen=True)
class Passer(Step):
    """A system frame, up or down the pipeline: nothing holds it up."""

    up: bool = False


@dataclass(frozen=True)
class Interrupt(Step):
    """Somebody interrupts: from the pipeline's start, or from its end in both directions."""

    up: bool = False


@dataclass(frozen=True)
class Update(Step):
    """A ``ServiceUpdateSettingsFrame``."""

    avatar: str | None = None
    max_lead_secs: float | None = None


@dataclass(frozen=True)
class Lose(Step):
    """The service's server closes or resets the connection."""

    abort: bool = False
    code: int = 1011


@dataclass(frozen=True)
class Expire(Step):
    """The server ends the session."""


@dataclass(frozen=True)
class Leave(Step):
    """The avatar leaves the room."""


@dataclass(frozen=True)
class Break(Step):
    """From now on something goes wrong at the server: a fault of the sandbox."""

    on: str = "agent.speak"
    kind: str = "close"
    nth: int = 1
    times: int | None = 1
    status: int = 503
    delay_secs: float = 0.0
    text: str = "Something went wrong"


@dataclass(frozen=True)
class End(Step):
    """The call ends in order, or at once."""

    cancel: bool = False


@dataclass(frozen=True)
class Setup:
    """What the call is like.

    Attributes:
        out_rate: The transport's sample rate.
        chunks: How many 10 ms the transport writes at a time.
        mixer: Whether something always sounds in the transport's background.
        drop: Whether speech is dropped while there is no avatar.
        announced: Whether the transport tells of the avatar in the room.
        join_secs: From a session's creation to its avatar in the room.
        latency_secs: From a confirmation to its sound.
        round_trip_secs: Of the network.
        max_unconfirmed: Messages under way.
        slow_handlers_secs: What the event handlers of the application take.
        await_ready: Whether the script begins when the avatar is ready.
    """

    out_rate: int = 24_000
    chunks: int = 4
    mixer: bool = False
    drop: bool = False
    announced: bool = False
    join_secs: float = 0.0
    latency_secs: float = 0.1
    round_trip_secs: float = 0.0
    max_unconfirmed: int = 1
    slow_handlers_secs: float = 0.0
    await_ready: bool = True


@dataclass(frozen=True)
class Script:
    """A whole call.

    Attributes:
        seed: Of pauses with jitter.
        setup: What the call is like.
        steps: What happens, in order of time.
    """

    seed: int
    setup: Setup
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        """Show it as Python, without what goes without saying."""
        steps = "".join(f"        {_short(step)},\n" for step in self.steps)
        return (
            f"Script(\n    seed={self.seed},\n    setup={_short(self.setup)},\n"
            f"    steps=(\n{steps}    ),\n)"
        )


def _short(value: Any) -> str:
    shown = [
        f"{field.name}={getattr(value, field.name)!r}"
        for field in fields(value)
        if getattr(value, field.name) != field.default
    ]
    return f"{type(value).__name__}({', '.join(shown)})"


def parse(text: str) -> Script:
    """Read a script as it was printed."""
    names = {
        kind.__name__: kind
        for kind in (
            Script, Setup, Say, Sound, Tone, Message, Mark, Passer, Interrupt, Update, Lose,
            Expire, Leave, Break, End,
        )
    }  # fmt: skip
    script = eval(text.strip(), {"__builtins__": {}}, names)
    assert isinstance(script, Script)
    return script


# --- random calls --------------------------------------------------------------------------


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
    """

    steps: dict[str, float]
    odd: float = 0.15
    faults: float = 0.0
    rooms: float = 0.0
    drop: float = 0.0
    cancel: float = 0.05
    kept: float = 0.05


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
            if made is not None:
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
        return Say(
            self.time(),
            words=tuple(self.word() for _ in range(count)),
            rate=chance.choice(self.rates),
            channels=self.channels,
            frame_ms=chance.choice(_FRAMES_MS),
            delivery="stalled" if self.odd() else self.delivery,
            texts=self.texts,
            context=context,
            started=started,
            stopped=started and not (self.odd() and chance.random() < 0.5),
            turn=chance.random() < 0.8,
            kept=chance.random() < self.profile.kept,
            deaf=started and context is not None and self.odd(),
        )

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

    def passer(self) -> Passer:
        return Passer(self.time(), up=self.chance.random() < 0.5)

    def interrupt(self) -> Interrupt:
        return Interrupt(self.time(), up=self.chance.random() < 0.4)

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
