"""The page on Discord: first responses, the connection, limits, blocks of the event loop, background loops."""

import html
import json
import re

from large_dataset import HOSTILE

from cogmeter.alerts.model import LoopState
from cogmeter.web.pages.discord import Shard, shards_of

PAGE = "/performance/discord"
HTML = {"headers": {"Accept": "text/html"}}


def rows(page, key):
    """The cells of a table's rows in words."""
    table = re.search(rf'data-key="{key}".*?</table>', page, re.DOTALL)[0]
    found = []
    for row in re.findall(r"<tr data-key.*?</tr>", table, re.DOTALL):
        cells = re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)
        found.append([" ".join(html.unescape(re.sub(r"<[^>]*>", " ", one)).split()) for one in cells])
    return found


def test_every_shard_that_has_a_gauge_is_one_by_its_number():
    gauges = {
        "gateway.latency_ms.shard_10": 80.0,
        "gateway.heartbeat_age_s.shard_2": 61.0,
        "gateway.latency_ms.shard_2": 90.0,
        "gateway.heartbeat_age_s.shard_10": 1.0,
        "gateway.disconnects": 3.0,
        "gateway.latency_ms.shard_x": 1.0,
    }
    found = shards_of(gauges)
    assert found == [Shard(2, 90_000.0, 61e6), Shard(10, 80_000.0, 1e6)]
    assert [one.state for one in found] == [("no heartbeat", "degraded"), ("connected", "healthy")]
    assert Shard(0, None, None).state == ("no heartbeat yet", "unknown")


async def test_near_misses_and_missed_responses_are_counted_apart(crowded):
    async with crowded() as web:
        page = (await web.get(PAGE)).text
    assert "Near misses</dt><dd><strong>15<" in page
    assert "Missed</dt><dd><strong>1<" in page
    assert rows(page, "commands-table") == [
        ["ask", "45", "120 ms", "120 ms", "missed", "0", "1"],
        [HOSTILE, "45", "91 ms", "2.5 s", "2.5 s", "15", "0"],
    ]


async def test_a_missed_response_is_missed_on_the_page_of_the_service_too(crowded):
    async with crowded() as web:
        page = (await web.get("/performance/services/discord.acknowledgement?operation=ask")).text
    assert "Very slow (p99)</dt><dd><strong>missed<" in page
    assert "Slowest</dt><dd><strong>missed<" in page


async def test_the_connection_is_shown_by_shard(crowded):
    async with crowded(sample_interval=3600) as web:
        page = (await web.get(PAGE)).text
    assert "2 of 2" in page
    assert rows(page, "shards-table") == [
        ["shard 0", "connected", "64 ms", "12 s ago"],
        ["shard 1", "no heartbeat", "300 ms", "2 min ago"],
    ]
    assert "gateway.latency_ms.shard_1%2Cgateway.latency_ms.shard_0" in page  # the slowest first


async def test_the_share_of_invalid_requests_is_a_meter_with_its_words(crowded):
    async with crowded(sample_interval=3600) as web:
        page = (await web.get(PAGE)).text
    assert 'value="0.1234" aria-labelledby="budget-title">12.3%</meter>' in page
    assert "used: 1,234 of 10,000" in page
    assert rows(page, "requests-table") == [["POST /channels/{channel_id}/messages", "45", "130 ms", "15", "0", "0"]]


async def test_charts_have_markers_breaches_and_the_limits_in_effect(crowded):
    async with crowded() as web:
        await web.monitor.override({"gateway_latency": "200 ms"}, actor="owner")
        page = (await web.get("/performance/discord", **HTML)).text
    (marks,) = re.findall(r'data-marks="([^"]*)"', page)
    assert [name for _, name in json.loads(html.unescape(marks))["marks"]][:2] == [f"deployed {HOSTILE}", "version 1.4"]
    heartbeats = re.search(r'<figure[^>]*id="chart-gateway".*?>', page, re.DOTALL)[0]
    assert 'data-limit="200.0" data-limit-text="alert above 200 ms"' in heartbeats


async def test_more_than_ten_lines_that_blocked_the_loop_are_folded(served):
    async with served() as web:
        for number in range(13):
            for _ in range(13 - number):
                web.monitor.recorder.record("discord.stalls", f"cogs/a.py:{number} f", duration_ms=300)
        await web.flushed()
        page = (await web.get(PAGE, **HTML)).text
    assert [row[0] for row in rows(page, "places-table")] == [f"cogs/a.py:{number} f" for number in range(10)]
    assert "<summary>3 more lines</summary>" in page
    assert [row[0] for row in rows(page, "more-places-table")] == [f"cogs/a.py:{number} f" for number in range(10, 13)]


async def test_what_blocked_the_loop_is_shown_with_its_stack(crowded):
    async with crowded() as web:
        page = (await web.get(PAGE)).text
    assert rows(page, "places-table")[0][:2] == ["cogs/archive.py:19 nightly", "45"]
    assert "<li><code>cogs/archive.py:19:nightly</code></li>" in page
    assert f"<code>{html.escape(HOSTILE)}.py:1:{html.escape(HOSTILE)}</code>" in page
    assert "<script>alert" not in page


async def test_dead_and_late_loops_are_listed_before_those_that_run(crowded, monkeypatch):
    states = [
        LoopState("Feeds.refresh", dead=False, overdue_s=300.0, text="nothing has woken it"),
        LoopState("Archive.nightly", dead=True, overdue_s=0.0, text=f"ValueError: {HOSTILE}"),
    ]
    async with crowded() as web:
        well = rows((await web.get(PAGE)).text, "loops-table")
        monkeypatch.setattr(web.monitor.watcher, "loops", lambda: states)
        ill = rows((await web.get(PAGE)).text, "loops-table")
    ((name, state, ago, *figures),) = well
    assert (name, state, figures) == ("Feeds.refresh", "ok", ["250 ms", "45", "40 ms", "0"])
    assert ago.startswith("4 min")
    assert [one[:2] for one in ill] == [
        ["Feeds.refresh nothing has woken it", "overdue by 5 min"],
        [f"Archive.nightly ValueError: {HOSTILE}", "dead"],
    ]
    assert ill[1][2] == "not in this period"


async def test_a_bot_of_which_nothing_is_known_yet_has_words_in_every_place(served):
    async with served() as web:
        answer = await web.get(PAGE)
    assert answer.status == 200
    for words in (
        "No interactions in this period",
        "No requests to Discord in this period",
        "No long blocks in this period",
        "No background loops or scheduled jobs ran",
    ):
        assert words in answer.text


async def test_gauges_of_a_surface_that_is_off_are_unknown(served):
    async with served(watch_gateway=False) as web:
        assert "PERFORMANCE_WATCH_GATEWAY is off" in (await web.get(PAGE)).text
