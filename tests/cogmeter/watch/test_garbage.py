"""The pauses of the garbage collector: counted, timed, and found again by their time."""

import gc

import pytest

from cogmeter.watch import garbage
from cogmeter.watch.garbage import LONG_NS, REMEMBERED, Pauses


@pytest.fixture
def clock(monkeypatch):
    """A virtual clock, in nanoseconds."""
    time_ns = [0]
    monkeypatch.setattr(garbage, "now_ns", lambda: time_ns[0])
    return time_ns


def collect(pauses, clock, began_ns, length_ns):
    clock[0] = began_ns
    pauses("start", {})
    clock[0] = began_ns + length_ns
    pauses("stop", {})


def test_a_collection_that_began_before_us_is_left_out():
    pauses = Pauses()
    pauses("stop", {})
    assert pauses.count == 0


def test_long_pauses_are_found_in_a_time(clock):
    pauses = Pauses()
    collect(pauses, clock, 1_000, 2 * LONG_NS)
    collect(pauses, clock, 10 * LONG_NS, LONG_NS - 1)
    collect(pauses, clock, 20 * LONG_NS, 3 * LONG_NS)
    assert pauses.count == 3
    assert pauses.within(0, 10**12) == 5 * LONG_NS
    assert pauses.within(21 * LONG_NS, 22 * LONG_NS) == LONG_NS
    assert pauses.within(30 * LONG_NS, 40 * LONG_NS) == 0
    for number in range(REMEMBERED):
        collect(pauses, clock, (100 + 2 * number) * LONG_NS, LONG_NS)
    assert pauses.within(0, 50 * LONG_NS) == 0


def test_the_callback_is_there_while_anybody_uses_it():
    before = list(gc.callbacks)
    pauses = Pauses()
    for user in ("one", "two", "one"):
        pauses.begin(user)
        assert gc.callbacks == [*before, pauses]
    pauses.end("one")
    pauses.end("one")
    assert pauses in gc.callbacks
    pauses.end("two")
    assert gc.callbacks == before
