"""A Daily transport that knows which participant of the room is the avatar.

The avatar joins the caller's own Daily room. To a plain ``DailyTransport`` it is one more
person: the bot greets it, transcribes it and ends the call when it leaves.
``AgentHumanDailyTransport`` keeps it apart. Whoever stays with a plain ``DailyTransport`` can
ask ``is_avatar`` in the event handlers.

This is the only module of the package that needs daily-python.
"""

# Pipecat leaves the parameters of the methods that are overridden here without types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, cast, get_args

import numpy as np
from loguru import logger
from pipecat.transports.daily.transport import DailyOutputTransport, DailyParams, DailyTransport

from pipecat_agenthuman._arguments import check_choice, check_kind
from pipecat_agenthuman.frames import AgentHumanBotLeftFrame, AgentHumanServerEventFrame
from pipecat_agenthuman.identity import AvatarIdentity
from pipecat_agenthuman.pipeline.surroundings.avatar_transport import (
    AvatarRoomOutput,
    push_to_service,
    with_voice,
)
from pipecat_agenthuman.pipeline.surroundings.ear import HEARD_SAMPLE_RATE, Ear
from pipecat_agenthuman.pipeline.surroundings.microphone import Microphone
from pipecat_agenthuman.pipeline.surroundings.presence import (
    AVATAR_CONNECTED,
    AVATAR_DISCONNECTED,
    Presence,
)
from pipecat_agenthuman.tokens.claims import read_daily_token

_NO_AUDIO: Final = {"microphone": "unsubscribed", "screenAudio": "unsubscribed"}
_NO_VIDEO: Final = {"camera": "unsubscribed", "screenVideo": "unsubscribed"}
_HEARD: Final = {"microphone": "subscribed"}

_HEARD_PIECE_MS: Final = 40
"""How much of the avatar comes at a time: each piece wakes the event loop."""

_MINTED: Final = AvatarIdentity()

WhenPublished = Literal["always", "in_turn"]


def is_avatar(participant: Mapping[str, Any], avatar: AvatarIdentity = _MINTED) -> bool:
    """Tell whether a participant of a Daily room is the avatar.

    For the event handlers of a plain ``DailyTransport``, which captures the avatar's
    microphone unless it is unsubscribed::

        @transport.event_handler("on_participant_joined")
        async def on_participant_joined(transport, participant):
            if is_avatar(participant):
                silence = {"media": {"microphone": "unsubscribed"}}
                await transport.update_subscriptions({participant["id"]: silence})

        @transport.event_handler("on_client_disconnected")
        async def on_client_disconnected(transport, participant):
            if not is_avatar(participant):
                await worker.cancel()

    Args:
        participant: A participant as daily-python reports it: ``info.userId`` and
            ``info.userName`` are read, and either may be missing.
        avatar: Who the avatar is.

    Returns:
        Whether it is the avatar. The bot's own participant never is.
    """
    info: Mapping[str, Any] = participant.get("info") or {}
    if info.get("isLocal"):
        return False
    return avatar.fits(info.get("userId"), info.get("userName"))


class AgentHumanDailyOutputTransport(AvatarRoomOutput, DailyOutputTransport):
    """The output of ``AgentHumanDailyTransport``: the avatar's media count as the bot's."""


class AgentHumanDailyTransport(DailyTransport):
    """A ``DailyTransport`` for a room that the avatar shares with people.

    For the avatar, whenever it joins and as often as it returns:

    - its microphone and camera are unsubscribed and never captured, be it in user tracks or
      in the mixed audio of the room, and what Daily transcribes of it is dropped. Only the service
      listens to it now and then, to hear how late it is, and never where the room's audio is
      mixed (``audio_in_user_tracks=False``), for the avatar would be in the mix;
    - ``on_first_participant_joined``, ``on_participant_joined``, ``on_client_connected``,
      ``on_participant_left`` and ``on_client_disconnected`` do not fire, and no
      ``ClientConnectedFrame`` is pushed;
    - instead ``on_avatar_connected(transport, participant)`` and
      ``on_avatar_disconnected(transport, participant, reason)`` fire, and an
      ``AgentHumanAvatarJoinedFrame`` or ``AgentHumanAvatarLeftFrame`` goes to the service.

    Everything else is as in ``DailyTransport``. ``on_participant_updated``,
    ``on_active_speaker_changed``, ``on_app_message``, ``participants()`` and
    ``participant_counts()`` still cover everyone; ``persons()`` leaves out bot and avatar.

    The bot's own microphone is published, unless ``params`` sets ``audio_out_enabled`` itself.
    It is silent while the avatar speaks, because the service consumes the speech before it
    reaches this transport, and it is there at once when the service falls back to it. For pages
    that play one track only, see ``microphone``.
    """

    def __init__(
        self,
        room_url: str,
        token: str | None,
        bot_name: str,
        params: DailyParams | None = None,
        input_name: str | None = None,
        output_name: str | None = None,
        *,
        avatar: AvatarIdentity | None = None,
        keep_avatar_video: bool = False,
        microphone: WhenPublished = "always",
    ) -> None:
        """Create the transport.

        Args:
            room_url: URL of the Daily room.
            token: The bot's own meeting token, not the avatar's, or None.
            bot_name: Display name of the bot.
            params: As for ``DailyTransport``, except that ``audio_out_enabled`` is True if
                it is not set.
            input_name: Name of the input processor.
            output_name: Name of the output processor.
            avatar: Who the avatar is: ``room.identity`` of its ``DailyRoom``. By default whoever
                joins with a token of ``DailyRoom.mint``: right where one bot has an avatar in
                the room, wrong where two have. If it names neither id nor name, a warning is
                logged and the transport behaves like a ``DailyTransport``.
            keep_avatar_video: Leave the avatar's video alone, for bots that record it: call
                ``capture_participant_video`` in ``on_avatar_connected``.
            microphone: When the bot's microphone is published. ``always``: right where clients
                play everybody, as Daily's own page and telephones do. ``in_turn``: while no
                avatar is in the room, or the transport plays something, for clients that play
                the track that started last, as Pipecat's components for the web. The first
                sound then waits until it is published, half a second at most.

        Raises:
            ValueError: If ``avatar`` is not an ``AvatarIdentity``, or ``microphone`` none of
                its values.
        """
        check_kind("avatar", avatar, AvatarIdentity)
        check_choice("microphone", microphone, get_args(WhenPublished))
        params = with_voice(params or DailyParams())
        super().__init__(room_url, token, bot_name, params, input_name, output_name)
        self._avatar = avatar or _MINTED
        self._keep_avatar_video = keep_avatar_video
        self._is_in_room = False
        self._ear = Ear(begin=self._begin_hearing, end=self._end_hearing)
        self._rendered: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        in_turn = microphone == "in_turn"
        self._microphone = Microphone(self, self._publish_microphone) if in_turn else None
        # Daily never uses a participant id again.
        self._presence = Presence(
            self,
            tell=self._tell_service,
            fire=self._call_event_handler,
            ear=self._ear,
            microphone=self._microphone,
        )
        self._register_event_handler(AVATAR_CONNECTED)
        self._register_event_handler(AVATAR_DISCONNECTED)
        if self._avatar.is_empty:
            logger.warning(
                f"{self}: the avatar has neither a user id nor a user name, so it is taken for "
                "a person. Mint its meeting token with a user_id and pass "
                "avatar=AvatarIdentity(user_id=...)."
            )
        claims = read_daily_token(token) if token else None
        if claims is not None and self._avatar.fits(claims.user_id, claims.user_name):
            logger.warning(
                f"{self}: the token that was given to the transport is the avatar's. Bot and "
                "avatar join under one identity, so that nobody can tell them apart. Give the bot "
                "a token of its own; that of DailyRoom.mint belongs to the service's room= only."
            )

    def output(self) -> DailyOutputTransport:
        """Get the processor that sends the bot's media."""
        if not self._output:
            output = AgentHumanDailyOutputTransport(
                self, self._client, self._params, name=self._output_name
            )
            output.on_started = self._look_for_itself
            output.microphone = self._microphone
            if not (self._params.audio_in_enabled and not self._params.audio_in_user_tracks):
                output.ear = self._ear
            self._output = output
        return self._output

    def persons(self) -> dict[str, Mapping[str, Any]]:
        """Get everyone in the room except the bot itself and the avatar.

        Returns:
            Participants by id. Other bots in the room count as persons.
        """
        return {
            participant_id: participant
            for participant_id, participant in self.participants().items()
            if participant_id != "local" and not self._is_avatar_id(participant_id, participant)
        }

    # --- what a bot asks for ------------------------------------------------------------

    async def capture_participant_audio(
        self,
        participant_id: str,
        audio_source: str = "microphone",
        sample_rate: int = 16000,
    ) -> None:
        """Capture the audio of a person. Refused, with a warning, for the avatar.

        Captured audio goes down the pipeline as a user's speech. To record what the avatar
        says, record the TTS audio, or the room.

        Args:
            participant_id: Whose audio.
            audio_source: ``microphone``, ``screenAudio`` or the name of a custom track.
            sample_rate: Samples per second.
        """
        if not self._refuses("audio", participant_id):
            await super().capture_participant_audio(participant_id, audio_source, sample_rate)

    async def capture_participant_video(
        self, participant_id: str, *args: Any, **kwargs: Any
    ) -> None:
        """Capture the video of a person, or of the avatar with ``keep_avatar_video``.

        Args:
            participant_id: Whose video.
            *args: As for ``DailyTransport``; they differ between Pipecat releases.
            **kwargs: Likewise.
        """
        if self._keep_avatar_video or not self._refuses("video", participant_id):
            await super().capture_participant_video(participant_id, *args, **kwargs)

    async def capture_participant_transcription(self, participant_id: str) -> None:
        """Have Daily transcribe a person. Refused, with a warning, for the avatar.

        Args:
            participant_id: Whom to transcribe.
        """
        if not self._refuses("transcription", participant_id):
            await super().capture_participant_transcription(participant_id)

    async def update_subscriptions(
        self,
        participant_settings: Mapping[str, Any] | None = None,
        profile_settings: Mapping[str, Any] | None = None,
    ) -> str | None:
        """Subscribe to persons, as in ``DailyTransport``; the avatar stays unsubscribed.

        Its sound would go down the pipeline as a user's speech: the bot would hear itself. With
        ``keep_avatar_video`` its video can be subscribed to.

        Args:
            participant_settings: Settings by participant. Those that would subscribe to the
                avatar are corrected, with a warning.
            profile_settings: Settings by profile. Those of a participant win over them.

        Returns:
            An error in words, or None.
        """
        settings = dict(participant_settings or {})
        everybody = self.participants()
        for participant_id, wanted in settings.items():
            if self._is_avatar_id(participant_id, everybody.get(participant_id)):
                settings[participant_id] = self._without_avatar(participant_id, wanted)
        return await super().update_subscriptions(settings or None, profile_settings)

    def _without_avatar(self, participant_id: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Correct what is asked for of an avatar."""
        media: Mapping[str, Any] = wanted.get("media") or {}
        ours = self._media_of(participant_id)
        asked = [medium for medium in ours if _subscribes(media.get(medium))]
        if asked:
            logger.warning(
                f"{self}: not subscribing to {', '.join(asked)} of {participant_id}, which is the "
                "avatar: the bot would hear itself, or take it for a person. Leave it out of "
                "update_subscriptions: persons() names everybody else."
            )
        return {**wanted, "media": {**media, **ours}}

    def _media_of(self, participant_id: str) -> dict[str, str]:
        """The media of an avatar that are not the bot's to choose."""
        unwanted = _NO_AUDIO if self._keep_avatar_video else _NO_AUDIO | _NO_VIDEO
        return unwanted | _HEARD if participant_id == self._ear.heard else unwanted

    def _refuses(self, medium: str, participant_id: str) -> bool:
        if not self._is_avatar_id(participant_id, self.participants().get(participant_id)):
            return False
        logger.warning(f"{self}: not capturing {medium} of {participant_id}, which is the avatar.")
        return True

    def _is_avatar_id(self, participant_id: str, participant: Mapping[str, Any] | None) -> bool:
        """Tell it also of an avatar whose joining has not been reported yet."""
        fits = participant is not None and is_avatar(participant, self._avatar)
        return self._presence.is_avatar(participant_id, fits=fits)

    # --- events of the room -------------------------------------------------------------
    #
    # DailyTransport gives these methods to its client as callbacks. The client calls them on
    # the event loop, one at a time, from a queue that daily-python's own thread fills, so
    # they need no lock. This place is right because it lies before the microphone is
    # captured, which the public events do not, and above the client, whose inside changes
    # with every Pipecat release.

    async def _on_joined(self, data: Mapping[str, Any]) -> None:
        # The bot may join after the avatar. The pipeline does not start before this returns,
        # so the avatar leaves the mixed audio of the room before any of it is read.
        everyone: Mapping[str, Mapping[str, Any]] = data.get("participants") or {}
        await self._settle_media(
            participant["id"]
            for participant in everyone.values()
            if is_avatar(participant, self._avatar)
        )
        self._is_in_room = True
        if self._microphone is not None:
            self._microphone.joined()
        await super()._on_joined(data)

    async def _on_before_leave(self) -> None:
        self._is_in_room = False  # by itself: what comes now is no news
        self._close_media()
        await super()._on_before_leave()

    async def _on_call_state_updated(self, state: str) -> None:
        was_in_room = self._is_in_room
        if state == "left":
            self._is_in_room = False
            self._close_media()
            if was_in_room:
                await self._tell_service(AgentHumanBotLeftFrame(reason="it was put out"))
        await super()._on_call_state_updated(state)

    async def _look_for_itself(self) -> None:
        if not self._is_in_room:
            await self._tell_service(AgentHumanBotLeftFrame(reason="it could not join"))

    async def _on_participant_joined(self, participant: Mapping[str, Any]) -> None:
        participant_id: str = participant["id"]
        if not self._is_avatar_id(participant_id, participant):
            await self._presence.person_joined(participant_id)
            await super()._on_participant_joined(participant)
            return
        # Before the service hears of the avatar and lets it speak.
        await self._settle_media([participant_id])
        await self._presence.avatar_joined(participant_id, participant)

    async def _on_participant_left(self, participant: Mapping[str, Any], reason: str) -> None:
        participant_id: str = participant["id"]
        if not self._presence.is_avatar(participant_id):
            await self._presence.person_left(participant_id)
            await self._forget_the_unlisted()
            await super()._on_participant_left(participant, reason)
            return
        # Pipecat releases that sample video answer the requests for an image that wait for it.
        remove_video = getattr(self._input, "remove_participant_video", None)
        if remove_video:
            await remove_video(participant_id)
        await self._presence.avatar_left(participant_id, participant, reason)
        await self._forget_the_unlisted()

    async def _forget_the_unlisted(self) -> None:
        # Whoever left without a word would hide that no avatar, or nobody, is there any more.
        if self._is_in_room:
            await self._presence.keep_only(self.participants().keys())

    async def _on_transcription_message(self, message: Mapping[str, Any]) -> None:
        # Daily transcribes the avatar only if someone else in the room asked for everybody.
        if not self._presence.is_avatar(message.get("participantId", "")):
            await super()._on_transcription_message(message)

    async def _settle_media(self, participant_ids: Iterable[str]) -> None:
        settings = {one: {"media": self._media_of(one)} for one in participant_ids}
        if settings:
            await super().update_subscriptions(settings)

    def _close_media(self) -> None:
        self._ear.close()
        if self._microphone is not None:
            self._microphone.close()

    async def _publish_microphone(self, is_published: bool) -> str | None:
        return await self.update_publishing({"microphone": {"isPublishing": is_published}})

    # --- hearing the avatar ---------------------------------------------------------------

    async def _begin_hearing(self, participant_id: str) -> None:
        await self._settle_media([participant_id])
        self._loop = asyncio.get_running_loop()
        # Not by Pipecat's client: that would bring it to the queue of what the users say. Daily
        # keeps every renderer that it is given, and forgets none.
        render = getattr(getattr(self._client, "_client", None), "set_audio_renderer", None)
        if render is not None and participant_id not in self._rendered:
            render(
                participant_id,
                self._render,
                audio_source="microphone",
                sample_rate=HEARD_SAMPLE_RATE,
                callback_interval_ms=_HEARD_PIECE_MS,
            )
            self._rendered.add(participant_id)

    async def _end_hearing(self, participant_id: str) -> None:
        await self._settle_media([participant_id])

    def _render(self, participant_id: str, audio: Any, _audio_source: str) -> None:
        """Take sound of the avatar, in a thread of Daily's that must not wait."""
        at = time.monotonic()
        if participant_id != self._ear.heard or self._loop is None:
            return
        try:
            frames: bytes = audio.audio_frames
            if audio.num_channels > 1:
                channels = np.frombuffer(frames, np.int16).reshape(-1, audio.num_channels)
                frames = channels[:, 0].tobytes()
        except Exception as error:  # noqa: BLE001 - Daily would go on with the next piece
            if not self._loop.is_closed():
                asyncio.run_coroutine_threadsafe(self._ear.broke(participant_id, error), self._loop)
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: the call is over
            self._loop.call_soon_threadsafe(self._ear.take, participant_id, frames, at)

    async def _tell_service(self, frame: AgentHumanServerEventFrame) -> None:
        await push_to_service(frame, from_input=self._input, from_output=self._output)


def _subscribes(setting: object) -> bool:
    """Tell it of what Daily takes: a state, or a mapping that holds one."""
    if isinstance(setting, Mapping):
        setting = cast("Mapping[str, object]", setting).get("subscriptionState")
    return setting not in (None, "unsubscribed")
