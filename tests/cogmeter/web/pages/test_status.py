"""The public status page, its badge and its JSON: without a token, cached and limited, and silent about the bot."""

import json
import re
import time
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest

from cogmeter.web.pages import status
from cogmeter.web.pages.status import REQUESTS
from cogmeter_storage.model import DAY_US

TOKEN = "a-token-of-more-than-32-characters-for-tests"
PATHS = ("/status", "/status.json", "/status/badge.svg")


async def sampled(web, minutes=30):
    now_us = time.time_ns() // 1_000
    for minute in range(minutes, -1, -1):
        await web.monitor.store.add_samples(now_us - minute * 60_000_000, {"gateway.shards_connected": 1.0})


@pytest.mark.parametrize("path", PATHS)
async def test_it_is_off_by_default(served, path):
    async with served(http_token=TOKEN) as web:
        assert (await web.get(path, bare=True)).status == 404


async def test_it_needs_no_token_and_everything_else_does(served):
    async with served(http_token=TOKEN, status_page=True) as web:
        for path, media in zip(PATHS, ("text/html", "application/json", "image/svg+xml"), strict=True):
            for answer in (await web.get(path, bare=True), await web.request("HEAD", path, bare=True)):
                assert answer.status == 200
                assert answer.headers["Content-Type"].startswith(media)
        for path in (
            "/performance",
            "/api/performance/dashboard",
            "/metrics",
            "/openapi.json",
            "/status/x",
            "/status/",
        ):
            assert (await web.get(path, bare=True)).status == 401


async def test_a_bot_that_is_not_connected_is_down(served):
    async with served(status_page=True) as web:
        answer = (await web.get("/status.json")).json()
        assert answer["status"] == "down"
        assert answer["uptime"] is None
        assert len(answer["days"]) == 90
        assert {day["status"] for day in answer["days"]} == {None}
        assert "Down" in (await web.get("/status")).text
        badge = (await web.get("/status/badge.svg")).text
        assert "status: down" in badge


async def test_the_days_are_those_of_the_samples(served):
    async with served(status_page=True) as web:
        await sampled(web)
        answer = (await web.get("/status.json")).json()
        assert answer["uptime"] == 1
        assert [day for day in answer["days"] if day["status"] is not None][-1]["uptime"] == 1
        page = (await web.get("/status")).text
        assert page.count("<rect") == 90
        assert ": 100% up</title>" in page
        assert page.count(": no data</title>") >= 88


async def test_it_says_nothing_about_services_and_use(seeded):
    async with seeded(status_page=True, http_token=TOKEN) as web:
        for path in PATHS:
            text = (await web.get(path, bare=True)).text
            for name in (
                "sentiment-analysis",
                "context-memory",
                "knowledge-graph",
                "analyze",
                "timeout",
                "script>alert",
            ):
                assert name not in text


async def test_a_hostile_name_of_the_bot_is_text(served, monkeypatch):
    async with served(status_page=True) as web:
        monkeypatch.setattr(status, "_name", lambda _: "<script>alert(1)</script>")
        text = (await web.get("/status")).text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


async def test_it_is_made_at_most_twice_a_minute(served, monkeypatch):
    now = [1_000.0]
    monkeypatch.setattr(status, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    async with served(status_page=True) as web:
        first = (await web.get("/status.json")).body
        assert (await web.get("/status.json")).body == first
        now[0] += 30
        assert json.loads((await web.get("/status.json")).body)["timestamp"] != json.loads(first)["timestamp"]
        assert (await web.get("/status")).headers["Cache-Control"] == "public, max-age=30"


async def test_too_many_requests_of_one_client_must_wait_and_others_do_not(served):
    async with served(status_page=True, http_token=TOKEN) as web:
        client = {"X-Forwarded-For": "198.51.100.1, 203.0.113.5"}
        statuses = [(await web.get("/status", bare=True, headers=client)).status for _ in range(REQUESTS + 1)]
        assert statuses == [200] * REQUESTS + [429]
        answer = await web.get("/status/badge.svg", bare=True, headers=client)
        assert (answer.status, int(answer.headers["Retry-After"]) <= 60) == (429, True)
        forged = {"X-Forwarded-For": "192.0.2.77, 203.0.113.5"}
        assert (await web.get("/status", bare=True, headers=forged)).status == 429
        for other in ({"X-Forwarded-For": "203.0.113.6"}, {}):
            assert (await web.get("/status", bare=True, headers=other)).status == 200


async def test_links_with_parameters_of_other_sites_work(served):
    async with served(status_page=True) as web:
        assert (await web.get("/status?utm_source=x&fbclid=1")).status == 200
        assert (await web.get("/status/badge.svg?v=2")).status == 200


async def test_a_badge_may_be_shown_on_other_sites_and_nothing_else_may(served):
    async with served(status_page=True) as web:
        badge = await web.get("/status/badge.svg")
        assert badge.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert (await web.get("/status")).headers["Cross-Origin-Resource-Policy"] == "same-origin"
        for path in PATHS:
            headers = (await web.get(path)).headers
            assert headers["Server"] == "cogmeter"
            assert "default-src 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize("word", ["up", "degraded", "down"])
def test_a_badge_is_an_image_with_its_word(word):
    from cogmeter.web.server.assets import render

    root = ET.fromstring(render("badge.svg", word=word, colour="#17724a"))
    assert root.get("aria-label") == f"status: {word}"
    assert 80 <= float(root.get("width")) < 140


async def test_it_is_documented_where_it_is_switched_on(served):
    async with served(status_page=True) as web:
        assert "/status.json" in (await web.get("/openapi.json")).json()["paths"]
    async with served() as web:
        assert "/status.json" not in (await web.get("/openapi.json")).json()["paths"]


async def test_the_uptime_is_stored_by_a_job(served):
    async with served(status_page=True) as web:
        await sampled(web)
        (job,) = [job for job in web.monitor.schedule.jobs if job.id == "uptime"]
        await job.func()
        stored = json.loads(await web.monitor.store.get_value("uptime"))
        assert sum(sums[0] for sums in stored["days"].values()) == pytest.approx(30 * 60_000_000, abs=61_000_000)
        await web.servers.stop()
        await web.servers.start()  # the job exists once
        assert [job.id for job in web.monitor.schedule.jobs].count("uptime") == 1
    async with served() as web:
        assert "uptime" not in {job.id for job in web.monitor.schedule.jobs}


def test_the_page_of_ninety_days_names_each_of_them_once():
    from cogmeter.diagnosis import DayUptime, PublicState
    from cogmeter.schemas.status import PublicStatus

    days = [DayUptime(20_000 + number, DAY_US, number * 60_000_000, 0) for number in range(90)]
    answer = PublicStatus.of(PublicState.UP, days)
    page = status._bodies(answer, "Bot").page
    assert len(set(re.findall(r"<title>(\d{4}-\d\d-\d\d): [\d.]+% up</title>", page))) == 90
    assert answer.days[1].uptime == 0.9993
    assert [day.status for day in answer.days[:2]] == ["up", "degraded"]
    assert json.loads(status._bodies(answer, "Bot").json)["days"][1] == {
        "date": "2024-10-05",
        "status": "degraded",
        "uptime": 0.9993,
    }
    assert answer.days[60].status == "down"
