"""The live stream, read by real clients."""

import asyncio
import json
import sqlite3
import time
from contextlib import asynccontextmanager, closing
from datetime import datetime

from cogmeter.schemas.live import MinuteCounts
from cogmeter.web.api.routes.live import WAITING, Subscription
from cogmeter.web.server.limits import StreamLimit

PATH = "/api/performance/live"
LIMIT_S = 30
TOKEN = "a-token-of-more-than-32-characters-for-tests"


class Listener:
    """Reads one stream as its events come."""

    def __init__(self, answer):
        self._answer = answer
        self.comments = 0

    async def next(self, wanted="snapshot"):
        """The data of the next event of this name."""
        end = time.perf_counter() + LIMIT_S
        name = data = ""
        while time.perf_counter() < end:
            line = (await asyncio.wait_for(self._answer.content.readline(), LIMIT_S)).decode()
            assert line, "the stream has ended"
            field, _, value = line.rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data = value
            elif not line.strip() and name == wanted:
                return json.loads(data)
            self.comments += not field
        raise AssertionError(f"no {wanted} came")


@asynccontextmanager
async def listening(web, **headers):
    async with web.session.get(web.url + PATH, headers=headers) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        yield Listener(answer)


async def test_every_stream_gets_the_same_snapshots(seeded):
    async with seeded() as web, listening(web) as one, listening(web, **{"Last-Event-ID": "12"}) as other:
        first = await one.next()
        assert first["health"] in {"healthy", "degraded", "unhealthy", "unknown"}
        assert first["activeAlerts"] == 0
        known = [first["at"], (await one.next())["at"]]
        assert datetime.fromisoformat(known[0]) < datetime.fromisoformat(known[1])
        assert (await other.next())["at"] in [*known, (await one.next())["at"]]


async def test_what_is_recorded_is_seen_within_the_next_snapshots(served):
    async with served() as web, listening(web) as one:
        assert (await one.next())["totalOperations"] == 0
        for number in range(50):
            web.monitor.recorder.record("a", "x", duration_ms=100, outcome=1 if number < 10 else 0)
        web.monitor.recorder.record("discord.listeners", "on_message", duration_ms=1)
        await web.flushed()
        seen = await one.next()
        while not seen["totalOperations"]:
            seen = await one.next()
        assert (seen["totalOperations"], seen["failedOperations"], seen["errorRate"]) == (50, 10, 0.2)
        assert seen["averageResponseTime"] == 100
        assert seen["operationsPerSecond"] > 0


async def test_alerts_and_markers_are_events_when_they_come(served):
    async with served() as web, listening(web) as one:
        await one.next()
        await web.send("POST", "/api/performance/markers", json={"name": "deployed 1.4"})
        names = {(await one.next("marker"))["name"]}
        if names == {"bot started"}:  # it was stored behind the first look
            names.add((await one.next("marker"))["name"])
        assert "deployed 1.4" in names
        await breach(web)
        raised = await one.next("alert")
        assert (raised["type"], raised["service"], raised["state"]) == ("error_rate", "knowledge-graph", "firing")
        await web.send("POST", f"/api/performance/alerts/{raised['id']}/acknowledge")
        assert (await one.next("alert"))["state"] == "acknowledged"
        assert (await one.next())["activeAlerts"] == 1


async def breach(web):
    for number in range(100):
        web.monitor.recorder.record("knowledge-graph", "query", duration_ms=10, outcome=int(number < 50))
    await web.flushed()
    await web.monitor.alerting.check()


async def test_polling_stops_with_the_last_stream_and_restarts_with_the_next(served):
    async with served() as web:
        async with listening(web) as one:
            await one.next()
        await gone(web, 0)
        async with listening(web) as one:
            assert await one.next()


async def gone(web, left):
    """Wait until no more streams than these are open."""
    streams = web.servers._shared.streams
    end = time.perf_counter() + LIMIT_S
    while streams.open > left:
        assert time.perf_counter() < end
        await asyncio.sleep(0.01)


async def test_streams_end_when_the_server_stops(served):
    async with served() as web, listening(web) as one, listening(web) as other:
        await one.next()
        await other.next()
        reading = [asyncio.create_task(each._answer.content.read()) for each in (one, other)]
        await web.servers.stop()
        for task in reading:
            await asyncio.wait_for(task, LIMIT_S)  # to a clean end: a torn stream would raise


async def test_a_stream_ends_with_its_session_and_that_of_the_token_continues(served):
    async with served(http_token=TOKEN) as web:
        guard = web.servers._shared.guard
        cookie = guard.start_session()
        async with (
            listening(web, Authorization=f"Bearer {TOKEN}") as own,
            listening(web, Cookie=f"{guard.cookie}={cookie}") as one,
        ):
            await one.next()
            data, headers = {"csrf": guard._sign("csrf", guard.session_of(cookie))}, {"Origin": web.url}
            headers["Cookie"] = f"{guard.cookie}={cookie}"
            assert (
                await web.request("POST", "/performance/logout", bare=True, data=data, headers=headers)
            ).status == 303
            await asyncio.wait_for(one._answer.content.read(), LIMIT_S)
            assert await own.next()


async def test_no_more_streams_than_there_may_be_are_served(served):
    async with served() as web:
        web.servers._shared.streams.most = 2
        async with listening(web) as one, listening(web):
            answer = await web.get(PATH)
            assert answer.status == 503
            assert "2 live streams" in answer.problem["detail"]
            await one.next()
        await gone(web, 0)
        async with listening(web) as one:
            await one.next()


async def test_a_store_that_fails_is_reported_and_ends_no_stream(served):
    async with served() as web, listening(web) as one:
        await one.next()
        rename("series", "away")
        assert await one.next("trouble") == {"detail": "Cannot read the database"}
        rename("away", "series")
        assert await one.next()


def rename(before, after):
    """Take a table away from the running store, or give it back."""
    with closing(sqlite3.connect("data/performance.db", timeout=30)) as file, file:
        file.execute("PRAGMA legacy_alter_table = ON")
        file.execute(f"ALTER TABLE {before} RENAME TO {after}")


async def test_head_says_what_the_stream_is_and_ends(served):
    async with served() as web:
        answer = await web.request("HEAD", PATH)
        assert answer.status == 200
        await gone(web, 0)


async def test_a_stream_begins_with_its_retry_time_and_sends_heartbeats(served, monkeypatch):
    monkeypatch.setattr("cogmeter.web.api.routes.live.HEARTBEAT_S", 0)
    async with served() as web, listening(web) as one:
        assert await one._answer.content.readline() == b"retry: 3000\n"
        await one.next()
        assert one.comments


async def test_a_stream_that_does_not_keep_up_misses_snapshots_and_of_the_rest_the_oldest():
    one = Subscription()
    for number in range(WAITING + 5):
        one.put([b"alert %d;" % number], b"snapshot %d" % number)
    one.put([], None)
    one.end()
    pieces = [piece async for piece in one.chunks()]
    assert len(pieces) == 2
    events = pieces[1].split(b";")
    assert events[0] == b"alert 5"
    assert events[-2:] == [b"alert %d" % (WAITING + 4), b"snapshot %d" % (WAITING + 4)]


def test_there_may_be_64_streams():
    assert StreamLimit().most == 64


def test_rates_are_of_what_came_since_the_snapshot_before_across_the_border_of_a_minute():
    first = MinuteCounts(59_000_000, {0: (100, 10)})
    second = MinuteCounts(61_000_000, {0: (130, 10), 60_000_000: (10, 2)})
    assert second.since(first) == (20, 1)
    assert first.since(None) == (100 / 59, 10 / 59)
    assert MinuteCounts(5, {}).since(None) == (0, 0)
