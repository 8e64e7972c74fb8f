"""The chat bot on the loopback Discord in virtual time: ``python virtual_time.py KIND MINUTES``, see ``STEPS_S``.

Each step lets the users do something, waits for all answers, then sets all of Python's clocks forward, and runs the
monitor's jobs that are due. It prints as JSON the alerts that fired, the groups of errors, and the last summary.
"""

# ruff: noqa: E402 - the clocks are replaced before anything that may keep one is imported

from __future__ import annotations

import virtual_clock

STEPS_S = {"quiet": 15, "leak": 30, "burst": 15, "chat": 15}  # a burst is a leak in the last minute, a chat has replies
LEAKED = {"quiet": 0, "leak": 1_000, "burst": 0, "chat": 0}  # texts of 1 KB for each message that is remembered
BURST = 20_000
virtual_clock.replace()

import asyncio
import json
import sys

import hostile_bot
from loopback import Loopback

from cogmeter.monitor import jobs
from cogmeter.watch.memory import memory
from cogmeter_storage.alerting import AlertState

PER_STEP = 3


async def until(condition) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def due(monitor, step: int) -> None:
    """Run the jobs that the scheduler would have run until now: it counts real time."""
    await monitor.flusher.flush()
    await jobs.sample(monitor)
    watch = next(surface for surface in monitor.watcher.surfaces if isinstance(surface, memory.MemoryWatch))
    if watch._task is not None:
        await watch._task
    await monitor.alerting.check()
    if step % 4 == 0:
        await jobs.fold(monitor)


async def main(kind: str, minutes: int) -> None:
    memory.PAUSE_S = 0.0
    services = hostile_bot.Services(troubled=False)
    async with Loopback(keep=100) as server, services.serve():
        server.gateway.heartbeat_interval_s = 0.2
        bot = await hostile_bot.make_bot(services, owner=int(server.world.owner["id"]))
        chat = bot.get_cog("Chat")
        chat.leaked, chat.chats = LEAKED[kind], kind == "chat"
        async with server.running(bot):
            await bot.load_extension("cogmeter.cog")
            await bot.tree.sync()
            monitor = bot.get_cog("cogmeter").monitor
            steps = minutes * 60 // STEPS_S[kind]
            for step in range(steps):
                if kind == "burst" and step >= steps - 60 // STEPS_S[kind]:
                    chat.leaked = BURST
                said = chat.answered + PER_STEP
                for number in range(PER_STEP):
                    await server.say(f"question {step}" if number else "remember this")
                await until(lambda: chat.answered >= said)  # noqa: B023 - awaited at once
                await (await server.interact(server.owner.slash("ponder", {"question": "why"}))).answered()
                await until(lambda: bot.latency < 1)
                virtual_clock.advance(STEPS_S[kind])
                await due(monitor, step)
            alerts = await monitor.store.alerting.alerts(tuple(AlertState), limit=1_000)
            groups = await monitor.store.errors.groups(0, 2**62)
            print(json.dumps([[one.rule, one.service, one.message] for one in alerts if one.fired_us is not None]))
            print(json.dumps([str(one) for one in groups]))
            summary = await (await server.interact(server.owner.slash("perf summary", {"period": "1h"}))).answered()
            print(json.dumps(summary["embeds"]))
            await bot.unload_extension("cogmeter.cog")


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
