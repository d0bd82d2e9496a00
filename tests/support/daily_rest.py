"""As much of Daily's REST API as minting a token takes, on loopback, in a thread of its own."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.web_tokens import web_token

_POLL_SECS = 0.02
_ABBREVIATIONS = {"room_name": "r", "user_id": "ud", "user_name": "u", "is_owner": "o"}
"""Of Daily's own, those that this project reads."""


class _DailyRest(BaseHTTPRequestHandler):
    """Has every room there is under its URL. Its tokens can be read, as Daily's can."""

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        self._answer(
            {
                "id": name,
                "name": name,
                "api_created": True,
                "privacy": "private",
                "url": f"https://example.daily.co/{name}",
                "created_at": "2026-05-01T10:00:00.000Z",
                "config": {},
            }
        )

    def do_POST(self) -> None:
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["properties"]
        claims = {_ABBREVIATIONS.get(name, name): value for name, value in wanted.items()}
        self._answer({"token": web_token(claims)})

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, body: dict[str, Any]) -> None:
        payload = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)


def holder_of(token: str) -> dict[str, Any]:
    """What a token was made for, under the names that Daily's REST API has for it."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    names = {short: name for name, short in _ABBREVIATIONS.items()}
    return {names.get(claim, claim): value for claim, value in claims.items()}


@contextmanager
def daily_rest() -> Iterator[dict[str, str]]:
    """Serve it; yields the variables that lead to it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _DailyRest)
    threading.Thread(target=server.serve_forever, args=(_POLL_SECS,), daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/v1"
        yield {"DAILY_API_KEY": "daily-key", "DAILY_API_URL": url}
    finally:
        server.shutdown()
        server.server_close()
