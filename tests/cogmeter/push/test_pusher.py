"""A pusher against endpoints that refuse, fail, hang or vanish: nothing is lost, nothing is counted twice."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections import Counter

import pytest
from http_receiver import SECRET
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from cogmeter.notifiers.http import Timeouts
from cogmeter.push.pusher import FIRST_PAUSE_S, KEY, LONGEST_PAUSE_S, Pusher
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US

ONE = ("graph", "query", "ok")


@pytest.fixture
def minute(record, now):
    """``await minute(3)``: three operations of one series, and the minute ends."""

    async def minute(count=1, operation="query"):
        rows = [("graph", operation, now[0] + number, 1_000, 0) for number in range(count)]
        now[0] += MINUTE_US
        await record(rows, now[0])

    return minute


@pytest.fixture
async def pusher(make_pusher):
    """A pusher of deltas that has begun."""
    pusher = make_pusher(metrics_temporality_preference="delta")
    assert await pusher._attempt() == 60
    return pusher


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_stops_the_pusher_and_says_so(pusher, receiver, minute, decoded, status, caplog):
    await minute()
    receiver.script.append(status)
    await pusher._run()  # ends by itself
    assert f"OTEL_EXPORTER_OTLP_ENDPOINT answered {status}" in pusher.stopped
    (finding,) = pusher.findings()
    assert not finding.well
    assert finding.text.startswith("stopped: ")
    assert "The key is wrong" in finding.text
    assert "reload" in finding.advice
    assert len(receiver.seen) == 1
    assert caplog.text.count("The key is wrong") == 1


async def test_what_waited_for_a_new_key_is_sent_by_the_next_pusher(pusher, make_pusher, receiver, minute, decoded):
    await minute(3)
    receiver.script.append(401)
    await pusher._run()
    await make_pusher(metrics_temporality_preference="delta").push()
    assert decoded().total(ONE) == 3


async def test_a_request_that_is_too_large_is_split_until_it_is_accepted(pusher, receiver, record, now, decoded):
    rows = [("graph", f"operation {number}", now[0], 1_000, 0) for number in range(100)]
    now[0] += MINUTE_US
    await record(rows, now[0])
    receiver.most_bytes = 4_000
    await pusher.push()
    found = decoded()
    assert {series[1]: found.total(series) for series in found.counts} == {row[1]: 1 for row in rows}
    assert (found.repeated, pusher.dropped, pusher.operations) == (0, 0, 100)


async def test_a_series_that_is_too_large_even_alone_is_dropped_and_counted(pusher, receiver, minute, decoded):
    await minute(5)
    receiver.most_bytes = 10
    await pusher.push()
    receiver.most_bytes = 10**9
    await minute(2)
    await pusher.push()
    assert decoded().total(ONE) == 2
    assert (pusher.dropped, pusher.operations) == (5, 2)
    (finding,) = pusher.findings()
    assert (finding.well, finding.text) == (False, "2 operations sent, 5 dropped")


async def test_a_pause_that_the_endpoint_asks_for_is_kept(pusher, receiver, minute, decoded):
    await minute(3)
    receiver.script += [(429, {"Retry-After": "17"}), (503, {"Retry-After": "100000"})]
    assert 17 <= await pusher._attempt() < 18
    assert await pusher._attempt() == 3600
    assert await pusher._attempt() == 60
    assert decoded().total(ONE) == 3


async def test_pauses_grow_with_each_failure_and_end_with_a_success(pusher, receiver, minute):
    await minute()
    receiver.script += [500] * 20
    pauses = [await pusher._attempt() for _ in range(20)]
    expected = [min(FIRST_PAUSE_S * 2**number, LONGEST_PAUSE_S) for number in range(20)]
    assert all(longest / 2 <= pause <= longest for pause, longest in zip(pauses, expected, strict=True))
    assert pusher.failures == 20
    assert "20 attempts failed, the last: OTEL_EXPORTER_OTLP_ENDPOINT answered 500" in pusher.findings()[0].text
    assert await pusher._attempt() == 60
    assert (pusher.failures, pusher.problem, pusher.findings()[0].well) == (0, "", True)


async def test_a_batch_that_can_never_be_accepted_is_dropped_and_counted(pusher, receiver, minute, decoded):
    await minute(3)
    receiver.script.append(400)
    await pusher.push()
    await minute(2)
    await pusher.push()
    assert decoded().total(ONE) == 2
    assert (pusher.dropped, pusher.operations) == (3, 2)


async def test_cumulative_points_contain_what_was_dropped(make_pusher, receiver, minute, decoded):
    pusher = make_pusher()
    await pusher.push()
    await minute(3)
    receiver.script.append(400)
    await pusher.push()
    await minute(2)
    await pusher.push()
    assert decoded().total(ONE) == 5


async def test_what_an_accepted_request_did_not_keep_is_counted_and_not_sent_again(pusher, receiver, minute):
    response = ExportMetricsServiceResponse()
    response.partial_success.rejected_data_points = 2
    response.partial_success.error_message = "too many series"
    receiver.bodies.append(response.SerializeToString())
    await minute(3)
    await pusher.push()
    await pusher.push()
    assert len(receiver.seen) == 1
    (finding,) = pusher.findings()
    assert (finding.well, finding.text) == (False, "3 operations sent, 2 points rejected: too many series")


@pytest.mark.parametrize("fault", ["hang_up", "hang", "drip", "flood"])
async def test_points_that_may_have_arrived_come_again_unchanged(make_pusher, receiver, minute, decoded, fault):
    pusher = make_pusher(metrics_temporality_preference="delta")
    pusher.target._https["metrics"]._timeouts = Timeouts(answer_s=0.3, body_s=0.1)
    await pusher.push()
    await minute(3)
    receiver.script.append(getattr(receiver, fault))
    await pusher._attempt()
    accepted_at_once = fault in {"drip", "flood"}  # the status says so, whatever the body does
    assert pusher.failures == (not accepted_at_once)
    await pusher.push()
    found = decoded()
    assert found.total(ONE) == 3
    assert found.repeated == (0 if accepted_at_once else 2)  # the count and its histogram


async def test_an_endpoint_that_is_away_for_an_hour_gets_every_minute_later(pusher, receiver, minute, decoded):
    receiver.script += [500] * 60
    for _ in range(60):
        await minute(2)
        await pusher._attempt()
    assert pusher.failures == 60
    await pusher.push()
    found = decoded()
    assert found.total(ONE) == 120
    assert len(found.counts[ONE]) == 60
    assert found.repeated == 0


async def test_a_restart_continues_after_the_last_accepted_minute(pusher, make_pusher, receiver, minute, decoded):
    await minute(3)
    await pusher.push()
    await minute(4)  # while the bot is off
    await make_pusher(metrics_temporality_preference="delta").push()
    found = decoded()
    assert (found.total(ONE), found.repeated) == (7, 0)


async def test_a_crash_before_the_position_was_stored_repeats_the_same_points(store, make_pusher, minute, decoded):
    first = make_pusher(metrics_temporality_preference="delta")
    await first.push()
    before = await store.get_value(KEY + "otlp")
    await minute(3)
    await first.push()
    await store.set_value(KEY + "otlp", before)
    await make_pusher(metrics_temporality_preference="delta").push()
    found = decoded()
    assert (found.total(ONE), found.repeated) == (3, 2)


async def test_nothing_recorded_before_the_first_push_is_sent(make_pusher, minute, decoded, receiver):
    await minute(3)
    pusher = make_pusher()
    await pusher.push()
    await pusher.push()
    assert receiver.seen == []


async def test_minutes_that_are_too_old_are_counted_as_dropped(pusher, minute, now, decoded, caplog):
    await minute(3)
    now[0] += DAY_US + HOUR_US
    await minute(2)
    await pusher.push()
    assert decoded().total(ONE) == 2
    assert pusher.dropped == 3
    assert "3 operations are not pushed to the OTLP endpoint: older than it accepts" in caplog.text


async def test_a_position_in_the_future_goes_back_to_the_present(pusher, store, make_pusher, minute, now, decoded):
    state = json.loads(await store.get_value(KEY + "otlp")) | {"minute_us": now[0] + DAY_US}
    await store.set_value(KEY + "otlp", json.dumps(state).encode())
    pusher = make_pusher()
    await pusher.push()
    await minute(2)
    await pusher.push()
    assert decoded().total(ONE) == 2


@pytest.mark.parametrize("stored", [b"", b"{", b"[]", b'{"minute_us": "x"}', b'{"minute_us": 5}'])
async def test_a_damaged_position_begins_with_the_present(store, make_pusher, minute, decoded, stored):
    await minute(3)
    await store.set_value(KEY + "otlp", stored)
    pusher = make_pusher()
    await pusher.push()
    await minute(2)
    await pusher.push()
    assert decoded().total(ONE) == 2


async def test_stopping_pushes_once_more(make_pusher, minute, decoded):
    pusher = make_pusher(metrics_temporality_preference="delta")
    pusher.start()
    while pusher.success_us is None:
        await asyncio.sleep(0)
    await minute(3)
    await pusher.stop()
    assert decoded().total(ONE) == 3


async def test_stopping_waits_for_no_endpoint_that_hangs(make_pusher, receiver, minute, monkeypatch):
    monkeypatch.setattr("cogmeter.push.pusher.STOP_S", 0.05)
    pusher = make_pusher()
    await pusher.push()
    await minute()
    receiver.script.append(receiver.hang)
    pusher.start()
    while not receiver.seen:
        await asyncio.sleep(0.001)
    await pusher.stop()
    assert pusher._task is None


async def test_refused_connections_unknown_names_and_wrong_certificates_are_named(make_pusher, receiver, minute):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        unused = probe.getsockname()[1]
    for address, text in {
        f"http://127.0.0.1:{unused}/{SECRET}": "no connection (Connection refused)",
        f"http://nowhere.invalid/{SECRET}": "the host name could not be resolved",
        f"https://127.0.0.1:{receiver.port}/{SECRET}": "the certificate or the TLS connection was not accepted",
    }.items():
        pusher = make_pusher(endpoint=address)
        await pusher._attempt()
        await minute()
        await pusher._attempt()
        assert pusher.problem == f"OTEL_EXPORTER_OTLP_ENDPOINT: {text}"


async def test_no_redirect_is_followed_because_headers_contain_keys(pusher, receiver, minute):
    await minute()
    receiver.script.append((307, {"Location": receiver.url("/v1/metrics", host="localhost")}))
    await pusher._attempt()
    assert len(receiver.seen) == 1
    assert pusher.problem == "OTEL_EXPORTER_OTLP_ENDPOINT: a redirect, which is not followed"


async def test_no_log_no_finding_and_no_error_contains_a_key(make_pusher, receiver, minute, caplog):
    caplog.set_level(logging.DEBUG)
    for step in (500, 400, 401):
        pusher = make_pusher(headers=f"api-key={SECRET}", endpoint=receiver.url(f"/{SECRET}"))
        await pusher._attempt()
        await minute()
        receiver.script.append(step)
        await pusher._attempt()
        assert SECRET not in str(pusher.findings())
    assert receiver.seen[0].headers["api-key"] == SECRET
    assert SECRET not in caplog.text


async def test_an_error_of_our_own_is_counted_and_tried_again(store, make_pusher, minute, decoded, monkeypatch):
    faults = Counter()
    target = make_pusher(metrics_temporality_preference="delta").target
    pusher = Pusher(target, lambda: store, interval_s=60, faults=faults)
    await pusher.push()
    await minute(3)
    with monkeypatch.context() as broken:
        broken.setattr(type(target), "encode", lambda *_: 1 / 0)
        await pusher._attempt()
    assert faults == {"push otlp": 1}
    assert pusher.problem == "ZeroDivisionError: division by zero"
    await pusher.push()
    assert decoded().total(ONE) == 3


async def test_gauges_are_not_repeated_and_a_failed_sample_is_replaced_by_the_next(make_pusher, receiver, now, decoded):
    sample = [now[0], {"resources.threads": 1.0}]
    pusher = make_pusher(gauges=lambda: tuple(sample))
    await pusher.push()
    await pusher.push()
    sample[:] = [now[0] + 1, {"resources.threads": 2.0}]
    receiver.script.append(500)
    await pusher._attempt()
    sample[:] = [now[0] + 2, {"resources.threads": 3.0}]
    await pusher.push()
    assert [value for _, value, _ in decoded().gauges["process.thread.count"]] == [1.0, 3.0]
