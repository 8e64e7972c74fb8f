"""Five days of traffic with labelled incidents, through the real rules, the real engine and a real store."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from traffic import INCIDENTS, QUIET, SERVICES, Found, Traffic, fired_s, simulate

from cogmeter_storage import open_store
from cogmeter_storage.alerting import AlertState

SEED = 13  # others are in benchmarks/detection.py: one takes more than a minute
BY_KIND = pytest.mark.parametrize("incident", INCIDENTS, ids=lambda one: one.kind)


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Found:
    return asyncio.run(simulated(Traffic(SEED), tmp_path_factory.mktemp("simulation") / "performance.db"))


async def simulated(traffic: Traffic, path, **how) -> Found:
    store = await open_store(f"sqlite:///{path}")
    try:
        return await simulate(traffic, store, **how)
    finally:
        await store.close()


pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # the first test of a seed waits for the simulation


@BY_KIND
def test_an_incident_is_found_within_its_stated_delay(found, incident):
    alerts = found.of(incident)

    assert alerts, f"{incident.kind} in {incident.service} was not reported"
    assert fired_s(alerts[0]) - incident.since_s <= incident.within_s


@BY_KIND
def test_an_incident_is_reported_by_the_right_rule_and_never_twice(found, incident):
    during = [one for one in found.alerts if one.service == incident.service]
    times = Counter((one.rule, one.operation) for one in during)

    assert {rule for rule, _ in times} <= incident.rules
    named = incident.operation if incident.unhandled else incident.error or incident.operation
    assert {operation for _, operation in times} == {named}
    assert max(times.values()) <= incident.most_alerts


@BY_KIND
def test_an_alert_ends_when_its_incident_has_ended(found, incident):
    for alert in found.of(incident):
        assert alert.state is AlertState.RESOLVED
        assert alert.resolved_us - alert.fired_us <= (incident.until_s - incident.since_s + 7 * 3600) * 1e6


def test_flapping_is_reported_once(found):
    said = [change for change in found.changes if change.kind == "flapping"]

    assert [one.service for one in found.alerts if one.uid in {change.alert for change in said}] == ["link-preview"]
    assert len(said) == 1


@pytest.mark.parametrize("service", [one.name for one in QUIET])
def test_what_is_quiet_raises_no_alert(found, service):
    assert [one.message for one in found.alerts if one.service == service] == []


def test_nothing_is_reported_outside_of_the_incidents(found):
    assert [(one.service, one.message, fired_s(one)) for one in found.false(INCIDENTS)] == []


RESTARTED = ("sentiment-analysis", "core-intelligence", "link-preview", "multimodal-processing")
MIDST_S = 7 * 60  # of an incident, from its beginning


@pytest.fixture(scope="module")
def restarted(tmp_path_factory) -> Found:
    """Four incidents in whose midst the bot restarts, and a restart in the quiet of the second night."""
    traffic = Traffic(4, days=3, services=[one for one in SERVICES if one in QUIET or one.name in RESTARTED])
    moments = [one.since_s + MIDST_S for one in INCIDENTS if one.service in RESTARTED]
    path = tmp_path_factory.mktemp("restarted") / "performance.db"
    return asyncio.run(simulated(traffic, path, restarts_s=[*moments, 27 * 3600]))


@pytest.mark.parametrize("incident", [one for one in INCIDENTS if one.service in RESTARTED], ids=lambda one: one.kind)
def test_a_restart_in_its_midst_neither_loses_nor_doubles_an_incident(restarted, incident):
    alerts = restarted.of(incident)

    assert fired_s(alerts[0]) - incident.since_s <= incident.within_s
    assert 1 <= len(alerts) <= incident.most_alerts
    assert {one.state for one in alerts} == {AlertState.RESOLVED}


def test_a_restart_makes_no_noise(restarted):
    assert [(one.service, one.message, fired_s(one)) for one in restarted.false(INCIDENTS)] == []


def test_the_same_seed_makes_the_same_traffic_and_another_seed_another():
    one, same, other = Traffic(7, days=0.2), Traffic(7, days=0.2), Traffic(8, days=0.2)

    assert one.times_s.tobytes() == same.times_s.tobytes()
    assert one.outcomes.tobytes() == same.outcomes.tobytes()
    assert one.times_s.tobytes() != other.times_s.tobytes()


OF_SERVICES = [one for one in INCIDENTS if not one.unhandled]


@pytest.mark.parametrize("incident", OF_SERVICES, ids=lambda one: one.kind)
def test_an_incident_is_there_while_its_label_says_so(incident):
    """The labels are what all is judged by."""
    (service,) = (one for one in SERVICES if one.name == incident.service)
    traffic = Traffic(3, services=[service])
    names = [place for place, (_, operation) in enumerate(traffic.names) if incident.operation in {"", operation}]
    own = [number in names for number in range(len(traffic.names))]
    mine = [own[number] for number in traffic.series.tolist()]
    times, failed, lasted = traffic.times_s[mine], traffic.outcomes[mine] == 1, traffic.durations_us[mine]
    during = (times >= incident.since_s) & (times < incident.until_s)
    before = (times >= incident.since_s - 36_000) & (times < incident.since_s)

    assert failed[before].mean() < 0.01 + service.failing
    if incident.failing:
        share = incident.on_s / (incident.on_s + incident.off_s) if incident.on_s else 1.0
        assert failed[during].mean() == pytest.approx(incident.failing * share, rel=0.25)
    if incident.logging:
        assert traffic.logged[mine][during].mean() == pytest.approx(incident.logging, rel=0.25)
    if incident.slower > 1:
        half = 0.5 if incident.grows else 1.0
        assert lasted[during].mean() / lasted[before].mean() == pytest.approx(1 + (incident.slower - 1) * half, rel=0.2)
    if not incident.volume:
        assert not during.any()
