"""Each public name, each command and each page is where a reader looks for it."""

from __future__ import annotations

import ast
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

import pipecat_agenthuman
from pipecat_agenthuman.cli import _COMMANDS, _parse
from tests.support.markdown import DOCS, ROOT, blocks, pages, read, site_pages

REFERENCE = "\n".join(page.read_text("utf-8") for page in (DOCS / "reference").glob("*.md"))
ENTRIES = re.findall(r"^::: ([\w.]+)$", REFERENCE, re.M)
MODULES = ("pipecat_agenthuman.sandbox", "pipecat_agenthuman.testing", "pipecat_agenthuman.runner")


def test_every_public_name_has_one_entry() -> None:
    names = {f"pipecat_agenthuman.{name}" for name in pipecat_agenthuman.__all__}
    for module in MODULES:
        names |= {f"{module}.{name}" for name in import_module(module).__all__}
    assert names - set(ENTRIES) == set()
    assert len(ENTRIES) == len(set(ENTRIES))


@pytest.mark.parametrize("entry", sorted(set(ENTRIES)))
def test_every_entry_is_of_something(entry: str) -> None:
    module, _, name = entry.rpartition(".")
    if entry.startswith("pipecat_agenthuman.testing.pytest_plugin"):
        import_module(entry)
        return
    if name in ("AgentHumanLiveKitTransport",):
        pytest.importorskip("livekit.rtc", reason="the extra [livekit] is not installed")
    assert getattr(import_module(module), name) is not None


def test_every_fixture_has_an_entry() -> None:
    source = (ROOT / "pipecat_agenthuman" / "testing" / "pytest_plugin.py").read_text("utf-8")
    fixtures = set(re.findall(r"^@pytest.fixture\ndef (\w+)", source, re.M))
    (shown,) = re.findall(r"members: \[(agenthuman_[^\]]+)\]", REFERENCE)
    assert set(shown.split(", ")) == fixtures
    assert set(re.findall(r"^\| `(agenthuman_\w+)", read("docs/guides/testing.md"), re.M)) == (
        fixtures
    )


def test_every_command_has_a_section() -> None:
    page = read("docs/reference/command-line.md")
    assert re.findall(r"^## (\w+)$", page, re.M) == list(_COMMANDS)
    assert set(re.findall(r"^<!-- help: (\w+) --help -->$", page, re.M)) == set(_COMMANDS)


def test_every_page_is_in_the_navigation_once() -> None:
    """The site's configuration has tags of its own, so it is not read as YAML."""
    navigation = read("mkdocs.yml").partition("\nnav:\n")[2]
    listed = re.findall(r"- ([\w/-]+\.md)$", navigation, re.M)
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in site_pages())


# --- what the pages have of code ----------------------------------------------------------


def examples(language: str) -> list[object]:
    return [
        pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
        for page in pages()
        for number, block in enumerate(blocks(page.read_text("utf-8")))
        if block.language == language
    ]


@pytest.mark.parametrize("block", examples("python"))
def test_python_can_be_compiled_and_imports_what_there_is(block) -> None:
    tree = compile(
        block.text,
        "page",
        "exec",
        flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST,
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pipecat"):
            if "livekit" in node.module or any("LiveKitT" in name.name for name in node.names):
                pytest.importorskip("livekit.rtc", reason="the extra [livekit] is not installed")
            module = import_module(node.module)
            assert all(hasattr(module, name.name) for name in node.names), ast.unparse(node)


@pytest.mark.parametrize("block", examples("sh"))
def test_commands_of_this_package_are_understood(block) -> None:
    for command in block.commands:
        words = shlex.split(command)
        if words[0] == "pipecat-agenthuman":
            assert _parse(words[1:]).command == words[1]
        if words[0] == "python" and words[1].endswith(".py"):
            name = Path(words[1]).name
            assert (ROOT / "examples" / name).exists(), command
