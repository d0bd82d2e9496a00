"""Services before one transport take turns."""

import pytest

from pipecat_agenthuman.pipeline.surroundings.floor import Floor, floor_of
from tests.support.pipelines import SoundCard


class Speaker:
    def __init__(self) -> None:
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


def test_who_came_first_has_the_floor_until_it_leaves():
    floor, one, other = Floor(), Speaker(), Speaker()
    assert floor.take(one)
    assert not floor.take(other)
    assert floor.take(one), "also when it asks again"
    floor.leave(one)
    assert (one.woken, other.woken) == (0, 1)
    assert floor.take(other)
    assert not floor.take(one)


def test_who_waits_may_give_up():
    floor, one, other, third = Floor(), Speaker(), Speaker(), Speaker()
    for speaker in (one, other, third):
        floor.take(speaker)
    floor.leave(other)
    floor.leave(other)
    assert floor.take(one)
    floor.leave(one)
    assert floor.take(third)


@pytest.mark.usefixtures("log")
async def test_a_transport_has_one_floor_and_another_transport_another():
    transport = SoundCard()
    assert floor_of(transport) is floor_of(transport)
    assert floor_of(transport) is not floor_of(SoundCard())
