"""A bot that the room's page can talk to, and that does nothing but remember it."""

from __future__ import annotations


class SilentPartner:
    """Takes what the page says.

    Attributes:
        news: What came, in order, but for sound.
        pcm: The microphone's sound.
    """

    def __init__(self) -> None:
        self.news: list[str] = []
        self.pcm = b""

    def said(self, text: str) -> None:
        self.news.append(f"said {text}")

    def interrupted(self) -> None:
        self.news.append("interrupted")

    def microphone_changed(self, is_on: bool) -> None:
        self.news.append(f"microphone {'on' if is_on else 'off'}")

    def heard(self, pcm: bytes) -> None:
        self.pcm += pcm
