"""``cogmeter.annotate``: metadata for the operation that the running code is part of."""

from __future__ import annotations

import asyncio

import pytest

import cogmeter
from cogmeter.recording import running, tracing
from cogmeter.recording.recorder import Recorder


@pytest.fixture
def recorder():
    return Recorder()


def metadata(recorder):
    return [extra and extra[1] for extra in recorder.buffer.rows[4::5]]


def deep(**values):
    return cogmeter.annotate(**values)


def test_the_innermost_operation_is_annotated_from_anywhere_below_it(recorder):
    with recorder.operation("a", "outer"):
        assert deep(x=1)
        with recorder.operation("a", "inner"):
            assert deep(x=2)
            assert deep(x=3, y=4)
        assert deep(z=5)
    assert metadata(recorder) == [{"x": 3, "y": 4}, {"x": 1, "z": 5}]


async def test_a_task_below_it_annotates_it_too_and_others_do_not(recorder):
    async def other():
        async with recorder.operation("b", "other"):
            await asyncio.sleep(0)
            cogmeter.annotate(other=True)

    async with recorder.operation("a", "one"):
        task = asyncio.create_task(other())
        await asyncio.gather(task, asyncio.to_thread(deep, thread=True))
        cogmeter.annotate(one=True)
    assert metadata(recorder) == [{"other": True}, {"thread": True, "one": True}]


def test_nothing_is_annotated_outside_of_operations_or_after_their_end(recorder):
    assert not cogmeter.annotate(x=1)
    operation = recorder.operation("a", "b")
    with operation:
        pass
    assert not operation.add_metadata({"x": 1})
    assert not cogmeter.annotate(x=1)


async def test_a_loop_that_began_inside_of_an_operation_is_nearer_than_it(recorder):
    with recorder.operation("a", "life of the bot"):
        run = recorder.running.begin("discord.tasks", "loop")
        token = running.enter(run)
        assert cogmeter.annotate(x=1)
        running.leave(token)
    assert run.metadata == {"x": 1}
    assert metadata(recorder) == [None]


def test_inside_an_interaction_blocks_of_track_are_annotated_too(recorder):
    trace = tracing.Trace("ask", 0)
    token = tracing.begin(trace)
    with recorder.track("a", "b")():
        assert cogmeter.annotate(tokens_in=1)
    assert not cogmeter.annotate(x=1)  # this trace is of no command
    tracing.end(token)
    assert metadata(recorder) == [{"tokens_in": 1, "command": "ask", "parent": "ask"}]
