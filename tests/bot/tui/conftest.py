"""A database with a day of the demo's history, an active alert, and names that look like markup."""

import asyncio
import shutil
import time
from dataclasses import replace

import pytest

from cogmeter.settings import Settings, load_settings
from cogmeter_bot.demo.history import make_history, store_history
from cogmeter_bot.demo.past import past_alerts, store_alerts
from cogmeter_bot.sources.database import DatabaseSource
from cogmeter_bot.sources.factory import ReconnectingSource
from cogmeter_bot.tui.app import DashboardApp
from cogmeter_bot.tui.chrome import range_choices
from cogmeter_bot.zones import use_zone
from cogmeter_storage import open_store
from cogmeter_storage.alerting import AlertState, Step
from cogmeter_storage.model import Outcome

HOSTILE = "[red]=cmd[/]\u202e [@click=app.quit]x"
MINUTE_US = 60_000_000
FRESH_S = 90.0  # the alert window is 300 s, and a test takes up to 120 s


def fill(path, *, days=1.0, others=()):
    """Make a database at this path."""

    async def filled():
        until_us = time.time_ns() // 1_000
        history = make_history(until_us, days, seed=1)
        store = await open_store(f"sqlite:///{path}")
        try:
            if days:
                await store_history(store, history, until_us=until_us)
            alerts = await past_alerts(store, Settings(_env_file=None), until_us=until_us)
            await store_alerts(store, alerts, until_us=until_us, days=days)
            for one in alerts[:1]:
                began = until_us - 5 * MINUTE_US
                stands = replace(
                    one, id=0, uid="stands", state=AlertState.FIRING, service=HOSTILE, message="[bold]It fails",
                    severity="critical", started_us=began, fired_us=began, changed_us=began,
                    acknowledged_us=None, resolved_us=None,
                )  # fmt: skip
                await store.alerting.save([Step(stands, None)])
            names = [(name, "[b]run") for name in others]
            ids = await store.series_ids(names)
            rows = [(one, until_us - 1000, 7_000, int(Outcome.ERROR), "[/] went wrong", None) for one in ids]
            await store.append([rows], now_us=until_us)
            await store.fold(now_us=until_us)
        finally:
            await store.close()

    asyncio.run(filled())
    return path


@pytest.fixture(scope="session")
def _template(tmp_path_factory):
    """Return a database that is made again when its newest operations would leave the alert window."""
    made = []

    def fresh():
        if not made or time.time() - made[-1][0] > FRESH_S:
            path = fill(tmp_path_factory.mktemp("seeded") / "performance.db", others=[HOSTILE])
            made.append((time.time(), path))
        return made[-1][1]

    return fresh


@pytest.fixture
def database(_template, tmp_path):
    """A file of its own for each test."""
    return shutil.copy(_template(), tmp_path / "performance.db")


@pytest.fixture
def empty(tmp_path):
    """A database in which nothing has been recorded."""
    return fill(tmp_path / "empty.db", days=0)


@pytest.fixture
def young(tmp_path):
    """A database of the last ten minutes."""

    async def filled(path):
        now_us = time.time_ns() // 1_000
        store = await open_store(f"sqlite:///{path}")
        (series,) = await store.series_ids([("discord.commands", "ask")])
        ends = range(now_us - 10 * MINUTE_US, now_us, MINUTE_US // 4)
        await store.append([[(series, at, 7_000, int(Outcome.OK), None, None) for at in ends]], now_us=now_us)
        await store.close()

    asyncio.run(filled(tmp_path / "young.db"))
    return tmp_path / "young.db"


@pytest.fixture
def commanded(tmp_path):
    """A database of commands, a button and a service that has a command's label as its name."""

    async def filled(path):
        now_us = time.time_ns() // 1_000
        names = [("discord.commands", "ask"), ("discord.components", "Shop.buy"), ("/ask", "run")]
        store = await open_store(f"sqlite:///{path}")
        ids = await store.series_ids(names)
        rows = [
            (series, now_us - 1_000, 7_000, int(Outcome.OK), None, None)
            for number, series in enumerate(ids)
            for _ in range(9 - number)
        ]
        await store.append([rows], now_us=now_us)
        await store.close()

    asyncio.run(filled(tmp_path / "commanded.db"))
    return tmp_path / "commanded.db"


@pytest.fixture
def crowded(tmp_path):
    """A database of a hundred services with names as long as they can be, some of them in wide letters."""
    names = [f"{place:03}{'-long' * 19}" for place in range(98)]
    return fill(tmp_path / "crowded.db", days=0, others=[*names, "\u65e5\u672c\u8a9e" * 33, "\U0001f600" * 100])


@pytest.fixture
def dashboard():
    """Makes the application for a database."""

    def make(path, *, interval_s=3600.0, since=None):
        use_zone("UTC")
        settings = load_settings()
        source = ReconnectingSource(lambda: DatabaseSource.open(settings, f"sqlite:///{path}"), path)
        choices, selected = range_choices(since, None, None)
        return DashboardApp(source, settings, choices, selected, name=str(path), interval_s=interval_s)

    return make
