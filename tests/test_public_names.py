"""What users import: all of it from one place, and nothing of it before it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from pipecat.frames.frames import InterruptionFrame

import pipecat_agenthuman
from pipecat_agenthuman import AgentHumanError, StartInterruptionFrame, errors


@pytest.mark.parametrize("name", pipecat_agenthuman.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    if pipecat_agenthuman._HOMES[name] == "livekit":
        pytest.importorskip("livekit.rtc", reason="the extra [livekit] is not installed")
    exec(f"from pipecat_agenthuman import {name}", {})
    assert name in dir(pipecat_agenthuman)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = pipecat_agenthuman.nothing


def test_type_checkers_and_the_interpreter_read_the_same_names() -> None:
    source = Path(pipecat_agenthuman.__file__).read_text(encoding="utf-8")
    choice = next(node for node in ast.parse(source).body if isinstance(node, ast.If))
    imports = [node for node in choice.body if isinstance(node, ast.ImportFrom)]
    assert len(imports) == len(choice.body)
    read = {(alias.name, alias.asname, node.module) for node in imports for alias in node.names}
    homes = pipecat_agenthuman._HOMES
    assert read == {(name, name, home) for name, home in homes.items()}


def test_every_exception_that_can_be_caught_can_be_imported() -> None:
    kinds = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, AgentHumanError)
    }
    assert {kind.__name__ for kind in kinds} <= set(pipecat_agenthuman.__all__)


def test_the_former_name_of_the_interruption_is_the_same_class() -> None:
    assert StartInterruptionFrame is InterruptionFrame


def test_optional_dependencies_stay_unimported_until_they_are_used() -> None:
    code = (
        "import sys; import pipecat_agenthuman as package; "
        "light = 'pipecat' not in sys.modules; "
        "[getattr(package, name) for name, home in package._HOMES.items() "
        "if home not in ('daily', 'livekit')]; "
        "unwanted = {'daily', 'livekit', 'rich', 'espeakng_loader', 'pytest'} & set(sys.modules); "
        "print(light, sorted(unwanted))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert output.splitlines()[-1] == "True []"
