"""Eight processes of a sharded bot on a loopback Discord and PostgreSQL: exact totals, one message per incident."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from loopback import Loopback
from postgres_server import PROGRAMS, server

from cogmeter_storage import Store, open_store
from cogmeter_storage.clock import clock
from cogmeter_storage.model import DAY_US, HOUR_US

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PROGRAM = Path(__file__).with_name("fleet_bot.py")
SHARDS = 8
ASKED = 15  # by each shard and round
KILLS = int(os.environ.get("COGMETER_FLEET_KILLS", "3"))
POST = "POST /channels/{channel_id}/messages"


class Fleet:
    """The processes, and what their users have sent to them."""

    def __init__(self, discord: Loopback, url: str, folder: Path) -> None:
        self.discord = discord
        self.asked: Counter[int] = Counter()  # by shard
        self.failed = 0
        guilds = list(discord.world.guilds)
        self._channels = {(int(guild) >> 22) % SHARDS: discord.world.channels_of(guild)[0] for guild in guilds}
        self.alert_channel = discord.world.add_channel(guilds[0], "ops")["id"]
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PERFORMANCE_")},
            "PERFORMANCE_DATABASE_URL": url,
            "PERFORMANCE_ALERT_CHANNEL_ID": self.alert_channel,
            "PERFORMANCE_ALERT_CHECK_INTERVAL": "5",
            "PERFORMANCE_SPOOL_PATH": str(folder / "spool"),
        }
        self._folder = folder
        self._processes: dict[int, subprocess.Popen[str]] = {}

    async def start(self, shard: int) -> None:
        with (self._folder / f"shard-{shard}.log").open("ab") as log:
            self._processes[shard] = subprocess.Popen(
                [sys.executable, PROGRAM, self.discord.url, str(shard), str(SHARDS)],
                env=self._environment,
                cwd=self._folder,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        line = await asyncio.to_thread(self._processes[shard].stdout.readline)
        assert line == "ready\n", (self._folder / f"shard-{shard}.log").read_text()

    def kill(self, shard: int) -> None:
        process = self._processes.pop(shard)
        process.kill()
        process.wait(30)
        process.stdout.close()

    async def stop(self) -> None:
        """End all processes in an orderly way."""
        for process in self._processes.values():
            process.send_signal(signal.SIGINT)
        for process in self._processes.values():
            await asyncio.to_thread(process.wait, 60)
            process.stdout.close()

    async def ask(self, count: int = ASKED) -> None:
        """Let users of every shard ask, and wait for all answers."""
        for _ in range(count):
            for shard, channel in self._channels.items():
                await self.discord.say("!ask", channel=channel)
                self.asked[shard] += 1
        await self.discord.requests.wait_for(self._is_answer, count=self.asked.total(), timeout_s=120)

    async def fail(self, count: int) -> None:
        for _ in range(count):
            for channel in self._channels.values():
                await self.discord.say("!fail", channel=channel)
                self.failed += 1

    def alert_messages(self) -> list[str]:
        """The titles of the alerts that were posted as new messages."""
        return [
            request.body["embeds"][0]["title"]
            for request in self.discord.requests
            if request.route == POST and self.alert_channel in request.path and request.body.get("embeds")
        ]

    def _is_answer(self, request: object) -> bool:
        return request.route == POST and isinstance(request.body, dict) and request.body.get("content") == "42"


@pytest.fixture
async def fleet(needed, tmp_path) -> AsyncIterator[tuple[Fleet, Store]]:
    needed(PROGRAMS, "PostgreSQL")
    with server() as database:
        async with Loopback(shards=SHARDS) as discord:
            made = Fleet(discord, database.url("postgres"), tmp_path)
            await asyncio.gather(*(made.start(shard) for shard in range(SHARDS)))
            store = await open_store(database.url("postgres"), read_only=True)
            try:
                yield made, store
            finally:
                await store.close()
                await made.stop()


async def count(store: Store, operation: str, process: str | None = None) -> int:
    groups = {one.id: 0 for one in await store.series() if one.operation == operation}
    now_us = clock.now_us()
    narrowed = store if process is None else store.of_process(process)
    return int((await narrowed.totals(now_us - DAY_US, now_us + HOUR_US, groups=groups)).counts.sum())


async def stored(store: Store, operation: str, expected: int) -> None:
    """Wait until so many operations are stored."""
    async with asyncio.timeout(60):
        while await count(store, operation) < expected:
            await asyncio.sleep(0.1)
    assert await count(store, operation) == expected


async def test_eight_processes_count_exactly_and_send_one_message(fleet):
    bots, store = fleet
    await bots.ask()
    await stored(store, "ask", bots.asked.total())
    for shard in range(SHARDS):
        assert await count(store, "ask", f"shard {shard}") == bots.asked[shard]
    for _ in range(KILLS):
        shard = random.randrange(SHARDS)
        bots.kill(shard)
        assert await count(store, "ask") == bots.asked.total()
        await bots.start(shard)
        await bots.ask(2)
        await stored(store, "ask", bots.asked.total())
    await bots.fail(6)
    await stored(store, "fail", bots.failed)
    async with asyncio.timeout(120):
        while not any("error rate" in title.lower() for title in bots.alert_messages()):
            await asyncio.sleep(0.2)
    await asyncio.sleep(12)  # two more checks of every process
    rates = [title for title in bots.alert_messages() if "error rate" in title.lower()]
    assert len(rates) == len(set(rates)), rates
    await bots.stop()
    assert await count(store, "ask") == bots.asked.total()
    assert await count(store, "fail") == bots.failed
