"""The rule version_skew: processes that run different versions for long."""

import pytest
from factories import make_process

HOUR = 3_600


@pytest.fixture
async def found(measured):
    """``await found(processes, ...)``: the messages of the rule, and whether each is breached."""

    async def find(*processes, **overrides):
        one = measured(**overrides)
        one.evaluator._processes = processes
        return [(reading.message, reading.breached) for reading in await one.readings("version_skew")]

    return find


async def test_two_versions_for_more_than_an_hour_are_named_with_their_processes(found):
    old = [make_process(f"cluster-{number}", up_s=50 * HOUR) for number in range(3)]
    new = [make_process("cluster-3", version="1.5", up_s=1.5 * HOUR), make_process("x", version="1.5", up_s=60)]
    assert await found(*old, *new) == [("2 versions for 1.5 h: 1.4 (3), 1.5 (2); exceeds 1 h", True)]


async def test_an_upgrade_within_the_hour_is_no_breach(found):
    old, new = make_process("one", up_s=50 * HOUR), make_process("two", version="1.5", up_s=0.7 * HOUR)
    assert await found(old, new) == []
    new = make_process("two", version="1.5", up_s=0.9 * HOUR)
    assert [breached for _, breached in await found(old, new)] == [False]


async def test_processes_that_ended_are_silent_or_have_no_version_do_not_count(found):
    old = make_process("one", up_s=50 * HOUR)
    for other in (
        make_process("two", version="1.5", up_s=9 * HOUR, ended=True, orderly=True),
        make_process("two", version="1.5", up_s=9 * HOUR, silent_s=300),
        make_process("two", version="", up_s=9 * HOUR),
    ):
        assert await found(old, other) == []


async def test_a_third_version_does_not_begin_the_hour_again(found):
    three = [make_process(f"p{number}", version=f"1.{number}", up_s=(6 - 2 * number) * HOUR) for number in range(3)]
    assert await found(*three) == [("3 versions for 4 h: 1.0 (1), 1.1 (1), 1.2 (1); exceeds 1 h", True)]
