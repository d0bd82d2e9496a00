"""Whether the transport still speaks: told by itself, and counted where it cannot have told yet.

Against a model of Pipecat's output transport in virtual time, whose word travels for a moment.
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    OutputAudioRawFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)

from pipecat_agenthuman.pipeline.frame_traits import is_interruptible, speech_frame
from pipecat_agenthuman.pipeline.transport_output import TransportOutput
from tests.support.sounds import RATE, numbered

STEP_SECS = 0.002
CHUNK_SECS = 0.04
WORD_TAKES_SECS = 0.006
"""From the transport's saying so to the service's hearing of it."""

STALL_SECS = 3.0
"""Silence in an utterance that the transport takes for its end."""

GIVEN_UP_SECS = 1.1
"""After the last sound and word of the transport, it must count as silent: soon, but what an
interruption found unfinished may be waited for in vain."""


@dataclass
class Utterance:
    interruptible: bool
    queued: int = 0  # chunks
    complete: bool = False


@dataclass
class ModelTransport:
    """Plays what it is given, chunk by chunk, each utterance padded to whole ones."""

    now: float = 100.0
    queue: deque[Utterance] = field(default_factory=deque)
    speaking: bool = False
    chunk_ends: float = 0.0
    words: deque[tuple[float, Frame]] = field(default_factory=deque)
    last_activity: float = 0.0

    @property
    def has_speech(self) -> bool:
        # Of a chunk that it has called the last one, the rest does not count.
        plays = self.speaking and self.chunk_ends > self.now
        return plays or any(utterance.queued for utterance in self.queue)

    def tell(self, kind: type[Frame]) -> None:
        self.speaking = kind is BotStartedSpeakingFrame
        self.words.append((self.now + WORD_TAKES_SECS, kind()))
        self.last_activity = self.now

    def interrupt(self) -> None:
        if self.queue and self.queue[0].interruptible:
            self.chunk_ends = self.now  # at most a chunk of it still sounds
        self.queue = deque(u for u in self.queue if not u.interruptible)
        if not any(u.queued for u in self.queue) and self.speaking:
            self.tell(BotStoppedSpeakingFrame)
            self.queue.clear()

    def step(self, voice: TransportOutput) -> None:
        self.now += STEP_SECS
        while self.words and self.words[0][0] <= self.now:
            voice.hear(self.words.popleft()[1])
            self.last_activity = self.now
        if self.chunk_ends > self.now:
            self.last_activity = self.now
            return
        while self.queue and not self.queue[0].queued and self.queue[0].complete:
            self.queue.popleft()
            if self.speaking:
                self.tell(BotStoppedSpeakingFrame)
        if self.queue and self.queue[0].queued:
            self.queue[0].queued -= 1
            self.chunk_ends = self.now + CHUNK_SECS
            self.last_activity = self.now
            if not self.speaking:
                self.tell(BotStartedSpeakingFrame)
        elif self.speaking and self.now - self.chunk_ends > STALL_SECS:
            self.tell(BotStoppedSpeakingFrame)


@dataclass
class Scene:
    transport: ModelTransport = field(default_factory=ModelTransport)

    def __post_init__(self) -> None:
        self.voice = TransportOutput(lambda: self.transport.now)

    def let(self, secs: float) -> None:
        for _ in range(round(secs / STEP_SECS)):
            self.transport.step(self.voice)
            self.check()

    def check(self) -> None:
        if self.transport.has_speech:
            assert self.voice.busy, "the avatar would speak into it"
        silent_secs = self.transport.now - self.transport.last_activity
        if not self.transport.speaking and silent_secs > GIVEN_UP_SECS:
            assert not self.voice.busy, "the avatar would never come back"

    def say(self, pieces: list[int], *, interruptible: bool, pause_secs: float) -> None:
        self.voice.adapt(TTSStartedFrame())
        utterance = Utterance(interruptible)
        self.transport.queue.append(utterance)
        for chunks in pieces:
            audio = bytes(2 * round(chunks * CHUNK_SECS * RATE))
            self.voice.adapt(speech_frame(audio, RATE, interruptible=interruptible))
            utterance.queued += chunks
            self.transport.last_activity = self.transport.now
            self.check()
            self.let(pause_secs)
            if utterance not in self.transport.queue:
                return
        self.voice.adapt(TTSStoppedFrame())
        utterance.complete = True

    def interrupt(self) -> None:
        self.voice.stop()
        self.transport.interrupt()
        self.transport.last_activity = self.transport.now
        self.check()


SAYINGS = st.tuples(
    st.lists(st.integers(1, 8), min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from([0.0, 0.004, 0.04, 0.1, 0.5]),
)
ACTS = st.lists(
    st.one_of(SAYINGS, st.just("interrupt"), st.sampled_from([0.004, 0.05, 0.2, 1.0])),
    max_size=12,
)


@settings(deadline=None, max_examples=300)
@given(acts=ACTS)
def test_the_transport_is_busy_exactly_while_it_has_speech(acts):
    scene = Scene()
    for act in acts:
        if act == "interrupt":
            scene.interrupt()
        elif isinstance(act, tuple):
            pieces, interruptible, pause_secs = act
            scene.say(pieces, interruptible=interruptible, pause_secs=pause_secs)
        else:
            scene.let(act)
    scene.let(8.0)
    assert not scene.voice.busy


def test_a_stop_that_belongs_to_an_interruption_says_nothing_of_what_came_after_it():
    scene = Scene()
    scene.say([10], interruptible=True, pause_secs=0.1)
    scene.interrupt()
    scene.say([1], interruptible=True, pause_secs=0.0)
    scene.let(WORD_TAKES_SECS + STEP_SECS)
    assert scene.voice.busy
    scene.let(1.0)
    assert not scene.voice.busy


def test_what_the_transport_never_plays_does_not_keep_the_avatar_away():
    now = [5.0]
    voice = TransportOutput(lambda: now[0])
    voice.adapt(TTSStartedFrame())
    voice.adapt(speech_frame(bytes(20 * RATE), RATE, interruptible=True))
    voice.adapt(TTSStoppedFrame())
    now[0] += 0.9
    assert voice.busy
    now[0] += 0.2
    assert not voice.busy


def test_speech_is_as_uninterruptible_as_before_at_another_rate():
    transport = TransportOutput()
    transport.note_format(TTSAudioRawFrame(b"", 24_000, 1))
    pieces = [speech_frame(bytes(3200), RATE, interruptible=kept) for kept in (True, False, True)]
    passed = transport.take_over(pieces)
    assert {frame.sample_rate for frame in passed} == {24_000}
    assert [is_interruptible(frame) for frame in passed] == [True, False, True]


def test_the_rest_has_as_many_channels_as_the_tts_service_delivers():
    transport = TransportOutput()
    transport.note_format(TTSAudioRawFrame(b"", RATE, 2))
    piece = speech_frame(numbered(range(160)), RATE, interruptible=True)
    (passed,) = transport.take_over([piece])
    assert passed.num_channels == 2
    left, right = np.frombuffer(passed.audio, "<i2").reshape(-1, 2).T
    assert left.tobytes() == right.tobytes() == numbered(range(160))


def test_a_transport_that_plays_a_sound_first_begins_to_speak_later():
    now = [5.0]
    voice = TransportOutput(lambda: now[0])
    voice.note_sound(OutputAudioRawFrame(bytes(3 * 2 * RATE), RATE, 1))
    voice.adapt(TTSStartedFrame())
    voice.adapt(TTSAudioRawFrame(bytes(2 * 2 * RATE), RATE, 1))
    voice.adapt(TTSStoppedFrame())
    now[0] += 3.9
    assert voice.busy
    now[0] += 0.2
    assert not voice.busy
