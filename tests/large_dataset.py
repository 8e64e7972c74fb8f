"""A monitor with much to show: a hundred services, long and hostile names, failures, alerts, markers, a waterfall."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from factories import make_errors

from cogmeter.alerts.model import Reading, Subject
from cogmeter_storage.alerting import Mute
from cogmeter_storage.errors import ErrorExample, ErrorKind, ErrorLink, Frame
from cogmeter_storage.model import Marker, Outcome, SpanRecord, TraceRecord

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor
    from cogmeter_storage.errors import ErrorBatch

MINUTE_US = 60_000_000
HOSTILE = "<script>alert(1)</script>"
LONG = "a-service-with-a-name-that-goes-on-and-on-" + "x" * 57  # 99 characters: the longest there is has 100
CJK = "\u77e5\u8b58\u30b0\u30e9\u30d5" * 20  # 100 characters of double width, without a space
RTL = (
    "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd " + "\u202eexe.gnp"
)  # right to left, with an override of the direction
WIDE = "W" * 100  # the longest name that the recorder accepts, without a place to break it
SECRET = "123456789012345678"  # an id as Discord gives them
SLOW = "slow-service"


async def write_dataset(monitor: Monitor) -> None:
    """Operations of the last three hours; two alerts that stand, one that is over; two markers; one waterfall."""
    now_us = time.time_ns() // 1_000
    store = monitor.store
    names = [
        *((f"service-{number:03}", "run") for number in range(94)),
        (CJK, CJK),
        (RTL, RTL),
        (WIDE, WIDE),
        (LONG, "y" * 100),
        (HOSTILE, HOSTILE),
        (SLOW, "x"),
    ]
    ids = await store.series_ids(names)
    rows = []
    for minute in range(180, 0, -4):
        for place, one in enumerate(ids):
            failed = (minute // 4 + place) % 10 == 0
            error = f"{HOSTILE} failed for {SECRET} after {minute} s" if failed else None
            outcome = Outcome.ERROR if failed else Outcome.OK
            took_us = 40_000_000 if place == 99 and minute < 8 else 1_000 * (place + 1) * (1 + minute % 7)
            rows.append((one, now_us - minute * MINUTE_US, took_us, outcome, error, None))
        for service, operation, took_us, outcome, error, metadata in discord_side(minute):
            (one,) = await store.series_ids([(service, operation)])
            noted = None if metadata is None else json.dumps(metadata)
            rows.append((one, now_us - minute * MINUTE_US, took_us, outcome, error, noted))
    await store.append([rows[at : at + 200] for at in range(0, len(rows), 200)], now_us=now_us)
    await store.add_marker(Marker(now_us - 60 * MINUTE_US, "mark", f"deployed {HOSTILE}"))
    await store.add_marker(Marker(now_us - 30 * MINUTE_US, "version", "version 1.4"))
    await store.add_traces([trace(now_us - 20 * MINUTE_US)])
    engine = monitor.alerting.engine
    over = reading("service-001", "warning", "Error rate of 9% exceeds threshold of 5%")
    standing = [
        reading(HOSTILE, "critical", f"Error rate of 12% {HOSTILE}"),
        reading(LONG, "warning", "Error rate " * 12),
    ]
    await engine.step([over], now_us - 50 * MINUTE_US)
    await engine.step([], now_us - 40 * MINUTE_US)
    await engine.step([], now_us - 20 * MINUTE_US)
    await engine.step(standing, now_us - 10 * MINUTE_US)
    await engine.mute(Mute(HOSTILE, "", now_us, now_us + 60 * MINUTE_US, actor=HOSTILE, reason=HOSTILE), now_us)
    await monitor.override({f"error_rate@{LONG}": "0.1", "response_time.for": "30"}, actor=HOSTILE)
    spend(monitor, now_us)
    await samples(monitor, now_us)
    await write_errors(monitor, now_us)


async def write_errors(monitor: Monitor, now_us: int) -> None:
    """A hundred groups of errors: a hostile one, a long one, a resolved, a reopened and a muted one, three kinds."""
    errors = monitor.store.errors
    await errors.add([error_batch(number, now_us - (10 + 2 * number) * MINUTE_US) for number in range(98)])
    long_frames = tuple(
        Frame(f"{LONG}/{LONG}.py", f"{LONG}.{place}", 10 + place, own=place % 3 == 0) for place in range(30)
    )
    chain = (ErrorLink(f"{LONG}.LongError", "long message " * 40, long_frames), ErrorLink(HOSTILE, HOSTILE, ()))
    example = ErrorExample(now_us - 9 * MINUTE_US, LONG, "y" * 100, None, "1.4", chain)
    long = make_errors(
        "long",
        now_us - 9 * MINUTE_US,
        count=1_234_567,
        where=(LONG, "y" * 100),
        type=chain[0].type,
        message=chain[0].message,
        place=long_frames[-3],
        examples=(example,),
    )
    hostile = make_errors(
        "hostile",
        now_us - 8 * MINUTE_US,
        where=(HOSTILE, HOSTILE),
        type=HOSTILE,
        message=f"{HOSTILE} {SECRET}",
        place=None,
    )
    await errors.add([long, hostile])
    for number in (3, 4):
        await errors.resolve(number, actor=HOSTILE, now_us=now_us - 7 * MINUTE_US)
    await errors.add([error_batch(3, now_us - 6 * MINUTE_US)])
    await errors.mute(5, until_us=now_us + 60 * MINUTE_US, actor=HOSTILE, now_us=now_us)


def error_batch(number: int, at_us: int) -> ErrorBatch:
    kind = tuple(ErrorKind)[number % 3]
    return make_errors(f"step_{number:02}", at_us, count=number + 1, where=(f"service-{number:03}", "run"), kind=kind)


def discord_side(minute: int) -> list[tuple[str, str, int, Outcome, str | None, dict | None]]:
    """What the watch records in a minute: service, operation, duration, outcome, error, metadata.

    Of the 45 first responses to each of two commands, those of ``HOSTILE`` take 2.5 s in every third; the ninth of
    ``ask`` never comes.
    """
    near = minute // 4 % 3 == 0
    missed = minute == 36
    stack = ["zipfile.py:1817:write", "cogs/archive.py:19:nightly", f"{HOSTILE}.py:1:{HOSTILE}"]
    return [
        ("discord.acknowledgement", HOSTILE, 2_500_000 if near else 90_000, Outcome.OK, None, {"near_miss": near}),
        (
            "discord.acknowledgement",
            "ask",
            4_000_000 if missed else 120_000,
            Outcome(missed),
            "never" if missed else None,
            None,
        ),
        (
            "discord.rest",
            "POST /channels/{channel_id}/messages",
            130_000,
            Outcome(2 * near),
            "429" if near else None,
            None,
        ),
        (
            "discord.stalls",
            "cogs/archive.py:19 nightly",
            300_000 + 1_000 * minute,
            Outcome.OK,
            None,
            {"stack": stack, "during": HOSTILE},
        ),
        ("discord.tasks", "Feeds.refresh", 40_000, Outcome.OK, None, {"late_ms": 250.0}),
    ]


def spend(monitor: Monitor, now_us: int) -> None:
    """Ten days of money: a dollar a day for one service, ten cents for the hostile one, whose model is hostile, too."""
    spending = monitor.alerting.evaluator.spending
    spending.since_us = now_us - 10 * 1440 * MINUTE_US
    for day in range(10):
        at_us = now_us - day * 1440 * MINUTE_US
        spending.add("service-001", at_us, {"model": "gpt-4o", "tokens_in": 1_000, "tokens_out": 100, "cost_usd": 1.0})
        spending.add(HOSTILE, at_us, {"model": HOSTILE, "tokens_in": 500, "cost_usd": 0.1})


async def samples(monitor: Monitor, now_us: int) -> None:
    """Three hours of gauges of two shards, the second of which has had no heartbeat for two minutes."""
    for minute in range(180, 0, -4):
        gauges = {
            "gateway.shards_connected": 2.0,
            "gateway.latency_ms.shard_0": 60.0 + minute % 7,
            "gateway.latency_ms.shard_1": 300.0,
            "gateway.heartbeat_age_s.shard_0": 12.0,
            "gateway.heartbeat_age_s.shard_1": 120.0,
            "loop.lag_p50_ms": 0.2,
            "loop.lag_p99_ms": 3.0,
            "loop.lag_max_ms": 40.0,
            "resources.memory_bytes": 1.8e8,
            "resources.cpu_percent": 12.0 + minute % 9,
            "resources.gc_pause_ms_max": 8.0,
            "resources.machine_network_bytes_sent": 1e9 - minute * 1e6,
            "resources.machine_network_bytes_received": 1e9 - minute * 2e6,
            "resources.open_files": 40.0,
            "resources.threads": 9.0,
            "rest.rate_limited.user": 4.0,
            "rest.rate_limited.shared": 1.0,
            "rest.rate_limited.global": 0.0,
            "rest.invalid_share": 0.1234,
        }
        await monitor.store.add_samples(now_us - minute * MINUTE_US, gauges)
    monitor.gauges = gauges


def reading(service: str, severity: str, message: str) -> Reading:
    return Reading(Subject("error_rate", service), 0.12, 0.05, message, severity)


def trace(at_us: int) -> TraceRecord:
    """One slow command that failed: a question, in which memory is asked twice, side by side."""
    spans = (
        SpanRecord(1, 0, HOSTILE, HOSTILE, 10_000, 900_000, Outcome.OK),
        SpanRecord(2, 1, "service-002", "run", 20_000, 100_000, Outcome.OK),
        SpanRecord(3, 1, "service-003", "run", 30_000, 700_000, Outcome.ERROR),
        SpanRecord(4, 0, LONG, "y" * 100, 920_000, 60_000, Outcome.OK),
    )
    return TraceRecord(at_us, "discord.commands", "ask", 1_000_000, Outcome.ERROR, f"{HOSTILE} {SECRET}", 0, spans)
