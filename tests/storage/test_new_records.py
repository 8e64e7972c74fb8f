"""The contract of base.Store for reading on: sealed minutes, and the records after a position."""

from __future__ import annotations

from cogmeter_storage import Marker, Outcome, Retention, TraceRecord
from cogmeter_storage.alerting import Alert, AlertChange, AlertState, Step
from cogmeter_storage.model import DAY_US, MINUTE_US, RecordPosition

FAR_US = 2**62


def make_trace(at_us, operation="ask"):
    return TraceRecord(at_us, "discord.commands", operation, 5_000_000, Outcome.OK, None, 0, ())


def make_step(uid, at_us, kind="fired"):
    alert = Alert(
        *(uid, "error_rate", "alpha", "", AlertState.FIRING, "warning", "Error rate 20%", 0.05, 0.2, 0.2),
        *(at_us, at_us, at_us),
    )
    return Step(alert, AlertChange.of(alert, kind, at_us))


async def starts(store, since_us, until_us=FAR_US, limit=100):
    return [minute.start_us for minute in await store.sealed_minutes(since_us, until_us, limit=limit)]


async def test_sealed_minutes_are_those_that_no_operation_can_change(store, append, make_rows, noon):
    await append(store, make_rows(3, noon, gap_us=MINUTE_US))
    assert await starts(store, 0) == [noon, noon + MINUTE_US]
    await store.append([], now_us=noon + 3 * MINUTE_US)
    assert await starts(store, 0) == [noon, noon + MINUTE_US, noon + 2 * MINUTE_US]
    (first, *_) = await store.sealed_minutes(noon, FAR_US, limit=1)
    assert (first.slot.series.tolist(), first.slot.ok.tolist(), first.slot.sum_us.tolist()) == ([1], [1], [1000])


async def test_sealed_minutes_keep_the_range_and_the_limit(store, append, make_rows, noon):
    await append(store, make_rows(5, noon, gap_us=MINUTE_US))
    assert await starts(store, noon + 1, noon + 3 * MINUTE_US) == [noon + MINUTE_US, noon + 2 * MINUTE_US]
    assert await starts(store, noon, limit=2) == [noon, noon + MINUTE_US]
    assert await starts(store, noon, limit=0) == []


async def test_new_records_are_those_after_the_position_in_the_order_in_which_they_were_stored(store, noon):
    await store.add_traces([make_trace(noon + number, f"ask {number}") for number in (2, 0, 1)])
    await store.alerting.save([make_step("a", noon), make_step("b", noon + 1)])
    await store.alerting.save([make_step("a", noon + 2, "worsened")])
    for number in range(3):
        await store.add_marker(Marker(noon - number, "mark", f"deploy {number}"))
    first = await store.new_records(RecordPosition(), limit=2)
    assert [trace.operation for trace in first.traces] == ["ask 2", "ask 0"]
    assert [(change.alert, change.kind, alert.uid) for change, alert in first.changes] == [
        ("a", "fired", "a"),
        ("b", "fired", "b"),
    ]
    assert [marker.name for marker in first.markers] == ["deploy 0", "deploy 1"]
    second = await store.new_records(first.position, limit=2)
    assert [trace.operation for trace in second.traces] == ["ask 1"]
    assert [change.kind for change, _ in second.changes] == ["worsened"]
    assert [marker.name for marker in second.markers] == ["deploy 2"]
    assert second
    assert not await store.new_records(second.position, limit=2)
    assert await store.newest_position() == second.position


async def test_new_records_continue_after_all_older_ones_were_removed(store, append, make_rows, noon):
    await append(store, make_rows(1, noon))
    await store.add_traces([make_trace(noon), make_trace(noon)])
    position = (await store.new_records(RecordPosition(), limit=9)).position
    await store.clean(Retention(raw_hours=24), now_us=noon + 3 * DAY_US)
    position = (await store.new_records(position, limit=9)).position
    await store.add_traces([make_trace(noon + 3 * DAY_US, "later")])
    assert [trace.operation for trace in (await store.new_records(position, limit=9)).traces] == ["later"]
