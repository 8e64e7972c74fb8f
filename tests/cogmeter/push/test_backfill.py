"""A range of the past, as an endpoint receives it."""

from __future__ import annotations

import pytest
from otlp_decoder import Decoded, attributes_of

from cogmeter.push.backfill import Backfill, BackfillStoppedError
from cogmeter.push.otlp import OtlpTarget
from cogmeter.push.otlp_variables import read_otlp_variables
from cogmeter.push.pusher import KEY
from cogmeter_storage import Marker, Outcome, TraceRecord
from cogmeter_storage.alerting import Alert, AlertChange, AlertState, Step
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US, Retention

from .conftest import ORIGIN

OPERATIONS = [("graph", "query"), ("graph", "other"), ("memory", "query")]


@pytest.fixture
def back_fill(store, receiver):
    """``await back_fill(since_us, until_us, services=..., temporality=...)``: the report."""

    async def run(since_us, until_us, temporality="delta", **options):
        values = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url(""),
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality,
        }
        target = OtlpTarget(read_otlp_variables(values), ORIGIN)
        return await Backfill(target, store, since_us=since_us, until_us=until_us, **options).run()

    return run


@pytest.fixture
async def start_us(record, now):
    """The start of ten minutes with three operations each, all sealed; it is ten minutes later now."""
    begin = now[0]
    now[0] += 10 * MINUTE_US
    rows = [(*names, begin + minute * MINUTE_US, 1_000, minute % 2) for minute in range(10) for names in OPERATIONS]
    await record(rows, now[0])
    return begin


@pytest.mark.parametrize("temporality", ["delta", "cumulative"])
async def test_the_counts_of_the_range_arrive_and_no_others(back_fill, decoded, start_us, temporality):
    report = await back_fill(start_us + 2 * MINUTE_US, start_us + 7 * MINUTE_US, temporality)
    found = decoded()
    assert {series: found.total(series) for series in found.counts} == {
        (*names, outcome): count for names in OPERATIONS for outcome, count in {"ok": 3, "error": 2}.items()
    }
    begins = {begin for points in found.counts.values() for begin, _ in points}
    if temporality == "cumulative":  # the sums begin at --since
        assert begins == {start_us + 2 * MINUTE_US}
    else:
        assert begins == {start_us + n * MINUTE_US for n in range(2, 7)}
    assert (report.minutes, report.operations) == (5, 15)
    assert (report.too_old, report.not_kept, report.unfinished, report.rejected) == (0, 0, 0, 0)


async def test_a_range_is_widened_to_whole_minutes_like_statistics(back_fill, start_us):
    report = await back_fill(start_us + MINUTE_US + 1, start_us + 2 * MINUTE_US + 1)
    assert (report.minutes, report.operations) == (2, 6)


async def test_only_the_chosen_services_are_sent_and_counted(back_fill, decoded, start_us):
    report = await back_fill(start_us, start_us + 10 * MINUTE_US, services=["memory"])
    assert {names[0] for names in decoded().counts} == {"memory"}
    assert (report.minutes, report.operations) == (10, 10)


async def test_records_of_the_range_are_sent_and_no_others(store, back_fill, decoded, start_us):
    for minute in (0, 3, 9):
        at_us = start_us + minute * MINUTE_US
        await store.add_traces([TraceRecord(at_us, "graph", f"t{minute}", 5, Outcome.OK, None, 0, ())])
        await store.add_marker(Marker(at_us, "mark", f"m{minute}"))
        values = ("critical", "20%", 0.05, 0.2, 0.2, at_us, at_us, at_us)
        alert = Alert(f"a{minute}", "error_rate", "graph", "", AlertState.FIRING, *values)
        await store.alerting.save([Step(alert, AlertChange.of(alert, "fired", at_us))])
    report = await back_fill(start_us + MINUTE_US, start_us + 5 * MINUTE_US)
    found = decoded()
    assert [span.name for span in found.spans.values()] == ["t3"]
    assert [attributes_of(log).get("cogmeter.alert.id", log.body.string_value) for log in found.logs] == ["a3", "m3"]
    assert (report.traces, report.changes, report.markers) == (1, 1, 1)


async def test_traces_and_alerts_of_other_services_are_left_out(store, back_fill, decoded, start_us):
    await store.add_traces([TraceRecord(start_us, "graph", "slow", 5, Outcome.OK, None, 0, ())])
    report = await back_fill(start_us, start_us + MINUTE_US, services=["memory"])
    assert (report.traces, decoded().spans) == (0, {})


async def test_what_is_sent_twice_is_the_same_for_the_endpoint(back_fill, decoded, start_us):
    for _ in range(2):
        await back_fill(start_us, start_us + 4 * MINUTE_US)
    found = decoded()
    assert sum(found.total(series) for series in found.counts) == 12
    assert found.repeated == 24  # each point of a count and of a duration


async def test_the_stored_position_of_the_pusher_stays(store, back_fill, start_us):
    await store.set_value(f"{KEY}otlp", b"as it was")
    await back_fill(start_us, start_us + 10 * MINUTE_US)
    assert await store.get_value(f"{KEY}otlp") == b"as it was"


async def test_a_refused_request_stops_it_and_names_the_minute_to_continue_from(back_fill, receiver, start_us):
    receiver.script.extend([200, 200, 500])
    with pytest.raises(BackfillStoppedError, match="answered 500") as stopped:
        await back_fill(start_us, start_us + 10 * MINUTE_US)
    error = stopped.value
    assert (error.last_us, error.next_us) == (start_us + MINUTE_US, start_us + 2 * MINUTE_US)
    assert (error.report.minutes, error.report.operations, len(receiver.seen)) == (2, 6, 3)
    rest = await back_fill(error.next_us, start_us + 10 * MINUTE_US)
    accepted = Decoded.of(receiver.seen[:2] + receiver.seen[3:])
    assert sum(accepted.total(series) for series in accepted.counts) == 6 + rest.operations == 30


async def test_refused_records_stop_it_after_all_minutes(store, back_fill, receiver, start_us):
    await store.add_marker(Marker(start_us, "mark", "m"))
    receiver.script.extend([200, 401])
    with pytest.raises(BackfillStoppedError) as stopped:
        await back_fill(start_us, start_us + MINUTE_US)
    assert (stopped.value.last_us, stopped.value.next_us, stopped.value.refused) == (start_us, None, True)


async def test_batches_that_are_too_large_become_smaller(back_fill, receiver, start_us):
    receiver.script.append(413)
    report = await back_fill(start_us, start_us + MINUTE_US)
    accepted = Decoded.of(receiver.seen[1:])
    assert len(receiver.seen) == 4  # three series one by one
    assert sum(accepted.total(series) for series in accepted.counts) == 3
    assert (report.minutes, report.operations) == (1, 3)


async def test_operations_that_are_too_old_for_the_target_are_counted(back_fill, decoded, start_us, now):
    now[0] = start_us + DAY_US + 4 * MINUTE_US
    report = await back_fill(start_us, start_us + 10 * MINUTE_US)
    found = decoded()
    assert sum(found.total(series) for series in found.counts) == report.operations == 18
    assert (report.too_old, report.not_kept, report.unfinished) == (12, 0, 0)


async def test_a_range_that_is_too_old_as_a_whole_sends_nothing(back_fill, receiver, start_us, now):
    now[0] = start_us + 3 * DAY_US
    report = await back_fill(start_us, start_us + 10 * MINUTE_US)
    assert (report.operations, report.too_old, report.not_kept, receiver.seen) == (0, 30, 0, [])


async def test_operations_without_minutes_are_counted(store, back_fill, record, start_us, now):
    now[0] = start_us + 5 * HOUR_US
    await record([("graph", "query", now[0] - MINUTE_US, 1_000, 0)], now[0])
    await store.fold(now_us=now[0])
    await store.clean(Retention(raw_hours=2), now_us=now[0])
    report = await back_fill(start_us, now[0])
    assert (report.operations, report.too_old, report.not_kept, report.unfinished) == (1, 0, 30, 0)
    only_removed = await back_fill(start_us, start_us + HOUR_US)
    assert (only_removed.operations, only_removed.not_kept, only_removed.unfinished) == (0, 30, 0)


async def test_the_minute_that_is_not_sealed_is_left_to_the_bot(back_fill, record, start_us, now):
    await record([("graph", "query", now[0], 1_000, 0)], now[0] + 1)
    now[0] += 1
    report = await back_fill(start_us, now[0])
    assert (report.operations, report.unfinished) == (30, 1)
    only_open = await back_fill(now[0], now[0] + 1)
    assert (only_open.operations, only_open.not_kept, only_open.unfinished) == (0, 0, 1)


async def test_progress_counts_minutes_to_the_end(back_fill, start_us):
    steps = []
    await back_fill(start_us, start_us + 10 * MINUTE_US, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(n, 10) for n in range(1, 11)]
