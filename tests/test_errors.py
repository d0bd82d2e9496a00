"""Every exception has a stable name of its own, by which it is counted and told apart."""

import inspect

import pytest

from pipecat_agenthuman import errors
from pipecat_agenthuman.client.events import Loss
from pipecat_agenthuman.errors import AgentHumanError, ConnectError, LossKind, TransportError
from pipecat_agenthuman.wire.protocol import ERROR_CATALOGUE, ServerError

KINDS = {
    "AgentHumanError": "failed",
    "ApiError": "request_failed",
    "AuthenticationError": "authentication",
    "AvatarAbsentError": "avatar_absent",
    "AvatarLeftError": "avatar_left",
    "AvatarUnavailableError": "avatar_unavailable",
    "AvatarUnheardError": "avatar_unheard",
    "BadRequestError": "bad_request",
    "BotRemovedError": "bot_removed",
    "ConnectError": "connection_failed",
    "InterruptIgnoredError": "interrupt_ignored",
    "LostConnectionError": "connection_failed",  # of the class; each loss has one of its own
    "MissingVariablesError": "missing_variables",
    "NotFoundError": "not_found",
    "OutOfMinutesError": "out_of_minutes",
    "PermanentTransportError": "connection_failed",
    "PermissionDeniedError": "permission_denied",
    "RateLimitedError": "rate_limited",
    "RoomTokenError": "room_token",
    "ServerFailureError": "server_failure",
    "SessionLingersError": "session_lingers",
    "ShapeError": "unusable_answer",
    "ShortLivedError": "expires_at_once",
    "TransportError": "connection_failed",
    "WrongPlaceError": "wrong_place",
    "WrongRoomError": "wrong_room",
}


def test_the_kinds_are_what_they_were():
    found = {
        name: value.kind
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert found == KINDS


@pytest.mark.parametrize("kind", LossKind)
def test_a_lost_connection_is_of_the_kind_of_its_loss_and_says_what_to_do(kind: LossKind):
    error = Loss(kind, "it broke").as_error()
    assert error.kind == kind.value
    assert error.message == "Agent Human connection: it broke."
    assert bool(error.remedy) is (kind is not LossKind.LEFT)  # which nobody reports
    assert not error.final
    assert isinstance(error, ConnectError)


@pytest.mark.parametrize("entry", ERROR_CATALOGUE, ids=lambda entry: entry.code)
def test_a_session_that_the_server_ended_is_of_the_kind_of_its_error(entry):
    said = ServerError(entry.text, entry)
    error = Loss(LossKind.SESSION_REFUSED, "it was refused", error=said, final=True).as_error()
    assert error.kind == entry.code.value
    assert error.error is said
    assert error.remedy == entry.remedy
    assert error.final


def test_an_error_says_what_was_wrong_and_what_to_do():
    assert str(AgentHumanError("It broke.", remedy="Mend it.")) == "It broke. Mend it."
    assert str(TransportError("It broke.")) == "It broke."
