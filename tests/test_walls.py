"""The walls of the house: who may import whom. The design says why."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pipecat_agenthuman

PACKAGE = Path(pipecat_agenthuman.__file__).parent
GROUND = {
    "errors",
    "identity",
    "wire",
    "_arguments",
    "_credentials",
    "_env_file",
    "_environment",
    "_terminal",
}
MAY_IMPORT = dict.fromkeys(GROUND, GROUND) | {
    "playout": {"playout", "wire.pcm", "_arguments"},
    "client": {"client"} | GROUND,
    "pipeline": {"pipeline", "client", "playout", "frames", "tokens.claims"} | GROUND,
    "sandbox": {"sandbox", "wire", "_credentials"},
    "tokens": {"tokens"} | GROUND,
}
MUST_NOT_IMPORT = {part: {"pipecat"} for part in MAY_IMPORT} | {
    "playout": {"pipecat", "asyncio", "time"},
    "pipeline": set[str](),
}


def modules(part: str) -> list[Path]:
    return [*PACKAGE.glob(f"{part}.py"), *(PACKAGE / part).rglob("*.py")]


def imports(module: Path) -> Iterator[str]:
    """All that a module imports, be it in a function or for type checkers only."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def lies_in(name: str, places: set[str]) -> bool:
    return any(f"{name}.".startswith(f"{place}.") for place in places)


@pytest.mark.parametrize("part", sorted(MAY_IMPORT))
def test_nothing_is_imported_over_a_wall(part: str) -> None:
    may = {f"pipecat_agenthuman.{place}" for place in MAY_IMPORT[part]}
    must_not = {"pipecat_agenthuman", *MUST_NOT_IMPORT[part]}
    over_a_wall = [
        f"{module.relative_to(PACKAGE)} imports {name}"
        for module in modules(part)
        for name in imports(module)
        if lies_in(name, must_not) and not lies_in(name, may)
    ]
    assert modules(part)
    assert over_a_wall == []


def loaded_by(*names: str) -> set[str]:
    """The modules that a fresh interpreter loads in order to import some."""
    code = f"import sys; before = set(sys.modules); import {', '.join(names)}; "
    code += "print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("part", "never_loaded"), [("client", {"pipecat"}), ("playout", {"pipecat", "asyncio"})]
)
def test_a_wing_alone_loads_nothing_of_another(part: str, never_loaded: set[str]) -> None:
    names = [f"pipecat_agenthuman.{part}.{module.stem}" for module in modules(part)]
    loaded = loaded_by(*(name.removesuffix(".__init__") for name in names))
    assert {name for name in loaded if lies_in(name, never_loaded)} == set()
    of_us = {name.split(".")[1] for name in loaded if name.startswith("pipecat_agenthuman.")}
    assert of_us <= {place.split(".")[0] for place in MAY_IMPORT[part]}


def test_importing_the_package_loads_next_to_nothing() -> None:
    loaded = loaded_by("pipecat_agenthuman")
    assert {name for name in loaded if lies_in(name, {"pipecat_agenthuman"})} == {
        "pipecat_agenthuman"
    }
    assert {name.partition(".")[0] for name in loaded} <= {
        "pipecat_agenthuman",
        *sys.stdlib_module_names,
    }
    assert "asyncio" not in loaded
