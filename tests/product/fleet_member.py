"""One of several processes of a bot that share a database. It does what its standard input says, and prints its role.

``fail SERVICE`` begins operations of that service that fail, ``hang SERVICE`` one that does not end; ``load COUNT``
records so many operations every 50 ms from now on; ``acknowledge UID``, ``mute SERVICE`` and ``limit KEY VALUE`` do
what a person would do in this process; ``tell`` does nothing; ``stop`` ends it in an orderly way.
"""

from __future__ import annotations

import asyncio
import json
import sys

import discord
from discord.ext import commands

from cogmeter.alerts.model import Subject
from cogmeter.monitor.monitor import Monitor
from cogmeter.query.query import now_us
from cogmeter.recording.recorder import Recorder
from cogmeter.settings import Settings
from cogmeter_storage.alerting import Mute

PACE_S = 0.05


class Load:
    """Records operations that succeed, and those that fail."""

    def __init__(self, monitor: Monitor, failing: set[str]) -> None:
        self.failing = failing
        self.each = 1  # that succeed, every PACE_S
        self.recorded = 0
        self._recorder = monitor.recorder

    async def run(self) -> None:
        while True:
            for _ in range(self.each):
                self._record("calm", 0)
            for service in self.failing:
                self._record(service, 1)
            await asyncio.sleep(PACE_S)

    def hang(self, service: str) -> None:
        """Begin an operation that does not end."""
        self._hanging = asyncio.create_task(self._hang(service))

    async def _hang(self, service: str) -> None:
        with self._recorder.operation(service, "stuck"):
            await asyncio.sleep(3_600)

    def _record(self, service: str, outcome: int) -> None:
        self._recorder.record(service, "query", duration_ms=5, outcome=outcome)
        self.recorded += 1


async def main(failing: set[str]) -> None:
    """Run until standard input ends."""
    monitor = Monitor(commands.Bot("!", intents=discord.Intents.none()), Settings(_env_file=None), recorder=Recorder())
    await monitor.start()
    load = Load(monitor, failing)
    tell(monitor, load, "started")
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    recording = asyncio.create_task(load.run())
    while (line := (await reader.readline()).decode().split()) and line[0] != "stop":
        await obey(monitor, load, *line)
        tell(monitor, load, line[0])
    recording.cancel()
    await monitor.stop()
    tell(monitor, load, "stopped")


async def obey(monitor: Monitor, load: Load, word: str, *values: str) -> None:
    """Do what one line says."""
    engine = monitor.alerting.engine
    if word == "fail":
        load.failing.add(values[0])
    elif word == "hang":
        load.hang(values[0])
    elif word == "load":
        load.each = int(values[0])
    elif word == "acknowledge":
        await engine.acknowledge(values[0], "Ann", now_us())
    elif word == "mute":
        await engine.mute(Mute(values[0], "", now_us(), now_us() + 3_600_000_000, "Ann"), now_us())
    elif word == "limit":
        await monitor.override({values[0]: values[1]}, "Ann")


def tell(monitor: Monitor, load: Load, word: str) -> None:
    """Print a line about the state of this process."""
    alerting = monitor.alerting
    state = {
        "word": word,
        "recorded": load.recorded,
        "written": monitor.flusher.written,
        "spooled": monitor.flusher.backlog.spooled,
        "waiting": monitor.flusher.pending + len(monitor.recorder.buffer),
        "dropped": monitor.flusher.dropped,
        "leads": monitor.leadership.leads,
        "limit": alerting.limits.of(Subject("error_rate", "calm")).threshold,
        "alerts": {alert.service: alert.state.value for alert in alerting.engine.active},
    }
    print(json.dumps(state), flush=True)


if __name__ == "__main__":
    asyncio.run(main(set(sys.argv[1:])))
