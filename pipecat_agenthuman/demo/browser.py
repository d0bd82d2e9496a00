"""Opening a page in the person's browser, where there is one to see it."""

from __future__ import annotations

import asyncio
import os
import sys
import webbrowser
from collections.abc import Mapping


def has_display(platform: str = sys.platform, variables: Mapping[str, str] = os.environ) -> bool:
    """Tell whether a browser would be seen by somebody.

    Args:
        platform: As ``sys.platform``.
        variables: Variables by name.

    Returns:
        Whether there is a display. Without one, Python would open a browser for text in the
        terminal, or none.
    """
    if platform in ("win32", "darwin"):
        return not variables.get("SSH_CONNECTION")
    return bool(variables.get("DISPLAY") or variables.get("WAYLAND_DISPLAY"))


async def open_page(url: str) -> bool:
    """Open a page.

    Args:
        url: Its URL.

    Returns:
        Whether a browser was found; how it fares is not known.
    """
    try:
        # One that stays in the terminal until it is closed is none for this.
        if type(webbrowser.get()) is webbrowser.GenericBrowser:
            return False
        return await asyncio.to_thread(webbrowser.open, url)
    except (webbrowser.Error, OSError):
        return False
