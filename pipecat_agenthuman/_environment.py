"""Where arguments come from that are not given: a variable of the environment, or a default."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pipecat_agenthuman._credentials import check_secret, check_url

_PLACEHOLDER_HOSTS: Final = ("//your-domain.", "//your-project.")


def is_placeholder(value: str) -> bool:
    """Tell what ``.env.example`` has from what somebody filled in."""
    return value.strip().endswith("...") or any(host in value for host in _PLACEHOLDER_HOSTS)


_BOTH_NAMES: Final = re.compile(r"(?<![\w-])[\w-]+ \(or ([A-Z][A-Z0-9_]+)\)")
"""What ``Variable.__str__`` makes of an argument of Python's."""


def in_variables(text: str) -> str:
    """Make an error speak of variables alone, for who is at a command line."""
    return _BOTH_NAMES.sub(r"\1", text)


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the environment, and the argument that it stands in for.

    The methods read a value: what was given for the argument, or the variable, or the default.
    Empty counts as unset. They raise ``ValueError`` for what cannot be right, naming both.

    Attributes:
        argument: Name of the argument.
        name: Name of the variable.
        default: What counts if neither is set. That of a URL has the scheme with TLS.
    """

    argument: str
    name: str
    default: str = ""

    def __str__(self) -> str:
        """Both names, for an error; see ``in_variables``."""
        return f"{self.argument} (or {self.name})"

    def text(self, given: str | None = None, *, variables: Mapping[str, str] | None = None) -> str:
        """Read any text; it may be empty.

        Args:
            given: The argument.
            variables: Variables by name; None for those of the process.
        """
        if not isinstance(given, str | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"{self} must be text, got {type(given).__name__}.")
        found = (os.environ if variables is None else variables).get(self.name, "")
        return (given or "").strip() or found.strip() or self.default

    def key(self, given: str | None = None, *, variables: Mapping[str, str] | None = None) -> str:
        """Read a key; there must be one. The arguments are those of ``text``."""
        key = self.text(given, variables=variables)
        if not key:
            raise ValueError(f"No {self.argument}: pass {self.argument}, or set {self.name}.")
        if is_placeholder(key):
            raise ValueError(f"{self} is still the placeholder: fill in your own.")
        return check_secret(key, name=str(self))

    def secs(self, *, variables: Mapping[str, str] | None = None) -> float | None:
        """Read a number of seconds; None if it is not set. The arguments are those of ``text``."""
        text = self.text(variables=variables)
        if not text:
            return None
        try:
            secs = float(text)
        except ValueError:
            secs = math.nan
        if not 0 <= secs < math.inf:
            raise ValueError(f"{self} must be a number of seconds, 0 or more, got {text!r}.")
        return secs

    def url(self, given: str | None = None, *, variables: Mapping[str, str] | None = None) -> str:
        """Read a URL to which credentials may go. The arguments are those of ``text``."""
        scheme = self.default.partition(":")[0]
        return check_url(self.text(given, variables=variables), name=str(self), scheme=scheme)


API_KEY: Final = Variable("api_key", "AGENTHUMAN_API_KEY")
AVATAR: Final = Variable("avatar", "AGENTHUMAN_AVATAR")
AVATAR_LATENCY: Final = Variable("avatar_latency_secs", "AGENTHUMAN_AVATAR_LATENCY_SECS")
API_URL: Final = Variable("api_url", "AGENTHUMAN_API_URL", "https://api.agenthuman.com/v1")
WS_URL: Final = Variable("ws_url", "AGENTHUMAN_WS_URL", "wss://wss.agenthuman.com")

DAILY_API_KEY: Final = Variable("api_key", "DAILY_API_KEY")
DAILY_API_URL: Final = Variable("api_url", "DAILY_API_URL", "https://api.daily.co/v1")
LIVEKIT_API_KEY: Final = Variable("api_key", "LIVEKIT_API_KEY")
LIVEKIT_API_SECRET: Final = Variable("api_secret", "LIVEKIT_API_SECRET")

# What only the check reads; a bot passes them itself, as in DailyRoom(url, token).
DAILY_ROOM_URL: Final = Variable("--room", "DAILY_ROOM_URL")
DAILY_AVATAR_TOKEN: Final = Variable("--token", "DAILY_AVATAR_TOKEN")
LIVEKIT_URL: Final = Variable("--room", "LIVEKIT_URL")
LIVEKIT_ROOM_NAME: Final = Variable("--room-name", "LIVEKIT_ROOM_NAME")
LIVEKIT_AVATAR_TOKEN: Final = Variable("--token", "LIVEKIT_AVATAR_TOKEN")
