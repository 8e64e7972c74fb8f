"""Hosts and databases that the bot calls are compared with their own baselines, by one rule alone."""

import pytest

from cogmeter.alerts.rules.dependency import LEAST_P95_MS, LEAST_RATE, MOST_RATE

SETTINGS = {"alert_threshold_operations_per_minute": 0, "alert_threshold_low_traffic": 0}
API = "http.api.example.com"


async def known(measured, service=API, *, hours, failing=0, duration_ms=200.0, **settings):
    """A dependency that has been called 50 times every two minutes for some hours."""
    one = measured(**SETTINGS, **settings)
    for _ in range(hours * 30):
        one.after(120)
        await one.see(service, count=50, failures=failing, duration_ms=duration_ms)
        await one.evaluator.evaluate(one.now_us)
    return one


@pytest.mark.parametrize("service", [API, "db.postgresql", "http.(other)"])
async def test_a_dependency_that_fails_is_one_alert_without_a_baseline(measured, service):
    one = await measured(**SETTINGS).see(service, count=40, failures=20)
    (reading,) = await one.readings()
    assert (reading.subject.rule, reading.subject.service, reading.breached) == ("dependency", service, True)
    assert reading.message == "Error rate of 50% exceeds threshold of 5%, 4 times the usual value"
    assert (reading.current, reading.threshold, reading.severity) == (0.5 / LEAST_RATE, 4.0, "critical")


async def test_a_service_of_the_bot_is_not_a_dependency(measured):
    one = await measured(**SETTINGS).see("https", count=40, failures=20)
    assert await one.breached() == [("error_rate", "https", "")]


async def test_a_dependency_that_always_fails_sometimes_is_compared_with_that(measured):
    one = await known(measured, hours=6, failing=5)
    assert await one.breached() == []
    await one.after(300).see(API, count=50, failures=15)
    assert await one.breached() == []
    await one.after(300).see(API, count=50, failures=25)
    (reading,) = await one.readings()
    assert (reading.breached, reading.subject.rule) == (True, "dependency")
    assert reading.message == "Error rate of 50% exceeds threshold of 40.4%, 4 times the usual value"


async def test_a_total_failure_is_reported_whatever_is_usual(measured):
    one = await known(measured, hours=6, failing=20)
    await one.after(300).see(API, count=50, failures=50)
    assert await one.breached() == [("dependency", API, "")]
    assert 1 / MOST_RATE > 4.0  # with the default threshold


async def test_few_failures_are_chance(measured):
    one = await known(measured, hours=6, failing=1)
    await one.after(300).see(API, count=50, failures=5)
    assert await one.breached() == []
    await one.after(300).see(API, count=19, failures=19)
    assert await one.breached() == []


async def test_a_dependency_that_hangs_is_compared_with_its_usual_p95(measured):
    one = await known(measured, hours=2)
    assert await one.readings() == []
    await one.after(300).see(API, count=50, duration_ms=600)
    assert await one.breached() == []
    await one.after(300).see(API, count=50, duration_ms=30_000)
    (reading,) = await one.readings()
    assert (reading.subject.rule, reading.severity, reading.breached) == ("dependency", "critical", True)
    value = "95th percentile response time of 30s"  # the usual 200 ms, and a little of the 600 ms
    assert reading.message == f"{value} exceeds threshold of 820ms, 4 times the usual value"


async def test_a_slow_dependency_needs_an_hour_and_a_tenth_of_a_second(measured):
    one = await measured(**SETTINGS).see(API, count=50, duration_ms=30_000)
    assert await one.readings() == []
    quick = await known(measured, "db.redis", hours=2, duration_ms=2)
    await quick.after(300).see("db.redis", count=50, duration_ms=3.9 * LEAST_P95_MS)
    assert await quick.breached() == []
    await quick.after(300).see("db.redis", count=50, duration_ms=4.2 * LEAST_P95_MS)
    assert await quick.breached() == [("dependency", "db.redis", "")]


async def test_the_worse_figure_is_reported(measured):
    one = await known(measured, hours=2)
    await one.after(300).see(API, count=50, failures=3, duration_ms=30_000)
    (reading,) = await one.readings()
    assert "95th percentile" in reading.message
    await one.after(300).see(API, count=50, failures=50, duration_ms=900)
    (reading,) = await one.readings()
    assert "Error rate of 100%" in reading.message


async def test_the_baseline_of_a_dependency_raises_no_deviation(measured):
    one = await known(measured, hours=30)
    for _ in range(20):
        one.after(120)
        await one.see(API, count=50, duration_ms=30_000)
        assert await one.breached() == [("dependency", API, "")]


async def test_a_threshold_of_its_own_for_another_rule_explains_it(measured):
    one = measured({f"error_rate@{API}": "0.2"}, **SETTINGS)
    await one.see(API, count=40, failures=20)
    assert await one.breached() == [("error_rate", API, "")]
    assert len(await one.readings("dependency")) == 1


async def test_the_rule_can_be_switched_off_and_changed_for_a_host(measured):
    off = await measured(**SETTINGS, alert_threshold_dependency=0).see(API, count=40, failures=40)
    assert await off.readings() == []
    one = measured({f"dependency@{API}": "30"}, **SETTINGS)
    await one.see(API, count=40, failures=12)
    assert await one.breached() == []
    await one.see(API, count=40, failures=40)
    assert await one.breached() == [("dependency", API, "")]
