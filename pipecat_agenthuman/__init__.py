"""Agent Human talking avatars for Pipecat.

Everything that a bot needs comes from here; the sandbox, for its tests, from
``pipecat_agenthuman.sandbox``. A name is imported when it is first used: so importing this
package costs next to nothing, and ``daily-python`` or LiveKit's client are needed only for what
listens to a room of theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # With `as`, which tells type checkers that a name is meant for users.
    from .client.answers import Avatar as Avatar
    from .client.answers import AvatarList as AvatarList
    from .client.answers import AvatarPreview as AvatarPreview
    from .client.answers import CreatedSession as CreatedSession
    from .client.answers import SessionRecord as SessionRecord
    from .client.answers import UploadedFace as UploadedFace
    from .client.answers import Usage as Usage
    from .client.api import AgentHumanApi as AgentHumanApi
    from .client.retry import NO_RETRY as NO_RETRY
    from .client.retry import RenewalPolicy as RenewalPolicy
    from .client.retry import RetryPolicy as RetryPolicy
    from .client.sockets import ConnectionLimits as ConnectionLimits
    from .client.sources import SessionCredentials as SessionCredentials
    from .daily import AgentHumanDailyTransport as AgentHumanDailyTransport
    from .daily import is_avatar as is_avatar
    from .errors import AgentHumanError as AgentHumanError
    from .errors import ApiError as ApiError
    from .errors import AuthenticationError as AuthenticationError
    from .errors import AvatarAbsentError as AvatarAbsentError
    from .errors import AvatarLeftError as AvatarLeftError
    from .errors import AvatarUnavailableError as AvatarUnavailableError
    from .errors import AvatarUnheardError as AvatarUnheardError
    from .errors import BadRequestError as BadRequestError
    from .errors import BotRemovedError as BotRemovedError
    from .errors import ConnectError as ConnectError
    from .errors import InterruptIgnoredError as InterruptIgnoredError
    from .errors import LostConnectionError as LostConnectionError
    from .errors import MissingVariablesError as MissingVariablesError
    from .errors import NotFoundError as NotFoundError
    from .errors import OutOfMinutesError as OutOfMinutesError
    from .errors import PermanentTransportError as PermanentTransportError
    from .errors import PermissionDeniedError as PermissionDeniedError
    from .errors import RateLimitedError as RateLimitedError
    from .errors import RoomTokenError as RoomTokenError
    from .errors import ServerFailureError as ServerFailureError
    from .errors import SessionLingersError as SessionLingersError
    from .errors import ShortLivedError as ShortLivedError
    from .errors import TransportError as TransportError
    from .errors import WrongPlaceError as WrongPlaceError
    from .errors import WrongRoomError as WrongRoomError
    from .frames import AgentHumanAvatarJoinedFrame as AgentHumanAvatarJoinedFrame
    from .frames import AgentHumanAvatarLeftFrame as AgentHumanAvatarLeftFrame
    from .frames import AgentHumanBotLeftFrame as AgentHumanBotLeftFrame
    from .frames import AgentHumanConnectedFrame as AgentHumanConnectedFrame
    from .frames import AgentHumanDisconnectedFrame as AgentHumanDisconnectedFrame
    from .frames import AgentHumanErrorFrame as AgentHumanErrorFrame
    from .frames import AgentHumanInterruptConfirmedFrame as AgentHumanInterruptConfirmedFrame
    from .frames import AgentHumanPersonsFrame as AgentHumanPersonsFrame
    from .frames import AgentHumanServerEventFrame as AgentHumanServerEventFrame
    from .frames import AgentHumanSpeakConfirmedFrame as AgentHumanSpeakConfirmedFrame
    from .frames import StartInterruptionFrame as StartInterruptionFrame
    from .identity import AvatarIdentity as AvatarIdentity
    from .livekit import AgentHumanLiveKitTransport as AgentHumanLiveKitTransport
    from .pipeline.metrics import AvatarLatencyMetricsData as AvatarLatencyMetricsData
    from .pipeline.metrics import FirstConfirmationMetricsData as FirstConfirmationMetricsData
    from .pipeline.metrics import InterruptMetricsData as InterruptMetricsData
    from .pipeline.metrics import RoundTripMetricsData as RoundTripMetricsData
    from .pipeline.metrics import ServiceStats as ServiceStats
    from .pipeline.metrics import TimeToJoinMetricsData as TimeToJoinMetricsData
    from .rooms import DailyRoom as DailyRoom
    from .rooms import LiveKitRoom as LiveKitRoom
    from .rtvi import AgentHumanRTVI as AgentHumanRTVI
    from .service import AgentHumanVideoService as AgentHumanVideoService
    from .wire.error_catalogue import ServerErrorCode as ServerErrorCode
else:
    from importlib import import_module

    _HOMES = {
        "Avatar": "client.answers",
        "AvatarList": "client.answers",
        "AvatarPreview": "client.answers",
        "CreatedSession": "client.answers",
        "SessionRecord": "client.answers",
        "UploadedFace": "client.answers",
        "Usage": "client.answers",
        "AgentHumanApi": "client.api",
        "NO_RETRY": "client.retry",
        "RenewalPolicy": "client.retry",
        "RetryPolicy": "client.retry",
        "ConnectionLimits": "client.sockets",
        "SessionCredentials": "client.sources",
        "AgentHumanDailyTransport": "daily",
        "is_avatar": "daily",
        "AgentHumanError": "errors",
        "ApiError": "errors",
        "AuthenticationError": "errors",
        "AvatarAbsentError": "errors",
        "AvatarLeftError": "errors",
        "AvatarUnavailableError": "errors",
        "AvatarUnheardError": "errors",
        "BadRequestError": "errors",
        "BotRemovedError": "errors",
        "ConnectError": "errors",
        "InterruptIgnoredError": "errors",
        "LostConnectionError": "errors",
        "MissingVariablesError": "errors",
        "NotFoundError": "errors",
        "OutOfMinutesError": "errors",
        "PermanentTransportError": "errors",
        "PermissionDeniedError": "errors",
        "RateLimitedError": "errors",
        "RoomTokenError": "errors",
        "ServerFailureError": "errors",
        "SessionLingersError": "errors",
        "ShortLivedError": "errors",
        "TransportError": "errors",
        "WrongPlaceError": "errors",
        "WrongRoomError": "errors",
        "AgentHumanAvatarJoinedFrame": "frames",
        "AgentHumanAvatarLeftFrame": "frames",
        "AgentHumanBotLeftFrame": "frames",
        "AgentHumanConnectedFrame": "frames",
        "AgentHumanDisconnectedFrame": "frames",
        "AgentHumanErrorFrame": "frames",
        "AgentHumanInterruptConfirmedFrame": "frames",
        "AgentHumanPersonsFrame": "frames",
        "AgentHumanServerEventFrame": "frames",
        "AgentHumanSpeakConfirmedFrame": "frames",
        "StartInterruptionFrame": "frames",
        "AvatarIdentity": "identity",
        "AgentHumanLiveKitTransport": "livekit",
        "AvatarLatencyMetricsData": "pipeline.metrics",
        "FirstConfirmationMetricsData": "pipeline.metrics",
        "InterruptMetricsData": "pipeline.metrics",
        "RoundTripMetricsData": "pipeline.metrics",
        "TimeToJoinMetricsData": "pipeline.metrics",
        "ServiceStats": "pipeline.metrics",
        "DailyRoom": "rooms",
        "LiveKitRoom": "rooms",
        "AgentHumanRTVI": "rtvi",
        "AgentHumanVideoService": "service",
        "ServerErrorCode": "wire.error_catalogue",
    }
    __all__ = sorted(_HOMES)

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOMES})
