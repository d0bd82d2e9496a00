"""What happens in a call: a value that can be printed, read, shrunk and played again."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from tests.support.fuzz import tones

Delivery = Literal["burst", "real time", "stalled", "slow"]
"""All at once; as fast as it sounds; with one long pause; slower than it sounds."""

Texts = Literal[
    "words", "words ahead", "words late", "sentence", "sentence first", "sentence last", "none"
]
"""By the word, each with its audio, all before the audio or all behind it; or the whole, behind
the audio, before it, or behind its stop."""


@dataclass(frozen=True)
class Step:
    """Something that happens.

    Some of it comes behind all that the TTS service was told to say before, or ``amid`` that: then
    it comes from between the TTS service and the avatar.

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
        other: A second context that is said at the same time: the words take turns.
        cut_ms: Only so much of its one word is said at all.
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
    other: str | None = None
    cut_ms: int | None = None

    @property
    def secs(self) -> float:
        """How long it sounds."""
        if self.cut_ms is not None:
            return self.cut_ms / 1000
        return sum(cells for _, cells in self.words) * tones.CELL_SECS

    @property
    def is_tiny(self) -> bool:
        """Whether it is too short for its words to be read."""
        return self.cut_ms is not None


@dataclass(frozen=True)
class Sound(Step):
    """A sound that is no speech: one word, played by the transport."""

    word: tuple[int, int] = (0, 5)
    rate: int = 24_000
    kept: bool = False
    amid: bool = False


@dataclass(frozen=True)
class Tone(Step):
    """A DTMF tone."""

    amid: bool = False


@dataclass(frozen=True)
class Message(Step):
    """A message to the client, which takes the transport some time to send."""

    secs: float = 0.0
    urgent: bool = False
    amid: bool = False


@dataclass(frozen=True)
class Mark(Step):
    """A frame that has its place in the speech; ``secs`` is what the transport takes for it."""

    secs: float = 0.0
    kept: bool = False
    amid: bool = False


@dataclass(frozen=True)
class Passer(Step):
    """A frame that nothing holds up.

    Attributes:
        up: Whether it goes up; else it is a system frame that goes down.
        user: Whether it tells that the user began to speak, or stopped: True or False.
    """

    up: bool = False
    user: bool | None = None


@dataclass(frozen=True)
class Halt(Step):
    """A ``StopFrame``, of a worker whose pipeline goes on with another one."""


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
class Return(Step):
    """The avatar comes back to the room, if it is out of it and its session is up."""


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
        session_secs: When each session expires; 0 for never.
        recorded: Whether what was heard is passed on, and the transport plays nothing.
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
    session_secs: float = 0.0
    recorded: bool = False


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
            Expire, Leave, Return, Break, End, Halt,
        )
    }  # fmt: skip
    script = eval(text.strip(), {"__builtins__": {}}, names)
    assert isinstance(script, Script)
    return script
