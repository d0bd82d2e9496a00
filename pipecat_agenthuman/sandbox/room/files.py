"""The page's files, and what a browser may do with them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aiohttp import web

PAGE: Final = Path(__file__).parents[1] / "page"

_KINDS: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
"""What is served; the same on every machine, whatever its list of types says."""

_TEXTS: Final = {".html", ".css", ".js", ".json", ".svg"}

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self' ws://{host}; media-src 'self' blob:; worker-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
"""Nothing inline, nothing from elsewhere, no text that becomes markup or script.

``ws:`` is named because older browsers do not count it under 'self'.
"""

_PERMISSIONS: Final = "microphone=(self), camera=(), geolocation=()"


class PageFiles:
    """Serves the page: ``/``, to which ``/room`` leads, and ``/room/…``."""

    def __init__(self, folder: Path = PAGE) -> None:
        """Look at what there is to serve.

        Args:
            folder: Where the files are.
        """
        # A name that is asked for is only looked up here: no path is made of it.
        self._files = {
            path.relative_to(folder).as_posix(): path
            for path in folder.rglob("*")
            if path.suffix in _KINDS and path.is_file()
        }

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of all files but the front page."""
        return [
            web.get("/room", self._lead_to_front_page),
            web.get("/room/{name:.+}", self._file),
        ]

    async def front_page(self, request: web.Request) -> web.StreamResponse:
        """Answer with the page itself."""
        return self._response(request, "index.html")

    async def _lead_to_front_page(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=303, headers={"Location": "/"})

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return self._response(request, request.match_info["name"])

    def _response(self, request: web.Request, name: str) -> web.Response:
        path = self._files.get(name)
        if path is None:
            raise web.HTTPNotFound
        return web.Response(
            body=path.read_bytes(),
            content_type=_KINDS[path.suffix],
            charset="utf-8" if path.suffix in _TEXTS else None,
            headers={
                # The guard has let only well-formed loopback hosts in.
                "Content-Security-Policy": _POLICY.format(host=request.host),
                "Permissions-Policy": _PERMISSIONS,
            },
        )
