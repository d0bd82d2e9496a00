from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

SYNCHRONOUS = """
import os
import threading
import urllib.request

import pytest


def usage(url, key):
    request = urllib.request.Request(url + "/usage", headers={"x-api-key": key})
    with urllib.request.urlopen(request) as response:
        return response.status


def test_a_synchronous_test_is_served(agenthuman_sandbox):
    assert usage(agenthuman_sandbox.api_url, agenthuman_sandbox.api_key) == 200
    assert [entry["what"] for entry in agenthuman_sandbox.log][-1] == "GET /v1/usage"


def test_the_environment_leads_to_the_sandbox(agenthuman_env, agenthuman_sandbox):
    assert os.environ["AGENTHUMAN_WS_URL"] == agenthuman_sandbox.ws_url
    assert os.environ["AGENTHUMAN_AVATAR"] == agenthuman_env["AGENTHUMAN_AVATAR"]
    assert usage(os.environ["AGENTHUMAN_API_URL"], os.environ["AGENTHUMAN_API_KEY"]) == 200


@pytest.mark.agenthuman_sandbox(api_key="ah_live_mine", max_sessions=7)
def test_a_marker_sets_the_arguments(agenthuman_sandbox):
    assert agenthuman_sandbox.api_key == "ah_live_mine"
    assert agenthuman_sandbox.state()["max_sessions"] == 7


def test_nothing_is_left_of_it():
    assert "AGENTHUMAN_WS_URL" not in os.environ
    assert not [thread for thread in threading.enumerate() if "agenthuman" in thread.name]
"""

ASYNCHRONOUS = """
import aiohttp
import pytest


async def create(sandbox):
    wish = {"avatar": "avat_x",
            "room": {"platform": "daily", "url": "https://example.daily.co/r", "token": "t"}}
    async with aiohttp.ClientSession(headers={"x-api-key": sandbox.api_key}) as http:
        async with http.post(sandbox.api_url + "/sessions", json=wish) as response:
            assert response.status == 201
    await sandbox.wait_for("avatar.joined")
    await sandbox.remove_avatar()


@pytest.mark.asyncio
async def test_pytest_asyncio_is_served(agenthuman_sandbox):
    await create(agenthuman_sandbox)


@pytest.mark.anyio
async def test_anyio_is_served(agenthuman_sandbox, anyio_backend_name):
    await create(agenthuman_sandbox)


@pytest.fixture
def anyio_backend():
    return "asyncio"
"""

_SCOPE = ("-o", "asyncio_default_fixture_loop_scope=function")
_WITHOUT_ASYNC_PLUGINS = ("-p", "no:asyncio", "-p", "no:anyio")


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project of somebody who uses the package."""
    for name in ("API_KEY", "AVATAR", "API_URL", "WS_URL"):
        monkeypatch.delenv(f"AGENTHUMAN_{name}", raising=False)
    return pytester


def test_synchronous_tests_need_no_asynchronous_plugin(project):
    project.makepyfile(SYNCHRONOUS)
    result = project.runpytest_inprocess(*_WITHOUT_ASYNC_PLUGINS, "--strict-markers", "-W", "error")
    result.assert_outcomes(passed=4)


def test_asynchronous_tests_are_served_in_strict_mode(project):
    project.makepyfile(ASYNCHRONOUS)
    result = project.runpytest_inprocess(*_SCOPE, "-o", "asyncio_mode=strict", "--strict-markers")
    result.assert_outcomes(passed=2)


def test_asynchronous_tests_are_served_in_automatic_mode(project):
    project.makepyfile(ASYNCHRONOUS.replace("@pytest.mark.asyncio", ""))
    result = project.runpytest_inprocess(*_SCOPE, "-o", "asyncio_mode=auto", "-k", "pytest_asyncio")
    result.assert_outcomes(passed=1, deselected=1)


def test_the_plugin_costs_a_run_that_does_not_use_it_next_to_nothing():
    script = (
        "import json, sys; import pytest; before = set(sys.modules);"
        "import pipecat_agenthuman.testing.pytest_plugin;"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert loaded.isdisjoint({"pipecat", "aiohttp", "numpy", "pydantic", "websockets", "soxr"})


def test_the_sandbox_does_without_pipecat():
    script = "import sys; from pipecat_agenthuman.sandbox import Sandbox; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "pipecat" not in done.stdout.split()


WHOLE = """
import os

import pytest

from pipecat_agenthuman import AgentHumanVideoService


def test_a_service_for_the_sandbox_in_one_line(agenthuman_avatar, agenthuman_sandbox):
    avatar = agenthuman_avatar()
    assert isinstance(avatar, AgentHumanVideoService)
    assert avatar.settings.avatar == agenthuman_sandbox.environment["AGENTHUMAN_AVATAR"]
    assert avatar.settings.avatar_latency_secs == 0.05


@pytest.mark.agenthuman_sandbox(render_latency_secs=0.3)
def test_it_takes_options_and_settings(agenthuman_avatar):
    settings = AgentHumanVideoService.Settings(aspect_ratio="1:1")
    avatar = agenthuman_avatar(settings=settings, name="face", on_unavailable="drop")
    assert avatar.name == "face"
    assert avatar.settings.aspect_ratio == "1:1"
    assert avatar.settings.avatar_latency_secs == 0.3
    assert settings.given_fields().keys() == {"aspect_ratio"}


def test_the_environment_has_the_latency(agenthuman_env):
    assert os.environ["AGENTHUMAN_AVATAR_LATENCY_SECS"] == "0.05"


@pytest.mark.asyncio
async def test_a_call(agenthuman_call, agenthuman_sandbox):
    async with agenthuman_call as call:
        assert call.sandbox is agenthuman_sandbox
        assert os.environ["AGENTHUMAN_API_URL"] == agenthuman_sandbox.api_url
"""


def test_a_user_has_a_service_and_a_call_as_fixtures(project):
    project.makepyfile(WHOLE)
    result = project.runpytest_inprocess(*_SCOPE, "-o", "asyncio_mode=strict", "--strict-markers")
    result.assert_outcomes(passed=4)


def test_the_fixtures_are_documented(project):
    shown = project.runpytest_inprocess("--fixtures").stdout.str()
    for name in ("agenthuman_avatar", "agenthuman_call", "agenthuman_env", "agenthuman_sandbox"):
        assert f"\n{name} -- " in shown
        assert f"\n{name} -- no docstring" not in shown
