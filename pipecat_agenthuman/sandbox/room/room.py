"""The room as pages see it: everything that happens, told to all of them at once."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final

from aiohttp import web

from pipecat_agenthuman.sandbox.account import Account
from pipecat_agenthuman.sandbox.bodies import Refusal
from pipecat_agenthuman.sandbox.chronicle import Chronicle
from pipecat_agenthuman.sandbox.faults import FaultBook
from pipecat_agenthuman.sandbox.log import Entry, EventLog
from pipecat_agenthuman.sandbox.room.mouth import MOUTH_RATE
from pipecat_agenthuman.sandbox.room.own_voice import OwnVoice
from pipecat_agenthuman.sandbox.room.reel import Reel
from pipecat_agenthuman.sandbox.room.talk import Talk, Topic, notice
from pipecat_agenthuman.sandbox.room.viewer import Allowance, Request, Viewer
from pipecat_agenthuman.sandbox.sessions import LiveSession, SandboxSession, describe_session
from pipecat_agenthuman.sandbox.sound import Samples
from pipecat_agenthuman.sandbox.utterances import Utterance, describe_utterance
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE, to_secs

MAX_VIEWERS: Final = 8
"""Each costs some time of the process in which an avatar keeps time."""

_PROTOCOL: Final = 1
_COMINGS_PER_SEC: Final = 4.0
_COMINGS_AT_ONCE: Final = 2.0 * MAX_VIEWERS
"""A page that comes is told a lot; who reloads by hand does not come this often."""

_SOON_SECS: Final = 0.02
_SPEECH_AHEAD: Final = 4
"""Speech is told when a quarter of the time until it sounds has passed: several messages go
together, and the page has it long before it needs it."""

_LATEST_SPEECH_SECS: Final = 0.2
_LOG_SECS: Final = 0.1
_GROWTH_SECS: Final = 0.5
"""How long news may wait for more of its kind."""

_TOGETHER_SECS: Final = 0.05
"""What is due so soon goes along with what is due now."""

_TOLD_ENTRIES: Final = 500
_ENTRIES_PER_MESSAGE: Final = 200
_TOLD_ENDED_SESSIONS: Final = 50
_LONGEST_METADATA_CHARS: Final = 2000

_GOING_AWAY: Final = 1001


class _News(Enum):
    """What pages are told of, each kind when it is due."""

    SPEECH = auto()
    LOG = auto()
    UTTERANCES = auto()
    FAULTS = auto()
    TALK = auto()


class Room:
    """Tells pages what happens, and takes what they ask for to whom it concerns.

    Belongs to the sandbox's event loop. Nothing is computed for pages while there are none, and
    what happens in the sandbox never waits for one.
    """

    def __init__(
        self,
        *,
        account: Account,
        chronicle: Chronicle,
        faults: FaultBook,
        log: EventLog,
        talk: Talk,
        introduce: Callable[[], dict[str, Any]],
    ) -> None:
        """Join the audience.

        Args:
            account: The sessions.
            chronicle: The utterances.
            faults: What is to go wrong.
            log: What happens.
            talk: What whoever owns the sandbox has to say.
            introduce: Returns what a page is told of the sandbox itself.
        """
        self._account = account
        self._chronicle = chronicle
        self._faults = faults
        self._log = log
        self._talk = talk
        self._introduce = introduce
        self._guests: set[Viewer] = set()
        self._viewers: set[Viewer] = set()  # the guests who know how things stand
        self._comings: Allowance | None = None
        self._reels: dict[str, Reel] = {}
        self._own_voice = OwnVoice()
        self._entries: list[Entry] = []
        self._utterances: dict[tuple[str, int], Utterance] = {}
        self._topics: set[Topic] = set()
        self._due: dict[_News, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        account.admit(self)
        chronicle.listen(self._take_utterance)
        log.listen(self._take_entry)
        faults.listen(lambda: self._from_any_thread(self._take_faults))
        talk.on_change(lambda topic: self._from_any_thread(lambda: self._take_topic(topic)))

    def routes(self) -> list[web.RouteDef]:
        """Return the route of the viewers' WebSocket, open in the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._comings = Allowance(_COMINGS_PER_SEC, _COMINGS_AT_ONCE, self._loop.time())
        return [web.get("/room/ws", self._welcome)]

    async def close(self) -> None:
        """Say goodbye to all pages, with the last news."""
        if self._viewers:
            self._tell(*_News)
        for viewer in self._guests:
            viewer.end(_GOING_AWAY, "sandbox closing")

    def describe(self) -> dict[str, int]:
        """Return how full it is, as JSON values."""
        return {"viewers": len(self._guests), "max_viewers": MAX_VIEWERS}

    # --- pages come and go ---

    async def _welcome(self, request: web.Request) -> web.StreamResponse:
        assert self._loop is not None, "routes() was called in it"
        assert self._comings is not None, "routes() was called"
        if len(self._guests) >= MAX_VIEWERS:
            raise Refusal(503, f"{MAX_VIEWERS} pages watch already; close one of them")
        if not self._comings.take(1, self._loop.time()):
            raise Refusal(503, "Too many pages came within seconds; come again in some")
        websocket = Viewer.socket()
        viewer = Viewer(websocket, request)
        self._guests.add(viewer)
        try:
            await websocket.prepare(request)
            self._tell(_News.SPEECH, _News.LOG, _News.UTTERANCES)  # to those who know the rest
            self._greet(viewer)
            self._viewers.add(viewer)
            await viewer.run(
                lambda asked: self._answer(viewer, asked),
                lambda audio: self._talk.hear(viewer, audio),
            )
        finally:
            self._guests.discard(viewer)
            self._viewers.discard(viewer)
            self._talk.give_back_microphone(viewer)
        return websocket

    def _greet(self, viewer: Viewer) -> None:
        """Tell a page what it has to know to be as if it had been there all the time."""
        now = self._log.now()
        hello = {
            "type": "hello",
            "protocol": _PROTOCOL,
            "now_secs": self._now_secs(),
            "started_wall": self._log.wall(self._log.started_at),
            "sample_rate": WIRE_SAMPLE_RATE,
            "mouth_rate": MOUTH_RATE,
            **self._introduce(),
            "sessions": [self._describe(session) for session in self._told_sessions()],
            "faults": self._faults.armed(),
            "talk": self._talk.describe(viewer),
            "activity": self._talk.activity(),
            "memory": self._talk.memory(),
            "transcript": self._talk.transcript(),
        }
        viewer.tell(hello)
        for reel in self._reels.values():
            for message in reel.still_to_sound(now):
                viewer.send(message)
        for entries in _batches(self._log.entries()[-_TOLD_ENTRIES:]):
            viewer.tell({"type": "log", "entries": entries, "is_backlog": True})
        viewer.tell(self._describe_utterances(self._chronicle.latest()))

    def _told_sessions(self) -> list[SandboxSession]:
        sessions = self._account.snapshots()
        ended = [session for session in sessions if session.status == "ended"]
        forgotten = {session.id for session in ended[:-_TOLD_ENDED_SESSIONS]}
        return [session for session in sessions if session.id not in forgotten]

    # --- what pages ask ---

    def _answer(self, viewer: Viewer, request: Request) -> None:
        fields, refusal = request.fields, None
        match request.type:
            case "ping":
                t = fields.get("t")
                echo = t if isinstance(t, int | float) else None  # what is nested may be too deep
                viewer.tell({"type": "pong", "t": echo, "now_secs": self._now_secs()})
            case "say":
                text = fields.get("text")
                refusal = self._talk.say(text if isinstance(text, str) else "")
            case "interrupt":
                refusal = self._talk.interrupt()
            case "microphone" if fields.get("is_on") is True:
                refusal = self._talk.take_microphone(viewer)
                viewer.tell({"type": "talk", "talk": self._talk.describe(viewer)})
            case "microphone":
                self._talk.give_back_microphone(viewer)
            case _:
                pass  # of a later page
        if refusal is not None:
            viewer.tell(notice(refusal, "warning"))

    # --- what happens ---

    def session_changed(self, session: LiveSession) -> None:
        """Tell that a session was created, connected or ended, or its avatar came or left."""
        if not session.is_live:
            self._reels.pop(session.id, None)
        if self._viewers:
            self._cast({"type": "session", "session": self._describe(session.snapshot())})

    def speech_queued(
        self, session: LiveSession, audio: Samples, starts_at: float, lead_secs: float
    ) -> None:
        """Keep speech for those who are here, or come before it has sounded."""
        now = self._log.now()
        reel = self._reels.get(session.id)
        if reel is None:
            reel = self._reels[session.id] = Reel(session.id, started_at=self._log.started_at)
        reel.add(audio, starts_at, now)
        wait_secs = (starts_at - now) / _SPEECH_AHEAD
        self._tell_within(min(max(wait_secs, _SOON_SECS), _LATEST_SPEECH_SECS), _News.SPEECH)

    def speech_cut(self, session: LiveSession, at: float, dropped_samples: int) -> None:
        """Tell at once that an avatar fell silent."""
        reel = self._reels.get(session.id)
        if reel is None:
            return
        if self._viewers:
            if reel.starts_at is not None and reel.starts_at < at:
                self._tell(_News.SPEECH)  # some of it has sounded
            cut = {
                "type": "cut",
                "session_id": session.id,
                "at_secs": self._since_start(at),
                "dropped_secs": to_secs(dropped_samples),
            }
            self._cast(cut)
        reel.cut()

    def _take_entry(self, entry: Entry) -> None:
        if self._viewers:
            self._entries.append(entry)
            self._tell_within(_LOG_SECS, _News.LOG)

    def _take_utterance(self, utterance: Utterance) -> None:
        if self._viewers:
            self._utterances[utterance.session_id, utterance.number] = utterance
            is_growing = not utterance.is_over and utterance.messages > 1
            self._tell_within(_GROWTH_SECS if is_growing else _LOG_SECS, _News.UTTERANCES)

    def _take_faults(self) -> None:
        self._tell_within(_SOON_SECS, _News.FAULTS)

    def _take_topic(self, topic: Topic) -> None:
        if topic is Topic.VOICE:  # sound waits for nothing
            self._tell_topic(topic)
            return
        self._topics.add(topic)
        self._tell_within(_SOON_SECS, _News.TALK)

    def _pass_on_voice(self) -> None:
        for piece in self._talk.take_voice():
            if piece is None:
                cut = {"type": "cut", "session_id": "", "dropped_secs": 0.0}
                self._cast(cut | {"at_secs": self._now_secs()})
            elif self._viewers:
                starts_at_secs = self._since_start(piece.starts_at)
                self._send(self._own_voice.message(piece.pcm, starts_at_secs))

    # --- telling it ---

    def _tell_within(self, delay_secs: float, news: _News) -> None:
        if self._loop is None or not self._viewers:
            return
        due = self._loop.time() + delay_secs
        self._due[news] = min(due, self._due.get(news, due))
        self._set_timer()

    def _set_timer(self) -> None:
        assert self._loop is not None, "something is due in it"
        if not self._due:
            return
        due = min(self._due.values())
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._tell_what_is_due)

    def _tell_what_is_due(self) -> None:
        assert self._loop is not None, "this is called in it"
        self._timer = None
        until = self._loop.time() + _TOGETHER_SECS
        self._tell(*[news for news in _News if self._due.get(news, math.inf) <= until])
        self._set_timer()

    def _tell(self, *kinds: _News) -> None:
        """Tell all that there is of some kinds of news."""
        for news in kinds:
            self._due.pop(news, None)
            match news:
                case _News.SPEECH:
                    self._tell_speech()
                case _News.LOG:
                    entries, self._entries = self._entries, []
                    for batch in _batches(entries):
                        self._cast({"type": "log", "entries": batch, "is_backlog": False})
                case _News.UTTERANCES:
                    utterances, self._utterances = list(self._utterances.values()), {}
                    if utterances:
                        self._cast(self._describe_utterances(utterances))
                case _News.FAULTS:
                    self._cast({"type": "faults", "faults": self._faults.armed()})
                case _News.TALK:
                    topics, self._topics = self._topics, set()
                    for topic in topics:
                        self._tell_topic(topic)

    def _tell_speech(self) -> None:
        now = self._log.now()
        for reel in self._reels.values():
            for message in reel.unsent(now):
                self._send(message)

    def _tell_topic(self, topic: Topic) -> None:
        match topic:
            case Topic.TERMS:
                for viewer in self._viewers:
                    viewer.tell({"type": "talk", "talk": self._talk.describe(viewer)})
            case Topic.ACTIVITY:
                self._cast({"type": "activity", "activity": self._talk.activity()})
            case Topic.MEMORY:
                self._cast({"type": "memory", "messages": self._talk.memory()})
            case Topic.TRANSCRIPT:
                self._cast({"type": "transcript", "lines": self._talk.take_lines()})
            case Topic.VOICE:
                self._pass_on_voice()
            case Topic.NOTICE:
                for message in self._talk.take_notices():
                    self._cast(message)

    def _cast(self, message: dict[str, Any]) -> None:
        if self._viewers:
            self._send(json.dumps(message))

    def _send(self, message: str | bytes) -> None:
        for viewer in self._viewers:
            viewer.send(message)

    def _from_any_thread(self, call: Callable[[], None]) -> None:
        """Call something in the sandbox's event loop; before and after its life, nobody watches."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)

    # --- small things ---

    def _now_secs(self) -> float:
        return self._since_start(self._log.now())

    def _since_start(self, at: float) -> float:
        return round(at - self._log.started_at, 6)

    def _describe(self, session: SandboxSession) -> dict[str, Any]:
        described = describe_session(session, self._log.started_at)
        if len(json.dumps(described["metadata"])) > _LONGEST_METADATA_CHARS:
            described["metadata"] = {}
        return described

    def _describe_utterances(self, utterances: list[Utterance]) -> dict[str, Any]:
        since = self._log.started_at
        described = [describe_utterance(utterance, since) for utterance in utterances]
        return {"type": "utterances", "utterances": described}


def _batches(entries: list[Entry]) -> list[list[Entry]]:
    starts = range(0, len(entries), _ENTRIES_PER_MESSAGE)
    return [entries[start : start + _ENTRIES_PER_MESSAGE] for start in starts]
