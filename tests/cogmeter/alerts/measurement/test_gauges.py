"""The newest gauges, and the way that led there, whatever the clock is set to."""

import pytest

from cogmeter.alerts.measurement.costs import CostTotals, entries_of
from cogmeter.alerts.measurement.gauges import CONNECTED, DISCONNECTS, MEMORY, MEMORY_LIMIT, GaugeHistory
from cogmeter.alerts.model import Reading, Subject
from cogmeter.alerts.rules.suppression import Suppression

NOW_US = 1_755_424_800_000_000
MINUTE_US = 60_000_000
YEARS_US = 3650 * 86_400 * 1_000_000
steps_us = pytest.mark.parametrize("step_us", [-YEARS_US, -60 * MINUTE_US, 60 * MINUTE_US, YEARS_US])


@steps_us
def test_a_step_of_the_clock_makes_no_connection_lost_for_longer(step_us):
    gauges = GaugeHistory()
    gauges.take(NOW_US, {CONNECTED: 1.0, DISCONNECTS: 0.0})
    gauges.take(NOW_US + MINUTE_US, {CONNECTED: 0.0, DISCONNECTS: 2.0})
    gauges.shift(step_us)
    gauges.take(NOW_US + step_us + 2 * MINUTE_US, {CONNECTED: 0.0, DISCONNECTS: 3.0})
    assert gauges.lost_s() == (120.0, 120.0)
    assert gauges.disconnects() == 3.0


@steps_us
def test_a_step_of_the_clock_keeps_the_growth_of_memory(step_us):
    gauges = GaugeHistory()
    gauges.take(NOW_US - 10 * MINUTE_US, {})
    for number in range(3):
        gauges.take(NOW_US + number * MINUTE_US // 3, {MEMORY: 100e6 + number * 6e6, MEMORY_LIMIT: 500e6})
    gauges.shift(step_us)
    gauges.take(NOW_US + step_us + MINUTE_US, {MEMORY: 130e6, MEMORY_LIMIT: 500e6})
    assert gauges.rapid_growth() == (500_000.0, 60.0)


@pytest.mark.parametrize("every_s", [1, 15, 30, 300])
def test_rapid_growth_is_measured_over_a_minute_or_four_samples(every_s):
    gauges = GaugeHistory()
    gauges.take(NOW_US - 10 * MINUTE_US, {})
    for number in range(200):
        gauges.take(NOW_US + number * every_s * 1_000_000, {MEMORY: 1e8 * 1.1**number, MEMORY_LIMIT: 1e9})
    assert gauges.rapid_growth()[1] == max(60, 3 * every_s)


@steps_us
def test_a_step_of_the_clock_keeps_what_was_spent_within_the_day(step_us):
    costs = CostTotals()
    costs.count(entries_of("model", "ask", NOW_US, {"cost_usd": 1.5}, None), NOW_US)
    costs.shift(step_us)
    costs.move(NOW_US + step_us + 23 * 60 * MINUTE_US)
    assert costs.day() == {"model": 1.5}
    costs.move(NOW_US + step_us + 25 * 60 * MINUTE_US)
    assert costs.day() == {}


def test_an_echo_of_the_future_explains_nothing():
    echoes = Suppression(600.0)
    alone = Reading(Subject("deviation", "a"), 9.0, 5.0, "odd", "warning")
    echoes.restore([["deviation", "a", "", NOW_US + YEARS_US]])
    assert [one.breached for one in echoes.mark([alone], NOW_US)] == [True]
