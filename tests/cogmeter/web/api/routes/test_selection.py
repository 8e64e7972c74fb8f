"""``/api/performance/selection``: what happened behind a point of a chart, as on the page."""

import time

from cogmeter.query.records import Range
from cogmeter.query.selection import select
from cogmeter.schemas.times import iso
from cogmeter_storage.model import MINUTE_US, Marker, Outcome, SpanRecord, TraceRecord

PATH = "/api/performance/selection"
HOST = SpanRecord(1, 0, "http.api.example.com", "POST", 100_000, 3_000_000, Outcome.OK)


async def happened(web):
    """A slow, failed run of /ask ten minutes ago with a marker, and one of another service half an hour ago."""
    store, now_us = web.monitor.store, time.time_ns() // 1000
    ask, other = await store.series_ids([("discord.commands", "ask"), ("other", "run")])
    ended = now_us - 10 * MINUTE_US
    rows = [
        (other, now_us - 30 * MINUTE_US, 9_000_000, 0, None, None),
        (ask, ended, 4_000_000, int(Outcome.ERROR), "Timeout: 7", None),
    ]
    await store.append([rows], now_us=now_us)
    await store.add_traces(
        [TraceRecord(ended - 4_000_000, "discord.commands", "ask", 4_000_000, Outcome.ERROR, "Timeout: 7", 0, (HOST,))]
    )
    await store.add_marker(Marker(ended, "version", "version 2.0"))
    return Range(now_us - 15 * MINUTE_US, now_us - 5 * MINUTE_US, "selection")


async def test_a_range_has_its_operations_reasons_errors_and_markers_as_the_query_says(served):
    async with served(alert_check_interval=3600) as web:
        span = await happened(web)
        query = f"since={iso(span.since_us)}&until={iso(span.until_us)}"
        body = (await web.get(f"{PATH}?{query}")).json()
        of_another = (await web.get(f"{PATH}?{query}&service=other")).json()
        found = await select(web.monitor.query, span, markers=[])
    assert [one["duration"] for one in body["slowest"]] == [4_000] == [one.duration_us / 1e3 for one in found.slowest]
    assert [(run["name"], run["patterns"][0]["pattern"]) for run in body["runs"]] == [("/ask", "slow_upstream")]
    assert [(group["error"], group["count"]) for group in body["errors"]] == [("Timeout: #", 1)]
    assert [marker["name"] for marker in body["markers"]] == ["version 2.0"]
    assert (body["stats"]["failedOperations"], body["before"]["totalOperations"]) == (1, 0)
    assert (of_another["slowest"], of_another["runs"], of_another["errors"]) == ([], [], [])


async def test_a_label_selects_a_command_and_an_unknown_one_is_404(served):
    async with served(alert_check_interval=3600) as web:
        await happened(web)
        body = (await web.get(f"{PATH}?service=/ask")).json()
        problem = (await web.get(f"{PATH}?service=/askk")).problem
    assert (body["service"], body["operation"], len(body["slowest"])) == ("discord.commands", "ask", 1)
    assert (problem["status"], problem["near"]) == (404, ["/ask"])
