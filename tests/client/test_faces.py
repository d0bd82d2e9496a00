"""A picture for an avatar: what counts as one, and that it is uploaded once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pipecat_agenthuman.client import faces
from pipecat_agenthuman.client.api import AgentHumanApi
from pipecat_agenthuman.client.faces import check_image_file, is_image_file
from pipecat_agenthuman.client.sources import OwnSessions
from pipecat_agenthuman.errors import ApiError, BadRequestError
from pipecat_agenthuman.rooms import DailyRoom
from pipecat_agenthuman.sandbox import Fault, Sandbox
from tests.support.pictures import PNG

ROOM = DailyRoom("https://example.daily.co/room", "any-token")


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "_known", {})


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "me.png"
    path.write_bytes(PNG)
    return path


def source(sandbox: Sandbox, avatar: str) -> OwnSessions:
    api = AgentHumanApi(sandbox.api_key, api_url=sandbox.api_url)
    return OwnSessions(api, room=ROOM, avatar=avatar, aspect_ratio="4:3")


def uploads(sandbox: Sandbox) -> int:
    asked = [entry["what"] for entry in sandbox.log if entry["direction"] == "in"]
    return asked.count("POST /v1/avatars/upload-face")


@pytest.mark.parametrize("avatar", ["me.png", "faces/Me.JPEG", "/faces/me", "~/me", "a.webp"])
def test_a_path_is_told_from_an_id(avatar: str) -> None:
    assert is_image_file(avatar)


@pytest.mark.parametrize(
    "avatar",
    ["avat_1", "", "PUBLIC/Avatars/sara-office", "https://x/me.png", "data:image/png;base64,AA"],
)
def test_an_id_and_an_address_are_no_path(avatar: str) -> None:
    assert not is_image_file(avatar)


def test_what_cannot_be_a_face_is_named(tmp_path: Path, picture: Path) -> None:
    check_image_file(str(picture))
    (tmp_path / "text.png").write_text("words")
    (tmp_path / "huge.png").write_bytes(PNG + bytes(10_000_000))
    for name, words in (("none", "No such file"), ("text", "JPEG, PNG"), ("huge", "at most")):
        with pytest.raises(ValueError, match=words) as caught:
            check_image_file(str(tmp_path / f"{name}.png"))
        assert f"{name}.png" in str(caught.value)


async def test_a_picture_is_uploaded_once_and_its_id_told(
    picture: Path, warnings: list[str]
) -> None:
    async with Sandbox() as sandbox:
        for _ in range(2):  # two calls of one process
            sessions = source(sandbox, str(picture))
            for _ in range(2):  # a renewal in each
                await sessions.open()
                await sessions.end()
            await sessions.close()
        assert uploads(sandbox) == 1
        (avatar,) = {session.avatar for session in sandbox.sessions}
        assert avatar.startswith("avat_")
        (told,) = warnings
        assert f"AGENTHUMAN_AVATAR={avatar}" in told


async def test_calls_that_begin_together_make_one_avatar(picture: Path) -> None:
    async with Sandbox(max_sessions=3) as sandbox:
        await asyncio.gather(*(source(sandbox, str(picture)).open() for _ in range(3)))
        assert uploads(sandbox) == 1
        assert len({session.avatar for session in sandbox.sessions}) == 1


async def test_another_picture_and_another_account_are_uploaded_anew(picture: Path) -> None:
    async with Sandbox() as sandbox, Sandbox(api_key="ah_live_another") as another:
        for service in (sandbox, another):
            await source(service, str(picture)).open()
        picture.write_bytes(  # noqa: ASYNC240
            PNG.replace(b"IHDR", b"IHDR" + b"\1")
        )
        changed = source(sandbox, str(picture))
        await sandbox.end_session()
        await changed.open()
        assert (uploads(sandbox), uploads(another)) == (2, 1)


async def test_a_picture_that_is_refused_starts_no_session(picture: Path) -> None:
    async with Sandbox() as sandbox:
        sandbox.inject(Fault(on="upload-face", kind="refuse", status=400))
        sessions = source(sandbox, str(picture))
        with pytest.raises(BadRequestError, match="Uploading a face"):
            await sessions.open()
        assert sandbox.sessions == []
        await sessions.open()  # what failed is not remembered
        assert uploads(sandbox) == 2


async def test_a_picture_that_has_gone_is_said(picture: Path) -> None:
    async with Sandbox() as sandbox:
        sessions = source(sandbox, str(picture))
        picture.unlink()  # noqa: ASYNC240
        with pytest.raises(ApiError, match="No such file"):
            await sessions.open()
