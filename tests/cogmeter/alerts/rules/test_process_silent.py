"""The rule process_silent: a process of the fleet without a sign of life."""

import pytest
from factories import make_process

from cogmeter.alerts.rules.process_silent import GONE_US


@pytest.fixture
async def found(measured):
    """``await found(processes, ...)``: the messages of the rule, and whether each is breached."""

    async def find(*processes, **overrides):
        one = measured(**overrides)
        one.evaluator._processes = processes
        return [(reading.message, reading.breached) for reading in await one.readings("process_silent")]

    return find


async def test_a_silent_process_is_named_with_its_silence(found):
    assert await found(make_process("one"), make_process("cluster-3", silent_s=72)) == [
        ("Silence of 72s (cluster-3) exceeds threshold of 60s", True)
    ]


async def test_several_are_one_alert_and_the_longest_silence_comes_first(found):
    silent = [make_process(f"cluster-{number}", silent_s=70 + number) for number in range(5)]
    assert await found(*silent) == [
        ("Silence of 74s (cluster-4, cluster-3, cluster-2 and 2 more) exceeds threshold of 60s", True)
    ]


async def test_processes_that_live_or_ended_in_an_orderly_way_are_no_breach(found):
    assert await found() == []
    assert (
        await found(make_process("one", silent_s=30), make_process("two", silent_s=900, ended=True, orderly=True)) == []
    )


async def test_a_silence_near_the_threshold_keeps_an_alert(found):
    assert await found(make_process("one", silent_s=50)) == [
        ("Silence of 50s (one) is still near threshold of 60s", False)
    ]


async def test_a_process_that_others_gave_up_is_still_silent_for_a_day(found):
    lost = make_process("one", up_s=1_000, silent_s=900, ended=True)
    assert [breached for _, breached in await found(lost)] == [True]
    assert await found(make_process("one", up_s=10**6, silent_s=GONE_US / 1e6, ended=True)) == []


async def test_a_process_that_was_started_again_under_another_name_is_not_silent(found):
    dead = make_process("host-17", silent_s=90, host="host")
    assert await found(dead, make_process("host-18", up_s=80, host="host")) == []
    assert len(await found(dead, make_process("host-18", up_s=100, host="host"))) == 1  # it ran already
    assert len(await found(dead, make_process("other-18", up_s=80, host="other"))) == 1


async def test_the_threshold_is_a_setting_and_zero_is_off(found):
    silent = make_process("one", silent_s=90)
    assert await found(silent, alert_threshold_process_silent=120) == []
    assert await found(silent, alert_threshold_process_silent=0) == []
