"""The seam by which whoever owns the sandbox takes part in its room.

The sandbox is the service, not the bot: it cannot answer. A program that runs a bot beside it,
as the demo does, lends the page its ears (typed text, interrupts, the microphone) and tells it
what the bot remembers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any, Final, Literal, Protocol

LONGEST_TEXT_CHARS: Final = 2000
"""More than anybody types to be said in one go."""

_KEPT_LINES: Final = 200
_KEPT_MEMORY: Final = 60
_LONGEST_MEMORY_CHARS: Final = 4000
_KEPT_NOTICES: Final = 20
_KEPT_VOICE: Final = 100
"""What nobody takes, because the sandbox does not run, is not kept."""

Role = Literal["system", "user", "assistant", "tool"]
Speaker = Literal["user", "bot"]
Manner = Literal["typed", "spoken", "said"]
Level = Literal["info", "warning", "error"]


class TalkPartner(Protocol):
    """Who hears what people say in the page: a bot's program.

    Everything is called in the sandbox's event loop. It must return at once and raise nothing.
    """

    def said(self, text: str) -> None:
        """A text was typed: 1 to ``LONGEST_TEXT_CHARS`` characters."""
        ...

    def interrupted(self) -> None:
        """The bot is to be silent."""
        ...

    def microphone_changed(self, is_on: bool) -> None:
        """Somebody's microphone is on now, or off."""
        ...

    def heard(self, pcm: bytes) -> None:
        """The microphone heard this: mono, signed 16-bit little-endian, 16 kHz, 200 ms at most."""
        ...


@dataclass(frozen=True)
class TalkTerms:
    """What a page offers, and says of whom one talks to.

    Attributes:
        title: Who answers, for example "A small script".
        introduction: One or two honest sentences about it.
        can_type: Whether it takes text.
        can_interrupt: Whether it can be interrupted.
        can_speak: Whether it takes a microphone.
        why_not_speak: What it lacks for that, and how to get it; a sentence.
        suggestions: What one could say.
    """

    title: str
    introduction: str
    can_type: bool = True
    can_interrupt: bool = True
    can_speak: bool = False
    why_not_speak: str | None = None
    suggestions: tuple[str, ...] = ()


_NO_TERMS: Final = TalkTerms("", "", can_type=False, can_interrupt=False)


@dataclass(frozen=True)
class MemoryMessage:
    """A message of the bot's memory, as it is now.

    Attributes:
        role: Whose.
        text: What.
    """

    role: Role
    text: str


@dataclass(frozen=True)
class _Activity:
    user_is_speaking: bool = False
    bot_is_thinking: bool = False
    bot_is_speaking: bool = False


@dataclass(frozen=True)
class VoicePiece:
    """A piece of the bot's own voice.

    Attributes:
        pcm: 16-bit mono PCM at 16 kHz.
        starts_at: When its first sample sounds, on the sandbox's clock.
    """

    pcm: bytes
    starts_at: float


class Topic(Enum):
    """What of a talk has changed."""

    TERMS = "talk"
    ACTIVITY = "activity"
    MEMORY = "memory"
    TRANSCRIPT = "transcript"
    NOTICE = "notice"
    VOICE = "voice"


class Talk:
    """What a partner and the pages tell each other.

    The partner's methods (``host`` to ``notify``) may be called from any thread, the others
    belong to the sandbox's event loop.
    """

    def __init__(self, now_secs: Callable[[], float]) -> None:
        """Begin without a partner.

        Args:
            now_secs: Seconds since the sandbox started.
        """
        self._now_secs = now_secs
        self._lock = threading.RLock()
        self._partner: TalkPartner | None = None
        self._terms = _NO_TERMS
        self._activity = _Activity()
        self._memory: tuple[MemoryMessage, ...] = ()
        self._lines: dict[int, dict[str, Any]] = {}
        self._fresh_lines: dict[int, dict[str, Any]] = {}
        self._fresh_notices: list[dict[str, Any]] = []
        self._fresh_voice: list[VoicePiece | None] = []
        self._holder: Hashable | None = None
        self._changed: Callable[[Topic], None] = lambda topic: None

    # --- the partner's side ---

    def host(self, partner: TalkPartner, terms: TalkTerms) -> None:
        """Take part from now on; once more, to change the terms.

        Args:
            partner: Who hears what people say.
            terms: What they may do.
        """
        with self._lock:
            self._partner, self._terms = partner, terms
            if not terms.can_speak:
                self._holder = None
        self._changed(Topic.TERMS)

    def withdraw(self) -> None:
        """Take part no longer. What was said stays to be read."""
        with self._lock:
            self._partner, self._terms, self._holder = None, _NO_TERMS, None
            self._activity = _Activity()
        self._changed(Topic.TERMS)
        self._changed(Topic.ACTIVITY)

    def show_activity(
        self,
        *,
        user_is_speaking: bool | None = None,
        bot_is_thinking: bool | None = None,
        bot_is_speaking: bool | None = None,
    ) -> None:
        """Show who does what; None leaves it as it is."""
        given = {
            "user_is_speaking": user_is_speaking,
            "bot_is_thinking": bot_is_thinking,
            "bot_is_speaking": bot_is_speaking,
        }
        known = {name: value for name, value in given.items() if value is not None}
        with self._lock:
            self._activity = replace(self._activity, **known)
        self._changed(Topic.ACTIVITY)

    def show_memory(self, messages: Iterable[MemoryMessage]) -> None:
        """Show what the bot remembers.

        Args:
            messages: The whole memory, in order; the page shows the latest 60 messages.
        """
        latest = list(messages)[-_KEPT_MEMORY:]
        with self._lock:
            self._memory = tuple(
                replace(message, text=message.text[:_LONGEST_MEMORY_CHARS]) for message in latest
            )
        self._changed(Topic.MEMORY)

    def show_line(
        self, line_id: int, who: Speaker, text: str, *, is_final: bool = True, how: Manner = "said"
    ) -> None:
        """Show what somebody says.

        Args:
            line_id: Number of the line; a known one is replaced.
            who: "user" or "bot".
            text: The words.
            is_final: Whether they stay as they are.
            how: "typed" or "spoken" by a person, "said" by the bot.
        """
        with self._lock:
            known = self._lines.get(line_id)
            line = {
                "id": line_id,
                "at_secs": self._now_secs() if known is None else known["at_secs"],
                "who": who,
                "text": text[:_LONGEST_MEMORY_CHARS],
                "is_final": is_final,
                "how": how,
            }
            self._lines[line_id] = self._fresh_lines[line_id] = line
            for lines in (self._lines, self._fresh_lines):
                while len(lines) > _KEPT_LINES:
                    del lines[next(iter(lines))]
        self._changed(Topic.TRANSCRIPT)

    def notify(self, text: str, level: Level = "info") -> None:
        """Say something to everybody who watches.

        Args:
            text: A sentence.
            level: "info", "warning" or "error".
        """
        with self._lock:
            self._fresh_notices.append(notice(text, level))
            del self._fresh_notices[:-_KEPT_NOTICES]
        self._changed(Topic.NOTICE)

    def play(self, pcm: bytes, starts_at: float) -> None:
        """Play a piece of the bot's own voice: what its transport says, and no avatar.

        Args:
            pcm: 16-bit mono PCM at 16 kHz, little-endian.
            starts_at: When its first sample is to sound, on the sandbox's clock; 0.1 s ahead
                or more, so that pages have it in time.
        """
        self._add_voice(VoicePiece(pcm, starts_at))

    def fall_silent(self) -> None:
        """Play nothing of the bot's own voice that has not sounded yet."""
        self._add_voice(None)

    def _add_voice(self, piece: VoicePiece | None) -> None:
        with self._lock:
            self._fresh_voice.append(piece)
            del self._fresh_voice[:-_KEPT_VOICE]
        self._changed(Topic.VOICE)

    # --- the room's side ---

    def on_change(self, changed: Callable[[Topic], None]) -> None:
        """Name who is told of changes, in whatever thread they are made."""
        self._changed = changed

    def describe(self, viewer: Hashable | None = None) -> dict[str, Any]:
        """Return the terms as one viewer sees them, as JSON values."""
        with self._lock:
            holder = self._holder
            taken = "free" if holder is None else "yours" if holder == viewer else "taken"
            terms = asdict(self._terms) | {"suggestions": list(self._terms.suggestions)}
            return {"is_hosted": self._partner is not None, **terms, "microphone": taken}

    def activity(self) -> dict[str, Any]:
        """Return who does what, as JSON values."""
        return asdict(self._activity)

    def memory(self) -> list[dict[str, Any]]:
        """Return the memory, as JSON values."""
        return [asdict(message) for message in self._memory]

    def transcript(self) -> list[dict[str, Any]]:
        """Return what was said, as JSON values."""
        with self._lock:
            return list(self._lines.values())

    def take_lines(self) -> list[dict[str, Any]]:
        """Return the lines that changed since the last time."""
        with self._lock:
            fresh, self._fresh_lines = list(self._fresh_lines.values()), {}
            return fresh

    def take_notices(self) -> list[dict[str, Any]]:
        """Return the notices since the last time."""
        with self._lock:
            fresh, self._fresh_notices = self._fresh_notices, []
            return fresh

    def take_voice(self) -> list[VoicePiece | None]:
        """Return the bot's own voice since the last time; None where it fell silent."""
        with self._lock:
            fresh, self._fresh_voice = self._fresh_voice, []
            return fresh

    def say(self, text: str) -> str | None:
        """Pass on a text that was typed.

        Returns:
            Why it was not passed on; None if it was.
        """
        text = text.encode("utf-8", "replace").decode().strip()  # halves of surrogate pairs
        if not (self._partner and self._terms.can_type):
            return "Nobody here takes what is typed."
        if not text:
            return "There is nothing to say in that."
        if len(text) > LONGEST_TEXT_CHARS:
            return f"The text is longer than {LONGEST_TEXT_CHARS} characters."
        self._partner.said(text)
        return None

    def interrupt(self) -> str | None:
        """Pass on an interruption; returns why not, or None."""
        if not (self._partner and self._terms.can_interrupt):
            return "Nobody here can be interrupted from the page."
        self._partner.interrupted()
        return None

    def take_microphone(self, viewer: Hashable) -> str | None:
        """Let a viewer's microphone be heard; returns why not, or None."""
        with self._lock:
            if not (self._partner and self._terms.can_speak):
                return self._terms.why_not_speak or "Nobody here listens to a microphone."
            if self._holder not in (None, viewer):
                return "Another page has the microphone."
            is_new, self._holder = self._holder is None, viewer
        if is_new:
            self._partner.microphone_changed(True)
            self._changed(Topic.TERMS)
        return None

    def give_back_microphone(self, viewer: Hashable) -> None:
        """Hear a viewer's microphone no longer, if it was heard."""
        with self._lock:
            if self._holder != viewer:
                return
            self._holder = None
        if self._partner is not None:
            self._partner.microphone_changed(False)
        self._changed(Topic.TERMS)

    def hear(self, viewer: Hashable, pcm: bytes) -> None:
        """Pass on what a viewer's microphone heard, if it is heard."""
        if self._partner is not None and self._holder == viewer:
            self._partner.heard(pcm)


def notice(text: str, level: Level) -> dict[str, Any]:
    """Return the message of a notice."""
    return {"type": "notice", "level": level, "text": text}
