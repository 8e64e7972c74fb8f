"""The contract of base.Store for traces and samples."""

from __future__ import annotations

import dataclasses

import pytest

from cogmeter_storage import Outcome, Retention, SpanRecord, TraceRecord
from cogmeter_storage.model import DAY_US, HOUR_US, Marker, SampleStep


def make_trace(at_us, duration_us=5_000_000, *, service="discord.commands", operation="ask", error=None):
    spans = (
        SpanRecord(1, 0, "knowledge-graph", "query ☃", 20, 4_000_000, Outcome.OK),
        SpanRecord(2, 1, "discord.rest", "POST /channels/{channel_id}/messages", 30, 10, Outcome.UPSTREAM),
    )
    outcome = Outcome.OK if error is None else Outcome.ERROR
    return TraceRecord(at_us, service, operation, duration_us, outcome, error, 3, spans)


async def test_a_trace_comes_back_as_it_was_kept(store, noon):
    trace = make_trace(noon, error="ValueError: no")
    await store.add_traces([trace, make_trace(noon, 10)])
    found, _ = await store.traces(None, None, noon, limit=10)
    assert found == dataclasses.replace(trace, id=1)


async def test_traces_are_listed_slowest_first_and_only_what_was_asked(store, noon):
    await store.add_traces([make_trace(noon + i, 1000 * (i % 3), operation=f"ask {i % 2}") for i in range(6)])
    await store.add_traces([make_trace(noon + 9, 500, service="discord.components", operation="ask 0")])
    found = await store.traces(None, None, noon, limit=5)
    assert [trace.at_us - noon for trace in found] == [5, 2, 4, 1, 9]
    assert [trace.at_us - noon for trace in await store.traces("discord.commands", "ask 0", noon, limit=9)] == [2, 4, 0]
    assert [trace.at_us - noon for trace in await store.traces("discord.components", None, noon, limit=9)] == [9]
    # Those that ended from then on: one began before.
    assert [trace.at_us - noon for trace in await store.traces(None, "ask 0", noon + 4, limit=9)] == [2, 4, 9]
    found = await store.traces(None, None, noon, until_us=noon + 1003, limit=9)
    assert [trace.at_us - noon for trace in found] == [1, 9, 3, 0]
    assert await store.traces("nobody", None, 0, limit=9) == []
    assert await store.traces(None, None, 0, limit=0) == []


async def test_no_traces_and_no_samples_are_nothing(store, noon):
    await store.add_traces([])
    await store.add_samples(noon, {})
    assert await store.traces(None, None, 0, limit=10) == []
    assert await store.samples(["a"], 0, noon + 1) == {"a": []}
    assert await store.samples([], 0, noon + 1) == {}


async def test_samples_come_back_by_name_in_order_of_time(store, noon):
    for i in (2, 0, 1, 3):
        await store.add_samples(noon + i, {"latency_ms": i / 4, "guilds": i})
    found = await store.samples(["guilds", "latency_ms", "unknown"], noon + 1, noon + 3)
    assert found == {
        "guilds": [(noon + 1, 1.0), (noon + 2, 2.0)],
        "latency_ms": [(noon + 1, 0.25), (noon + 2, 0.5)],
        "unknown": [],
    }


async def test_the_newest_sample_of_each_gauge_is_found(store, noon):
    await store.add_samples(noon, {"a": 1.0, "b": 5.0})
    await store.add_samples(noon + 1, {"a": 2.0})
    assert await store.newest_samples(noon) == {"a": 2.0, "b": 5.0}
    assert await store.newest_samples(noon + 1) == {"a": 2.0}
    assert await store.newest_samples(noon + 2) == {}


async def test_one_gauge_is_found_by_process(store, noon):
    await store.add_samples(noon, {"a": 1.0, "b": 5.0})
    (samples,) = (await store.samples_by_process("a", noon, noon + 1)).values()
    assert samples == [(noon, 1.0)]
    assert await store.samples_by_process("a", noon + 1, noon + 2) == {}
    assert await store.samples_by_process("c", noon, noon + 1) == {}


async def test_a_value_is_found_by_process(store):
    await store.own.set_value("key", b"one")
    await store.own.set_value("keys", b"other")
    found = await store.values_by_process("key")
    assert found == ({store.process.name: b"one"} if store.shared else {})
    assert await store.values_by_process("none") == {}


async def test_a_sample_taken_again_at_the_same_moment_replaces_the_first_and_infinite_ones_are_left_out(store, noon):
    await store.add_samples(noon, {"a": 1.0, "b": 2.0})
    await store.add_samples(noon, {"a": 3.0, "b": float("nan"), "c": float("inf")})
    assert await store.samples("abc", noon, noon + 1) == {"a": [(noon, 3.0)], "b": [(noon, 2.0)], "c": []}


async def test_clean_removes_old_traces_and_samples_with_the_operations_of_their_time(store, noon):
    times = range(noon, noon + 100 * HOUR_US, HOUR_US // 60)  # more than one chunk of each
    await store.add_traces([make_trace(at_us) for at_us in times])
    for at_us in times[::20]:
        await store.add_samples(at_us, {"still": 1.0, **({"gone": 2.0} if at_us < noon + HOUR_US else {})})
    cleaned = await store.clean(Retention(raw_hours=10), now_us=noon + 100 * HOUR_US)
    assert (cleaned.traces, cleaned.samples) == (90 * 60, 90 * 3 + 3)
    left = await store.traces(None, None, 0, limit=10_000)
    assert {trace.at_us >= noon + 90 * HOUR_US for trace in left} == {True}
    samples = await store.samples(["still", "gone"], 0, noon + 100 * HOUR_US)
    assert [at_us for at_us, _ in samples["still"]] == list(times[90 * 60 :: 20])
    assert samples["gone"] == []
    assert await store.clean(Retention(raw_hours=10), now_us=noon + 100 * HOUR_US) == type(cleaned)()
    await store.add_samples(noon + 101 * HOUR_US, {"gone": 3.0})
    assert (await store.samples(["gone"], 0, noon + DAY_US * 9))["gone"] == [(noon + 101 * HOUR_US, 3.0)]


async def test_samples_are_aggregated_by_step_from_the_start_of_the_range(store, noon):
    for offset, value in ((0, 1.0), (4, 3.0), (9, 8.0), (10, 5.0), (31, 7.0), (40, 99.0)):
        await store.add_samples(noon + offset, {"a": value})
    found = await store.sample_steps(["a", "unknown"], noon, noon + 40, step_us=10)
    assert found == {
        "a": {
            0: SampleStep(noon, noon + 9, 3, 4.0, 1.0, 8.0),
            1: SampleStep(noon + 10, noon + 10, 1, 5.0, 5.0, 5.0),
            3: SampleStep(noon + 31, noon + 31, 1, 7.0, 7.0, 7.0),
        },
        "unknown": {},
    }


async def test_a_long_range_is_aggregated_in_pieces_with_the_same_result(store, noon):
    for day in range(9):
        await store.add_samples(noon + day * DAY_US, {"a": float(day)})
    found = await store.sample_steps(["a"], noon - 5, noon + 9 * DAY_US, step_us=5 * HOUR_US)
    assert [step.mean for step in found["a"].values()] == [float(day) for day in range(9)]
    assert list(found["a"]) == [(day * DAY_US + 5) // (5 * HOUR_US) for day in range(9)]


async def test_a_step_of_nothing_is_refused(store, noon):
    with pytest.raises(ValueError, match="step_us is 0"):
        await store.sample_steps(["a"], noon, noon + 1, step_us=0)


async def test_a_range_of_traces_has_an_end_and_one_of_each_name_is_its_slowest(store, noon):
    def trace(at_us, operation, duration_us):
        return TraceRecord(at_us, "discord.commands", operation, duration_us, Outcome.OK, None, 0, ())

    await store.add_traces(
        [trace(noon, "ask", 5), trace(noon + 1, "ask", 9), trace(noon + 2, "look", 7), trace(noon + 3, "ask", 99)]
    )
    found = await store.traces(None, None, noon, until_us=noon + 11, limit=9, one_each=True)
    assert [(one.operation, one.duration_us) for one in found] == [("ask", 9), ("look", 7)]
    assert [one.duration_us for one in await store.traces(None, None, noon, until_us=noon + 10, limit=9)] == [7, 5]
    found = await store.traces("discord.commands", "ask", noon, limit=9, one_each=True)
    assert [one.duration_us for one in found] == [99]


async def test_the_traces_that_involve_a_service_are_found_however_many_are_slower(store, noon):
    names = ("graph", 'gr_ph "a\\b" 100%', "graph 2")

    def trace(number, duration_us, *spans):
        parts = tuple(SpanRecord(place, 0, *one, 0, 1, Outcome.OK) for place, one in enumerate(spans, 1))
        return TraceRecord(noon + number, "discord.commands", f"c{number % 3}", duration_us, Outcome.OK, None, 0, parts)

    await store.add_traces([trace(number, 1_000 + number, ("web", "fetch")) for number in range(300)])
    await store.add_traces([trace(300, 9, (names[0], "query")), trace(301, 8, (names[0], "link"))])
    await store.add_traces([trace(302, 7, (names[1], "query")), trace(303, 6, ("web", "graph"), (names[0], "link"))])

    async def found(service, operation=None, **options):
        traces = await store.traces(None, None, noon, limit=5, involving=(service, operation), **options)
        return [one.duration_us for one in traces]

    assert await found(names[0]) == [9, 8, 6]
    assert await found(names[0], one_each=True) == [9, 8]  # c0 twice
    assert await found(names[0], "link") == [8, 6]
    assert await found(names[1]) == [7]
    assert await found(names[2]) == await found("fetch") == await found("gr%") == []
    assert await found("web", "fetch") == [1_299, 1_298, 1_297, 1_296, 1_295]


async def test_a_marker_that_comes_again_is_stored_once(store, noon):
    marker = Marker(noon, "mark", "deployed 1.4")
    first = await store.add_marker(marker)
    assert await store.add_marker(marker) == first
    assert await store.markers(noon, noon + 1) == [first]
