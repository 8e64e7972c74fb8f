"""Runs an alert in child processes that are killed at an await, and then to its end: for test_crash.py.

    python crashing.py FOLDER URL [DISCORD TOKEN CHANNEL]

With a Discord the real notifier posts the alerts in a channel of it, and only the awaits on the way to it are
tried: each process has to log in. Without one a file replaces the channel, and all awaits are.

Each task's coroutine is driven by ``Watched``, which knows where it waits. One run to the end finds all the places at
which anything waits between breach and delivery. For each of them, a child is killed there: once when it begins to
wait, and once when it would go on. Another child then starts on the same database, as a restarted bot does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import sys
from collections import Counter
from collections.abc import Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import discord
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route
from pydantic import SecretStr

from cogmeter.alerts.delivery.dispatcher import Dispatcher
from cogmeter.alerts.lifecycle.engine import AlertEngine
from cogmeter.alerts.lifecycle.subject_state import Policy
from cogmeter.alerts.model import Limit, Reading, Subject
from cogmeter.notifiers.discord_channel.notifier import ChannelNotifier
from cogmeter.notifiers.log import LogNotifier
from cogmeter.notifiers.webhook import WebhookNotifier
from cogmeter.query.records import IncidentContext
from cogmeter.settings import Settings
from cogmeter_storage import open_store
from cogmeter_storage.alerting import AlertState

NOON = 1_750_075_200_000_000
SECOND = 1_000_000
SUBJECT = Subject("error_rate", "knowledge-graph")
LIMIT = Limit(threshold=0.05, recovery=0.05, for_s=0, recovery_s=0, min_operations=1)
BREACH = Reading(SUBJECT, 0.078, 0.05, "Error rate of 7.8% exceeds threshold of 5%", "warning")
OFTEN = 2  # how many times the same place of the same task is tried: for the alert's beginning and its end
BREACHED = asyncio.Event()  # what waits before is not on the way
KILLED = 9


class Board:
    """A channel whose messages outlive the process. It searches before it posts what may have arrived."""

    name = "channel"
    edits_in_place = True
    per_alert = False
    rate = None

    def __init__(self, path):
        self._path = path

    async def prepare(self):
        pass

    async def notify(self, notice):
        await asyncio.sleep(0)  # on its way
        message = notice.receipt
        if message is None and (notice.uncertain or notice.change.kind != "fired"):
            message = self._find(notice.alert.uid)
        message = self._write(message, notice)
        await asyncio.sleep(0)  # the answer is on its way
        return message

    def _find(self, uid):
        written = self._path.read_text().splitlines() if self._path.exists() else []
        return next((one["message"] for one in map(json.loads, written) if one["uid"] == uid), None)

    def _write(self, message, notice):
        line = {"uid": notice.alert.uid, "state": notice.alert.state, "new": message is None}
        line["message"] = message or os.urandom(4).hex()
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        return line["message"]


@dataclass
class Guild:
    """A Discord with the alert channel."""

    url: str
    token: str
    channel: str

    def on_the_way(self, where):
        """Return True if a place is between the outbox and the channel."""
        modules = ("notifier.py", "target_worker.py", "message.py")
        return not where.startswith("cogmeter-alerts-log") and any(module in where for module in modules)

    @asynccontextmanager
    async def notifier(self):
        """Yield the real notifier of a connected client."""
        Route.BASE = f"{self.url}/api/v10"
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(self.url.replace("http:", "ws:") + "/")
        client = discord.Client(intents=discord.Intents.none())
        client._connection.guild_ready_timeout = 0
        async with client:
            await client.login(self.token)
            connection = asyncio.create_task(client.connect())
            await client.wait_until_ready()
            settings = Settings(_env_file=None, alert_channel_id=int(self.channel))
            yield ChannelNotifier(client, settings, context_of=self._story, chart_of=self._picture)
            await client.close()
            await connection

    async def _story(self, alert):
        return IncidentContext(alert.started_us, alert.seen_us, 0, 0)

    async def _picture(self, alert):
        """Return None: the alert is sent without a chart."""
        await asyncio.sleep(0)


class Watched(Coroutine):
    """A coroutine that reports where it waits, each time it begins to wait and each time it would continue."""

    def __init__(self, inner, report):
        self._inner, self._report, self._place = inner, report, None

    def send(self, value):
        return self._go(self._inner.send, value)

    def throw(self, *error):
        return self._go(self._inner.throw, *error)

    def close(self):
        self._inner.close()

    def __await__(self):
        return self._inner.__await__()

    def _go(self, step, *values):
        if self._place and BREACHED.is_set():
            self._report(self._place, "goes on")
        waiting = step(*values)
        self._place = f"{whose()}: {place(self._inner)}"
        if BREACHED.is_set():
            self._report(self._place, "waits")
        return waiting


def whose():
    """Return the name of the running task, if it has one."""
    name = asyncio.current_task().get_name()
    return "" if name.startswith("Task-") else name


def place(coroutine):
    """Return the innermost lines where a coroutine waits: ``end.py:12 < target_worker.py:34``."""
    lines = []
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is not None:
            lines.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
        coroutine = getattr(coroutine, "cr_await", None)
    return " < ".join(reversed(lines))


async def life(folder, url, guild):
    """Run from the breach to its delivered resolution; continue where the last process on this folder was killed."""
    if guild is None:
        await run_with(folder, [LogNotifier(), Board(folder / "board"), WebhookNotifier(SecretStr(url))])
    else:
        async with guild.notifier() as notifier:
            await run_with(folder, [LogNotifier(), notifier])


async def run_with(folder, notifiers):
    """Run the alert with these notifiers."""
    store = await open_store(f"sqlite:///{folder / 'performance.db'}")
    over = folder / "over"  # the world knows whether the breach goes on, whoever dies
    delivery = Dispatcher(store, notifiers)
    policy = Policy(cooldown_s=0, group_from=4, reminder_s=0, escalate_after_s=0)
    engine = AlertEngine(store, lambda subject: LIMIT, policy, targets=delivery.targets, wake=delivery.wake)
    now_us = NOON
    await engine.restore(now_us)
    delivery.start()
    BREACHED.set()
    if not over.exists():
        await engine.step([BREACH], now_us)
        await delivered(store)
        over.touch()
    while engine.active:
        now_us += 60 * SECOND
        await engine.step([], now_us)
    await delivered(store)
    await delivery.stop()
    changes = [change.kind for change in await store.alerting.changes()]
    alerts = await store.alerting.alerts(tuple(AlertState))
    stored = {"changes": changes[::-1], "states": [alert.state for alert in alerts]}
    (folder / "stored").write_text(json.dumps(stored))
    (folder / "uids").write_text(" ".join(alert.uid for alert in alerts))
    await store.close()


async def delivered(store):
    while await store.alerting.next_due_us() is not None:
        await asyncio.sleep(0.002)


def child(folder, url, report, guild):
    """Run the alert in a process of its own. Return its exit code."""
    number = os.fork()
    if number:
        return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
    try:
        logging.basicConfig(filename=folder / "log", level=logging.INFO, force=True)
        loop = asyncio.new_event_loop()
        loop.set_task_factory(lambda loop, inner, **options: asyncio.Task(Watched(inner, report), loop=loop, **options))
        loop.run_until_complete(asyncio.wait_for(life(folder, url, guild), 60))
    except BaseException:
        logging.getLogger(__name__).exception("The life did not come to its end")
        os._exit(1)
    os._exit(0)


def survey(folder, url, guild):
    """Return every place at which a task waits, and how often, up to OFTEN times."""
    path = folder / "places"
    seen = Counter()

    def report(where, when):
        seen[where, when] += 1
        if (guild is None or guild.on_the_way(where)) and seen[where, when] <= OFTEN:
            with path.open("a") as file:
                file.write(json.dumps([where, when, seen[where, when]]) + "\n")

    assert child(folder, url, report, guild) == 0, (folder / "log").read_text()
    return [json.loads(line) for line in path.read_text().splitlines()]


def killer(where, when, times):
    """Kill the process at this place."""
    seen = Counter()

    def report(here, moment):
        seen[here, moment] += 1
        if (here, moment) == (where, when) and seen[here, moment] == times:
            os._exit(KILLED)

    return report


def main(folder, url, guild=None):
    empty = folder / "empty"
    empty.mkdir()
    asyncio.run(create(empty))
    first = shutil.copytree(empty, folder / "0")
    for number, spot in enumerate(survey(first, f"{url}/0", guild), start=1):
        here = shutil.copytree(empty, folder / str(number))
        code = child(here, f"{url}/{number}", killer(*spot), guild)
        after = child(here, f"{url}/{number}", lambda where, when: None, guild)
        print(json.dumps({"number": number, "spot": spot, "code": code, "after": after}), flush=True)


async def create(folder):
    store = await open_store(f"sqlite:///{folder / 'performance.db'}")
    await store.close()


if __name__ == "__main__":
    place_of_runs, receiver, *discord_at = sys.argv[1:]
    main(Path(place_of_runs), receiver, Guild(*discord_at) if discord_at else None)
