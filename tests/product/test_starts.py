"""Start after start on one database: whatever series come, however a run ends, it starts and every total is exact."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from pathlib import Path

import discord
import pytest
from discord.ext import commands
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from cogmeter.alerts.evaluator import BASELINES, MEASURED
from cogmeter.alerts.measurement.spending import KEY as SPENDING
from cogmeter.monitor.monitor import Monitor
from cogmeter.recording.recorder import MAX_SERIES, Recorder
from cogmeter.settings import Settings
from cogmeter.watch.interactions.people import KEY as PRIVACY_KEY
from cogmeter_storage.alerting import ACTIVE
from cogmeter_storage.schema import APPLICATION_ID, SQLITE_MIGRATIONS, SQLITE_VERSION

SERIES = [(service, operation) for service in ("a", "b", "c", "d", "e", "f", "g") for operation in ("x", "y")]
ALERT = "uid, rule, service, operation, state, severity, message, threshold, current, worst, started_us, seen_us,"
ALERT += " changed_us, fired_us, acknowledged_by, escalated, flapping, group_uid, version"
# What a run of another version may have left under the keys that are read at a start, by the part that reads it.
BLOBS = {
    "baselines": (BASELINES, (b"\x00", b'["a", "rate", "AXicY2AAAAACAAE="]')),
    "recent costs": (MEASURED, (b"[]", b'{"costs": 1}', b"\xff")),
    "spending": (SPENDING, (b"{}", b'{"days": 1}')),
    "privacy key": (PRIVACY_KEY, (b"", b"short")),
}


def quiet_settings(path, **more):
    """Settings without what watches the machine, so that nothing but the test records."""
    surfaces = {name: False for name in Settings.model_fields if name.startswith("watch_")}
    return Settings(_env_file=None, database_url=f"sqlite:///{path}", version="1", **surfaces, **more)


@contextlib.contextmanager
def raw(path):
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        yield database


def make_database(path, version, rows):
    """A database as a cogmeter of this schema version left it when it was killed: nothing is sealed yet."""
    with raw(path) as database:
        for statements in SQLITE_MIGRATIONS[:version]:
            for statement in statements:
                database.execute(statement)
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {version}")
        for number, (service, operation) in enumerate(dict.fromkeys(rows), 1):
            database.execute("INSERT INTO series VALUES (?, ?, ?)", (number, service, operation))
        now_us = time.time_ns() // 1000
        for number, (service, operation) in enumerate(rows):
            database.execute(
                "INSERT INTO operation (end_us, series, duration_us, outcome)"
                " SELECT ?, id, 1000, 0 FROM series WHERE service = ? AND operation = ?",
                (now_us - len(rows) + number, service, operation),
            )


async def totals(monitor):
    """Stored operations by series."""
    series = await monitor.store.series()
    found = await monitor.store.totals(0, 2**62, groups={one.id: place for place, one in enumerate(series)})
    names = [(one.service, one.operation) for one in series]
    return +Counter(dict(zip(names, found.counts.sum(axis=0).tolist(), strict=False)))


def measured(monitor):
    """Operations by service in the alert window, and in the longest of the long windows."""
    view = monitor.alerting.evaluator._snapshot(time.time_ns() // 1000)
    operations, _ = view.history.totals(259_200)
    columns = (view.by_service.operations, operations)
    return [+Counter(dict(zip(view.services, one.tolist(), strict=True))) for one in columns]


def by_service(counts):
    found = Counter()
    for (service, _), count in counts.items():
        found[service] += count
    return found


class Starts(RuleBasedStateMachine):
    """One database; each step is a run of the bot, or what another version or an accident does between two runs."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "performance.db"
        self.counts = Counter()
        self.damaged = set()
        self.unknown = 0

    def teardown(self):
        shutil.rmtree(self.folder)

    @initialize(version=st.integers(0, SQLITE_VERSION), rows=st.lists(st.sampled_from(SERIES), max_size=8))
    def begin(self, version, rows):
        if version:
            make_database(self.path, version, rows)
            self.counts.update(rows)

    @rule(
        tracked=st.lists(st.sampled_from(SERIES), max_size=5),
        during=st.lists(st.sampled_from(SERIES), max_size=3),
        recorded=st.lists(st.sampled_from(SERIES), max_size=8),
        killed=st.booleans(),
    )
    def run(self, tracked, during, recorded, killed):
        asyncio.run(self._run(tracked, during, recorded, killed))

    @rule(part=st.sampled_from(sorted(BLOBS)), number=st.integers(0, 2))
    def damage(self, part, number):
        key, values = BLOBS[part]
        if self._current():
            with raw(self.path) as database:
                value = values[number % len(values)]
                database.execute("INSERT OR REPLACE INTO memory (name, value) VALUES (?, ?)", (key, value))
            self.damaged.add(f"start: {part}")

    @rule(state=st.sampled_from(["pending", "firing", "acknowledged", "muted"]))
    def leave_what_a_later_version_knows(self, state):
        if not self._current():
            return
        self.unknown += 1
        now_us = time.time_ns() // 1000
        row = (f"uid-{self.unknown}", "later_rule", "a", "", state, "fatal", "?", 1, 2, 3, now_us, now_us, now_us, None)
        with raw(self.path) as database:
            marks = ", ".join("?" * 19)
            database.execute(f"INSERT INTO alert ({ALERT}) VALUES ({marks})", (*row, "", 0, 0, "", 1))
            database.execute("INSERT OR REPLACE INTO threshold_override VALUES ('later_rule@a', 'x', 1, 'Ada')")
            end_us = now_us + 3_600_000_000
            database.execute(
                "INSERT INTO mute (service, rule, since_us, until_us, actor, reason) VALUES (?, ?, ?, ?, ?, ?)",
                ("a", "later_rule", now_us, end_us, "Ada", ""),
            )

    def _current(self):
        """Whether the database is of this version."""
        if not self.path.exists():
            return False
        with raw(self.path) as database:
            return database.execute("PRAGMA user_version").fetchone() == (SQLITE_VERSION,)

    async def _run(self, tracked, during, recorded, killed):
        recorder = Recorder()
        for names in tracked:
            recorder.track(*names)
        bot = commands.Bot("!", intents=discord.Intents.none())
        monitor = Monitor(bot, quiet_settings(self.path), recorder=recorder)
        naming = asyncio.create_task(self._name(recorder, during))
        await monitor.start()
        await naming
        try:
            assert monitor.faults == dict.fromkeys(self.damaged, 1)
            assert await totals(monitor) == self.counts
            for names in recorded:
                recorder.record(*names, duration_ms=1)
            await monitor.flusher.flush()
            self.counts.update(recorded)
            assert await totals(monitor) == self.counts
            assert measured(monitor) == [by_service(self.counts)] * 2
            await monitor.alerting.check()
            kept = await monitor.store.alerting.alerts(ACTIVE)
            assert sum(one.rule == "later_rule" for one in kept) == self.unknown
            assert monitor.faults == dict.fromkeys(self.damaged, 1)
            if killed:
                self._copy()
            # What was damaged is stored again at the end of a run; the key, which others are made with, at its start.
            self.damaged = self.damaged - {"start: privacy key"} if killed else set()
        except BaseException:
            killed = False
            raise
        finally:
            await monitor.stop()
            await bot.close()
            if killed:
                self.path = self.path.parent / "copy" / self.path.name

    async def _name(self, recorder, during):
        for names in during:
            recorder.track(*names)
            await asyncio.sleep(0.005)

    def _copy(self):
        """Take the files as they are now, as the disk has them after a kill."""
        copy = self.path.parent / "copy"
        copy.mkdir()
        for file in self.path.parent.glob(f"{self.path.name}*"):
            if not file.name.endswith((".lock", "-shm")):
                shutil.copy(file, copy)


TestStarts = Starts.TestCase
# Without shrinking: six steps are short enough to be read, and starts take too long to try hundreds of ways.
TestStarts.settings = settings(max_examples=15, stateful_step_count=6, phases=(Phase.reuse, Phase.generate))


@pytest.mark.parametrize("own", [0, 1, 50])
async def test_a_number_of_series_above_the_limit_starts_with_the_hosts_own(tmp_path, own):
    path = tmp_path / "performance.db"
    stored = [(f"service {number}", "x") for number in range(MAX_SERIES + 100)]
    make_database(path, SQLITE_VERSION, stored)
    recorder = Recorder()
    for number in range(own):
        recorder.track(f"host {number}", "x")
    bot = commands.Bot("!", intents=discord.Intents.none())
    monitor = Monitor(bot, quiet_settings(path), recorder=recorder)
    await monitor.start()
    assert not monitor.faults
    assert len(recorder.names) == MAX_SERIES
    assert recorder.overflowed == 0  # nothing was recorded yet
    recorder.record("service 7", "x", duration_ms=1)
    recorder.record("beyond", "the limit", duration_ms=1)
    await monitor.flusher.flush()
    await monitor.alerting.check()
    assert await totals(monitor) == Counter(stored) + Counter([("service 7", "x"), ("(other)", "(other)")])
    window, long_window = measured(monitor)
    assert long_window == by_service(await totals(monitor))
    assert window["service 7"] == 2
    await monitor.stop()
    await bot.close()


def test_the_blobs_of_a_run_are_what_this_version_reads():
    """A key that nothing reads any more would make the test above blind."""
    assert {key for key, _ in BLOBS.values()} == {BASELINES, MEASURED, SPENDING, PRIVACY_KEY}
    assert json.loads(BLOBS["spending"][1][0]) == {}
