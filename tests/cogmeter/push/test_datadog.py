"""What Datadog receives, read by the models of its own client."""

from __future__ import annotations

import asyncio
import json
import random

import pytest
from aiohttp import web
from datadog_intake import Intake
from hypothesis import given, settings
from hypothesis import strategies as st

from cogmeter.push import datadog, reader
from cogmeter.push.base import Cursor, Origin, PushBatch, PushError, SeriesCounts
from cogmeter.push.datadog import DatadogTarget, build
from cogmeter.push.pusher import Pusher
from cogmeter.push.tagged import DURATION, OPERATIONS, TaggedPoints, tag
from cogmeter.query.query import Query
from cogmeter.query.records import Range
from cogmeter.settings import Settings, SettingsError
from cogmeter_storage import Marker, Outcome
from cogmeter_storage.alerting import Alert, AlertChange, AlertState, Step
from cogmeter_storage.model import HOUR_US, MINUTE_US

ORIGIN = Origin("chatterbot", "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed", "host-1", "1.4")
KEY = "0123456789abcdef0123456789abcdef"
APP_KEY = "fedcba9876543210fedcba9876543210fedcba98"


@pytest.fixture
def make_target(receiver):
    return lambda **keys: DatadogTarget(receiver.url(""), KEY, ORIGIN, **keys)


@pytest.fixture
def make_pusher(store, make_target):
    """``make_pusher(gauges=...)``: a pusher to the receiver; a second one is what a restarted bot has."""
    return lambda **options: Pusher(make_target(), lambda: store, interval_s=60, **options)


@pytest.fixture
def received(receiver):
    """``received()``: what Datadog has; ``received(skipped=2)``: without the first requests, which it refused."""
    return lambda skipped=0: Intake.of(receiver.seen[skipped:], key=KEY)


def answering(status, content, headers=None):
    """A step of the receiver's script with a body."""

    async def answer(request):
        text = content if isinstance(content, str) else json.dumps(content)
        return web.Response(status=status, text=text, headers=headers or {})

    return answer


def minute_of(minute_us, *rows):
    """A batch of (service, operation, durations); each with outcome ok."""
    series = [
        SeriesCounts(service, operation, (len(took), 0, 0, 0, 0), sum(took), max(took), ((500, len(took)),))
        for service, operation, took in rows
    ]
    return PushBatch(Cursor(minute_us + MINUTE_US), minute_us, tuple(series))


async def test_totals_are_those_of_the_summary_over_restarts_and_outages(
    record, make_pusher, receiver, received, store, now
):
    start_us = now[0]
    pusher = make_pusher()
    await pusher.push()
    rows = [("graph", f"op {n % 3}", start_us + n * 7_000_000, 1_000 * n, n % 5) for n in range(90)]
    for minute in range(1, 13):
        now[0] = start_us + minute * MINUTE_US
        await record([row for row in rows if now[0] - MINUTE_US <= row[2] < now[0]], now[0])
        if minute in {3, 4, 8}:  # refused twice; accepted, but the response is lost
            receiver.script.append(500 if minute < 8 else receiver.hang_up)
            with pytest.raises(PushError):
                await pusher.push()
            continue
        if minute == 6:
            pusher = make_pusher()
        await pusher.push()
    found = received()
    for outcome in Outcome:
        for n in range(3):
            expected = sum(row[1] == f"op {n}" and row[4] == outcome for row in rows)
            assert found.total(OPERATIONS, service="graph", operation=f"op_{n}", outcome=outcome.label) == expected
    summary = await Query(store, clock=lambda: now[0]).summary(Range(start_us, now[0], "test"))
    assert summary.total.operations == found.total(OPERATIONS) == 90
    assert found.replaced > 0
    assert found.units[OPERATIONS] == "operation"


async def test_durations_are_those_of_the_statistics_in_seconds(record, make_pusher, received, store, now):
    start_us = now[0]
    pusher = make_pusher()
    await pusher.push()
    chance = random.Random(7)
    rows = [
        ("graph", f"op-{n % 40}", start_us + n, int(10 ** chance.uniform(0, 8)), 0)  # from 1 us to 100 s
        for n in range(4_000)
    ]
    now[0] += MINUTE_US
    await record(rows, now[0])
    await pusher.push()
    found = received()
    expected = await Query(store, clock=lambda: now[0]).operations("graph", Range(start_us, now[0], "test"))
    assert len(expected) == 40
    for operation, figures in expected.items():
        for name in ("avg", "max", "p50", "p95", "p99"):
            value = figures.mean_us if name == "avg" else getattr(figures, f"{name}_us")
            (points,) = found.of_tags(f"{DURATION}.{name}", service="graph", operation=operation)
            assert points == {start_us // 1_000_000: pytest.approx(value / 1e6, rel=1e-9)}
    assert {found.units[f"{DURATION}.{name}"] for name in ("avg", "max", "p50", "p95", "p99")} == {"second"}


async def test_each_point_names_bot_process_and_host_and_the_start_of_its_minute(record, make_pusher, received, now):
    pusher = make_pusher()
    await pusher.push()
    await record([("graph", "query", now[0] + 30_000_000, 1_000, 1)], now[0] + MINUTE_US)
    await pusher.push()
    ((metric, host, tags), points) = next(iter(received().points.items()))
    assert (metric, host) == (OPERATIONS, "host-1")
    own = {"bot:chatterbot", "process:1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"}
    assert tags == own | {"service:graph", "operation:query", "outcome:error"}
    assert points == {now[0] // 1_000_000: 1}


async def test_no_point_is_older_than_an_hour_and_what_is_not_sent_is_counted(record, make_pusher, received, now):
    pusher, start_us = make_pusher(), now[0]
    await pusher.push()
    for minute in range(90):
        now[0] = start_us + (minute + 1) * MINUTE_US
        await record([("graph", "query", now[0] - 1, 1_000, 0)], now[0])
    now[0] += 30_000_000
    await pusher.push()
    found = received()
    (times,) = found.of_tags(OPERATIONS)
    assert all(now[0] - HOUR_US < at_s * 1_000_000 < now[0] for at_s in times)
    assert (pusher.operations, pusher.dropped) == (len(times), 90 - len(times))
    assert 57 <= len(times) <= 59


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("query", "operation:query"),
        ("Ask Me", "operation:ask_me"),
        ("POST /channels/{channel_id}/messages", "operation:post_/channels/_channel_id_/messages"),
        ("a__b, c|d#e", "operation:a_b_c_d_e"),
        ("größe 大きさ", "operation:größe_大きさ"),
        ("done!", "operation:done"),
        ("", "operation:unnamed"),
        ("!?", "operation:unnamed"),
        ("x" * 300, f"operation:{'x' * 190}"),
        ("é" * 189 + "!" + "x", f"operation:{'é' * 189}"),
    ],
)
def test_a_tag_is_what_datadog_would_store(name, expected):
    assert tag("operation", name) == expected
    assert len(expected) <= 200


@pytest.mark.parametrize("series", [1, 500])
async def test_names_that_become_the_same_tag_are_one_point(record, make_pusher, received, now, monkeypatch, series):
    """Also if they are in different parts of the minute."""
    monkeypatch.setattr(reader, "SERIES", series)
    pusher, start_us = make_pusher(), now[0]
    await pusher.push()
    for minute in range(2):
        names = {"Ask": 1_000, "ask": 3_000, "other": 5_000, "ASK": 8_000}
        rows = [("graph", name, now[0], took, 0) for name, took in names.items()]
        now[0] += MINUTE_US
        await record(rows, start_us + (minute + 1) * MINUTE_US)
        await pusher.push()
    found, times = received(), (start_us // 1_000_000, start_us // 1_000_000 + 60)
    assert found.of_tags(OPERATIONS, operation="ask") == [dict.fromkeys(times, 3)]
    assert found.of_tags(OPERATIONS, operation="other") == [dict.fromkeys(times, 1)]
    assert found.of_tags(f"{DURATION}.avg", operation="ask") == [dict.fromkeys(times, 0.004)]
    assert found.of_tags(f"{DURATION}.max", operation="ask") == [dict.fromkeys(times, 0.008)]
    assert found.of_tags(f"{DURATION}.p50", operation="ask") == [dict.fromkeys(times, pytest.approx(0.003, rel=0.01))]
    assert found.total(OPERATIONS) == 8


NAMES = st.sampled_from(["ask", "Ask", "ask!", "other", "a b", "a_b", "ä"])
PARTS = st.lists(st.dictionaries(NAMES, st.integers(1, 50), min_size=1), min_size=1, max_size=4)


@settings(max_examples=300)
@given(st.lists(PARTS, min_size=1, max_size=4))
def test_totals_are_right_for_any_traffic_in_any_parts(minutes):
    points, kept, sent = TaggedPoints(ORIGIN), {}, 0
    for minute, parts in enumerate(minutes):
        names = set()
        for part in parts:
            fresh = {name: count for name, count in part.items() if name not in names}  # once in a minute
            names |= fresh.keys()
            sent += sum(fresh.values())
            batch = minute_of(minute * MINUTE_US, *(("graph", name, [1_000] * n) for name, n in fresh.items()))
            for point in points.of(batch):
                if point.counts:
                    kept[point.tags, point.at_s] = point.value
            points.accepted(batch)
    assert sum(kept.values()) == sent


@pytest.mark.parametrize("limit", ["COMPRESSED", "DECOMPRESSED"])
def test_requests_are_within_the_limits_of_size(make_target, monkeypatch, limit):
    monkeypatch.setattr(datadog, limit, 20_000)
    letters = random.Random(1)
    rows = [("graph", "".join(letters.choices("abcdefghijkl0123456789", k=150)), [n]) for n in range(1, 401)]
    requests = make_target().encode(minute_of(0, *rows))
    assert len(requests) > 3
    bodies = [datadog.gzip.decompress(request.body) for request in requests]
    sizes = [len(body) for body in ([request.body for request in requests] if limit == "COMPRESSED" else bodies)]
    assert max(sizes) <= 20_000
    metrics = [series["tags"] for body in bodies for series in json.loads(body)["series"]]
    assert len(metrics) == 400 * 6


def test_the_longest_names_in_a_full_batch_are_one_request_within_the_limits(make_target):
    letters = random.Random(1)
    rows = [("s" * 200, "".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=200)), [n]) for n in range(1, 501)]
    (request,) = make_target().encode(minute_of(0, *rows))
    assert len(request.body) <= 512_000
    assert len(datadog.gzip.decompress(request.body)) <= 5_242_880


async def test_gauges_of_the_process_have_names_units_and_labels(make_pusher, received, now):
    sample = {
        "resources.memory_bytes": 1e8,
        "loop.lag_p99_ms": 2.5,
        "gateway.latency_ms.shard_3": 40.0,
        "gateway.disconnects": 3.0,
        "resources.threads": float("nan"),
        "unknown": 1.0,
    }
    pusher = make_pusher(gauges=lambda: (now[0], sample))
    await pusher.push()
    await pusher.push()  # the same sample
    found = received()
    assert len(found.points) == 4
    at_s = now[0] // 1_000_000
    assert found.of_tags("cogmeter.process.memory.usage") == [{at_s: 1e8}]
    assert found.of_tags("cogmeter.loop_lag", statistic="p99") == [{at_s: 0.0025}]
    assert found.of_tags("cogmeter.gateway_latency", shard="3") == [{at_s: pytest.approx(0.04)}]
    assert found.of_tags("cogmeter.gateway_events", event="disconnect") == [{at_s: 3}]
    assert (found.units["cogmeter.process.memory.usage"], found.units["cogmeter.loop_lag"]) == ("byte", "second")
    assert found.replaced == 0


async def test_alerts_and_markers_are_events(store, make_pusher, received, now):
    pusher = make_pusher()
    await pusher.push()
    alert = Alert(
        *("5f0c", "error_rate", "graph", "", AlertState.FIRING, "critical", "Error rate of 20%", 0.05, 0.2, 0.2),
        *(now[0], now[0], now[0]),
    )
    over = AlertChange("5f0c", "resolved", AlertState.RESOLVED, "critical", "over", 0.0, 0.05, now[0] + 60_000_000)
    muted = AlertChange("5f0c", "muted", AlertState.MUTED, "critical", "muted", 0.2, 0.05, now[0] + 30_000_000)
    changes = [AlertChange.of(alert, "fired", now[0]), muted, over]
    await store.alerting.save([Step(alert, change) for change in changes])
    await store.add_marker(Marker(now[0] + 1, "mark", "deployed 1.4 @everybody"))
    await pusher.push()
    fired, mute, resolved, marker = received().events
    assert (fired.title, fired.text) == ("graph: fired: error_rate", "Error rate of 20%")
    kinds = [event.alert_type.value for event in (fired, mute, resolved, marker)]
    assert kinds == ["error", "info", "success", "info"]
    assert {event.aggregation_key for event in (fired, mute, resolved)} == {"5f0c"}
    assert (fired.date_happened, resolved.date_happened) == (now[0] // 1_000_000, now[0] // 1_000_000 + 60)
    assert {"bot:chatterbot", "service:graph", "rule:error_rate", "severity:critical", "state:firing"} < set(fired.tags)
    assert (marker.title, marker.host) == ("deployed 1.4 @\u200beverybody", "host-1")
    assert "marker:mark" in marker.tags


async def test_events_that_are_too_old_are_left_out_and_logged(store, make_pusher, receiver, now, caplog):
    pusher = make_pusher()
    await pusher.push()
    await store.add_marker(Marker(now[0], "mark", "deployed 1.4"))
    now[0] += 20 * HOUR_US
    await pusher.push()
    assert receiver.seen == []
    assert caplog.messages == ["Events that are not pushed to Datadog, because it accepts none older than 18 hours: 1"]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_stops_the_pusher_and_says_so(record, make_pusher, receiver, now, caplog, status):
    receiver.script.append(answering(status, {"errors": [f"Forbidden: {KEY} is not known"]}))
    pusher = make_pusher()
    await pusher.push()
    await record([("graph", "query", now[0], 1_000, 0)], now[0] + MINUTE_US)
    pusher.start()
    async with asyncio.timeout(60):
        while not pusher.stopped:
            await asyncio.sleep(0.01)
    await pusher.stop()
    assert len(receiver.seen) == 1
    (finding,) = pusher.findings()
    said = f'DATADOG_API_KEY was refused ({status}: "Forbidden: [redacted] is not known"). Correct it, or DD_SITE'
    assert finding.text.startswith(f"stopped: {said}")
    assert said in caplog.text
    assert KEY not in caplog.text + finding.text + finding.advice


async def test_a_batch_that_is_too_large_is_sent_in_parts(record, make_pusher, receiver, received, now):
    receiver.script.extend([413, 413])
    pusher = make_pusher()
    await pusher.push()
    await record([("graph", f"op-{n}", now[0], 1_000, 0) for n in range(20)], now[0] + MINUTE_US)
    await pusher.push()
    assert received(skipped=2).total(OPERATIONS) == pusher.operations == 20
    assert len(receiver.seen) == 2 + 4
    assert pusher.dropped == 0


@pytest.mark.parametrize(
    ("status", "headers", "pause_s"),
    [
        (429, {"Retry-After": "90"}, 90),
        (429, {"X-RateLimit-Reset": "45"}, 45),
        (429, {"Retry-After": "90", "X-RateLimit-Reset": "45"}, 90),
        (429, {}, None),
        (500, {}, None),
        (503, {"Retry-After": "30"}, 30),
    ],
)
async def test_an_endpoint_that_is_busy_or_down_gets_it_later(
    record, make_pusher, receiver, received, now, status, headers, pause_s
):
    receiver.script.append((status, headers))
    pusher = make_pusher()
    await pusher.push()
    await record([("graph", "query", now[0], 1_000, 0)], now[0] + MINUTE_US)
    with pytest.raises(PushError) as raised:
        await pusher.push()
    error = raised.value
    assert str(error) == f"DD_SITE answered {status}"
    assert (error.retry_after_s, error.refused, error.permanent, error.too_large) == (pause_s, False, False, False)
    await pusher.push()
    assert received(skipped=1).total(OPERATIONS) == 1


async def test_what_an_accepted_request_says_was_not_kept_is_counted_and_shown(record, make_pusher, receiver, now):
    receiver.script.append(answering(202, {"errors": ["metric name is too long", f"no quota for {KEY}"]}))
    pusher = make_pusher()
    await pusher.push()
    await record([("graph", "query", now[0], 1_000, 0)], now[0] + MINUTE_US)
    await pusher.push()
    (finding,) = pusher.findings()
    assert not finding.well
    assert finding.text.endswith("2 points rejected: metric name is too long; no quota for [redacted]")


@pytest.mark.parametrize("content", [{"errors": []}, {}, [], "accepted", ""])
async def test_a_response_without_errors_rejects_nothing(record, make_pusher, receiver, now, content):
    receiver.script.append(answering(202, content))
    pusher = make_pusher()
    await pusher.push()
    await record([("graph", "query", now[0], 1_000, 0)], now[0] + MINUTE_US)
    await pusher.push()
    assert (pusher.operations, pusher.rejected) == (1, 0)


async def test_an_invalid_request_is_dropped_with_its_reason(record, make_pusher, receiver, now, caplog):
    receiver.script.append(answering(400, {"errors": ["Payload is not in the expected format"]}))
    pusher = make_pusher()
    await pusher.push()
    await record([("graph", "query", now[0], 1_000, 0)], now[0] + MINUTE_US)
    await pusher.push()
    assert pusher.dropped == 1
    assert 'DD_SITE answered 400: "Payload is not in the expected format"' in caplog.text


async def test_the_key_is_in_no_text_of_a_page_that_repeats_the_request(make_target, receiver):
    (request,) = make_target().encode(minute_of(0, ("graph", "query", [1])))
    receiver.script.append(answering(502, f"<title>Bad gateway. dd-api-key: {KEY}</title>"))
    target = make_target()
    with pytest.raises(PushError) as raised:
        await target.send(request)
    assert str(raised.value) == 'DD_SITE answered 502: "Bad gateway. dd-api-key: [redacted]"'
    assert KEY not in repr(request) + repr(vars(raised.value))


async def test_a_host_that_does_not_exist_is_blamed_on_the_site():
    target = DatadogTarget("datadoghq.invalid", KEY, ORIGIN)
    (request,) = target.encode(minute_of(0, ("graph", "query", [1])))
    assert request.url == "https://api.datadoghq.invalid/api/v2/series"
    with pytest.raises(PushError, match=r"^DD_SITE: the host name could not be resolved$"):
        await target.send(request)


async def test_a_redirect_does_not_get_the_key(make_target, receiver):
    target = make_target()
    (request,) = target.encode(minute_of(0, ("graph", "query", [1])))
    receiver.script.append((307, {"Location": receiver.url("/other")}))
    with pytest.raises(PushError, match=r"^DD_SITE: a redirect, which is not followed$"):
        await target.send(request)
    assert len(receiver.seen) == 1


async def test_check_asks_about_both_keys(make_target, receiver):
    assert await make_target(app_key=APP_KEY).check() == (
        f"{receiver.url('')} accepts DATADOG_API_KEY and DATADOG_APP_KEY"
    )
    first, second = receiver.seen
    assert (first.method, first.path, second.method, second.path) == (
        *("GET", "/api/v1/validate"),
        *("GET", "/api/v2/validate_keys"),
    )
    assert (first.headers["DD-API-KEY"], first.headers.get("DD-APPLICATION-KEY")) == (KEY, None)
    assert (second.headers["DD-API-KEY"], second.headers["DD-APPLICATION-KEY"]) == (KEY, APP_KEY)


async def test_check_says_that_pushing_needs_no_application_key(make_target, receiver):
    assert (await make_target().check()).endswith("DATADOG_APP_KEY is not set, and pushing needs none")
    receiver.script.extend([200, 403])
    text = await make_target(app_key=APP_KEY).check()
    assert text.endswith(
        "accepts DATADOG_API_KEY, but not DATADOG_APP_KEY: correct it or remove it; pushing needs none"
    )
    receiver.script.extend([200, 500])
    with pytest.raises(PushError, match="DD_SITE answered 500"):
        await make_target(app_key=APP_KEY).check()


async def test_check_fails_with_a_wrong_key(make_target, receiver):
    receiver.script.append(403)
    with pytest.raises(PushError, match=r"^DATADOG_API_KEY was refused \(403\)") as raised:
        await make_target(app_key=APP_KEY).check()
    assert raised.value.refused


@pytest.mark.parametrize("key", [None, " "])
def test_a_missing_key_is_named_with_its_fix(key):
    with pytest.raises(SettingsError, match=r"^DATADOG_API_KEY is not set.*Organization Settings > API Keys"):
        build(Settings(export_datadog=True, DATADOG_API_KEY=key), ORIGIN)


@pytest.mark.parametrize("name", ["DATADOG_API_KEY", "DATADOG_APP_KEY"])
def test_a_key_that_no_header_can_carry_is_named_and_not_shown(name):
    values = {"DATADOG_API_KEY": KEY} | {name: "two\nlines"}
    with pytest.raises(SettingsError, match=f"^{name} has a character that no key has: copy it again$"):
        build(Settings(export_datadog=True, **values), ORIGIN)


@pytest.mark.parametrize(
    ("site", "url"),
    [
        (None, "https://api.datadoghq.com/"),
        ("us3.datadoghq.com", "https://api.us3.datadoghq.com/"),
        ("http://localhost:8080", "http://localhost:8080/"),
        ("https://[::1]:8443/", "https://[::1]:8443/"),
    ],
)
def test_a_site_is_a_host_name_or_an_address_that_is_used_as_it_is(site, url):
    values = {} if site is None else {"DD_SITE": site}
    target = build(Settings(export_datadog=True, DATADOG_API_KEY=f" {KEY}\n", **values), ORIGIN)
    (request,) = target.encode(minute_of(0, ("graph", "query", [1])))
    assert request.url == f"{url}api/v2/series"
    assert target._signed(request).headers["DD-API-KEY"] == KEY
