"""One request to the REST API: sent, and its answer read, accepted or refused.

Knows HTTP, the key and what must not be shown; knows nothing of sessions.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import aiohttp

from pipecat_agenthuman._credentials import quoted, redact
from pipecat_agenthuman._environment import API_URL
from pipecat_agenthuman.client.refusals import HttpAnswer, refusal
from pipecat_agenthuman.errors import (
    ApiError,
    PermanentTransportError,
    ServerFailureError,
    ShapeError,
    TransportError,
)

CONNECT_TIMEOUT_SECS: Final = 10.0
"""TCP and TLS need no more, and a request that fails here may be repeated."""

_MAX_ANSWER_BYTES: Final = 2_000_000
_REMEMBERED_SECRETS: Final = 512

# Raised before a connection stands, so that no byte of the request has left.
_NEVER_SENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
    UnicodeError,
)
# What repeating cannot mend.
_PERMANENT: Final = (aiohttp.ClientSSLError, ValueError)

Payload = aiohttp.Payload | aiohttp.FormData
_Model = TypeVar("_Model")


@dataclass(frozen=True)
class Call:
    """One request, however often it is repeated.

    Attributes:
        doing: What it does, for errors and the log: ``Creating a session``.
        method: HTTP method.
        path: Path below the API's URL.
        timeout_secs: Limit from connecting to the end of the answer.
        payload: Makes the body; called anew for each attempt, because a body is used up.
        unanswered: What a missing answer means for the caller, and what to do.
    """

    doing: str
    method: str
    path: str
    timeout_secs: float
    payload: Callable[[], Payload] | None = field(default=None, repr=False)
    unanswered: str = f"Check the network and {API_URL}, and try again."

    def closed(self) -> TransportError:
        """The error for a call on a client that is closed."""
        return PermanentTransportError(
            f"{self.doing} failed: the client is closed.",
            remedy="Use a new AgentHumanApi, and an aiohttp session that is open.",
            never_sent=True,
        )


class RestEndpoint:
    """The API at one URL, spoken to with one key."""

    def __init__(
        self,
        *,
        url: str,
        api_key: str,
        http: aiohttp.ClientSession | None,
        wall_clock: Callable[[], float],
    ) -> None:
        """Create the endpoint. No connection is opened yet.

        Args:
            url: Base URL, checked, without a trailing slash.
            api_key: The key.
            http: An aiohttp session to use, or None to make one on first use.
            wall_clock: Seconds since 1970.
        """
        self.url = url
        self._api_key = api_key
        self._given_http = http
        self._own_http: aiohttp.ClientSession | None = None
        self._wall_clock = wall_clock
        self._closed = False
        # What servers may echo; bounded, because a client may live for years.
        self._secrets: deque[str] = deque(maxlen=_REMEMBERED_SECRETS)

    @property
    def account(self) -> tuple[str, bytes]:
        """Tells accounts apart, and does not show the key."""
        return self.url, hashlib.sha256(self._api_key.encode()).digest()

    def keep_secret(self, *secrets: str) -> None:
        """Keep tokens out of every error and log line from now on."""
        self._secrets.extend(secret for secret in secrets if secret not in self._secrets)

    def redacted(self, text: str) -> str:
        """Remove the key and every token that was kept secret."""
        return redact(text, self._api_key, *self._secrets)

    def quoted(self, text: str) -> str:
        """Make text of a server fit for an error or a log line."""
        return quoted(text, self.redacted)

    async def close(self) -> None:
        """Release the connections that were made here."""
        self._closed = True
        if self._own_http is not None:
            await self._own_http.close()

    async def exchange(self, call: Call) -> HttpAnswer:
        """Send a request and read its answer, whatever it says.

        Args:
            call: The request.

        Returns:
            The answer, read as far as it came.

        Raises:
            TransportError: If there is none.
        """
        if self._closed or (http := self._http()).closed:
            raise call.closed()
        try:
            async with http.request(
                call.method,
                self.url + call.path,
                data=call.payload() if call.payload else None,
                headers={"x-api-key": self._api_key, "Accept": "application/json"},
                timeout=aiohttp.ClientTimeout(
                    total=call.timeout_secs, connect=min(call.timeout_secs, CONNECT_TIMEOUT_SECS)
                ),
                # A redirect would take the key to wherever it points.
                allow_redirects=False,
                raise_for_status=False,
            ) as response:
                return await _read(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The last one is what the libraries make of a wrong proxy in the environment.
            failure = self._no_answer(call, error)
        # Raised out here, unchained and without naming `error`: aiohttp's exceptions and frames
        # hold the headers, and a log that shows a traceback's variables would show the key.
        raise failure

    def understood(
        self, answer: HttpAnswer, parse: Callable[[Mapping[str, Any]], _Model], call: Call
    ) -> _Model:
        """Read what a successful answer says.

        Args:
            answer: The answer.
            parse: Makes a model of the JSON object, or raises ``ShapeError``.
            call: What it answers.

        Returns:
            The model.

        Raises:
            ApiError: If the body says that it failed after all, or is not what it should be.
        """
        if not answer.succeeded:
            raise self._refusal(answer, call)
        # The body may hold a token, so no frame that an exception passes has it as a variable.
        parsed = _parsed(answer, parse)
        if not isinstance(parsed, _Flaw):
            return parsed
        if parsed.is_refusal:
            raise self._refusal(answer, call)
        raise ServerFailureError(
            f"{call.doing}: the answer (HTTP {answer.status}) cannot be used: {parsed.words}.",
            status=answer.status,
            remedy=f"Check {API_URL}; if it is right, try again later or update this package.",
        )

    def _http(self) -> aiohttp.ClientSession:
        if self._given_http is not None:
            return self._given_http
        if self._own_http is None:
            self._own_http = aiohttp.ClientSession(
                # Requests are minutes apart. A kept connection that the server is just closing
                # would make a create fail in a way that forbids repeating it.
                connector=aiohttp.TCPConnector(force_close=True),
                # Proxies from the environment, but not for plain http: that is loopback, and
                # a proxy would be handed the key.
                trust_env=self.url.startswith("https:"),
            )
        return self._own_http

    def _refusal(self, answer: HttpAnswer, call: Call) -> ApiError:
        return refusal(
            answer, doing=call.doing, redacted=self.redacted, now_secs=self._wall_clock()
        )

    def _no_answer(self, call: Call, error: Exception) -> TransportError:
        never_sent = isinstance(error, _NEVER_SENT)
        if isinstance(error, ValueError) and not isinstance(
            error, UnicodeError | aiohttp.ClientSSLError
        ):
            # Its words quote the URL, and that of a proxy can hold a password.
            reason = f"{type(error).__name__}: {API_URL}, or a proxy's URL, is not valid."
        elif isinstance(error, TimeoutError) and not never_sent:
            reason = f"no answer within {call.timeout_secs:g} s."
        else:
            reason = f"{type(error).__name__}: {self.quoted(str(error)) or 'no further words'}."
        kind = PermanentTransportError if isinstance(error, _PERMANENT) else TransportError
        return kind(
            f"{call.doing} failed: {reason}",
            remedy=f"Check the network and {API_URL}." if never_sent else call.unanswered,
            never_sent=never_sent,
        )


@dataclass(frozen=True, slots=True)
class _Flaw:
    """Why a body cannot be used: it says that the request failed, or is not what it should be."""

    words: str = ""
    is_refusal: bool = False


def _parsed(answer: HttpAnswer, parse: Callable[[Mapping[str, Any]], _Model]) -> _Model | _Flaw:
    body = answer.json_object()
    if body is None:
        # Never quoted: it may hold a session's token in a shape that nothing recognises.
        return _Flaw(answer.fault or "the body is not a JSON object")
    if body.get("success") is False:
        return _Flaw(is_refusal=True)
    try:
        return parse(body)
    except ShapeError as error:
        return _Flaw(str(error))


async def _read(response: aiohttp.ClientResponse) -> HttpAnswer:
    """Read a body as far as it comes: half an answer can still name a session to end."""
    body = bytearray()
    fault = ""
    try:
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > _MAX_ANSWER_BYTES:
                fault = f"the body is longer than {_MAX_ANSWER_BYTES} bytes"
                break
    except (aiohttp.ClientError, OSError) as error:
        fault = f"the body broke off ({type(error).__name__})"
    return HttpAnswer(response.status, response.headers, bytes(body), fault)
