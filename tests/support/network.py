"""What lies between an avatar's microphone and whoever is in the room."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_PIECE_SECS: Final = 0.02


@dataclass(frozen=True)
class Network:
    """Between the avatar and whoever is in the room.

    Attributes:
        delay_secs: How much later than it sounds it is heard, by everybody alike.
        late_secs: How much later still a piece comes to the bot, at most: each another bit.
        loss: Part of the pieces that do not come: what came before is repeated, more softly.
        noise: Loudness of the noise behind the avatar, as a root of mean squares.
    """

    delay_secs: float = 0.06
    late_secs: float = 0.0
    loss: float = 0.0
    noise: float = 0.0

    async def carry(
        self,
        sound: Callable[[float, float], NDArray[Any]],
        deliver: Callable[[bytes], None],
        *,
        seed: int = 1,
    ) -> None:
        """Carry a sound in real time, until cancelled.

        Args:
            sound: The samples from one moment to another.
            deliver: Takes them as PCM, in order.
            seed: Of what goes wrong.
        """
        loop, chance = asyncio.get_running_loop(), np.random.default_rng(seed)
        due, comes_at = loop.time(), 0.0
        piece = np.zeros(len(sound(due - _PIECE_SECS, due)))
        while True:
            due += _PIECE_SECS
            await asyncio.sleep(max(due - loop.time(), 0.0))
            said = sound(due - _PIECE_SECS, due)
            heard = said + chance.normal(0, self.noise, len(said))
            piece = piece * 0.5 if chance.random() < self.loss else heard
            comes_at = max(comes_at, due + self.delay_secs + chance.uniform(0, self.late_secs))
            pcm = np.clip(piece, -32768, 32767).astype("<i2").tobytes()
            loop.call_at(comes_at, partial(deliver, pcm))
