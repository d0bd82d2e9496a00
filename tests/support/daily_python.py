"""A stand-in of daily-python: what Pipecat's Daily transport calls of it, and no more.

Tests use it through ``daily_room.py`` beside this file. What it takes over from daily-python
(0.36, observed and read in its sources):

- Events and completions of a client come from one thread of its own, in order, and block it
  until the handler returns. Audio and video come from a second thread.
- Who is in the room already is announced with ``on_participant_joined`` before ``join``
  completes, and stands in the join data too, next to ``local``.
- The profile ``base`` subscribes to everything. Settings of a participant override it, and
  last no longer than the participant. What is malformed is answered with an error.
- ``userId`` is the one in the meeting token, otherwise the participant's id. Every joining
  gets a new id.
- A renderer gets only media that are subscribed, and its callback as much at a time as it
  asked for; what is less waits for more. The virtual speaker, of which only the
  selected one plays, mixes all subscribed microphones and reads empty when nobody speaks.

What it leaves out: the network, codecs, permissions, custom tracks, screen shares, dial-in,
dial-out and recording. Speech is delivered at once, not in real time. Audio that a bot writes
completes at once too, unless the stand-in is installed with ``real_time=True``.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr

if TYPE_CHECKING:
    from tests.support.daily_room import DailyStandIn, Participant, Room

MEDIA = ("camera", "microphone", "screenVideo", "screenAudio")
CUSTOM_MEDIA = ("customVideo", "customAudio")
_STATES = ("subscribed", "unsubscribed")
_THREAD_END_SECS = 10.0

Completion = Callable[..., None] | None


# --- what media look like ----------------------------------------------------------------


@dataclass(frozen=True)
class AudioData:
    """``daily.AudioData``: 16-bit mono PCM."""

    audio_frames: bytes
    sample_rate: int
    bits_per_sample: int = 16
    num_channels: int = 1

    @property
    def num_audio_frames(self) -> int:
        return len(self.audio_frames) // 2


@dataclass(frozen=True)
class VideoFrame:
    """``daily.VideoFrame``."""

    buffer: bytes
    width: int
    height: int
    color_format: str
    timestamp_us: int = 0


def resampled(audio: bytes, from_rate: int, to_rate: int) -> bytes:
    """Convert 16-bit mono PCM."""
    if from_rate == to_rate:
        return audio
    samples = np.frombuffer(audio, dtype=np.int16)
    return soxr.resample(samples, from_rate, to_rate).astype(np.int16).tobytes()


# --- threads and devices -----------------------------------------------------------------


class Worker:
    """A thread of daily-python: runs what is posted, in order."""

    def __init__(self, name: str, failures: list[BaseException]) -> None:
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._failures = failures
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def post(self, function: Callable[..., Any], *args: Any) -> None:
        self._jobs.put((function, args))

    def settle(self) -> None:
        """Wait until what was posted has run."""
        done = threading.Event()
        self.post(done.set)
        done.wait(_THREAD_END_SECS)

    def end(self) -> None:
        """Run what was posted, then end, and wait for that."""
        self._jobs.put(None)
        self._thread.join(_THREAD_END_SECS)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            function, args = job
            try:
                function(*args)
            except Exception as error:  # noqa: BLE001 - reported when the stand-in is closed
                self._failures.append(error)


class StandInSpeaker:
    """``daily.VirtualSpeakerDevice``: the mixed sound of the room."""

    def __init__(self, daily: DailyStandIn, name: str, sample_rate: int, channels: int) -> None:
        self.name = name
        self.sample_rate = sample_rate
        self.channels = channels
        self._tracks: dict[str, bytearray] = {}
        self._lock = threading.Lock()
        self._worker = daily.new_worker(f"{name}-playout")

    def settle(self) -> None:
        """Wait until whoever read was answered."""
        self._worker.settle()

    def play(self, participant_id: str, audio: bytes) -> None:
        """Add to what waits to be read of a participant."""
        with self._lock:
            self._tracks.setdefault(participant_id, bytearray()).extend(audio)

    def read_frames(self, num_frames: int, completion: Completion = None) -> bytes:
        """Read as a non-blocking device: the audio comes to ``completion``."""
        if completion:
            self._worker.post(lambda: completion(self._mixed(num_frames)))
        return b""

    def _mixed(self, num_frames: int) -> bytes:
        with self._lock:
            waiting = [track for track in self._tracks.values() if track]
            if not waiting:
                return b""
            mix = np.zeros(num_frames, dtype=np.int32)
            for track in waiting:
                part = np.frombuffer(bytes(track[: num_frames * 2]), dtype=np.int16)
                del track[: num_frames * 2]
                mix[: len(part)] += part
        mono = np.clip(mix, -32768, 32767).astype(np.int16)
        return np.repeat(mono, self.channels).tobytes()


class StandInAudioSource:
    """``daily.CustomAudioSource``: what a bot says.

    Attributes:
        written: ``(time.monotonic(), audio)`` of every write.
        published: The audio of those writes at which the microphone was published.
        is_published: Whether it is.
    """

    def __init__(
        self, daily: DailyStandIn, sample_rate: int, channels: int, auto_silence: bool = True
    ) -> None:
        self.sample_rate = sample_rate
        self.channels = channels
        self.auto_silence = auto_silence
        self.written: list[tuple[float, bytes]] = []
        self.published: list[bytes] = []
        self.is_published = False
        self._real_time = daily.real_time
        self._played_until = 0.0
        self._worker = daily.new_worker("daily-microphone")

    def settle(self) -> None:
        """Wait until whoever wrote was answered."""
        self._worker.settle()

    def write_frames(self, frames: bytes, completion: Completion = None) -> int:
        now = time.monotonic()
        num_frames = len(frames) // 2 // self.channels
        self.written.append((now, frames))
        if self.is_published:
            self.published.append(frames)
        self._played_until = max(now, self._played_until) + num_frames / self.sample_rate
        if completion:
            self._worker.post(self._finish, completion, num_frames, self._played_until)
        return num_frames

    def _finish(self, completion: Callable[[int], None], num_frames: int, played: float) -> None:
        if self._real_time:
            time.sleep(max(0.0, played - time.monotonic()))
        completion(num_frames)


class StandInAudioTrack:
    """``daily.CustomAudioTrack``."""

    def __init__(self, daily: DailyStandIn, audio_source: StandInAudioSource) -> None:
        self.id = str(uuid.uuid4())
        daily.audio_sources[self.id] = audio_source


class StandInVideoSource:
    """``daily.CustomVideoSource``: the images a bot sends, kept in ``written``."""

    def __init__(self, width: int, height: int, color_format: str = "RGBA") -> None:
        self.width = width
        self.height = height
        self.color_format = color_format
        self.written: list[bytes] = []

    def write_frame(self, frame: bytes) -> None:
        self.written.append(frame)


class StandInVideoTrack:
    """``daily.CustomVideoTrack``."""

    def __init__(self, video_source: StandInVideoSource) -> None:
        self.id = str(uuid.uuid4())


# --- the call client ------------------------------------------------------------------------


class StandInCallClient:
    """``daily.CallClient``: a bot's seat in a room.

    Attributes:
        participant: The bot as a participant, while it is in a room.
        settings: ``client_settings`` of the last ``join``.
        transcribed: What ``update_transcription`` asked for last.
    """

    def __init__(self, daily: DailyStandIn, event_handler: Any = None) -> None:
        self.participant: Participant | None = None
        self.settings: Mapping[str, Any] = {}
        self._publishing: dict[str, Any] = {}
        self.transcribed: list[str] | None = None
        self._daily = daily
        self._handler = event_handler
        self._room: Room | None = None
        self._user_name = ""
        self._released = False
        self._profiles: dict[str, dict[str, str]] = {"base": dict.fromkeys(MEDIA, "subscribed")}
        self._overrides: dict[str, dict[str, str]] = {}
        self._renderers: dict[tuple[str, str], Callable[[Any], None]] = {}
        self._events = daily.new_worker("daily-events")
        self._media = daily.new_worker("daily-media")

    # What tests and the room use.

    def subscribed_media(self, participant_id: str) -> set[str]:
        """Which of ``MEDIA`` this client receives of a participant."""
        media = self._profiles["base"] | self._overrides.get(participant_id, {})
        return {medium for medium in MEDIA if media[medium] == "subscribed"}

    def rendered_media(self, participant_id: str) -> set[str]:
        """Which media of a participant have a renderer, subscribed or not."""
        return {medium for someone, medium in self._renderers if someone == participant_id}

    @property
    def microphone(self) -> StandInAudioSource | None:
        """The source of the published microphone, or None if it is not published."""
        return self.source if self._publishing.get("isPublishing") else None

    @property
    def source(self) -> StandInAudioSource | None:
        """The source of the microphone, published or not; None if it is not enabled."""
        mic = self.settings.get("inputs", {}).get("microphone", {})
        if not mic.get("isEnabled"):
            return None
        return self._daily.audio_sources.get(mic["settings"]["customTrack"]["id"])

    def emit(self, event: str, *args: Any) -> None:
        """Call a method of the event handler from the event thread."""
        if not self._released:
            self._events.post(getattr(self._handler, event), *args)

    def hear(self, participant: Participant, audio: bytes, sample_rate: int) -> None:
        """Receive speech, where it is subscribed."""
        if "microphone" not in self.subscribed_media(participant.id):
            return
        speaker = self._daily.selected_speaker
        if speaker:
            speaker.play(participant.id, resampled(audio, sample_rate, speaker.sample_rate))
        self._render(participant, "microphone", AudioData(audio, sample_rate))

    def see(self, participant: Participant, image: VideoFrame) -> None:
        """Receive a camera image, where it is subscribed."""
        if "camera" in self.subscribed_media(participant.id):
            self._render(participant, "camera", image)

    def be_out(self) -> None:
        """Be in no room any more, without having left."""
        self._room = self.participant = None
        self.emit("on_call_state_updated", "left")

    def forget(self, participant: Participant) -> None:
        """Drop what was set for someone who left."""
        self._overrides.pop(participant.id, None)
        for medium in MEDIA:
            self._renderers.pop((participant.id, medium), None)

    def _render(self, participant: Participant, medium: str, content: Any) -> None:
        renderer = self._renderers.get((participant.id, medium))
        if renderer and not self._released:
            self._media.post(renderer, content)

    def _complete(self, completion: Completion, *args: Any) -> None:
        if completion:
            self._events.post(completion, *args)

    # What daily-python has.

    def release(self) -> None:
        if self._released:
            raise RuntimeError("this object has already been released")
        if self._room and self.participant:
            self._room.remove(self.participant, "leftCall")
        self._released = True
        self._media.end()
        self._events.end()
        # Whoever waits for a device is gone soon, and its event loop with it.
        self._daily.settle_devices()

    def join(
        self,
        meeting_url: str,
        meeting_token: str | None = None,
        client_settings: Mapping[str, Any] | None = None,
        completion: Completion = None,
    ) -> None:
        self.settings = client_settings or {}
        self._publish(self.settings.get("publishing", {}))
        self._events.post(self._enter, self._daily.room(meeting_url), completion)

    def _enter(self, room: Room, completion: Completion) -> None:
        self._handler.on_call_state_updated("joining")
        if room.refusal is not None:
            self._handler.on_call_state_updated("left")
            if completion:
                completion(None, room.refusal)
            return
        self._room = room
        self.participant, present = room.seat(self, self._user_name)
        for someone in present:
            self._handler.on_participant_joined(someone.as_seen_by(self))
        self._handler.on_call_state_updated("joined")
        if completion:
            session = {"id": str(uuid.uuid4())}
            completion({"meetingSession": session, "participants": self.participants()}, None)

    def leave(self, completion: Completion = None) -> None:
        if self._room and self.participant:
            self._room.remove(self.participant, "leftCall")
        self._room = self.participant = None
        self.emit("on_call_state_updated", "left")
        self._complete(completion, None)

    def set_user_name(self, user_name: str) -> None:
        self._user_name = user_name

    def participants(self) -> dict[str, Any]:
        everyone = self._room.participants if self._room else []
        return {
            "local" if someone.client is self else someone.id: someone.as_seen_by(self)
            for someone in everyone
        }

    def participant_counts(self) -> dict[str, int]:
        return {"hidden": 0, "present": len(self._room.participants) if self._room else 0}

    def update_subscription_profiles(
        self, profile_settings: Mapping[str, Any], completion: Completion = None
    ) -> None:
        for profile, media in profile_settings.items():
            self._profiles.setdefault(profile, {}).update(_media_states(media))
        self._complete(completion, None)

    def update_subscriptions(
        self,
        participant_settings: Mapping[str, Any] | None = None,
        profile_settings: Mapping[str, Any] | None = None,
        completion: Completion = None,
    ) -> None:
        self._events.post(self._subscribe, participant_settings or {}, completion)

    def _subscribe(self, participant_settings: Mapping[str, Any], completion: Completion) -> None:
        try:
            for participant_id, settings in participant_settings.items():
                uuid.UUID(participant_id)
                unknown = set(settings) - {"profile", "media"}
                if unknown:
                    raise ValueError(f"Object contains unknown keys: {sorted(unknown)}")
                media = _media_states(settings.get("media", {}))
                self._overrides.setdefault(participant_id, {}).update(media)
        except ValueError as error:
            answer = f"Participant subscription settings were not valid: {error}"
        else:
            answer = None
        if completion:
            completion(answer)

    def set_audio_renderer(
        self,
        participant_id: str,
        callback: Callable[[str, AudioData, str], None],
        audio_source: str = "microphone",
        sample_rate: int = 16000,
        callback_interval_ms: int = 20,
        logging_interval_ms: int = 10000,
    ) -> None:
        chunk = sample_rate * callback_interval_ms // 1000 * 2
        waiting = bytearray()

        def render(speech: AudioData) -> None:
            waiting.extend(resampled(speech.audio_frames, speech.sample_rate, sample_rate))
            while len(waiting) >= chunk:
                part = bytes(waiting[:chunk])
                del waiting[:chunk]
                callback(participant_id, AudioData(part, sample_rate), audio_source)

        self._renderers[participant_id, audio_source] = render

    def set_video_renderer(
        self,
        participant_id: str,
        callback: Callable[[str, VideoFrame, str], None],
        video_source: str = "camera",
        color_format: str = "RGBA",
        logging_interval_ms: int = 10000,
    ) -> None:
        def render(image: VideoFrame) -> None:
            callback(participant_id, image, video_source)

        self._renderers[participant_id, video_source] = render

    def send_app_message(
        self, message: Any, participant_id: str | None = None, completion: Completion = None
    ) -> None:
        if self._room:
            self._room.send_app_message(message, self.participant, participant_id)
        self._complete(completion, None)

    def start_transcription(
        self, settings: Mapping[str, Any] | None = None, completion: Completion = None
    ) -> None:
        self.emit("on_transcription_started", {"startedBy": "", **(settings or {})})
        self._complete(completion, None)

    def update_transcription(
        self,
        participants: list[str] | None = None,
        instance_id: str | None = None,
        completion: Completion = None,
    ) -> None:
        self.transcribed = participants
        self._complete(completion, None)

    def stop_transcription(self, completion: Completion = None) -> None:
        self.emit("on_transcription_stopped", "", False)
        self._complete(completion, None)

    def update_publishing(
        self, publishing_settings: Mapping[str, Any], completion: Completion = None
    ) -> None:
        self._events.post(self._update_publishing, publishing_settings, completion)

    def _update_publishing(self, settings: Mapping[str, Any], completion: Completion) -> None:
        self._publish(settings)
        if self._room and self.participant:
            self._room.tell_others(self.participant, "on_participant_updated")
        if completion:
            completion(None)

    def _publish(self, settings: Mapping[str, Any]) -> None:
        self._publishing |= settings.get("microphone", {})
        if self.source:
            self.source.is_published = self.microphone is not None

    def update_remote_participants(
        self, remote_participants: Mapping[str, Any], completion: Completion = None
    ) -> None:
        self._complete(completion, None)


def _media_states(media: Mapping[str, Any]) -> dict[str, str]:
    """Check subscription settings; those of custom tracks are not kept."""
    states: dict[str, str] = {}
    for medium, setting in media.items():
        if medium in CUSTOM_MEDIA and isinstance(setting, Mapping):
            continue
        state = setting.get("subscriptionState") if isinstance(setting, Mapping) else setting
        if medium not in MEDIA or state not in _STATES:
            raise ValueError(f"{medium} cannot be {setting!r}")
        states[medium] = state
    return states
