"""How good the alerts were, from records and from a store; and which limits would have been quieter."""

import dataclasses

import numpy as np
import pytest
from factories import make_alert
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.alerts.lifecycle.subject_state import Policy
from cogmeter.alerts.model import Limit, Subject
from cogmeter.alerts.review.advice import advise
from cogmeter.alerts.review.replay import RuleHistory, episodes
from cogmeter.alerts.review.report import report_of
from cogmeter.alerts.review.what_if import Replayer
from cogmeter.alerts.thresholds.keys import OverrideKey
from cogmeter.query.records import Range
from cogmeter.settings import Settings
from cogmeter_storage import Outcome, open_store
from cogmeter_storage.alerting import AlertChange, AlertState, Step
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US

START_US = 20_000 * DAY_US
SPAN = Range(START_US, START_US + 7 * DAY_US, "last 7 days")
LIMIT = Limit(threshold=1_000.0, recovery=800.0, for_s=0, recovery_s=120, min_operations=1)
SUBJECT = Subject("response_time", "web-crawling")
POLICY = Policy(cooldown_s=0, flap_from=1_000)


def alert(
    number, *, rule="error_rate", service="knowledge-graph", fired=True, acknowledged=None, resolved=None, **more
):
    """An alert that fired so many hours after the start; when it was acknowledged and resolved counts from then."""
    fired_us = START_US + number * HOUR_US
    return make_alert(
        fired_us,
        uid=f"{rule}-{service}-{number}",
        rule=rule,
        service=service,
        state=AlertState.FIRING if resolved is None else AlertState.RESOLVED,
        started_us=fired_us - MINUTE_US,
        fired_us=fired_us if fired else None,
        acknowledged_us=None if acknowledged is None else fired_us + acknowledged * MINUTE_US,
        resolved_us=None if resolved is None else fired_us + resolved * MINUTE_US,
        **more,
    )


def change(of, kind, number=1):
    return AlertChange(of.uid, kind, of.state, of.severity, "m", 0.1, 0.05, START_US + number * HOUR_US)


def test_what_fired_is_counted_by_rule_and_service_with_medians():
    alerts = [
        alert(1, acknowledged=2, resolved=10),
        alert(2, acknowledged=4, resolved=30),
        alert(3, resolved=20),
        alert(4, service="web-crawling", rule="throughput"),
        alert(5, fired=False),
    ]
    report = report_of(alerts, [], SPAN)
    assert (report.total.fired, report.total.acknowledged, report.total.resolved) == (4, 2, 3)
    assert report.total.acknowledge_us == 3 * MINUTE_US
    assert report.total.resolve_us == 20 * MINUTE_US
    assert [(one.rule, one.service, one.fired) for one in report.lines] == [
        ("error_rate", "knowledge-graph", 3),
        ("throughput", "web-crawling", 1),
    ]
    assert report.lines[1].resolve_us is None


def test_alerts_outside_the_range_and_groups_do_not_count():
    alerts = [alert(-1), alert(7 * 24), alert(1, rule="many_services", service="(bot)"), alert(0)]
    assert report_of(alerts, [], SPAN).total.fired == 1


def test_rules_that_nobody_ever_acted_on_are_named():
    quiet = [alert(number, resolved=5) for number in range(4)]
    assert [one.fired for one in report_of(quiet, [], SPAN).ignored] == [4]
    assert report_of(quiet[:2], [], SPAN).ignored == ()
    assert report_of([*quiet, alert(9, acknowledged=1, resolved=5)], [], SPAN).ignored == ()
    assert report_of([*quiet, alert(9)], [], SPAN).ignored == ()  # it goes on: somebody may still act
    assert report_of(quiet, [change(quiet[0], "muted")], SPAN).ignored == ()


def test_flaps_and_mutes_are_counted_once_for_each_alert():
    flapping, muted = alert(1, flapping=True), alert(2)
    changes = [change(flapping, "flapping"), change(muted, "muted"), change(muted, "muted", 2), change(muted, "fired")]
    total = report_of([flapping, muted], changes, SPAN).total
    assert (total.flaps, total.muted) == (1, 1)


def history(*values):
    at_us = START_US + (np.arange(len(values), dtype=np.int64) + 1) * MINUTE_US
    return RuleHistory(at_us, np.array(values, dtype=float), np.full(len(values), 100))


def bursts(*worst, length=1):
    """A burst of each height, ten quiet minutes before and after it."""
    return history(*(value for one in worst for value in [*[10.0] * 10, *[one] * length]), *[10.0] * 10)


def at(episode):
    return episode.began_us, episode.ended_us


def test_the_lowest_threshold_that_removes_most_noise_is_advised():
    found = advise(SUBJECT, bursts(1_100, 1_200, 1_300, 1_830, 4_000), LIMIT, [], policy=POLICY)
    assert (found.field, found.before, found.after) == ("threshold", 1_000.0, 1_900.0)
    assert (found.alerts, found.removed, found.acted) == (5, 4, 0)
    assert found.share == 0.8
    assert found.key == "response_time@web-crawling"


def test_the_key_of_advice_names_the_same_subject_when_it_is_parsed():
    subject = Subject("response_time", "http/api", "get.for")
    found = advise(subject, bursts(1_100, 1_200, 1_300, 1_830, 4_000), LIMIT, [], policy=POLICY)
    assert OverrideKey.parse(found.key).subject == subject


def test_no_alert_that_somebody_acted_on_is_lost():
    seen = bursts(1_100, 1_200, 1_150, 1_180, 1_500)
    acted = [at(episodes(seen, LIMIT, POLICY)[-1])]
    found = advise(SUBJECT, seen, LIMIT, acted, policy=POLICY)
    assert found.after == 1_200.0
    assert (found.alerts, found.removed, found.acted) == (5, 4, 1)
    # Were the lowest one the one that mattered, no threshold could be raised.
    assert advise(SUBJECT, seen, LIMIT, [at(episodes(seen, LIMIT, POLICY)[0])], policy=POLICY) is None


def test_short_breaches_beyond_any_sensible_threshold_are_advised_to_last():
    seen = bursts(90_000, 90_000, 90_000, 90_000)
    found = advise(SUBJECT, seen, LIMIT, [], policy=POLICY)
    # A minute that exceeds the threshold may be part of a breach of up to two minutes, which lasts longer than 60 s.
    assert (found.field, found.before, found.after, found.removed) == ("for", 0, 120.0, 4)
    assert found.key == "response_time@web-crawling.for"
    assert advise(SUBJECT, bursts(90_000, 90_000, 90_000, length=30), LIMIT, [], policy=POLICY) is None


def test_little_noise_asks_for_no_advice_and_no_advice_goes_beyond_what_the_rule_takes():
    assert advise(SUBJECT, bursts(1_100, 1_100), LIMIT, [], policy=POLICY) is None
    share = dataclasses.replace(LIMIT, threshold=0.6, recovery=0.5)
    seen = history(*([0.0] * 10 + [1.0] * 20) * 4, *[0.0] * 10)
    assert advise(Subject("error_rate", "a"), seen, share, [], most=0.9, policy=POLICY) is None
    found = advise(Subject("error_rate", "a"), seen, share, [], most=1.0, policy=POLICY)
    assert found.after == 1.0


@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=12), st.data())
def test_what_is_advised_does_what_it_says(heights, data):
    seen = bursts(*heights, length=2)
    now = episodes(seen, LIMIT, POLICY)
    acted = [at(one) for one in now if data.draw(st.booleans())]
    found = advise(SUBJECT, seen, LIMIT, acted, policy=POLICY)
    if found is None:
        return
    then = (
        dataclasses.replace(LIMIT, threshold=found.after, recovery=0.8 * found.after)
        if found.field == "threshold"
        else dataclasses.replace(LIMIT, for_s=found.after)
    )
    left = episodes(seen, then, POLICY)
    assert len(now) - len(left) == found.removed
    assert {one.began_us for one in left} >= {began for began, _ in acted}


@pytest.fixture
async def store(tmp_path):
    """Six hours of a service that is slow for three minutes in every hour; the last time somebody acted."""
    opened = await open_store(f"sqlite:///{tmp_path}/performance.db")
    (crawl,) = await opened.series_ids([("web-crawling", "fetch")])
    rows = []
    for number in range(360):
        slow = number % 60 in {30, 31, 32}
        duration_us = (12_000_000 if number > 300 else 7_000_000) if slow else 50_000
        rows += [(crawl, START_US + number * MINUTE_US + one, duration_us, Outcome.OK, None, None) for one in range(10)]
    await opened.append([rows], now_us=START_US + 6 * HOUR_US)
    alerts = [
        dataclasses.replace(
            alert(
                number,
                rule="response_time",
                service="web-crawling",
                resolved=8,
                acknowledged=3 if number == 5 else None,
            ),
            fired_us=START_US + number * HOUR_US + 33 * MINUTE_US,
            started_us=START_US + number * HOUR_US + 33 * MINUTE_US,
            resolved_us=START_US + number * HOUR_US + 39 * MINUTE_US,
        )
        for number in range(6)
    ]
    await opened.alerting.save([Step(one) for one in alerts])
    yield opened
    await opened.close()


async def test_advice_is_replayed_on_what_is_stored(store):
    span = Range(START_US, START_US + 6 * HOUR_US, "last 6 hours")
    alerts = await store.alerting.alerts(tuple(AlertState))
    settings = Settings(alert_threshold_response_time=2_000)
    (found,) = await Replayer(store, settings, now_us=span.until_us).advice(alerts, span)
    assert (found.alerts, found.removed, found.acted) == (6, 5, 1)
    assert 4_000 < found.after < 7_500
    report = report_of(alerts, [], span, [found])
    assert report.advice == (found,)
    assert report.total.acknowledged == 1


async def test_a_range_without_alerts_is_not_read(store):
    span = Range(START_US - HOUR_US, START_US, "last hour")
    assert await Replayer(store, Settings(), now_us=START_US + 6 * HOUR_US).advice([], span) == []
