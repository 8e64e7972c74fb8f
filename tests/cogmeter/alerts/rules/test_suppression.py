"""One problem is one alert: a reading that another one explains is suppressed."""

import pytest

from cogmeter.alerts.model import BOT, Reading, Subject
from cogmeter.alerts.rules.suppression import Suppression

S = 1_000_000


def reading(rule, service="web", operation="", *, threshold=1.0, breached=True):
    return Reading(Subject(rule, service, operation), 2.0, threshold, "text", "warning", breached)


def reported(readings, now_us=0, echoes=None):
    return [one.subject.rule for one in (echoes or Suppression(600)).mark(readings, now_us) if one.breached]


@pytest.mark.parametrize(
    ("readings", "rules"),
    [
        ([reading("error_rate"), reading("error_rate", operation="fetch")], ["error_rate"]),
        ([reading("error_rate"), reading("burn_rate", threshold=14.4)], ["error_rate"]),
        ([reading("error_rate", "other"), reading("burn_rate", threshold=14.4)], ["error_rate", "burn_rate"]),
        ([reading("throughput"), reading("deviation")], ["throughput"]),
        ([reading("deviation")], ["deviation"]),
        ([reading("disconnects", BOT), reading("low_traffic")], ["disconnects"]),
        ([reading("cost", BOT), reading("cost")], ["cost"]),
        ([reading("error_rate", breached=False), reading("burn_rate", threshold=14.4)], ["burn_rate"]),
    ],
)
def test_what_another_reading_explains_is_an_echo(readings, rules):
    assert reported(readings) == rules


def test_an_echo_stays_one_for_a_while_after_its_explanation():
    echoes = Suppression(600)
    both = [reading("throughput"), reading("deviation")]
    assert reported(both, 0, echoes) == ["throughput"]
    assert reported(both[1:], 600 * S, echoes) == []
    assert reported(both[1:], 601 * S, echoes) == ["deviation"]


def test_an_echo_that_was_gone_in_between_is_a_breach_of_its_own():
    echoes = Suppression(600)
    both = [reading("throughput"), reading("deviation")]
    reported(both, 0, echoes)
    reported([], 30 * S, echoes)
    assert reported(both[1:], 60 * S, echoes) == ["deviation"]


@pytest.mark.parametrize(("factor", "tail_s"), [(14.4, 300), (6.0, 1_800), (1.0, 21_600)])
def test_a_burning_budget_is_an_echo_until_its_short_window_is_over(factor, tail_s):
    echoes = Suppression(600)
    burn = reading("burn_rate", threshold=factor)
    reported([reading("error_rate"), burn], 0, echoes)
    assert reported([burn], tail_s * S, echoes) == []
    assert reported([burn], (tail_s + 1) * S, echoes) == ["burn_rate"]


async def test_an_error_burst_is_one_alert(measured):
    one = measured(alert_threshold_operations_per_minute=0, alert_slo_target=0.99)
    await one.see("web", "fetch", count=0)
    one.after(1_800)
    await one.see("web", "fetch", count=300, failures=150)
    await one.see("web", "parse", count=300, failures=150)
    readings = await one.readings()
    assert {(one.subject.rule, one.subject.operation) for one in readings} == {
        ("error_rate", ""),
        ("error_rate", "fetch"),
        ("error_rate", "parse"),
        ("burn_rate", ""),
    }
    assert [one.subject.rule for one in readings if one.breached] == ["error_rate"]
