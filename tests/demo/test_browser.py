"""When a browser is opened, and that nothing breaks where there is none."""

from __future__ import annotations

import webbrowser

import pytest

from pipecat_agenthuman.demo.browser import has_display, open_page


@pytest.mark.parametrize(
    ("platform", "variables", "seen"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("linux", {"DISPLAY": ""}, False),
        ("darwin", {}, True),
        ("darwin", {"SSH_CONNECTION": "there here"}, False),
        ("win32", {}, True),
    ],
)
def test_a_browser_is_seen_where_there_is_a_display(
    platform: str, variables: dict[str, str], seen: bool
) -> None:
    assert has_display(platform, variables) is seen


async def test_a_machine_without_a_browser_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_none() -> webbrowser.BaseBrowser:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "get", get_none)
    assert await open_page("http://127.0.0.1:1/") is False


async def test_a_browser_for_text_does_not_take_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.GenericBrowser("w3m"))
    monkeypatch.setattr(webbrowser, "open", opened.append)
    assert await open_page("http://127.0.0.1:1/") is False
    assert opened == []


async def test_the_page_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def open_in_it(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.BackgroundBrowser("xdg-open"))
    monkeypatch.setattr(webbrowser, "open", open_in_it)
    assert await open_page("http://127.0.0.1:1/") is True
    assert opened == ["http://127.0.0.1:1/"]
