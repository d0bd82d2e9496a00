"""``pipecat-agenthuman avatars``: see which there are, look at one, make one of a picture."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from pipecat_agenthuman._environment import AVATAR
from pipecat_agenthuman.account.access import (
    UsageError,
    add_shared_arguments,
    print_json,
    run_with_account,
)
from pipecat_agenthuman.account.table import write_table
from pipecat_agenthuman.client.api import AgentHumanApi, Avatar, AvatarList


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser.

    Args:
        parser: The parser of ``pipecat-agenthuman avatars``.
    """
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--preview",
        metavar="ID",
        help="make a link on which to see this avatar live; it opens once, within 5 minutes",
    )
    instead.add_argument(
        "--upload",
        type=Path,
        metavar="FILE",
        help="make an avatar of a picture with exactly one face: JPEG, PNG, GIF or WebP, 10 MB "
        "at most",
    )
    add_shared_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """List the avatars that the key may use, or make a preview or an avatar.

    Args:
        args: What ``add_arguments`` parsed.

    Returns:
        Exit status: 0, 1 if the service refused, 2 if the environment is not complete or the
        picture cannot be one.
    """

    async def act(api: AgentHumanApi) -> int:
        if args.preview is not None:
            await _preview(api, args.preview, as_json=args.json)
        elif args.upload is not None:
            await _upload(api, args.upload, as_json=args.json)
        else:
            _list(await api.list_avatars(), as_json=args.json)
        return 0

    return run_with_account(args, act)


def _list(listed: AvatarList, *, as_json: bool) -> None:
    if as_json:
        document = [
            {**avatar.model_dump(mode="json"), "owner": owner} for owner, avatar in _owned(listed)
        ]
        print_json({"avatars": document})
        return
    rows = [
        (avatar.avatar_id, owner, ", ".join(avatar.tags or ()), avatar.preview_url or "")
        for owner, avatar in _owned(listed)
    ]
    if not rows:
        sys.stdout.write(
            "This key may use no avatar yet. Make one: pipecat-agenthuman avatars --upload FILE\n"
        )
        return
    write_table(("ID", "Owner", "Tags", "Picture"), rows, sys.stdout)
    sys.stdout.write(f"\nPut one into .env, for example {AVATAR.name}={rows[0][0]}\n")


def _owned(listed: AvatarList) -> Iterator[tuple[str, Avatar]]:
    yield from (("you", avatar) for avatar in listed.my_avatars)
    yield from (("public", avatar) for avatar in listed.public_avatars)


async def _preview(api: AgentHumanApi, avatar_id: str, *, as_json: bool) -> None:
    preview = await api.preview_avatar(avatar_id)
    if as_json:
        print_json(preview.model_dump(mode="json"))
        return
    sys.stdout.write(f"{preview.url}\n")
    sys.stdout.write("It opens a live session with the avatar, once, within 5 minutes.\n")


async def _upload(api: AgentHumanApi, path: Path, *, as_json: bool) -> None:
    try:
        face = await api.upload_face(file=path)
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from None
    if as_json:
        print_json(face.model_dump(mode="json"))
        return
    sys.stdout.write(f"{AVATAR.name}={face.avatar_id}\n")
    if face.preview_url:
        sys.stdout.write(f"How the service has cut it: {face.preview_url}\n")
