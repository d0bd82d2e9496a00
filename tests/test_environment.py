"""An argument, its variable and its default: which counts, and what is said if none can."""

from __future__ import annotations

import pytest

from pipecat_agenthuman._environment import (
    API_KEY,
    API_URL,
    AVATAR,
    DAILY_ROOM_URL,
    WS_URL,
    Variable,
    in_variables,
)

KEY = Variable("api_key", "SOME_KEY")
URL = Variable("api_url", "SOME_URL", "https://default.example/v1")


@pytest.mark.parametrize("unset", [None, "", "  "])
def test_the_argument_counts_then_the_variable_then_the_default(unset: str | None) -> None:
    variables = {"SOME_URL": " https://variable.example "}
    assert URL.text(" https://given.example ", variables=variables) == "https://given.example"
    assert URL.text(unset, variables=variables) == "https://variable.example"
    assert URL.text(unset, variables={"SOME_URL": unset or ""}) == "https://default.example/v1"


def test_without_other_variables_those_of_the_process_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOME_KEY", "key-of-the-process\n")
    assert KEY.key() == "key-of-the-process"
    monkeypatch.delenv("SOME_KEY")
    assert KEY.text() == ""


@pytest.mark.parametrize("key", ["", "ah_live_...", "two words", "line\nbreak", "schlüssel"])
def test_a_key_that_cannot_be_one_names_argument_and_variable(key: str) -> None:
    for given, variables in ((key, {}), (None, {"SOME_KEY": key})):
        with pytest.raises(ValueError, match=r"api_key.*SOME_KEY") as caught:
            KEY.key(given, variables=variables)
        assert not key or key not in str(caught.value)


@pytest.mark.parametrize("url", ["x", "ftp://x", "http://example.com", "https://u:pw@x", "https:x"])
def test_a_url_that_cannot_be_one_names_argument_and_variable(url: str) -> None:
    for given, variables in ((url, {}), (None, {"SOME_URL": url})):
        with pytest.raises(ValueError, match=r"api_url \(or SOME_URL\)") as caught:
            URL.url(given, variables=variables)
        assert "pw" not in str(caught.value)


@pytest.mark.parametrize("variable", [API_URL, WS_URL])
def test_a_default_url_passes_its_own_check_and_loopback_needs_no_tls(variable: Variable) -> None:
    assert variable.url(variables={}) == variable.default
    scheme = variable.default.partition("s://")[0]
    assert variable.url(f"{scheme}://127.0.0.1:8760/", variables={}) == f"{scheme}://127.0.0.1:8760"


@pytest.mark.parametrize("variable", [API_KEY, AVATAR, API_URL])
def test_what_is_not_text_is_named(variable: Variable) -> None:
    with pytest.raises(ValueError, match=f"{variable.argument}.*must be text, got int"):
        variable.text(5)  # type: ignore[arg-type]


def test_at_a_command_line_an_error_speaks_of_variables_alone() -> None:
    text = f"Check {API_KEY}, {API_URL} and {DAILY_ROOM_URL}, or ask (or do not)."
    assert in_variables(text) == (
        "Check AGENTHUMAN_API_KEY, AGENTHUMAN_API_URL and DAILY_ROOM_URL, or ask (or do not)."
    )
