from __future__ import annotations

import pytest

from tests.support.virtual_playout import VirtualPlayout


@pytest.fixture
def stage() -> VirtualPlayout:
    """A playout with nothing on it, that sends whatever it is given at once."""
    return VirtualPlayout()
