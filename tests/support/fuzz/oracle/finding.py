"""What is found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something that should not be.

    Attributes:
        rule: Which rule it breaks.
        subject: What it is about; the same in the call of a transport.
        detail: For people.
        secs: By how much, if that can be told.
    """

    rule: str
    subject: str
    detail: str = ""
    secs: float = 0.0

    def __str__(self) -> str:
        return f"{self.rule}: {self.subject}: {self.detail}"
