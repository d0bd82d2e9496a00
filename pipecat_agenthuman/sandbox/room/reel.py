"""What one avatar is about to say, as the messages that pages get: made once, for all of them.

A message, all of it little-endian:

======  ======  ==================================================================================
offset  type    what
======  ======  ==================================================================================
0       u8      1, for the speech of an avatar
1       u8      bit 0: the first sample follows the last one of the message before
2       u16     bytes of the session's ID
4       u32     number of samples
8       f64     when the first sample sounds, in seconds since the sandbox started
16      f64     the time of the first mouth frame; it and those behind it replace earlier ones
24      u32     number of mouth frames
28      u32     counts the session's messages, from 1
32              the session's ID, with zeros up to a multiple of 4 bytes
then            the samples, 16-bit, mono, at 16 kHz
then            the mouth frames, 4 bytes each, ``MOUTH_RATE`` per second; see ``mouth``
======  ======  ==================================================================================
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipecat_agenthuman.sandbox.room.mouth import MOUTH_RATE, LipReader
from pipecat_agenthuman.sandbox.sound import Samples
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE

RECENT_SECS: Final = 1.0
"""Sound is kept so long after it was heard: a page's own sound card may be late."""

_LONGEST_MERGED_SECS: Final = 5.0
"""No more is put together in one message, so that none holds up an interrupt behind it."""

_SPEECH: Final = 1
CONTINUES: Final = 1
HEAD: Final = struct.Struct("<BBHIddII")


@dataclass(frozen=True, eq=False)
class _Piece:
    """Audio, and when it sounds."""

    audio: Samples
    starts_at: float
    continues: bool

    @property
    def ends_at(self) -> float:
        return self.starts_at + len(self.audio) / WIRE_SAMPLE_RATE


@dataclass(frozen=True, eq=False)
class _Message:
    """A finished message, and until when it is of use."""

    content: bytes
    ends_at: float


class Reel:
    """The speech of one session that has not been heard for long yet.

    What nobody asks for is never made into messages: a sandbox that nobody watches does not
    look at its sound.
    """

    def __init__(self, session_id: str, *, started_at: float) -> None:
        """Begin a reel.

        Args:
            session_id: Whose speech it is.
            started_at: From when pages count time, on the sandbox's clock.
        """
        self._id = session_id.encode("ascii")
        self._started_at = started_at
        self._lips = LipReader()
        self._raw: deque[_Piece] = deque()
        self._messages: deque[_Message] = deque()
        self._made = 0
        self._ends_at: float | None = None
        self._read_until: float | None = None

    @property
    def starts_at(self) -> float | None:
        """When the first sound begins of which there is no message yet; None if there is none."""
        return self._raw[0].starts_at if self._raw else None

    def add(self, audio: Samples, starts_at: float, now: float) -> None:
        """Put in what will sound.

        Args:
            audio: 16-bit samples at 16 kHz.
            starts_at: When the first of them sounds, on the sandbox's clock.
            now: The time.
        """
        self._forget(now)
        piece = _Piece(audio, starts_at, continues=_same_time(starts_at, self._ends_at))
        self._ends_at = piece.ends_at
        self._raw.append(piece)

    def cut(self) -> None:
        """Forget everything: the avatar fell silent, and starts anew."""
        self._raw.clear()
        self._messages.clear()
        self._ends_at = None

    def unsent(self, now: float) -> list[bytes]:
        """Return the messages about what was put in since the last time."""
        self._forget(now)
        fresh = [self._make(piece) for piece in self._merged()]
        self._messages += fresh
        return [message.content for message in fresh]

    def still_to_sound(self, now: float) -> list[bytes]:
        """Return, for a page that comes late, what ``unsent`` returned and is of use still."""
        self._forget(now)
        return [message.content for message in self._messages]

    def _forget(self, now: float) -> None:
        """Forget what was heard a while ago."""
        for kept in (self._raw, self._messages):
            while kept and kept[0].ends_at < now - RECENT_SECS:
                kept.popleft()

    def _merged(self) -> list[_Piece]:
        """Take out the raw pieces, those that follow each other as one."""
        merged: list[_Piece] = []
        while self._raw:
            first = self._raw.popleft()
            parts, samples = [first.audio], len(first.audio)
            limit = _LONGEST_MERGED_SECS * WIRE_SAMPLE_RATE
            while self._raw and self._raw[0].continues and samples < limit:
                part = self._raw.popleft().audio
                parts.append(part)
                samples += len(part)
            merged.append(_Piece(np.concatenate(parts), first.starts_at, first.continues))
        return merged

    def _make(self, piece: _Piece) -> _Message:
        # What was forgotten before anybody asked for it is no beginning of this.
        continues = piece.continues and _same_time(piece.starts_at, self._read_until)
        self._read_until = piece.ends_at
        movement = self._lips.read(piece.audio, continues=continues)
        starts_at = piece.starts_at - self._started_at
        self._made += 1
        head = HEAD.pack(
            _SPEECH,
            CONTINUES if continues else 0,
            len(self._id),
            len(piece.audio),
            starts_at,
            starts_at + movement.starts_after_secs,
            len(movement.frames),
            self._made,
        )
        padding = bytes(-len(self._id) % 4)
        sound = piece.audio.astype("<i2").tobytes()
        content = b"".join([head, self._id, padding, sound, movement.frames.tobytes()])
        last_frame_at = piece.starts_at + movement.starts_after_secs
        last_frame_at += len(movement.frames) / MOUTH_RATE
        return _Message(content, max(piece.ends_at, last_frame_at))


def _same_time(one: float, other: float | None) -> bool:
    """Whether two times are the same but for a clock's rounding."""
    return other is not None and abs(one - other) * WIRE_SAMPLE_RATE < 0.5
