"""Room tokens that can be read, as Daily's and LiveKit's can. Nobody verifies them."""

from __future__ import annotations

import base64
import json


def web_token(claims: object) -> str:
    """Make a JSON Web Token with these claims, and a signature that means nothing."""
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2lnbmF0dXJl"
