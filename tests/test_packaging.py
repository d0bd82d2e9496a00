"""What is published: where it says that it lives, and what its files say of each other."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipecat_agenthuman.cli import _parse
from pipecat_agenthuman.sandbox import Sandbox
from pipecat_agenthuman.sandbox.options import sandbox_arguments

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HOME = PROJECT["urls"]["Repository"]
LINK = re.compile(r"https://github\.com/[\w.-]+/pipecat-agenthuman\b")
INSTALL = re.compile(r"pip install (?!uv\b)[^`\n]*?pipecat-agenthuman[^`\n]*")

# What is told to who has the package already: pip adds the extra's packages to it.
INSTALLED = {"pip install 'pipecat-agenthuman[demo]'"}


def texts() -> dict[str, str]:
    """The project's own texts by name."""
    found = [
        *ROOT.glob("*.md"),
        *ROOT.glob("*.toml"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.*"),
        *(ROOT / "pipecat_agenthuman").rglob("*.py"),
    ]
    plain = [path for path in found if path.suffix in {".md", ".toml", ".py", ".yml", ".txt"}]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in plain}


def test_every_link_leads_to_where_the_project_lives() -> None:
    assert {link for text in texts().values() for link in LINK.findall(text)} == {HOME}
    assert all(url.startswith(HOME) for url in PROJECT["urls"].values())


def test_nothing_is_installed_from_where_it_is_not() -> None:
    for name, text in texts().items():
        for command in INSTALL.findall(text):
            if not any(command.startswith(known) for known in INSTALLED):
                assert f"@ git+{HOME}" in command, f"{name}: {command}"


def test_the_license_maintainers_and_readme_are_named() -> None:
    assert PROJECT["license"] == "BSD-2-Clause"
    assert PROJECT["maintainers"]
    assert re.search(r"^Tested with Pipecat v1\.\d+\.\d+\.$", texts()["README.md"], re.M)


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md", "README.md"])
def test_relative_links_resolve(name: str) -> None:
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", texts()[name]):
        assert (ROOT / target).exists(), target


# --- what the images are made of ----------------------------------------------------------


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.local"])
def test_what_an_image_is_made_of_is_there_and_not_left_out(name: str) -> None:
    kept = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "examples" / "deploy" / name).read_text(), re.M)
    sources = [source for line in copied for source in line.split()]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source.split("/")[0] in kept, source


def test_the_image_has_all_that_a_build_needs() -> None:
    """What hatchling reads of the project: its settings name these files."""
    dockerfile = (ROOT / "examples" / "deploy" / "Dockerfile").read_text()
    for needed in ("pyproject.toml", PROJECT["readme"], *PROJECT["license-files"]):
        assert needed in dockerfile


def compose_file() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "examples" / "deploy" / "docker-compose.yml").read_text())


def test_docker_compose_is_given_what_it_knows() -> None:
    """A misspelt key is refused by it, or worse, is none."""
    file = compose_file()
    assert set(file) == {"services"}
    known = {
        "build",
        "command",
        "depends_on",
        "environment",
        "healthcheck",
        "network_mode",
        "ports",
    }
    deploy = ROOT / "examples" / "deploy"
    for service in file["services"].values():
        assert set(service) <= known
        context = (deploy / service["build"]["context"]).resolve()
        assert context == ROOT
        assert (context / service["build"]["dockerfile"]).is_file()
        assert all(isinstance(value, str) for value in service["environment"].values())


def test_the_composed_bot_waits_for_the_sandbox_and_finds_it_on_loopback() -> None:
    services = compose_file()["services"]
    sandbox, bot = services["sandbox"], services["bot"]
    program, *words = shlex.split(sandbox["command"])
    assert program in PROJECT["scripts"]
    args = _parse(words)
    assert args.command == "sandbox"
    # As such a sandbox itself prints it.
    environment = Sandbox(**sandbox_arguments(args)).environment
    assert bot["environment"] == sandbox["environment"] == environment
    assert sandbox["ports"] == [f"127.0.0.1:{args.port}:{args.port}"]
    assert bot["network_mode"] == "service:sandbox"
    assert bot["depends_on"] == {"sandbox": {"condition": "service_healthy"}}
    way, program, *words = sandbox["healthcheck"]["test"]
    assert (way, program) == ("CMD", "pipecat-agenthuman")
    assert _parse(words).command == "usage"


def test_another_owner_is_written_everywhere(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    ).stdout.split(b"\0")
    names = [name.decode() for name in listed if name]
    if not names:
        pytest.skip("not in a clone")
    for name in names:
        if LINK.search((ROOT / name).read_text(encoding="utf-8", errors="replace")):
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            (clone / name).write_bytes((ROOT / name).read_bytes())
    (clone / ".ci").mkdir(exist_ok=True)
    (clone / ".ci" / "set-owner").write_bytes((ROOT / ".ci" / "set-owner").read_bytes())
    for command in (["git", "init", "-q"], ["git", "add", "-A"]):
        subprocess.run(command, cwd=clone, check=True)
    subprocess.run(["bash", ".ci/set-owner", "somebody"], cwd=clone, check=True)
    text = (clone / "pyproject.toml").read_text() + (clone / "CONTRIBUTING.md").read_text()
    assert set(LINK.findall(text)) == {"https://github.com/somebody/pipecat-agenthuman"}
