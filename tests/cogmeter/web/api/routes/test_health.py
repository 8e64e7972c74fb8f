"""The guide's health addresses, over a real socket: their shape, their statuses, and that they need no token."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import datetime
from types import SimpleNamespace
from unittest.mock import AsyncMock

import pytest

from cogmeter import __version__
from cogmeter.diagnosis import Check, ServiceHealth, Status, Verdict
from cogmeter.web.api.routes.health import overall, read_health
from cogmeter.web.pages.table import PAGES
from cogmeter.web.server.app import ROUTES
from cogmeter.web.server.security import is_public

TOKEN = "a-token-of-more-than-32-characters-for-tests"
PATIENCE_S = 20


async def until(condition):
    deadline = time.perf_counter() + PATIENCE_S
    while not condition():
        assert time.perf_counter() < deadline
        await asyncio.sleep(0.01)


async def measured(web, service, times, **options):
    """Record operations, and wait until they are stored and counted."""
    before = web.monitor.flusher.written
    for _ in range(times):
        web.monitor.recorder.record(service, "ask", duration_ms=20, **options)
    await until(lambda: web.monitor.flusher.written >= before + times)


@pytest.mark.parametrize("path", ["/health", "/health/performance", "/health/ai-services"])
async def test_each_address_says_status_version_uptime_and_its_checks_without_a_token(served, path):
    async with served(http_token=TOKEN) as web:
        answer = await web.get(path, bare=True)
        said = answer.json()
        assert answer.status == (200 if said["status"] in {"healthy", "degraded"} else 503)
        assert said["version"] == __version__
        assert said["uptimeSeconds"] >= 0
        assert datetime.fromisoformat(said["timestamp"]).tzinfo is not None
        assert all({"status", "reason", "ageSeconds"} <= one.keys() for one in said["checks"].values())
        assert (await web.request("HEAD", path, bare=True)).status == answer.status
        assert (await web.get("/metrics", bare=True)).status == 401


async def test_a_bot_that_is_not_connected_is_answered_with_503_and_the_reason(served):
    async with served() as web:
        answer = await web.get("/health")
        assert answer.status == 503
        said = answer.json()
        assert said["status"] == "unknown"
        assert list(said["checks"]) == ["gateway", "loop", "flusher", "database", "jobs"]
        assert said["checks"]["gateway"] == {
            "status": "unknown",
            "reason": "the bot is not connected to Discord yet",
            "ageSeconds": None,
        }


async def test_the_monitor_is_healthy_although_the_bot_is_not_connected(served):
    async with served() as web:
        await until(lambda: web.monitor.flusher.last_flush_us is not None)
        answer = await web.get("/health/performance")
        said = answer.json()
        assert (answer.status, said["status"]) == (200, "healthy")
        assert list(said["checks"]) == ["flusher", "buffer", "database", "jobs", "alerts", "hooks", "overhead"]


def forget(web):
    """Drop the checks of the last second."""
    health = web.servers._shared.health
    health.vital._found = health.own._found = None


async def test_a_flusher_that_was_killed_is_answered_with_503_its_reason_and_age(served):
    async with served() as web:
        flusher = web.monitor.flusher
        await until(lambda: flusher.last_flush_us is not None)
        task, flusher._task = flusher._task, None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        web.monitor.recorder.record("chat", "ask", duration_ms=5)
        flusher.last_flush_us -= 45_000_000  # as if it was a while ago
        forget(web)
        answer = await web.get("/health/performance")
        said = answer.json()["checks"]["flusher"]
        assert (answer.status, said["status"]) == (503, "unhealthy")
        assert said["reason"].startswith("1 operation waits, ")
        assert said["ageSeconds"] >= 45
        assert (await web.get("/health")).json()["checks"]["flusher"]["status"] == "unhealthy"
        flusher.start()
        await until(lambda: not flusher.problem())
        forget(web)
        assert (await web.get("/health/performance")).status == 200


async def test_each_service_is_listed_by_name_and_those_of_discord_separately(served):
    async with served() as web:
        await measured(web, "sentiment-analysis", 30)
        await measured(web, "discord.commands", 5, error="gone")
        answer = await web.get("/health/ai-services")
        said = answer.json()
        assert (answer.status, said["status"]) == (200, "healthy")
        assert list(said["checks"]) == ["sentiment-analysis"]
        one = said["checks"]["sentiment-analysis"]
        assert (one["status"], one["totalOperations"], one["errorRate"], one["averageResponseTime"]) == (
            "healthy",
            30,
            0,
            20,
        )
        assert one["p95ResponseTime"] == pytest.approx(20, rel=0.01)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", one["lastSeen"])
        assert said["discord"]["discord.commands"]["status"] == "degraded"


async def test_one_service_that_fails_makes_the_whole_503_and_has_an_address_of_its_own(served):
    async with served() as web:
        await measured(web, "knowledge-graph", 30, error="gone")
        await measured(web, "context/memory", 30)
        whole, bad, well = [
            await web.get(f"/health/ai-services{path}") for path in ("", "/knowledge-graph", "/context%2Fmemory")
        ]
        assert [one.status for one in (whole, bad, well)] == [503, 503, 200]
        assert bad.json() == whole.json()["checks"]["knowledge-graph"] | {"ageSeconds": bad.json()["ageSeconds"]}
        assert bad.json()["errorRate"] == 1
        missing = await web.get("/health/ai-services/knowledge-grap")
        assert missing.status == 404
        assert missing.problem["near"] == []
        # It is asked without a token: no name is looked for that cannot be one.
        assert (await web.get(f"/health/ai-services/{'x' * 101}")).problem["parameter"] == "service"


async def test_reasons_and_names_hide_ids_and_never_show_the_database_or_an_error(served, monkeypatch):
    user = 223456789012345678
    async with served() as web:
        await measured(web, f"service of {user}", 30, error=f"token of {user} is wrong")
        await web.monitor.alerting.check()
        await web.monitor.store.close()
        texts = [(await web.get(path)).text for path in ("/health", "/health/performance")]
        assert all(str(user) not in text for text in texts)
        assert all("performance.db" not in text and "token of" not in text for text in texts)
        assert '"database":{"status":"unhealthy"' in texts[0]


def test_quiet_services_have_no_say_unless_all_are():
    def of(*statuses):
        return [ServiceHealth(Check("one", status, "")) for status in statuses]

    assert overall(of(Status.UNKNOWN, Status.DEGRADED)) is Status.DEGRADED
    assert overall(of(Status.UNKNOWN)) is Status.HEALTHY
    assert overall([]) is Status.UNKNOWN


@pytest.mark.parametrize("token", [None, TOKEN])
async def test_a_path_that_answers_without_a_token_suggests_no_names(served, token, monkeypatch):
    compared = []
    monkeypatch.setattr(
        "cogmeter.query.name_matching.near", lambda *asked: compared.append(asked) or ["knowledge-graph"]
    )
    with_names = [one for one in (*ROUTES, *PAGES) if is_public(one.path) and "{" in one.path]
    assert [one.path for one in with_names] == ["/health/ai-services/{service}"]
    async with served(http_token=token) as web:
        await measured(web, "knowledge-graph", 1)
        for one in with_names:
            missing = await web.get(one.path.replace("{service}", "knowledge-grap"), bare=True)
            assert (missing.status, missing.problem["near"]) == (404, [])
            assert "Did you mean" not in missing.text
    assert compared == []


async def test_many_services_are_all_listed(served):
    async with served() as web:
        names = {f"service-{number}" for number in range(300)}
        for name in names:
            web.monitor.recorder.record(name, "run", duration_ms=1)
        await web.flushed()
        assert names <= (await web.get("/health/ai-services")).json()["checks"].keys()


async def test_health_says_what_its_status_follows_from(served):
    async with served() as web:
        await measured(web, "knowledge-graph", 30, error="gone")
        health, own, services = [
            (await web.get(path)).json() for path in ("/health", "/health/performance", "/health/ai-services")
        ]
    assert health["statusReason"] == f"the worst of the checks is {health['status']}"  # no gateway: it cannot serve
    for answer in (own, services):
        assert (answer["status"], answer["statusReason"]) == ("unhealthy", "the verdict is unhealthy")


async def test_a_bot_that_serves_is_degraded_by_its_verdict_and_says_so():
    verdict = Verdict(Status.UNHEALTHY, "1 active alert (critical)")
    checks = [Check("gateway", Status.HEALTHY, "connected")]
    health = SimpleNamespace(vital=AsyncMock(return_value=checks), verdict=AsyncMock(return_value=verdict), up_s=1.0)
    reply = await read_health(None, SimpleNamespace(health=health))
    assert (reply.status, reply.model.status) == (200, Status.DEGRADED)
    assert reply.model.status_reason == "the bot serves (all checks are healthy), but the verdict is unhealthy"


async def test_an_alert_about_the_event_loop_is_shown_and_does_not_stop_the_bot_from_serving():
    verdict = Verdict(Status.UNHEALTHY, "1 active alert (critical)")
    checks = [Check("loop", Status.UNHEALTHY, "an alert about blocks is active", without_alerts=Status.HEALTHY)]
    health = SimpleNamespace(vital=AsyncMock(return_value=checks), verdict=AsyncMock(return_value=verdict), up_s=1.0)
    reply = await read_health(None, SimpleNamespace(health=health))
    assert (reply.status, reply.model.status) == (200, Status.DEGRADED)
    assert reply.model.checks["loop"].status is Status.UNHEALTHY
    assert reply.model.status_reason == "the bot serves, but the verdict is unhealthy"
