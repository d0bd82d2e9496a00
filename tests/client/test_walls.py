"""The client wing could be published alone: it knows the service, and nothing of Pipecat."""

import pkgutil
import subprocess
import sys

import pytest

from pipecat_agenthuman import client

MODULES = sorted(
    f"{client.__name__}.{module.name}" for module in pkgutil.iter_modules(client.__path__)
)
ABOVE = {
    "pipecat",
    "daily",
    "pipecat_agenthuman.check",
    "pipecat_agenthuman.frames",
    "pipecat_agenthuman.pipeline",
    "pipecat_agenthuman.playout",
    "pipecat_agenthuman.rooms",
    "pipecat_agenthuman.sandbox",
    "pipecat_agenthuman.service",
    "pipecat_agenthuman.settings",
}


@pytest.mark.parametrize("module", [*MODULES, "pipecat_agenthuman.errors"])
def test_a_module_of_the_client_loads_nothing_from_above(module: str):
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert module in loaded
    assert loaded & ABOVE == set()
    if not module.startswith(client.__name__):
        assert not any(name.startswith(client.__name__) for name in loaded)
