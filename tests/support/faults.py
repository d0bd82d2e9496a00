"""Faults for a sandbox, and a service that finds out soon that something is wrong."""

from __future__ import annotations

import json
from typing import Any

from pipecat_agenthuman import RenewalPolicy
from pipecat_agenthuman.client.connection import ConnectionLimits
from pipecat_agenthuman.sandbox import Fault

SHORT_LIMITS = ConnectionLimits(
    connect_timeout_secs=3.0,
    establish_timeout_secs=3.0,
    confirm_timeout_secs=1.5,
    close_timeout_secs=0.5,
    ping_interval_secs=0.5,
    ping_timeout_secs=2.5,
)
QUICK_RENEWAL = RenewalPolicy(
    max_short_sessions=5, max_total_secs=20, first_pause_secs=0.05, max_pause_secs=0.2
)


def fault(on: str, kind: str, **details: Any) -> Fault:
    """A fault to inject."""
    return Fault.model_validate({"on": on, "kind": kind, **details})


def server_error(text: str) -> str:
    """An error message as the server sends it."""
    return json.dumps({"type": "error", "error": text})
