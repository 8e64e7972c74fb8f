"""Traces: what belongs to an interaction, through tasks, threads and generators, and what does not."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from cogmeter.recording import tracing
from cogmeter.recording.buffer import Buffer
from cogmeter.recording.recorder import Recorder
from cogmeter.recording.tracing import MAX_SPANS, Entered, Span, Trace
from cogmeter_storage import Outcome


@pytest.fixture
def recorder():
    return Recorder(Buffer(10_000))


@pytest.fixture
def trace():
    """The trace that the test's code belongs to."""
    trace = Trace("ask", start_ns=0)
    token = tracing.begin(trace)
    yield trace
    tracing.end(token)


def metadata_of(recorder):
    """By operation, what was kept with each."""
    rows = recorder.buffer.rows
    return {
        recorder.names[series][1]: (extra or (None, None))[1]
        for series, extra in zip(rows[::5], rows[4::5], strict=True)
    }


def test_outside_of_any_trace_there_is_no_scope_and_no_metadata(recorder):
    assert tracing.current() is None
    with recorder.operation("search", "find"):
        assert tracing.current() is None
    assert metadata_of(recorder) == {"find": None}


def test_threads_of_one_interaction_get_spans_of_their_own_and_no_more_than_are_kept(recorder, trace):
    def work(_):
        for _ in range(50):
            with recorder.operation("search", "find"):
                pass

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            contexts = [contextvars.copy_context() for _ in range(8)]
            list(pool.map(lambda context: context.run(work, None), contexts))
    finally:
        sys.setswitchinterval(before)
    assert len({span.id for span in trace.spans}) == len(trace.spans) == MAX_SPANS
    assert trace.left_out == 400 - MAX_SPANS


def test_spans_make_a_tree_and_operations_name_what_they_ran_inside_of(recorder, trace):
    with recorder.operation("search", "find", limit=3):
        with recorder.operation("search", "index"):
            pass
        recorder.record("search", "rank", duration_ms=2)
    spans = {span.operation: span for span in trace.spans}
    assert {name: span.parent for name, span in spans.items()} == {
        "find": 0,
        "index": spans["find"].id,
        "rank": spans["find"].id,
    }
    assert metadata_of(recorder) == {
        "find": {"limit": 3, "command": "ask", "parent": "ask"},
        "index": {"command": "ask", "parent": "search/find"},
        "rank": {"command": "ask", "parent": "search/find"},
    }


def test_a_span_is_left_when_its_block_fails_and_has_its_outcome(recorder, trace):
    with pytest.raises(KeyError), recorder.operation("search", "find"):
        raise KeyError
    with recorder.operation("search", "index") as index:
        index.outcome = "upstream"
    assert [(span.parent, Outcome(span.outcome)) for span in trace.spans] == [(0, Outcome.ERROR), (0, Outcome.UPSTREAM)]


async def test_tasks_and_threads_that_are_started_inside_belong_to_it_and_do_not_meet(recorder, trace):
    async def part(name):
        with recorder.operation("search", name):
            await asyncio.sleep(0)
            await asyncio.to_thread(whole, f"{name} in a thread")

    def whole(name):
        with recorder.operation("search", name):
            pass

    await asyncio.gather(part("left"), part("right"))
    parents = {span.operation: span.parent for span in trace.spans}
    ids = {span.operation: span.id for span in trace.spans}
    assert parents == {
        "left": 0,
        "right": 0,
        "left in a thread": ids["left"],
        "right in a thread": ids["right"],
    }


async def test_what_outlives_it_is_started_in_a_pause(recorder, trace):
    async def job():
        with recorder.operation("search", "reindex"):
            await asyncio.sleep(0)

    token = tracing.pause()
    task = asyncio.create_task(job())
    tracing.end(token)
    await task
    assert tracing.current().trace is trace
    assert trace.spans == []
    assert metadata_of(recorder) == {"reindex": None}


def test_a_trace_inside_another_ends_with_its_own_block(trace):
    token = tracing.begin(Trace("inner", 0))
    assert tracing.current().name == "inner"
    tracing.end(token)
    assert tracing.current().name == "ask"


def test_spans_beyond_the_most_are_counted_and_their_children_still_know_them(recorder, trace):
    for _ in range(MAX_SPANS + 5):
        with recorder.operation("search", "find"):
            pass
    assert (len(trace.spans), trace.left_out) == (MAX_SPANS, 5)
    assert len({span.id for span in trace.spans}) == MAX_SPANS


def test_what_was_begun_in_one_context_and_closed_in_another_raises_nothing(trace):
    elsewhere = contextvars.copy_context()
    entered = elsewhere.run(Entered, tracing.current(), "search/find")
    begun = elsewhere.run(tracing.begin, Trace("other", 0))
    entered.leave()
    entered.leave()
    tracing.end(begun)
    assert tracing.current().trace is trace


async def test_an_async_generator_that_another_task_closes_raises_nothing(recorder, trace):
    async def pages():
        with recorder.operation("search", "pages"):
            yield 1
            yield 2

    generator = pages()
    await asyncio.create_task(anext(generator))
    await generator.aclose()
    assert [span.operation for span in trace.spans] == ["pages"]
    assert tracing.current().span == 0


def test_any_thread_may_read_the_scope_of_a_context(trace):
    assert tracing.scope_in(contextvars.copy_context()) == (trace, 0, "ask", None)
    assert tracing.scope_in(contextvars.Context()) is None


def test_a_span_keeps_times_from_the_traces_start(recorder):
    trace = Trace("ask", start_ns=1_000)
    scope = tracing.Scope(trace, 0, "ask")
    series = recorder.series("discord.rest", "GET /users/@me")
    recorder.add_timed(series, 1_500, 2_500, Outcome.OK, scope=scope)
    assert trace.spans == [Span(1, 0, "discord.rest", "GET /users/@me", 500, 1_000, Outcome.OK)]
