"""What an OTLP endpoint receives, decoded by OpenTelemetry's own classes."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from otlp_decoder import attributes_of

from cogmeter.query.query import Query
from cogmeter.query.records import Range
from cogmeter_storage import Marker, Outcome, SpanRecord, TraceRecord
from cogmeter_storage.alerting import Alert, AlertChange, AlertState, Step
from cogmeter_storage.model import MINUTE_US

TEMPORALITIES = ("delta", "cumulative")


@pytest.mark.parametrize("temporality", TEMPORALITIES)
async def test_counts_are_those_of_the_summary(store, record, make_pusher, decoded, now, temporality):
    start_us = now[0]
    pusher = make_pusher(metrics_temporality_preference=temporality)
    await pusher.push()
    rows = [("graph", f"op {n % 3}", start_us + n * 7_000_000, 1_000 * n, n % 5) for n in range(60)]
    for minute in range(1, 9):
        now[0] = start_us + minute * MINUTE_US
        await record([row for row in rows if now[0] - MINUTE_US <= row[2] < now[0]], now[0])
        await pusher.push()
    found = decoded()
    for outcome in Outcome:
        for n in range(3):
            expected = sum(row[1] == f"op {n}" and row[4] == outcome for row in rows)
            assert found.total(("graph", f"op {n}", outcome.label)) == expected
    summary = await Query(store, clock=lambda: now[0]).summary(Range(start_us, now[0], "test"))
    assert summary.total.operations == sum(found.total(series) for series in found.counts) == 60
    assert pusher.operations == 60
    assert (pusher.dropped, pusher.rejected, pusher.failures) == (0, 0, 0)


async def test_the_resource_names_the_bot_its_database_and_its_host(record, make_pusher, decoded, now):
    pusher = make_pusher()
    await pusher.push()
    await record([("graph", "query", now[0], 1_000, 0)], now[0] + MINUTE_US)
    await pusher.push()
    (resource,) = decoded().resources
    assert resource == {
        "service.name": "chatterbot",
        "service.instance.id": "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
        "service.version": "1.4",
        "host.name": "host-1",
    }


async def test_durations_are_exponential_histograms_within_one_bucket(record, make_pusher, decoded, now):
    pusher = make_pusher(metrics_temporality_preference="delta")
    await pusher.push()
    durations = [0, 1, 17, 999, 1_000, 52_345, 1_234_567, 90_000_000, 7_200_000_000]
    rows = [("graph", f"took {took}", now[0], took, 0) for took in durations]
    await record(rows, now[0] + MINUTE_US)
    await pusher.push()
    found = decoded()
    for took in durations:
        (point,) = found.durations["graph", f"took {took}"].values()
        assert (point.count, point.sum, point.max) == (1, took / 1e6, took / 1e6)
        if not took:
            assert (point.zero_count, list(point.positive.bucket_counts)) == (1, [])
            continue
        assert list(point.positive.bucket_counts) == [1]
        # One bucket is 2% wide: the middle of the pushed one is at most a bucket away.
        assert found.quantile_s(("graph", f"took {took}"), 0.5) == pytest.approx(took / 1e6, rel=0.0305)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 10**10), min_size=1, max_size=50), st.sampled_from([0.5, 0.95, 0.99]))
def test_quantiles_of_the_pushed_buckets_are_ours_within_one_bucket(durations, share):
    import numpy as np

    from cogmeter.push.otlp import SCALE, _indices
    from cogmeter_storage.histogram import BUCKETS, bucket_of, quantiles

    buckets = np.bincount(bucket_of(durations), minlength=BUCKETS)
    ours = float(quantiles(buckets, [share])[0]) / 1e6
    rank, seen = np.ceil(share * len(durations) - 1e-9), 0
    for bucket in np.flatnonzero(buckets).tolist():
        seen += buckets[bucket]
        if seen >= rank:
            index = _indices()[bucket]
            break
    assert 2 ** (index / 2**SCALE) * (1 - 1e-9) <= ours <= 2 ** ((index + 1) / 2**SCALE) * (1 + 1e-9)


async def test_a_silent_series_is_repeated_while_points_are_cumulative(record, make_pusher, decoded, now):
    pusher, start_us = make_pusher(), now[0]
    await pusher.push()
    await record([("graph", "rare", start_us, 1_000, 0)], start_us + MINUTE_US)
    now[0] = start_us + MINUTE_US
    await pusher.push()
    for minute in range(2, 5):
        now[0] = start_us + minute * MINUTE_US
        await record([("graph", "often", now[0] - 1, 1_000, 0)], now[0])
        await pusher.push()
    found = decoded()
    assert [end - start_us for _, end in found.counts["graph", "rare", "ok"]] == [n * MINUTE_US for n in range(1, 5)]
    assert found.total(("graph", "rare", "ok")) == 1


async def test_traces_have_the_tree_of_the_waterfall(store, make_pusher, decoded, now):
    pusher = make_pusher()
    await pusher.push()
    spans = (
        SpanRecord(1, 0, "knowledge-graph", "query", 20, 4_000_000, Outcome.OK),
        SpanRecord(2, 1, "discord.rest", "POST /channels/{channel_id}/messages", 30, 10, Outcome.UPSTREAM),
    )
    trace = TraceRecord(now[0], "discord.commands", "ask", 5_000_000, Outcome.ERROR, "ValueError: no", 0, spans)
    await store.add_traces([trace])
    await pusher.push()
    root, graph, rest = decoded().spans.values()
    assert [span.name for span in (root, graph, rest)] == ["ask", "query", "POST /channels/{channel_id}/messages"]
    assert {span.trace_id for span in (root, graph, rest)} == {root.trace_id}
    assert (root.parent_span_id, graph.parent_span_id, rest.parent_span_id) == (b"", root.span_id, graph.span_id)
    assert (root.start_time_unix_nano, root.end_time_unix_nano) == (now[0] * 1000, (now[0] + 5_000_000) * 1000)
    assert (graph.start_time_unix_nano, graph.end_time_unix_nano) == ((now[0] + 20) * 1000, (now[0] + 4_000_020) * 1000)
    assert (root.status.code, root.status.message, graph.status.code, rest.status.code) == (2, "ValueError: no", 0, 2)
    assert attributes_of(rest) == {"cogmeter.service": "discord.rest", "cogmeter.outcome": "upstream"}


async def test_alerts_and_markers_are_log_records(store, make_pusher, decoded, now):
    pusher = make_pusher()
    await pusher.push()
    alert = Alert(
        *("5f0c", "error_rate", "graph", "", AlertState.FIRING, "critical", "Error rate of 20%", 0.05, 0.2, 0.2),
        *(now[0], now[0], now[0]),
    )
    await store.alerting.save([Step(alert, AlertChange.of(alert, "fired", now[0]))])
    await store.add_marker(Marker(now[0] + 1, "mark", "deployed 1.4"))
    await pusher.push()
    fired, marker = decoded().logs
    assert fired.body.string_value == "graph: fired: Error rate of 20%"
    assert (fired.event_name, fired.severity_text, fired.time_unix_nano) == ("cogmeter.alert", "ERROR", now[0] * 1000)
    assert attributes_of(fired) == {
        "cogmeter.alert.id": "5f0c",
        "cogmeter.alert.rule": "error_rate",
        "cogmeter.alert.change": "fired",
        "cogmeter.alert.state": "firing",
        "cogmeter.alert.severity": "critical",
        "cogmeter.alert.value": 0.2,
        "cogmeter.alert.threshold": 0.05,
        "cogmeter.service": "graph",
    }
    assert (marker.body.string_value, marker.event_name, marker.severity_text) == (
        "deployed 1.4",
        "cogmeter.marker",
        "INFO",
    )


async def test_gauges_have_semantic_names_and_units(make_pusher, decoded, now):
    sample = {"resources.memory_bytes": 1e8, "loop.lag_p99_ms": 2.5, "gateway.disconnects": 3.0, "unknown": 1.0}
    pusher = make_pusher(gauges=lambda: (now[0], sample))
    await pusher.push()
    found = decoded().gauges
    ((_, memory, metric),) = found["process.memory.usage"]
    assert (memory, metric.unit, metric.sum.is_monotonic) == (1e8, "By", False)
    ((labels, lag, metric),) = found["cogmeter.loop_lag"]
    assert (labels, lag, metric.unit) == ({"cogmeter.statistic": "p99"}, 0.0025, "s")
    ((labels, events, metric),) = found["cogmeter.gateway_events"]
    assert (labels, events, metric.sum.is_monotonic) == ({"cogmeter.event": "disconnect"}, 3.0, True)
    assert "unknown" not in str(dict(found))


async def test_a_signal_that_is_switched_off_is_not_sent_and_delays_no_other(store, make_pusher, record, receiver, now):
    pusher = make_pusher(OTEL_TRACES_EXPORTER="none", OTEL_LOGS_EXPORTER="none")
    await pusher.push()
    await store.add_traces([TraceRecord(now[0], "discord.commands", "ask", 5_000_000, Outcome.OK, None, 0, ())])
    await store.add_marker(Marker(now[0], "mark", "deployed 1.4"))
    await record([("graph", "query", now[0], 1_000, 0)], now[0] + MINUTE_US)
    await pusher.push()
    await pusher.push()
    assert [seen.path for seen in receiver.seen] == ["/v1/metrics"]
    assert await store.new_records(pusher._cursor.records, limit=1) == await store.new_records(
        await store.newest_position(), limit=1
    )
