"""The sandbox's own REST: look at its state, order faults, fetch what was heard.

======  ============================  ========================================================
method  path (``/sandbox/…``)         what
======  ============================  ========================================================
GET     ``state``                     addresses, sessions (without tokens), limits, seconds heard
GET     ``faults``                    the injected faults, how often each came up and struck
POST    ``faults``                    inject one fault (a JSON object) or several (an array)
DELETE  ``faults``                    disarm all
DELETE  ``faults/{number}``           disarm one
GET     ``troubles``                  faults and actions to choose from, each with a sentence
POST    ``sessions/{id}/{action}``    ``end``, ``drop``, ``abort``, ``remove_avatar`` or
                                      ``return_avatar``, without being asked by the client
GET     ``heard.wav``                 what was heard; ``?session_id=``, ``?longest_gap_secs=``
GET     ``log``                       the log as a JSON array; ``?after=`` an entry's number
======  ============================  ========================================================

None of it needs a key: the sandbox listens on loopback only, and no foreign page gets in.
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
from pipecat_agenthuman.sandbox.intervention import Intervention
from pipecat_agenthuman.sandbox.log import EventLog
from pipecat_agenthuman.sandbox.sound import Heard
from pipecat_agenthuman.sandbox.troubles import Action, describe_trouble, troubles

_FAULTS: TypeAdapter[list[Fault]] = TypeAdapter(list[Fault])

_ENTRY_NUMBER: Final = re.compile(r"[0-9]{1,18}")
"""More digits than any log has entries, and few enough for every use of an integer."""

_MOST_FAULTS: Final = 1000
"""Each is looked at whenever its point comes up; a flood of them must not slow the avatar."""


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
        intervention: Intervention,
    ) -> None:
        """Prepare the API.

        Args:
            state: Returns the sandbox's state as JSON values.
            heard: Returns what was heard of one session, or of all.
            faults: The faults to show and change.
            log: The log to show.
            gallery: Whose placeholder pictures are served.
            intervention: What can be made to happen to sessions.
        """
        self._state = state
        self._heard = heard
        self._faults = faults
        self._log = log
        self._gallery = gallery
        self._intervention = intervention

    def routes(self) -> list[web.RouteDef]:
        """Return the API's routes."""
        return [
            web.get("/sandbox/state", self._get_state),
            web.get("/sandbox/faults", self._get_faults),
            web.post("/sandbox/faults", self._post_faults),
            web.delete("/sandbox/faults", self._delete_faults),
            web.delete("/sandbox/faults/{number:[0-9]{1,18}}", self._delete_fault),
            web.get("/sandbox/troubles", self._get_troubles),
            web.post("/sandbox/sessions/{id}/{action}", self._act),
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
        if len(self._faults.armed()) + len(faults) > _MOST_FAULTS:
            raise Refusal(
                400,
                f"There can be {_MOST_FAULTS} faults at a time",
                suggestion="DELETE /sandbox/faults disarms all.",
            )
        self._faults.inject(*faults)
        return web.json_response(self._faults.armed(), status=201)

    async def _delete_faults(self, request: web.Request) -> web.Response:
        self._faults.clear()
        return web.json_response(self._faults.armed())

    async def _delete_fault(self, request: web.Request) -> web.Response:
        try:
            self._faults.disarm(int(request.match_info["number"]))
        except LookupError as error:
            raise Refusal(404, str(error)) from None
        return web.json_response(self._faults.armed())

    async def _get_troubles(self, request: web.Request) -> web.Response:
        return web.json_response([describe_trouble(trouble) for trouble in troubles()])

    async def _act(self, request: web.Request) -> web.Response:
        session_id, action = request.match_info["id"], request.match_info["action"]
        described = self._described(session_id)
        if described is None or described["status"] == "ended":
            raise Refusal(404, "No such session is live")
        do = self._intervention
        try:
            match action:
                case Action.END:
                    await do.end_session(session_id)
                case Action.DROP:
                    await do.drop(session_id=session_id)
                case Action.ABORT:
                    await do.drop(session_id=session_id, abort=True)
                case Action.REMOVE_AVATAR:
                    await do.remove_avatar(session_id)
                case Action.RETURN_AVATAR:
                    await do.return_avatar(session_id)
                case _:
                    known = ", ".join(Action)
                    raise Refusal(404, f"No action is called {action}", suggestion=f"Use {known}.")
        except LookupError as error:
            raise Refusal(409, str(error)) from None
        return web.json_response(self._described(session_id))

    def _described(self, session_id: str) -> dict[str, Any] | None:
        sessions: list[dict[str, Any]] = self._state()["sessions"]
        return next((one for one in sessions if one["session_id"] == session_id), None)

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
        return web.Response(
            text=self._gallery.picture(),
            content_type="image/svg+xml",
            headers={"Cross-Origin-Resource-Policy": "cross-origin"},  # made to be shown elsewhere
        )


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
