"""The watchdog distinguishes a stopped process from a blocked one, and ignores a loop that does not run."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import time

import pytest

from cogmeter.watch.event_loop.watchdog import COLLECTION, NOTHING_RAN, BlockedLoop, Watchdog
from cogmeter.watch.garbage import Pauses

CHILD = """
import asyncio
from cogmeter.watch.event_loop.watchdog import Watchdog

async def main():
    stalls = []
    dog = Watchdog(150, stalled=stalls.append, late=lambda ns: None)
    dog.start(asyncio.get_running_loop())
    await asyncio.sleep(0.2)
    stalls.clear()
    print("ready", flush=True)
    while not any(one.end_ns - one.start_ns > 0.9e9 for one in stalls):
        await asyncio.sleep(0.02)
    dog.stop()
    worst = max(stalls, key=lambda one: one.end_ns - one.start_ns)
    print(worst.place, flush=True)

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes cannot be stopped here")
def test_a_stop_of_the_whole_process_is_reported_without_a_culprit():
    with subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGSTOP)
        time.sleep(1.2)
        child.send_signal(signal.SIGCONT)
        assert child.stdout.readline() == f"{NOTHING_RAN}\n"


def test_a_loop_that_pauses_between_two_runs_was_not_blocked():
    stalls: list[BlockedLoop] = []
    watchdog = Watchdog(100, stalled=stalls.append, late=lambda ns: None)
    loop = asyncio.new_event_loop()
    try:
        loop.call_soon(watchdog.start, loop)
        loop.run_until_complete(asyncio.sleep(0.05))
        time.sleep(0.4)
        loop.run_until_complete(asyncio.sleep(0.05))
        watchdog.stop()
    finally:
        loop.close()
    assert [one for one in stalls if one.end_ns - one.start_ns > 0.3e9] == []


async def test_a_fault_of_who_listens_does_not_end_the_beat(caplog):
    def stalled(_: BlockedLoop) -> None:
        raise RuntimeError("no room")

    lags: list[int] = []
    watchdog = Watchdog(50, stalled=stalled, late=lags.append)
    watchdog.start(asyncio.get_running_loop())
    for _ in range(2):
        await asyncio.sleep(0.05)
        time.sleep(0.2)
        await asyncio.sleep(0.05)
    watchdog.stop()
    assert len([late for late in lags if late > 0.1e9]) >= 2  # a busy machine makes more
    assert caplog.text.count("no room") >= 2


async def test_a_loop_that_waits_for_events_is_left_alone():
    lags: list[int] = []
    watchdog = Watchdog(50, stalled=lambda stall: None, late=lags.append)
    watchdog.start(asyncio.get_running_loop())
    async with asyncio.timeout(60):
        while watchdog.quiet <= len(lags):  # a busy machine is late more often
            await asyncio.sleep(0.2)
    watchdog.stop()


async def test_a_garbage_collection_is_named_instead_of_the_line_in_which_it_began():
    stalls: list[BlockedLoop] = []
    alive = [[number] for number in range(1_000_000)]
    pauses = Pauses()
    watchdog = Watchdog(20, stalled=stalls.append, late=lambda ns: None, pauses=pauses)
    watchdog.start(asyncio.get_running_loop())
    pauses.begin("test")
    try:
        async with asyncio.timeout(60):
            while COLLECTION not in {one.place for one in stalls}:
                await asyncio.sleep(0.05)
                gc.collect()
                await asyncio.sleep(0.05)
    finally:
        pauses.end("test")
        watchdog.stop()
    assert len(alive) == 1_000_000
