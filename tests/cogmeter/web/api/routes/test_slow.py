"""``/api/performance/slow``: the same report as in Discord."""

import time

from cogmeter.query.records import Period
from cogmeter.query.slow import slow_runs
from cogmeter.query.slow_patterns import PATTERNS
from cogmeter_storage.model import Outcome, SpanRecord, TraceRecord

PATH = "/api/performance/slow"
COMMANDS = "discord.commands"


async def ran(web, operation, duration_us, *spans):
    """One traced run of a command, a minute ago."""
    store, now_us = web.monitor.store, time.time_ns() // 1000
    (number,) = await store.series_ids([(COMMANDS, operation)])
    await store.append([[(number, now_us, duration_us, 0, None, None)]], now_us=now_us)
    trace = TraceRecord(now_us - 60_000_000, COMMANDS, operation, duration_us, Outcome.OK, None, 0, spans)
    await store.add_traces([trace])


HOST = SpanRecord(1, 0, "http.api.example.com", "POST", 100_000, 3_000_000, Outcome.OK)


async def test_each_command_is_listed_with_its_parts_and_what_to_do(served):
    async with served() as web:
        await ran(web, "ask", 4_000_000, HOST)
        await ran(web, "look", 2_100_000)
        body = (await web.get(PATH)).json()
    ask, look = body["runs"]
    assert (ask["name"], ask["duration"], ask["traced"], ask["runs"]) == ("/ask", 4_000, True, 1)
    assert ask["parts"] == {"own_code": 1_000, "rest": 0, "hosts": 3_000, "database": 0, "rate_limit": 0, "blocked": 0}
    assert ask["patterns"] == [
        {
            "pattern": "slow_upstream",
            "title": "Slow upstream",
            "what": "POST api.example.com",
            "time": 3_000,
            "calls": 1,
            "usualTime": None,
            "advice": PATTERNS["slow_upstream"].advice,
        }
    ]
    assert (look["patterns"], look["notBrokenDown"], body["whereTheTimeGoes"]) == ([], 2_100, None)


async def test_one_command_has_where_its_time_goes_as_the_query_says(served):
    async with served() as web:
        await ran(web, "ask", 4_000_000, HOST)
        body = (await web.get(f"{PATH}?service=/ask")).json()
        report = await slow_runs(web.monitor.query, Period.DAY, "/ask")
    assert [run["duration"] for run in body["runs"]] == [run.trace.duration_us / 1000 for run in report.runs]
    goes = body["whereTheTimeGoes"]
    assert (goes["tracedRuns"], goes["runs"], goes["shares"]["hosts"]) == (1, 1, 0.75)
    assert goes["p50Run"] == goes["p95Run"] == body["runs"][0]["parts"]


async def test_an_unknown_name_is_404_with_near_names_and_a_bad_range_is_422(served):
    async with served() as web:
        await ran(web, "ask", 4_000_000, HOST)
        problem = (await web.get(f"{PATH}?service=/askk")).problem
        assert (problem["status"], problem["near"]) == (404, ["/ask"])
        assert (await web.get(f"{PATH}?since=soon")).status == 422


async def test_the_page_of_a_command_and_a_selection_explain_its_slow_runs(served):
    async with served() as web:
        await ran(web, "ask <b>", 4_000_000, HOST)
        page = (await web.get("/performance/services/discord.commands?operation=ask%20%3Cb%3E")).text
        assert "POST api.example.com took 3 s." in page
        assert PATTERNS["slow_upstream"].advice in page
        assert 'class="part-hosts"' in page
        assert "1 traced run of 1 run" in page
        assert "/ask &lt;b&gt;" in page
