"""A window with too few operations is no recovery: an alert's value is then unknown, and its alert says why."""

import pytest

from cogmeter.alerts.alerting import Alerting
from cogmeter.alerts.model import NO_OPERATIONS, TOO_FEW_FAILURES, TOO_FEW_OPERATIONS, WITH_SERVICE, Subject
from cogmeter.render.rule_text import alert_text
from cogmeter.settings import Settings
from cogmeter_storage import open_store
from cogmeter_storage.alerting import ACTIVE
from cogmeter_storage.clock import Clock

BEGIN_US = 1_755_426_000_000_000

SERVICE = Subject("error_rate", "music")
OPERATION = Subject("error_rate", "music", "query")


async def why(one, subject):
    """Why the subject has no reading now; None if it has one."""
    readings = await one.readings()
    if subject in {reading.subject for reading in readings}:
        return None
    return one.evaluator.not_judged([subject], readings).get(subject, "")


@pytest.mark.parametrize(
    ("operations", "failures", "reason"),
    [
        pytest.param(0, 0, NO_OPERATIONS, id="none"),
        pytest.param(2, 2, TOO_FEW_OPERATIONS, id="fewer than half of the minimum, all failed"),
        pytest.param(7, 0, TOO_FEW_OPERATIONS, id="fewer than half of the minimum, none failed"),
        pytest.param(8, 6, None, id="half of the minimum is judged"),
        pytest.param(15, 1, TOO_FEW_FAILURES, id="one failure may be chance, and is above the threshold"),
        pytest.param(15, 0, "", id="within the threshold"),
    ],
)
async def test_the_error_rate_is_unknown_without_half_of_the_operations(measured, operations, failures, reason):
    one = measured(alert_min_operations=15)
    if operations:
        await one.see("music", count=operations, failures=failures)
    assert await why(one, SERVICE) == reason


async def test_the_only_operation_of_a_service_is_judged_with_it(measured):
    one = measured(alert_min_operations=15)
    await one.see("music", count=20, failures=20)
    assert await why(one, OPERATION) == WITH_SERVICE
    await one.see("music", "play", count=1)
    assert await why(one, OPERATION) is None


async def test_an_operation_that_is_not_known_has_no_operations(measured):
    one = measured(alert_min_operations=15)
    await one.see("music", "play", count=20)
    assert await why(one, OPERATION) == NO_OPERATIONS


@pytest.mark.parametrize(("operations", "reason"), [(0, NO_OPERATIONS), (7, TOO_FEW_OPERATIONS), (8, None)])
async def test_a_slow_service_stays_slow_with_half_of_the_operations(measured, operations, reason):
    one = measured(alert_min_operations=15, alert_threshold_response_time=5.0)
    if operations:
        await one.see("music", count=operations, duration_ms=9_000)
    assert await why(one, Subject("response_time", "music")) == reason
    assert await one.breached("response_time") == []


async def test_a_rule_that_measures_the_volume_is_always_judged(measured):
    one = measured(alert_min_operations=15)
    for rule in ("throughput", "low_traffic", "burn_rate", "stall", "many_services"):
        assert await why(one, Subject(rule, "music")) == ""


async def test_the_stored_alert_follows_the_window_until_too_little_is_left_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(Clock, "now_ns", lambda _: BEGIN_US * 1000 + int(now_s * 1e9))
    now_s, names = 0.0, [("music", "query")]
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    settings = Settings(_env_file=None, alert_min_operations=15, alert_window=60, alert_recovery=600)
    alerting = Alerting(settings, names, store, notifiers_of=lambda _: [], url_of=lambda _: None)
    alerting.evaluator._clock_s, alerting.evaluator._began_s = (lambda: now_s), 0.0
    await alerting.start()
    shown = []
    for count, failures in ((20, 10), (10, 6), (2, 2), (0, 0)):  # in one window each
        now_s += 61
        await alerting.evaluator.watch(
            [part for number in range(count) for part in (0, int(now_s * 1e9), 1_000_000, int(number < failures), None)]
        )
        await alerting.check()
        (alert,) = await store.alerting.alerts(ACTIVE)
        shown.append((alert_text(alert), alert.seen_us == BEGIN_US + int(now_s * 1e6)))
    await alerting.stop()
    await store.close()
    assert shown == [
        ("Error rate of 50% exceeds threshold of 5% (10 of 20 failed)", True),
        ("Error rate of 60% exceeds threshold of 5% (6 of 10 failed)", True),
        ("Error rate: too few operations to judge now (was 60%)", False),
        ("Error rate: no operations now (was 60%)", False),
    ]
