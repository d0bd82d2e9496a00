"""For bots that Pipecat's runner starts: the transport and the avatar's room, and their keys."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from pipecat_agenthuman._environment import is_placeholder
from pipecat_agenthuman.errors import MissingVariablesError
from pipecat_agenthuman.rooms import DailyRoom, LiveKitRoom
from pipecat_agenthuman.tokens.claims import read_livekit_token

if TYPE_CHECKING:
    from pipecat.runner.types import DailyRunnerArguments, LiveKitRunnerArguments, RunnerArguments
    from pipecat.transports.base_transport import BaseTransport, TransportParams

    from pipecat_agenthuman.daily import WhenPublished

__all__ = ["create_transport", "exit_without", "require_variables"]

_BOT_NAME: Final = "Bot"
_ROOMS: Final = {"daily": "a Daily room", "livekit": "a LiveKit room"}

TransportTable = Mapping[str, Callable[[], "TransportParams"]]


async def create_transport(
    runner_args: RunnerArguments,
    transport_params: TransportTable,
    *,
    bot_name: str = _BOT_NAME,
    microphone: WhenPublished = "always",
) -> tuple[BaseTransport, DailyRoom | LiveKitRoom]:
    """Make the transport that the runner asks for, and the avatar's room.

    As Pipecat's ``create_transport``, for the rooms that an avatar can join: the transport
    knows the avatar from a person, and the avatar has a token of its own, made with
    ``DAILY_API_KEY``, or ``LIVEKIT_API_KEY`` and ``LIVEKIT_API_SECRET``.

    ::

        transport, room = await create_transport(
            runner_args, {"daily": lambda: DailyParams(audio_in_enabled=True)}
        )
        avatar = AgentHumanVideoService(room=room)

    Args:
        runner_args: What the runner handed to ``bot``.
        transport_params: Makes the parameters, ``DailyParams`` or ``LiveKitParams``, by the
            name of the transport: ``daily`` or ``livekit``.
        bot_name: As whom the bot joins a Daily room.
        microphone: As for ``AgentHumanDailyTransport``. LiveKit's is always published.

    Returns:
        The transport, and the room for ``AgentHumanVideoService(room=...)``.

    Raises:
        ValueError: If the avatar cannot join what the runner offers, or the table lacks it or
            makes other parameters.
        RoomTokenError: If there is no token for the avatar.
    """
    from pipecat.runner.types import DailyRunnerArguments, LiveKitRunnerArguments

    match runner_args:
        case DailyRunnerArguments() if "daily" in transport_params:
            return await _daily(runner_args, transport_params["daily"](), bot_name, microphone)
        case LiveKitRunnerArguments() if "livekit" in transport_params:
            return await _livekit(runner_args, transport_params["livekit"]())
        case _:
            joins = " or ".join(_ROOMS[name] for name in transport_params if name in _ROOMS)
            flags = " or ".join(f"-t {name}" for name in transport_params if name in _ROOMS)
            raise ValueError(f"The avatar joins {joins}: run this bot with {flags}.")


async def _daily(
    args: DailyRunnerArguments, params: TransportParams, bot_name: str, microphone: WhenPublished
) -> tuple[BaseTransport, DailyRoom]:
    from pipecat.transports.daily.transport import DailyParams

    from pipecat_agenthuman.daily import AgentHumanDailyTransport

    if not isinstance(params, DailyParams):
        raise _wrong_params("daily", DailyParams, params)
    room = await DailyRoom.mint(args.room_url)
    transport = AgentHumanDailyTransport(
        args.room_url, args.token, bot_name, params, avatar=room.identity, microphone=microphone
    )
    return transport, room


async def _livekit(
    args: LiveKitRunnerArguments, params: TransportParams
) -> tuple[BaseTransport, LiveKitRoom]:
    from pipecat.transports.livekit.transport import LiveKitParams

    from pipecat_agenthuman.livekit import AgentHumanLiveKitTransport

    if not isinstance(params, LiveKitParams):
        raise _wrong_params("livekit", LiveKitParams, params)
    # The avatar's token says for whom it speaks, so that LiveKit's clients show the two as one.
    claims = read_livekit_token(args.token)
    room = await LiveKitRoom.mint(
        args.url, room_name=args.room_name, bot_identity=claims.user_id if claims else None
    )
    transport = AgentHumanLiveKitTransport(
        args.url, args.token, args.room_name, params, avatar=room.identity
    )
    return transport, room


def _wrong_params(name: str, wanted: type, made: object) -> ValueError:
    return ValueError(
        f"The entry {name!r} of transport_params must make {wanted.__name__}, and makes "
        f"{type(made).__name__}."
    )


def require_variables(*names: str) -> None:
    """Check that variables of the environment are set, and not as ``.env.example`` has them.

    Args:
        *names: Names of the variables.

    Raises:
        MissingVariablesError: If some are not, naming all of them.
    """
    missing = [name for name in names if is_placeholder(os.environ.get(name, "").strip() or "...")]
    if missing:
        raise MissingVariablesError(
            f"Not set: {', '.join(missing)}.", remedy="Put them into the environment or .env."
        )


def exit_without(*names: str) -> None:
    """End the program with one line if variables of the environment are missing.

    For a bot's ``if __name__ == "__main__":``, before Pipecat's runner starts its server.

    Args:
        *names: As for ``require_variables``.

    Raises:
        SystemExit: If some are not set.
    """
    try:
        require_variables(*names)
    except MissingVariablesError as error:
        sys.exit(str(error))
