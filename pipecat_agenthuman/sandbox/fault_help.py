"""The faults that can be ordered, in words: for ``pipecat-agenthuman sandbox --help-faults``."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from typing import Any, Final

from pydantic_core import PydanticUndefined

from pipecat_agenthuman.sandbox.faults import Fault, possible_kinds

_EXAMPLES: Final[tuple[dict[str, Any], ...]] = (
    {"on": "agent.speak", "kind": "missing"},
    {"on": "agent.speak", "kind": "close", "nth": 3},
    {"on": "create", "kind": "refuse", "status": 429, "headers": {"Retry-After": "5"}},
    {"on": "ping", "kind": "silent", "nth": 2, "times": None},
)
_ENTRY: Final = re.compile(r"^(?:\* )?(?P<name>``[\w]+``|\w+): (?P<text>.*(?:\n {2,}.*)*)", re.M)


def fault_help(width: int) -> str:
    """Explain the faults: where they strike, what goes wrong, and with which fields.

    Args:
        width: Columns of the terminal.

    Returns:
        The text, made of what ``Fault`` says of itself.
    """
    documentation = inspect.getdoc(Fault) or ""
    kinds, _, fields = documentation.partition("Attributes:")
    parts = [
        "A fault is a JSON object, given to --fault or sent to /sandbox/faults.",
        "",
        "Fields:",
        *_entries(textwrap.dedent(fields), width, _defaults()),
        "",
        "Kinds:",
        *_entries(kinds, width, {}),
        "",
        "What can happen where:",
        *(
            _hanging(f"{point}", ", ".join(kinds), width)
            for point, kinds in possible_kinds().items()
        ),
        "",
        "For example:",
        *(f"  --fault '{json.dumps(example)}'" for example in _EXAMPLES),
        "",
    ]
    return "\n".join(parts)


def _entries(text: str, width: int, defaults: dict[str, str]) -> list[str]:
    found: list[str] = []
    for entry in _ENTRY.finditer(text):
        name = entry["name"].strip("`")
        words = " ".join(entry["text"].split()).replace("``", "")
        default = f" ({defaults[name]})" if name in defaults else ""
        found.append(_hanging(name, words + default, width))
    return found


def _defaults() -> dict[str, str]:
    """What counts for a field that is left out, as JSON."""
    fields = Fault.model_fields
    return {
        name: json.dumps(field.default)
        for name, field in fields.items()
        if field.default is not PydanticUndefined
    }


def _hanging(name: str, text: str, width: int) -> str:
    return textwrap.fill(
        f"{name:<16}  {text}",
        max(width, 40),
        initial_indent="  ",
        subsequent_indent=" " * 20,
        break_on_hyphens=False,
    )
