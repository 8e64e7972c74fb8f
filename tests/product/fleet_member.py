"""One of several processes of a bot that share a database. It does what its standard input says, and prints its role.

``fail SERVICE`` begins operations of that service that fail; ``acknowledge UID``, ``mute SERVICE`` and ``limit KEY
VALUE`` do what a person would do in this process; ``tell`` does nothing; ``stop`` ends it in an orderly way.
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


async def main(failing: set[str]) -> None:
    """Run until standard input ends."""
    monitor = Monitor(commands.Bot("!", intents=discord.Intents.none()), Settings(_env_file=None), recorder=Recorder())
    await monitor.start()
    tell(monitor, "started")
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    recording = asyncio.create_task(record(monitor, failing))
    while (line := (await reader.readline()).decode().split()) and line[0] != "stop":
        await obey(monitor, failing, *line)
        tell(monitor, line[0])
    recording.cancel()
    await monitor.stop()
    tell(monitor, "stopped")


async def obey(monitor: Monitor, failing: set[str], word: str, *values: str) -> None:
    """Do what one line says."""
    engine = monitor.alerting.engine
    if word == "fail":
        failing.add(values[0])
    elif word == "acknowledge":
        await engine.acknowledge(values[0], "Ann", now_us())
    elif word == "mute":
        await engine.mute(Mute(values[0], "", now_us(), now_us() + 3_600_000_000, "Ann"), now_us())
    elif word == "limit":
        await monitor.override({values[0]: values[1]}, "Ann")


async def record(monitor: Monitor, failing: set[str]) -> None:
    """Record operations that succeed, and those that fail."""
    while True:
        monitor.recorder.record("calm", "query", duration_ms=5, outcome=0)
        for service in failing:
            monitor.recorder.record(service, "query", duration_ms=5, outcome=1)
        await asyncio.sleep(PACE_S)


def tell(monitor: Monitor, word: str) -> None:
    """Print a line about the state of this process."""
    alerting = monitor.alerting
    state = {
        "word": word,
        "leads": monitor.leadership.leads,
        "limit": alerting.limits.of(Subject("error_rate", "calm")).threshold,
        "alerts": {alert.service: alert.state.value for alert in alerting.engine.active},
    }
    print(json.dumps(state), flush=True)


if __name__ == "__main__":
    asyncio.run(main(set(sys.argv[1:])))
