"""``cogmeter state``: what a database shows of every part of its bot."""

from __future__ import annotations

import json

import pytest
from factories import make_alert

from cogmeter.diagnosis import Check, Status
from cogmeter.diagnostics.judgement import store_health
from cogmeter.settings import Settings
from cogmeter_storage.alerting import AlertChange, Step


@pytest.fixture
def known(seed, now_us):
    """A database with a service, a failing service, a dependency, a loop, a lost shard and stored checks."""

    async def add(store):
        samples = {
            "gateway.shards_connected": 2.0,
            "gateway.latency_ms.shard_0": 45.0,
            "gateway.heartbeat_age_s.shard_1": 90.0,
            "rest.rate_limited.user": 2.0,
        }
        await store.add_samples(now_us - 9, samples)
        checks = [Check("gateway", Status.HEALTHY, "2 of 2 shards"), Check("jobs", Status.HEALTHY, "5 jobs on time")]
        await store_health(store, checks, Settings(), now_us=now_us - 9)

    rows = [("alpha", "one", now_us - 9, 5_000, 0, None, None)]
    rows += [("bad \x1b[31m", "one", now_us - 9, 5_000, 1, "boom", None) for _ in range(40)]
    rows += [("http.example.com", "GET", now_us - 9, 5_000, 0, None, None)]
    rows += [("discord.tasks", "feed", now_us - 9, 5_000, 0, None, None)]
    return seed(rows, work=add)


def test_every_part_is_listed_with_problems_first(cogmeter, known):
    code, out, err = cogmeter("state")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "State of the bot"
    assert lines[2].startswith("State: unhealthy; no active alerts; 1 service unhealthy")
    titles = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["Components:", "Shards:", "Discord:", "Services:", "Loops:", "Dependencies:"]
    services = lines[lines.index("Services:") + 2 :]
    assert services[0].endswith("40 of 40 operations failed, more than 5%")
    assert "\x1b" not in out
    assert any(line.startswith("shard 1") and "degraded" in line for line in lines)
    assert any(line.startswith("feed") and "1 run in 24 h" in line for line in lines)


def test_a_service_with_an_alert_is_unhealthy_without_operations_in_the_window(cogmeter, seed, now_us):
    async def fire(store):
        alert = make_alert(
            now_us - 9 * 60_000_000,
            rule="response_time",
            service="slow",
            severity="critical",
            message="p95 response time of 13s exceeds threshold of 5s",
            threshold=5_000.0,
            current=13_000.0,
            fired_us=now_us - 9 * 60_000_000,
        )
        await store.alerting.save([Step(alert, AlertChange.of(alert, "fired", alert.changed_us))])

    hour_ago_us = now_us - 3_600_000_000
    rows = [("alpha", "one", now_us - 9, 5_000, 0, None, None), ("slow", "one", hour_ago_us, 9_000_000, 0, None, None)]
    seed(rows, work=fire)
    lines = cogmeter("state")[1].splitlines()
    assert "1 active alert (critical); 1 service unhealthy" in lines[2]
    (line,) = [line for line in lines if line.startswith("slow")]
    assert "unhealthy" in line
    assert "13 s" in line
    assert not [line for line in lines if line.startswith("(other)")]


def test_check_fails_for_a_problem_and_json_has_the_fields_of_the_api(cogmeter, known):
    assert cogmeter("state", "--check")[0] == 1
    document = json.loads(cogmeter("state", "--json")[1])
    assert [area["name"] for area in document["areas"]][-1] == "Dependencies"
    assert document["verdict"]["status"] == "unhealthy"


def test_long_areas_are_cut_to_the_limit(cogmeter, seed, now_us):
    seed([(f"service-{number}", "one", now_us - 9, 5_000, 0, None, None) for number in range(100)])
    out = cogmeter("state", "--limit", "10")[1]
    assert "Services (and 90 more):" in out
    assert out.count("service-") == 10


def test_an_empty_database_says_so(cogmeter, seed):
    seed([])
    code, _, err = cogmeter("state")
    assert code != 0
    assert "Nothing has been recorded" in err
