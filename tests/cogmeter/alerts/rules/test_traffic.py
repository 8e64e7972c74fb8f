"""Low traffic and burning budgets: found where chance and habit do not explain them, quiet where they do."""

import math
import re

import numpy as np
import pytest

from cogmeter.alerts.measurement.values import silence

HOUR = 3_600


async def run(one, hours, rate_of, failures_of=lambda _: 0.0, *, service="web", step_s=30, seed=0, check=True):
    """Poisson traffic of ``rate_of(hour of the run)`` a minute; returns what was in breach, with its hours."""
    random = np.random.default_rng(seed)
    began_s, found = one.now_s, []
    for _ in range(int(hours * HOUR / step_s)):
        one.after(step_s)
        hour = (one.now_s - began_s) / HOUR
        count = int(random.poisson(rate_of(hour) * step_s / 60))
        failures = int(random.binomial(count, failures_of(hour)))
        await one.see(service, count=count, failures=failures)
        if check:
            found += [(reading, hour) for reading in await one.readings() if reading.breached]
    return found


@pytest.fixture
def quiet():
    """Settings that leave low traffic and burn rate alone on."""
    names = ("error_rate", "response_time", "operations_per_minute", "deviation")
    return {f"alert_threshold_{name}": 0 for name in names} | {"alert_slo_target": 0.99}


async def test_a_silent_service_is_reported_within_minutes_and_as_long_as_it_lasts(measured, quiet):
    one = measured(**quiet)
    assert await run(one, 7, lambda _: 40) == []
    found = await run(one, 5, lambda _: 0)
    assert {reading.subject.rule for reading, _ in found} == {"low_traffic"}
    assert found[0][1] <= 6 / 60
    assert found[-1][1] == pytest.approx(5, abs=0.1)
    assert found[-1][0].severity == "critical"
    assert re.fullmatch(
        r"No operations in 5 min, where (3|4)\d(\.\d)? operations/minute are usual", found[-1][0].message
    )
    back = await run(one, 1, lambda _: 40)
    assert all(hour < 0.1 for _, hour in back)


async def test_a_service_with_a_tenth_of_its_traffic_is_a_warning(measured, quiet):
    one = measured(**quiet)
    await run(one, 7, lambda _: 60, check=False)
    found = await run(one, 1, lambda _: 2)
    assert {reading.severity for reading, _ in found} == {"warning"}
    assert " usual is below threshold of 10%" in found[-1][0].message


async def test_a_service_with_little_traffic_never_alerts(measured, quiet):
    one = measured(**quiet)
    await run(one, 7, lambda _: 0.2, check=False)
    assert await run(one, 3, lambda _: 0) == []


async def test_a_service_with_some_traffic_is_missed_after_half_an_hour(measured, quiet):
    one = measured(**quiet)
    assert await run(one, 7, lambda _: 1.5) == []
    found = await run(one, 3, lambda _: 0)
    assert 0.4 <= found[0][1] <= 0.6
    assert found[-1][1] == pytest.approx(3, abs=0.1)
    assert found[-1][0].message.startswith("No operations in 30 min, where 1")


async def test_traffic_in_bursts_is_missed_only_when_no_burst_explains_it(measured, quiet):
    one = measured(**quiet)
    random = np.random.default_rng(4)
    bursts = np.exp(np.convolve(random.normal(0, 0.9, 1_200), np.full(6, 6**-0.5), "same"))
    assert await run(one, 48, lambda hour: 12 * float(bursts[int(hour * 12)]), step_s=60) == []
    found = await run(one, 3, lambda _: 0)
    assert found[0][1] <= 1.05


@pytest.mark.parametrize(("mean", "size"), [(20, 1e6), (60, 1e6), (60, 4.0), (300, 1.2)])
def test_the_bound_is_above_the_probability_and_not_far(mean, size):
    for few in (0, mean // 10):
        logs = [
            math.lgamma(k + size)
            - math.lgamma(size)
            - math.lgamma(k + 1)
            + size * math.log(size / (size + mean))
            + k * math.log(mean / (size + mean))
            for k in range(few + 1)
        ]
        exact = max(logs) + math.log(sum(math.exp(one - max(logs)) for one in logs))
        (bound,) = silence(np.array([few]), np.array([float(mean)]), 1.0 / size).tolist()
        assert exact - 1e-6 <= bound <= exact + 5.0


async def test_a_night_is_no_incident_on_the_first_day_and_on_later_ones(measured, quiet):
    one = measured(**quiet)

    def daily(hour):
        return 30 * (1 + math.cos(2 * math.pi * hour / 24)) ** 2 / 4 + 0.05  # 30 by day, 3 a hour at night

    assert await run(one, 72, daily, step_s=120) == []


async def test_a_drop_that_comes_each_day_fires_on_the_first_day_at_most(measured, quiet):
    one = measured(**quiet)

    def shift(hour):
        return 40 if 8 <= hour % 24 < 20 else 1  # as if a switch were turned

    first = await run(one, 32, shift, step_s=120)
    assert {reading.subject.rule for reading, _ in first} == {"low_traffic"}
    assert await run(one, 72, lambda hour: shift(hour + 8), step_s=120) == []


async def test_a_drop_that_comes_each_week_fires_in_the_first_week_at_most(measured, quiet):
    one = measured(**quiet)

    def workdays(hour):
        return 20 if hour % 168 < 120 else 0.5

    first = await run(one, 168, workdays, step_s=300)
    assert {reading.subject.rule for reading, _ in first} == {"low_traffic"}
    assert await run(one, 168, workdays, step_s=300) == []


async def test_a_burst_that_is_over_is_no_silence(measured, quiet):
    one = measured(**quiet)
    await run(one, 7, lambda _: 0.5, check=False)
    await run(one, 1, lambda _: 60, check=False)
    assert await run(one, 2, lambda _: 0.5) == []


async def test_a_bot_that_just_began_has_nothing_to_miss(measured, quiet):
    one = measured(**quiet)
    assert await run(one, 1, lambda _: 40) == []
    assert await run(one, 0.5, lambda _: 0) == []


@pytest.mark.parametrize(
    ("hours", "failures", "severity", "within_h"),
    [(2, 0.3, "critical", 1.05), (8, 0.08, "warning", 5), (72, 0.02, "info", 37)],
)
async def test_a_burning_budget_is_reported_with_its_burn_rate(measured, quiet, hours, failures, severity, within_h):
    one = measured(alert_threshold_low_traffic=0, **quiet)
    step_s = 120 if hours > 20 else 30
    await run(one, 24, lambda _: 20, lambda _: 0.001, step_s=120, check=False)
    found = await run(one, hours, lambda _: 20, lambda _: failures, step_s=step_s)
    assert {reading.subject.rule for reading, _ in found} == {"burn_rate"}
    assert severity in {reading.severity for reading, _ in found}
    assert found[0][1] <= within_h


async def test_a_target_may_be_a_services_own(measured, quiet):
    one = measured({"burn_rate@web": "0.5"}, alert_threshold_low_traffic=0, **quiet)
    assert await run(one, 3, lambda _: 20, lambda _: 0.3) == []
    one.limits.override({})
    (reading,) = [reading for reading in await one.readings() if reading.breached]
    assert "failed in the last hour, 1% may fail" in reading.message


async def test_a_trouble_that_is_over_burns_no_more(measured, quiet):
    one = measured(alert_threshold_low_traffic=0, **quiet)
    await run(one, 3, lambda _: 20, lambda _: 0.001, check=False)
    await run(one, 1, lambda _: 20, lambda _: 0.5, check=False)
    found = await run(one, 2, lambda _: 20, lambda _: 0.001)
    assert all(hour < 0.6 for _, hour in found)


async def test_few_failures_burn_no_budget(measured, quiet):
    one = measured(alert_threshold_low_traffic=0, **quiet)
    await one.see("web", count=0)
    one.after(2 * HOUR)
    await one.see("web", count=100, failures=9)
    assert await one.readings() == []
