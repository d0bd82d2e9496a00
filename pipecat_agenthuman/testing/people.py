"""The people in a call, whose microphones run in real time: they join, speak and leave."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import Awaitable, Callable
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import soxr

from pipecat_agenthuman.testing.services import ScriptedSTT
from pipecat_agenthuman.testing.transport import CallTransport

Samples = npt.NDArray[np.int16]

_SILENCE: Final = 200
"""Samples that are quieter, of 32767, are no speech at a recording's ends."""

_VOICE: Final = "en-us"


class Person:
    """Someone with an open microphone.

    Attributes:
        name: As whom they joined.
        participant_id: As the bot knows them.
    """

    def __init__(
        self,
        name: str,
        participant_id: str,
        *,
        transport: CallTransport,
        stt: ScriptedSTT,
        until_avatar_speaks: Callable[[], Awaitable[None]],
        leave: Callable[[str], Awaitable[None]],
    ) -> None:
        """Take a seat; ``Call.join`` does.

        Args:
            name: As whom.
            participant_id: As the bot knows them.
            transport: Where they are heard.
            stt: Is told what they say.
            until_avatar_speaks: Waits until the avatar is heard.
            leave: Frees the seat of a participant.
        """
        self.name = name
        self.participant_id = participant_id
        self._transport = transport
        self._stt = stt
        self._until_avatar_speaks = until_avatar_speaks
        self._leave = leave
        self._unsaid = np.zeros(0, np.int16)
        self._silent = asyncio.Event()
        self._silent.set()
        self._gone = False

    async def say(self, words: str = "", *, audio: str | Path | None = None) -> None:
        """Say something, in real time; returns when it was said.

        Args:
            words: What ``call.stt`` is to recognise when the speech has ended; empty if the bot
                has another speech recognition, or is not to understand.
            audio: A WAV file with 16-bit PCM, of any rate and number of channels; without one
                the words are synthesised, which needs the extra ``demo``. Silence at its ends is
                left out.

        Raises:
            ValueError: If there is nothing to say, or the file has no speech in it.
            OSError: If the file cannot be read.
            EspeakError: If the extra ``demo`` is not installed; an ``AgentHumanError``.
        """
        if not words and audio is None:
            raise ValueError("Give words to say, or audio=, the path of a WAV file.")
        await self._transport.until_started()
        rate = self._transport.input_sample_rate
        sound = await asyncio.to_thread(_sound, words, audio, rate)
        await self._silent.wait()
        self._unsaid = sound
        self._silent.clear()
        await self._silent.wait()
        if words and not self._gone:
            self._stt.cues.append(words)

    async def interrupt(
        self, words: str = "", *, audio: str | Path | None = None, after_secs: float = 0.5
    ) -> None:
        """Say something while the avatar speaks; returns when it was said.

        Args:
            words: As for ``say``.
            audio: As for ``say``.
            after_secs: How long the avatar is to be heard before.

        Raises:
            TimeoutError: If the avatar says nothing.
        """
        await self._until_avatar_speaks()
        await asyncio.sleep(after_secs)
        await self.say(words, audio=audio)

    async def leave(self) -> None:
        """Leave the room; what they still had to say is not said."""
        self._gone = True
        await self._leave(self.participant_id)
        self._unsaid = self._unsaid[:0]
        self._silent.set()

    def spoken(self, samples: int) -> Samples:
        """What their microphone picks up next; silence when nothing is left to say.

        Args:
            samples: How much of it.
        """
        said, self._unsaid = self._unsaid[:samples], self._unsaid[samples:]
        if not len(self._unsaid):
            self._silent.set()
        return np.pad(said, (0, samples - len(said)))


def _sound(words: str, audio: str | Path | None, rate: int) -> Samples:
    samples, given_rate = _synthesised(words) if audio is None else _recorded(Path(audio))
    if given_rate != rate:
        samples = soxr.resample(samples, given_rate, rate).astype(np.int16)
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > _SILENCE)
    if not len(loud):
        raise ValueError(f"There is no speech in {audio or words!r}.")
    return samples[loud[0] : loud[-1] + 1]


def _recorded(path: Path) -> tuple[Samples, int]:
    try:
        with wave.open(str(path)) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            content = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path} is no WAV file: {error}.") from None
    if width != 2:
        raise ValueError(f"{path} has samples of {8 * width} bits; give a WAV file with 16.")
    interleaved = np.frombuffer(content, dtype="<i2").reshape(-1, channels)
    return interleaved.mean(axis=1).astype(np.int16), rate


@lru_cache(maxsize=64)
def _synthesised(words: str) -> tuple[Samples, int]:
    from pipecat_agenthuman.demo.espeak import EspeakError, EspeakSynthesizer

    try:
        speech = EspeakSynthesizer(voice=_VOICE, words_per_minute=175).synthesize(words)
    except EspeakError as error:
        remedy = f"{error.remedy} Or give audio=, a WAV file."
        raise EspeakError(error.message, remedy=remedy.strip()) from None
    return np.frombuffer(speech.audio, dtype=np.int16), speech.sample_rate
