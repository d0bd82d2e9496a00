"""Trouble to choose from: every kind of fault, with a sentence on what it does to a bot.

A control of the room's page for each. What a fault is, ``Fault`` says; here it is put in the
words of somebody who wants to see what their bot does about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pipecat_agenthuman.sandbox.faults import Fault
from pipecat_agenthuman.wire.error_catalogue import (
    ERROR_CATALOGUE,
    Answers,
    ErrorEntry,
    ServerErrorCode,
)


class Group(StrEnum):
    """What a trouble is about, in the order in which they are shown."""

    SLOW = "Slow"
    CONFIRMATIONS = "Confirmations"
    ERRORS = "Errors"
    CONNECTION = "Connection"
    SESSIONS = "Sessions"
    AVATAR = "Avatar"


class Action(StrEnum):
    """What a service does to a session without being asked."""

    END = "end"
    DROP = "drop"
    ABORT = "abort"
    REMOVE_AVATAR = "remove_avatar"
    RETURN_AVATAR = "return_avatar"


@dataclass(frozen=True)
class Adjustment:
    """A number of a trouble that can be chosen.

    Attributes:
        field: Field of its faults.
        label: What it is.
        unit: In what it is counted.
        least: The smallest choice.
        most: The greatest.
        step: From one to the next.
    """

    field: str
    label: str
    unit: str
    least: float
    most: float
    step: float


_SECS: Final = Adjustment("delay_secs", "By", "s", least=0.1, most=20.0, step=0.1)


@dataclass(frozen=True)
class Trouble:
    """Something that can go wrong, at the push of a button.

    Attributes:
        id: Its name in programs.
        group: What it is about.
        title: Its name on the button.
        sentence: What goes wrong, and what a bot does that takes it well.
        faults: Injected for it.
        action: Then done to the session, so that faults of the next one strike at once.
        adjustment: What of its faults can be chosen.
    """

    id: str
    group: Group
    title: str
    sentence: str
    faults: tuple[Fault, ...] = ()
    action: Action | None = None
    adjustment: Adjustment | None = None

    @property
    def is_lasting(self) -> bool:
        """Whether it goes on until all faults are disarmed."""
        return any(fault.times is None for fault in self.faults)


def troubles() -> tuple[Trouble, ...]:
    """Return all of them, in the order in which to show them."""
    return (*_SLOW, *_CONFIRMATIONS, *_ERRORS, *_CONNECTION, *_SESSIONS, *_AVATAR)


def describe_trouble(trouble: Trouble) -> dict[str, Any]:
    """Return a trouble as JSON values."""
    adjustment = trouble.adjustment
    faults = [fault.model_dump(mode="json", exclude_defaults=True) for fault in trouble.faults]
    return {
        "id": trouble.id,
        "group": trouble.group,
        "title": trouble.title,
        "sentence": trouble.sentence,
        "faults": faults or None,
        "action": trouble.action,
        "adjust": None
        if adjustment is None
        else {
            "field": adjustment.field,
            "label": adjustment.label,
            "unit": adjustment.unit,
            "min": adjustment.least,
            "max": adjustment.most,
            "step": adjustment.step,
            "default": getattr(trouble.faults[0], adjustment.field),
        },
        "lasting": trouble.is_lasting,
    }


_SLOW: Final = (
    Trouble(
        "slow_confirmations",
        Group.SLOW,
        "Slow confirmations",
        "Every confirmation of speech comes late, as over a slow network. The bot sends more audio "
        "in one message, and its words and the end of its speech stay with the sound.",
        (Fault(on="agent.speak", kind="delay", delay_secs=0.4, delayed="answer", times=None),),
        adjustment=_SECS,
    ),
    Trouble(
        "slow_server",
        Group.SLOW,
        "A server that hesitates",
        "The next message is taken up late, and all behind it wait. The avatar may fall silent in "
        "mid sentence; nothing of it is lost.",
        (Fault(on="agent.speak", kind="delay", delay_secs=2.0),),
        adjustment=_SECS,
    ),
    Trouble(
        "slow_interrupt",
        Group.SLOW,
        "A slow interrupt",
        "The next interrupt is obeyed late, so the avatar talks on. The bot keeps new speech back "
        "until the interrupt is confirmed, or gives up on it in time.",
        (Fault(on="agent.interrupt", kind="delay", delay_secs=1.0),),
        adjustment=_SECS,
    ),
    Trouble(
        "slow_session",
        Group.SLOW,
        "A slow new session",
        "The session is dropped, and the next one is created late. The bot speaks through its "
        "transport until then.",
        (Fault(on="create", kind="delay", delay_secs=5.0),),
        adjustment=_SECS,
        action=Action.DROP,
    ),
    Trouble(
        "stalled_reading",
        Group.SLOW,
        "A server that stops reading",
        "The server reads nothing more, so what is sent backs up. The bot notices that nothing is "
        "confirmed and replaces the session.",
        (Fault(on="agent.speak", kind="stall_reading"),),
    ),
)

_CONFIRMATIONS: Final = (
    Trouble(
        "missing_confirmation",
        Group.CONFIRMATIONS,
        "A missing confirmation",
        "The next speech is heard, but never confirmed. The bot takes the connection for lost "
        "after a while, and says again what it cannot know to have been heard: that message.",
        (Fault(on="agent.speak", kind="missing"),),
    ),
    Trouble(
        "missing_interrupt_confirmation",
        Group.CONFIRMATIONS,
        "An unconfirmed interrupt",
        "The next interrupt is obeyed, but never confirmed. The bot speaks again all the same, "
        "after a short while.",
        (Fault(on="agent.interrupt", kind="missing"),),
    ),
    Trouble(
        "duplicate_confirmation",
        Group.CONFIRMATIONS,
        "A confirmation twice",
        "The next speech is confirmed twice. The bot counts its audio once.",
        (Fault(on="agent.speak", kind="duplicate"),),
    ),
    Trouble(
        "wrong_samples",
        Group.CONFIRMATIONS,
        "A wrong count",
        "The next confirmation names a wrong number of samples. The bot goes by what it sent.",
        (Fault(on="agent.speak", kind="wrong_samples", audio_samples=1),),
    ),
    Trouble(
        "garbage",
        Group.CONFIRMATIONS,
        "Garbage",
        "In place of the next confirmation comes something that is no message. The bot skips it, "
        "tells of it once, and does not fail.",
        (Fault(on="agent.speak", kind="garbage"),),
    ),
    Trouble(
        "trailing_comma",
        Group.CONFIRMATIONS,
        "The misprinted confirmation",
        "The next interrupt is confirmed as the documentation prints it, with a comma too many. "
        "The bot understands it.",
        (Fault(on="agent.interrupt", kind="trailing_comma"),),
    ),
)


def _error(entry: ErrorEntry) -> Trouble:
    """Answer with one of the documented errors, where the service would."""
    text = f"{entry.text} {_DETAILS[entry.code]}" if entry.code in _DETAILS else entry.text
    if entry.answers is Answers.INIT:
        when = "The session is dropped, and the next one is answered so instead of being opened."
        does = "The bot tells of the error and tries again, speaking through its transport."
    else:
        when = "The next speech is answered so, and not heard."
        does = "The bot tells of the error; the words that were refused do not reach its memory."
    return Trouble(
        f"error_{entry.code.value}",
        Group.ERRORS,
        text,
        f"{entry.meaning} {when} {does}",
        (
            Fault(
                on="session.init" if entry.answers is Answers.INIT else "agent.speak",
                kind="error",
                text=text,
            ),
        ),
        action=Action.DROP if entry.answers is Answers.INIT else None,
    )


_DETAILS: Final = {
    ServerErrorCode.AUDIO_NOT_PROCESSED: "decoder failed",
    ServerErrorCode.UNKNOWN_MESSAGE_TYPE: "agent.speak",
}
"""What stands behind the errors that end in a colon."""

_ERRORS: Final = tuple(_error(entry) for entry in ERROR_CATALOGUE)

_CONNECTION: Final = (
    Trouble(
        "drop",
        Group.CONNECTION,
        "Close the socket now",
        "The service closes the WebSocket, and the session ends. The bot goes on from the very "
        "word, first through its transport, then with a new session.",
        action=Action.DROP,
    ),
    Trouble(
        "abort",
        Group.CONNECTION,
        "Reset the connection now",
        "The connection is reset without a word. The bot does as after a close.",
        action=Action.ABORT,
    ),
    Trouble(
        "close_on_speech",
        Group.CONNECTION,
        "Close at the next speech",
        "The socket is closed in answer to the next speech, which is not heard. The bot says it "
        "all the same.",
        (Fault(on="agent.speak", kind="close", code=1011),),
    ),
    Trouble(
        "cut",
        Group.CONNECTION,
        "Cut the network",
        "From the next speech on nothing comes through, in either direction, and the server does "
        "not notice. The bot finds out by itself, ends the session by request, makes a new one.",
        (Fault(on="agent.speak", kind="cut"),),
    ),
    Trouble(
        "silent",
        Group.CONNECTION,
        "A server that falls silent",
        "The server reads on and never answers again, not even pings. The bot notices and replaces "
        "the session.",
        (Fault(on="agent.speak", kind="silent"),),
    ),
    Trouble(
        "missing_pong",
        Group.CONNECTION,
        "Unanswered pings",
        "No ping is answered any more, while everything else works. The bot may take the "
        "connection for lost.",
        (Fault(on="ping", kind="missing", times=None),),
    ),
    Trouble(
        "refused_socket",
        Group.CONNECTION,
        "Refuse the next socket",
        "The session is dropped, and the next WebSocket is refused with 503. The bot ends the "
        "session that it could not reach, and tries again.",
        (Fault(on="connect", kind="refuse", status=503),),
        action=Action.DROP,
    ),
)

_SESSIONS: Final = (
    Trouble(
        "expire",
        Group.SESSIONS,
        "End the session now",
        "The service ends the session, as at its expiration. The bot makes a new one and goes on.",
        action=Action.END,
    ),
    Trouble(
        "refuse_session",
        Group.SESSIONS,
        "Refuse the next session",
        "The session is dropped, and the next one is refused: too many at a time (429). The bot "
        "waits and tries again, and speaks through its transport meanwhile.",
        (Fault(on="create", kind="refuse", status=429, headers={"Retry-After": "2"}),),
        action=Action.DROP,
    ),
    Trouble(
        "refuse_sessions",
        Group.SESSIONS,
        "Refuse all sessions",
        "The session is dropped, and none is made any more (503). The bot speaks through its "
        "transport until one is.",
        (Fault(on="create", kind="refuse", status=503, times=None),),
        action=Action.DROP,
    ),
    Trouble(
        "lost_answer",
        Group.SESSIONS,
        "Lose the answer",
        "The session is dropped, and the next one is created, but the answer is lost. The bot "
        "looks for it and ends it, so that it costs nothing, before it makes another.",
        (Fault(on="create", kind="close", carried_out=True),),
        action=Action.DROP,
    ),
    Trouble(
        "wrong_server",
        Group.SESSIONS,
        "Name a wrong server",
        "The session is dropped, and the next one's answer names a server that does not know it. "
        "The bot is refused there and makes another session.",
        (Fault(on="create", kind="wrong_server"),),
        action=Action.DROP,
    ),
    Trouble(
        "end_fails",
        Group.SESSIONS,
        "Refuse to end a session",
        "The socket is closed, and the next request to end a session is reset. The bot repeats it, "
        "and makes no other session before.",
        (Fault(on="end", kind="abort"),),
        action=Action.DROP,
    ),
)

_AVATAR: Final = (
    Trouble(
        "remove_avatar",
        Group.AVATAR,
        "Let the avatar leave",
        "The avatar leaves the room while its session goes on, and nothing more of it is heard.",
        action=Action.REMOVE_AVATAR,
    ),
    Trouble(
        "return_avatar",
        Group.AVATAR,
        "Let the avatar come back",
        "An avatar that left is back in the room, and heard from here on.",
        action=Action.RETURN_AVATAR,
    ),
)
