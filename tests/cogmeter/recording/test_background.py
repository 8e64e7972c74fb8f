"""Background tasks of the monitor."""

from __future__ import annotations

import asyncio
import gc
import warnings

import pytest

from cogmeter.recording.background import detached


def wrapping(loop, coroutine, **options):
    """Runs each coroutine inside of one of its own, as error trackers do."""

    async def wrapper():
        return await coroutine

    return asyncio.Task(wrapper(), loop=loop, **options)


@pytest.mark.parametrize("factory", [None, wrapping])
async def test_a_task_that_is_cancelled_before_it_runs_leaves_no_warning(factory):
    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        task = detached(asyncio.sleep(10), name="cogmeter: test")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        del task
        await asyncio.sleep(0)
        gc.collect()
    loop.set_task_factory(None)
    assert [str(one.message) for one in caught] == []
