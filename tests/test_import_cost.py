"""What it costs to import the service: counted, because milliseconds are the machine's."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from pydantic import BaseModel

import pipecat_agenthuman

PACKAGE = Path(pipecat_agenthuman.__file__).parent

NEEDED_ELSEWHERE = {
    *("account", "check", "cli", "daily", "demo", "livekit", "runner", "rtvi", "sandbox"),
    *("_env_file", "_terminal", "testing"),
}
FOREIGN = {"aiohttp", "loguru", "numpy", "pipecat", "pydantic", "soxr", "websockets"}
MOST_MODULES = 95


def module_file(name: str) -> Path | None:
    path = PACKAGE.joinpath(*name.split(".")[1:])
    return next(
        (one for one in (path.with_suffix(".py"), path / "__init__.py") if one.exists()), None
    )


def imported_with(name: str) -> Iterator[str]:
    """What a module imports when it is imported itself."""
    file = module_file(name)
    assert file is not None
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            yield node.module
            submodules = (f"{node.module}.{alias.name}" for alias in node.names)
            if node.module.startswith(PACKAGE.name):
                yield from (sub for sub in submodules if module_file(sub) is not None)


def loaded_for_a_bot() -> set[str]:
    """All modules that are loaded with the service and a room."""
    found: set[str] = set()
    new = {f"{PACKAGE.name}.service", f"{PACKAGE.name}.rooms"}
    while new:
        found |= new
        ours = {name for name in new if name.startswith(f"{PACKAGE.name}.")}
        new = {name for one in ours for name in imported_with(one)} - found - {PACKAGE.name}
    return found


def ours_for_a_bot() -> set[str]:
    return {name for name in loaded_for_a_bot() if name.startswith(f"{PACKAGE.name}.")}


def classes() -> Iterator[type]:
    """All classes that are made when a bot imports the service."""
    for name in ours_for_a_bot():
        for _, kind in inspect.getmembers(import_module(name), inspect.isclass):
            if kind.__module__ == name:
                yield kind


def test_a_bot_loads_nothing_that_only_others_need() -> None:
    parts = {name.split(".")[1] for name in ours_for_a_bot()}
    assert not parts & NEEDED_ELSEWHERE
    assert len(ours_for_a_bot()) <= MOST_MODULES


def test_a_bot_loads_no_package_that_pipecat_does_not() -> None:
    packages = {name.partition(".")[0] for name in loaded_for_a_bot()}
    assert packages - sys.stdlib_module_names - {PACKAGE.name} == FOREIGN


def test_no_model_is_built_before_it_is_used() -> None:
    models = [kind for kind in classes() if issubclass(kind, BaseModel)]
    assert models
    assert [kind for kind in models if not kind.model_config.get("defer_build")] == []
