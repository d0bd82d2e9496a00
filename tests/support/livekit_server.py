"""A small LiveKit server on loopback, for the real client of the package ``livekit`` to join.

What it proves: everything between the wire and the bot is real. The client is LiveKit's own
(its Rust core and libwebrtc), Pipecat's ``LiveKitTransport`` is unchanged, the signalling is
LiveKit's protobuf over a WebSocket, and media are Opus in SRTP after a DTLS handshake, from and to
``aiortc``. So what a bot is told, subscribes to, reads and publishes here, it does with a LiveKit
server.

What it does not prove: anything of LiveKit's own server. There is no SFU that forwards or adapts,
no permission is enforced (a token is read for its identity only), nobody reconnects, no place in
the offer is used again, and the order in which a real server tells things may differ.

Tests use it through ``livekit_room.py`` beside this file. What was found out on the way:

- 404 on ``/rtc/v1`` makes the client fall back to ``/rtc``.
- The ``_stream_id`` of a sender of ``aiortc`` must be ``PA_…|TR_…``: it tells whose track it is.
- With ``MAX_BUNDLE`` nothing connects, and of two new tracks of a kind in one offer ``aiortc``
  sends the second into a transport that is closed. So they are offered one by one.
- A track that is offered before the connection stands is never sent, on a busy machine.
- A place in the offer belongs to one track for good. ``aiortc`` keeps the SSRC of a place, where
  LiveKit's server begins a new one, so that what the client has buffered of the former track
  would be heard as the first of the next one: a moment of the avatar in the voice of a person.
- A track that is no longer subscribed is taken out by a new offer, as LiveKit's server does.
"""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import json
import secrets
import time
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import jwt
import numpy as np
from aiohttp import web
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import candidate_from_sdp
from av import AudioFrame, VideoFrame
from livekit.protocol import models, rtc

from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE

if TYPE_CHECKING:
    from tests.support.livekit_room import Participant, Room

RATE: Final = 48000
_FRAME: Final = RATE // 50
_IMAGE_SECS: Final = 0.1
_VIDEO_CLOCK: Final = fractions.Fraction(1, 90000)
_ANSWER_SECS: Final = 30.0
API_KEY: Final = "key"
API_SECRET: Final = secrets.token_hex(20)
_NO_ICE_SERVERS: Final = RTCConfiguration(iceServers=[])


class Microphone(MediaStreamTrack):
    """What one client hears of a participant: its voice, or its tone while it speaks."""

    kind = "audio"

    def __init__(self, participant: Participant) -> None:
        super().__init__()
        self._participant = participant
        self._began_at = time.monotonic()
        self._frames = 0

    async def recv(self) -> AudioFrame:
        due = self._began_at + self._frames * _FRAME / RATE
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        first = self._frames * _FRAME
        samples = np.zeros(_FRAME)
        if self._participant.voice is not None:
            # What has sounded by now: an interruption may cut what is still to come.
            sound = self._participant.voice(due - _FRAME / RATE, due)
            samples = np.repeat(sound, RATE // WIRE_SAMPLE_RATE)
        elif self._participant.is_speaking:
            turns = np.arange(first, first + _FRAME) * self._participant.tone_hz / RATE
            samples = 8000 * np.sin(2 * np.pi * turns)
        frame = AudioFrame.from_ndarray(samples.astype(np.int16)[None, :], layout="mono")
        frame.sample_rate, frame.pts = RATE, first
        frame.time_base = fractions.Fraction(1, RATE)
        self._frames += 1
        return frame


class Camera(MediaStreamTrack):
    """What one client sees of a participant: a small image, ten times a second."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._frames = 0

    async def recv(self) -> VideoFrame:
        await asyncio.sleep(_IMAGE_SECS)
        frame = VideoFrame.from_ndarray(np.full((48, 64, 3), 128, np.uint8), format="rgb24")
        frame.pts, frame.time_base = round(self._frames * _IMAGE_SECS * 90000), _VIDEO_CLOCK
        self._frames += 1
        return frame


class Seat:
    """One client in the room: its signalling, and its two peer connections.

    Attributes:
        sid: The id of this joining.
        identity: As in its token.
        sent_data: What it sent to the room.
        heard: What it published, one array of samples for each packet.
        subscriptions: For each track's sid, whether the client wants it.
    """

    def __init__(self, room: Room, socket: web.WebSocketResponse, identity: str) -> None:
        self.sid = "PA_" + secrets.token_hex(6)
        self.identity = identity
        self.sent_data: list[bytes] = []
        self.heard: list[np.ndarray[Any, Any]] = []
        self.subscriptions: dict[str, bool] = {}
        self._room = room
        self._socket = socket
        self._outgoing: asyncio.Queue[rtc.SignalResponse] = asyncio.Queue()
        self._published: dict[str, models.TrackInfo] = {}
        # What is to be sent, by the track's id, and its place in the offer, if it is.
        self._wanted: dict[str, Participant] = {}
        self._places: dict[str, RTCRtpTransceiver] = {}
        self._tracks_changed = asyncio.Event()
        self._overheard = 0
        self._hesitation_secs = 0.0
        self._answered = asyncio.Event()
        self._connected = asyncio.Event()
        self._waiting_data: list[bytes] = []
        self._tasks: set[asyncio.Task[None]] = set()
        # Server to client, offered by the server; client to server, offered by the client.
        self._down = RTCPeerConnection(_NO_ICE_SERVERS)
        self._up = RTCPeerConnection(_NO_ICE_SERVERS)
        self._reliable = self._down.createDataChannel("_reliable")
        self._reliable.on("open", self._open)
        self._down.createDataChannel("_lossy", maxRetransmits=0)
        self._up.on("track", lambda track: self._spawn(self._listen(track)))
        self._up.on("datachannel", self._take_channel)

    # --- what the room tells ------------------------------------------------------------

    def tell(self, **message: Any) -> None:
        """Send a message of the signalling; they leave in order."""
        self._outgoing.put_nowait(rtc.SignalResponse(**message))

    def put_out(self) -> None:
        """Remove the client from the room, as LiveKit's server API can."""
        self.tell(
            leave=rtc.LeaveRequest(
                reason=models.DisconnectReason.PARTICIPANT_REMOVED,
                action=rtc.LeaveRequest.Action.DISCONNECT,
            )
        )

    def offer_tracks(self, participant: Participant) -> None:
        """Subscribe the client to all that a participant publishes, as LiveKit's server does."""
        self._wanted |= dict.fromkeys(participant.tracks, participant)
        self._tracks_changed.set()

    def withdraw_tracks(self, participant: Participant) -> None:
        """Send the client nothing more of a participant."""
        for track_sid in participant.tracks:
            self._wanted.pop(track_sid, None)
        self._tracks_changed.set()

    def overhears(self, wishes: int) -> None:
        """Let so many wishes for a track, or for none of it, come to nothing."""
        self._overheard = wishes

    def hesitates(self, secs: float) -> None:
        """Let each wish for a track, or for none of it, count so much later."""
        self._hesitation_secs = secs

    def receives(self, participant: Participant) -> set[str]:
        """Which of ``audio`` and ``video`` is being sent to the client of a participant."""
        tracks = participant.tracks.items()
        return {models.TrackType.Name(kind).lower() for sid, kind in tracks if sid in self._places}

    def wants(self, participant: Participant) -> set[str]:
        """Which of ``audio`` and ``video`` the client has not unsubscribed."""
        tracks = participant.tracks.items()
        return {
            models.TrackType.Name(kind).lower()
            for sid, kind in tracks
            if self.subscriptions.get(sid, True)
        }

    @property
    def can_be_heard(self) -> bool:
        """Whether the way on which it publishes is up; what it sends before is heard by nobody."""
        return self._up.connectionState == "connected"

    def send_data(self, packet: models.DataPacket) -> None:
        """Send data over the reliable channel, once that is open."""
        self._waiting_data.append(packet.SerializeToString())
        if self._reliable.readyState == "open":
            self._send_waiting_data()

    def _open(self) -> None:
        self._connected.set()
        self._send_waiting_data()

    def _send_waiting_data(self) -> None:
        waiting, self._waiting_data = self._waiting_data, []
        for data in waiting:
            self._reliable.send(data)

    # --- its life -------------------------------------------------------------------------

    async def live(self) -> None:
        """Serve the client until it leaves."""
        self.tell(join=self._joining())
        for participant in self._room.participants:
            self.offer_tracks(participant)
        self._spawn(self._write())
        self._spawn(self._negotiate())
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                request = rtc.SignalRequest()
                request.ParseFromString(message.data)
                kind = request.WhichOneof("message")
                take = getattr(self, f"_on_{kind}", None)
                if take:
                    await take(getattr(request, kind))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in (self._down, self._up):
            await connection.close()

    def _spawn(self, job: Any) -> None:
        self._tasks.add(asyncio.ensure_future(job))

    async def _write(self) -> None:
        while True:
            message = await self._outgoing.get()
            with contextlib.suppress(ConnectionError):
                await self._socket.send_bytes(message.SerializeToString())

    async def _negotiate(self) -> None:
        """Offer what has changed, until all is as it is wanted."""
        await self._offer()  # the data channels
        await self._connected.wait()
        while True:
            while self._change_tracks():
                await self._offer()
            await self._tracks_changed.wait()
            self._tracks_changed.clear()

    def _change_tracks(self) -> bool:
        """Take out what is no longer wanted, else put in one track; whether there was any."""
        unwanted = self._places.keys() - self._wanted.keys()
        missing = [] if unwanted else [sid for sid in self._wanted if sid not in self._places]
        for track_sid in unwanted:
            place = self._places.pop(track_sid)
            place.direction = "inactive"
            # The place loses the track's id with it. The track may come back in another place, and
            # LiveKit's client aborts if two places have one id.
            place.sender.replaceTrack(None)
        for track_sid in missing[:1]:
            self._places[track_sid] = self._put_in(self._wanted[track_sid], track_sid)
        return bool(unwanted or missing)

    async def _offer(self) -> None:
        self._answered.clear()
        await self._down.setLocalDescription(await self._down.createOffer())
        sdp = self._down.localDescription.sdp
        self.tell(offer=rtc.SessionDescription(type="offer", sdp=sdp))
        async with asyncio.timeout(_ANSWER_SECS):
            await self._answered.wait()

    def _put_in(self, participant: Participant, track_sid: str) -> RTCRtpTransceiver:
        is_sound = participant.tracks[track_sid] == models.TrackType.AUDIO
        track = Microphone(participant) if is_sound else Camera()
        place = self._down.addTransceiver(track, direction="sendonly")
        place.sender._stream_id = f"{participant.sid}|{track_sid}"
        place.sender._track_id = track_sid
        return place

    async def _listen(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while track.kind == "audio":
                frame: Any = await track.recv()
                channels = frame.to_ndarray().reshape(-1, frame.layout.nb_channels)
                self.heard.append(channels[:, 0].astype(np.int16))

    def _take_channel(self, channel: Any) -> None:
        def take(message: bytes | str) -> None:
            packet = models.DataPacket()
            packet.ParseFromString(message if isinstance(message, bytes) else message.encode())
            if packet.HasField("user"):
                self.sent_data.append(packet.user.payload)

        channel.on("message", take)

    def _joining(self) -> rtc.JoinResponse:
        return rtc.JoinResponse(
            room=self._room.info(),
            participant=models.ParticipantInfo(
                sid=self.sid,
                identity=self.identity,
                state=models.ParticipantInfo.ACTIVE,
                tracks=list(self._published.values()),
                permission=models.ParticipantPermission(
                    can_subscribe=True, can_publish=True, can_publish_data=True
                ),
                version=1,
            ),
            other_participants=[someone.info() for someone in self._room.participants],
            server_version="1.9.0",
            server_info=models.ServerInfo(version="1.9.0", protocol=15),
            subscriber_primary=True,
            ping_timeout=30,
            ping_interval=10,
        )

    # --- what the client asks --------------------------------------------------------------

    async def _on_ping_req(self, ping: Any) -> None:
        now_ms = int(time.time() * 1000)
        self.tell(pong_resp=rtc.Pong(last_ping_timestamp=ping.timestamp, timestamp=now_ms))

    async def _on_answer(self, answer: Any) -> None:
        await self._down.setRemoteDescription(RTCSessionDescription(answer.sdp, answer.type))
        self._answered.set()

    async def _on_offer(self, offer: Any) -> None:
        await self._up.setRemoteDescription(RTCSessionDescription(offer.sdp, offer.type))
        await self._up.setLocalDescription(await self._up.createAnswer())
        sdp = self._up.localDescription.sdp
        self.tell(answer=rtc.SessionDescription(type="answer", sdp=sdp, id=offer.id))

    async def _on_trickle(self, trickle: Any) -> None:
        init = json.loads(trickle.candidateInit)
        if not init.get("candidate"):
            return
        candidate = candidate_from_sdp(init["candidate"].split(":", 1)[1])
        candidate.sdpMid = init.get("sdpMid")
        candidate.sdpMLineIndex = init.get("sdpMLineIndex")
        is_up = trickle.target == rtc.SignalTarget.PUBLISHER
        await (self._up if is_up else self._down).addIceCandidate(candidate)

    async def _on_add_track(self, wish: Any) -> None:
        track = models.TrackInfo(
            sid="TR_" + secrets.token_hex(6), type=wish.type, name=wish.name, source=wish.source
        )
        self._published[track.sid] = track
        self.tell(track_published=rtc.TrackPublishedResponse(cid=wish.cid, track=track))

    async def _on_subscription(self, wish: Any) -> None:
        if self._overheard:
            self._overheard -= 1
            return
        if self._hesitation_secs:
            loop = asyncio.get_running_loop()
            loop.call_later(self._hesitation_secs, self._grant, wish)
        else:
            self._grant(wish)

    def _grant(self, wish: Any) -> None:
        for track_sid in wish.track_sids:
            self.subscriptions[track_sid] = wish.subscribe
            publisher = self._room.publisher_of(track_sid)
            if wish.subscribe and publisher:
                self._wanted[track_sid] = publisher
            elif not wish.subscribe:
                self._wanted.pop(track_sid, None)
        self._tracks_changed.set()

    async def _on_leave(self, _leave: Any) -> None:
        await self._socket.close()


class LiveKitServer:
    """The server with its one room.

    Attributes:
        url: Its WebSocket URL.
    """

    def __init__(self, room: Room) -> None:
        self.url = ""
        self._room = room
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> LiveKitServer:
        app = web.Application()
        app.router.add_get("/rtc", self._join)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"ws://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for seat in self._room.seats:
            await seat.close()
        assert self._runner is not None
        await self._runner.cleanup()

    def token(self, identity: str) -> str:
        """A token that says no more than who joins."""
        now = int(time.time())
        claims = {
            "sub": identity,
            "iss": API_KEY,
            "nbf": now,
            "exp": now + 3600,
            "video": {"roomJoin": True, "room": "room"},
        }
        return jwt.encode(claims, API_SECRET, algorithm="HS256")

    async def _join(self, request: web.Request) -> web.WebSocketResponse:
        header = request.headers.get("Authorization", "").removeprefix("Bearer ")
        token = request.query.get("access_token") or header
        claims = jwt.decode(token, API_SECRET, algorithms=["HS256"])
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        seat = Seat(self._room, socket, claims["sub"])
        self._room.seats.append(seat)
        await seat.live()
        return socket
