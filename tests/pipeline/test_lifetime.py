"""How a session's life is to end."""

import pytest

from pipecat_agenthuman.pipeline.lifetime import NOTICE_SECS, EndKind, LifeEnd, life_end


@pytest.mark.parametrize(
    ("expires", "capped", "replaces", "end"),
    [
        (None, None, True, None),
        (None, None, False, None),
        (600.0, None, True, LifeEnd(EndKind.REPLACED, 600.0, NOTICE_SECS)),
        (600.0, None, False, LifeEnd(EndKind.EXPIRED, 600.0, NOTICE_SECS)),
        (600.0, 900.0, True, LifeEnd(EndKind.REPLACED, 600.0, NOTICE_SECS)),
        (600.0, 300.0, True, LifeEnd(EndKind.CAPPED, 300.0, NOTICE_SECS)),
        (None, 300.0, True, LifeEnd(EndKind.CAPPED, 300.0, NOTICE_SECS)),
        (40.0, None, True, LifeEnd(EndKind.REPLACED, 40.0, 10.0)),
        (None, -1.0, True, LifeEnd(EndKind.CAPPED, 0.0, 0.0)),
        (-1.0, None, False, LifeEnd(EndKind.EXPIRED, 0.0, 0.0)),
    ],
)
def test_whatever_comes_first_ends_a_session(expires, capped, replaces, end):
    assert life_end(expires_in_secs=expires, capped_in_secs=capped, replaces=replaces) == end
