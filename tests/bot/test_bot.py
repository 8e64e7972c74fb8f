"""Running the bot: signals, errors of its work, and cancellation."""

import asyncio
import os
import signal
import sys

import pytest

from cogmeter_bot.bot import SIGNALS, run_until_stopped

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal handlers on its loop")


@pytest.mark.parametrize("sent", SIGNALS)
async def test_a_signal_cancels_the_work_and_waits_for_its_end(sent):
    ended = []

    async def work():
        try:
            os.kill(os.getpid(), sent)
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            ended.append(True)

    await run_until_stopped(work())
    assert ended
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_an_error_of_the_work_comes_through():
    async def work():
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await run_until_stopped(work())


async def test_work_that_ends_by_itself_is_not_cancelled():
    await run_until_stopped(asyncio.sleep(0))


async def test_a_cancelled_caller_cancels_the_work():
    started, ended = asyncio.Event(), []

    async def work():
        try:
            started.set()
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    caller = asyncio.create_task(run_until_stopped(work()))
    await started.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ended
