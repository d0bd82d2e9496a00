"""The sandbox's own REST: look at its state, order faults, fetch what was heard.

======  ======================  ==============================================================
method  path                    what
======  ======================  ==============================================================
GET     ``/sandbox/state``      addresses, sessions (without tokens), limits, seconds heard
GET     ``/sandbox/faults``     the injected faults, each with how often it came up and struck
POST    ``/sandbox/faults``     inject one fault (a JSON object) or several (an array)
DELETE  ``/sandbox/faults``     disarm all
GET     ``/sandbox/heard.wav``  what was heard; ``?session_id=``, ``?longest_gap_secs=``
GET     ``/sandbox/log``        the log as a JSON array; ``?after=`` an entry's number
======  ======================  ==============================================================

None of it needs a key: the sandbox listens on loopback only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from pipecat_agenthuman.sandbox.bodies import Refusal
from pipecat_agenthuman.sandbox.faces import Gallery
from pipecat_agenthuman.sandbox.faults import Fault, FaultBook, describe_problem
from pipecat_agenthuman.sandbox.log import EventLog
from pipecat_agenthuman.sandbox.sessions import SandboxSession
from pipecat_agenthuman.sandbox.sound import Heard

_FAULTS: TypeAdapter[list[Fault]] = TypeAdapter(list[Fault])

_ENTRY_NUMBER: Final = re.compile(r"[0-9]{1,18}")
"""More digits than any log has entries, and few enough for every use of an integer."""


class ControlApi:
    """The handlers under ``/sandbox``."""

    def __init__(
        self,
        *,
        state: Callable[[], dict[str, Any]],
        heard: Callable[[str | None], Heard],
        faults: FaultBook,
        log: EventLog,
        gallery: Gallery,
    ) -> None:
        """Prepare the API.

        Args:
            state: Returns the sandbox's state as JSON values.
            heard: Returns what was heard of one session, or of all.
            faults: The faults to show and change.
            log: The log to show.
            gallery: Whose placeholder pictures are served.
        """
        self._state = state
        self._heard = heard
        self._faults = faults
        self._log = log
        self._gallery = gallery

    def routes(self) -> list[web.RouteDef]:
        """Return the API's routes."""
        return [
            web.get("/sandbox/state", self._get_state),
            web.get("/sandbox/faults", self._get_faults),
            web.post("/sandbox/faults", self._post_faults),
            web.delete("/sandbox/faults", self._delete_faults),
            web.get("/sandbox/heard.wav", self._get_heard),
            web.get("/sandbox/log", self._get_log),
            web.get("/sandbox/avatars/{name}", self._get_picture),
        ]

    async def _get_state(self, request: web.Request) -> web.Response:
        return web.json_response(self._state())

    async def _get_faults(self, request: web.Request) -> web.Response:
        return web.json_response(self._faults.armed())

    async def _post_faults(self, request: web.Request) -> web.Response:
        body = (await request.text()).strip()
        if not body:
            raise Refusal(400, "Send a fault as a JSON object, or several as an array")
        many = body if body.startswith("[") else f"[{body}]"
        try:
            faults = _FAULTS.validate_json(many)
        except ValidationError as error:
            raise Refusal(400, describe_problem(error)) from None
        for fault in faults:
            self._faults.inject(fault)
        return web.json_response(self._faults.armed(), status=201)

    async def _delete_faults(self, request: web.Request) -> web.Response:
        self._faults.clear()
        return web.json_response(self._faults.armed())

    async def _get_heard(self, request: web.Request) -> web.Response:
        try:
            heard = self._heard(request.query.get("session_id"))
        except LookupError as error:
            raise Refusal(404, str(error)) from None
        wav = heard.wav(longest_gap_secs=_seconds(request.query.get("longest_gap_secs")))
        return web.Response(body=wav, content_type="audio/wav")

    async def _get_log(self, request: web.Request) -> web.Response:
        after = request.query.get("after", "0")
        if not _ENTRY_NUMBER.fullmatch(after):
            raise Refusal(400, "after must be the number of an entry")
        return web.json_response(self._log.entries(int(after)))

    async def _get_picture(self, request: web.Request) -> web.Response:
        return web.Response(text=self._gallery.picture(), content_type="image/svg+xml")


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise Refusal(400, "longest_gap_secs must be a number of seconds, 0 or more")
    return seconds


def describe_session(session: SandboxSession, since: float) -> dict[str, Any]:
    """Return a session as JSON values, without its tokens.

    Args:
        session: The session.
        since: When the sandbox started; times are given relative to it.
    """

    def relative(at: float | None) -> float | None:
        return None if at is None or math.isinf(at) else round(at - since, 6)

    return {
        "session_id": session.id,
        "status": session.status,
        "created_at_secs": relative(session.created_at),
        "joins_at_secs": relative(session.joins_at),
        "connected_at_secs": relative(session.connected_at),
        "ended_at_secs": relative(session.ended_at),
        "ended_by": session.ended_by,
        "end_requests": session.end_requests,
        "avatar": session.avatar[:80],
        "aspect_ratio": session.aspect_ratio,
        "room": {"platform": session.room_platform, "url": session.room_url.split("?")[0]},
        "metadata": session.metadata,
    }
