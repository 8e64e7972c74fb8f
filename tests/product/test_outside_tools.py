"""Other programs open the database of a running bot, which is then killed or stopped: what was stored is there, once.

COGMETER_OUTSIDE_ROUNDS sets the number of rounds, COGMETER_OUTSIDE_SEED their random moments.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

PROGRAM = Path(__file__).with_name("recording_bot.py")
ROUNDS = int(os.environ.get("COGMETER_OUTSIDE_ROUNDS", "8"))
LANES = 2  # bots at once, each with a database of its own
SPEED, PACE_S, MOST_LOST_S = 600, 0.002, 1.5
DATABASE = "performance.db"
LOOKS = (
    "SELECT count(*) FROM operations",
    "SELECT service, count(*), max(duration_us) FROM operation JOIN series ON series.id = series GROUP BY 1",
    "PRAGMA integrity_check",
    "PRAGMA journal_mode = DELETE",  # refused while the bot has the database open
    ".backup outside.db",
    ".dump",
)
CHANGES = (
    "CREATE INDEX IF NOT EXISTS outside ON operation (series)",
    "DROP INDEX IF EXISTS outside",
    "CREATE TABLE IF NOT EXISTS note (text); INSERT INTO note VALUES ('seen')",
    "ANALYZE",
    "VACUUM",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "UPDATE marker SET name = name || '.'",
    "DELETE FROM operation WHERE id = (SELECT min(id) FROM operation) RETURNING 'gone ' || metadata",
)
BACKUP = """
import sqlite3, sys
source, target = sqlite3.connect(sys.argv[1]), sqlite3.connect("api.db")
source.backup(target)
for one in (source, target):
    one.close()
"""


@dataclass
class Lane:
    """One database and what is known of it."""

    folder: Path
    moments: random.Random
    environment: dict[str, str]
    number: int = 0  # of the next operation
    kept: list[int] = field(default_factory=list)
    deleted: set[int] = field(default_factory=set)

    def use_tool(self) -> str:
        """Let another program do something; return what it was."""
        kind = self.moments.choice(["look", "change", "change", "backup", "copy"])
        if kind == "copy":
            for suffix in ("", "-wal", "-shm"):
                subprocess.run(["cp", f"{DATABASE}{suffix}", "copied"], cwd=self.folder, check=False)
            return "cp"
        if kind == "backup":
            subprocess.run([sys.executable, "-c", BACKUP, DATABASE], cwd=self.folder, check=True, timeout=60)
            return "backup"
        statement = self.moments.choice(LOOKS if kind == "look" else CHANGES)
        shell = ["sqlite3", "-cmd", ".timeout 5000", DATABASE, statement]
        done = subprocess.run(shell, cwd=self.folder, capture_output=True, text=True, check=False, timeout=60)
        assert "malformed" not in done.stdout + done.stderr, (statement, done)
        self.deleted |= {
            json.loads(line[5:])["number"] for line in done.stdout.splitlines() if line.startswith("gone ")
        }
        return statement

    def stored(self) -> list[int]:
        """The numbers that are in the file, in the order of their rows."""
        with contextlib.closing(sqlite3.connect(self.folder / DATABASE)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            rows = database.execute("SELECT metadata FROM operations WHERE service = 'crash' ORDER BY id").fetchall()
        return [json.loads(metadata)["number"] for (metadata,) in rows]


class Bot:
    """A running bot, and the last that it said."""

    def __init__(self, lane: Lane, epoch_s: float, *, reads: bool) -> None:
        command = [sys.executable, PROGRAM, str(epoch_s), str(SPEED), str(lane.number), str(PACE_S)]
        self._errors = (lane.folder / "errors").open("wb")
        self._process = subprocess.Popen(
            [*command, DATABASE] if reads else command,
            cwd=lane.folder,
            env=lane.environment,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self.last, self.committed = lane.number - 1, 0
        self.began = threading.Event()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        for line in self._process.stdout:
            if line.endswith(b"\n"):
                self.last, self.committed = map(int, line.split())
                if self.committed:
                    self.began.set()
        self.began.set()

    def end(self, number: signal.Signals) -> None:
        """Send the signal, and wait until it has ended."""
        self._process.send_signal(number)
        self._process.wait(60)

    def close(self) -> None:
        """Kill it if it still runs."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        self._process.stdout.close()
        self._errors.close()


def live(lane: Lane, epoch_s: float) -> None:
    """One round: a bot runs, other programs come and go, it ends, and its file is looked into."""
    moments = lane.moments
    killed, reads = moments.random() < 0.6, moments.random() < 0.5
    used = []
    with contextlib.closing(Bot(lane, epoch_s, reads=reads)) as bot:
        assert bot.began.wait(60)
        until_s = time.perf_counter() + moments.uniform(0.5, 2.5)
        while time.perf_counter() < until_s:
            used.append(lane.use_tool())
            time.sleep(moments.uniform(0.0, 0.4))
        bot.end(signal.SIGKILL if killed else signal.SIGTERM)
    line = f"{'killed' if killed else 'stopped'}, {'reads' if reads else ''}, {bot.last}, {bot.committed}, {used}"
    print(lane.folder.name, line, flush=True)
    errors = (lane.folder / "errors").read_text().splitlines()
    # A roll-up may wait for another program's lock for longer than its hurried interval.
    assert not [line for line in errors if "maximum number of running instances" not in line]
    numbers = lane.stored()
    kept = [one for one in lane.kept if one not in lane.deleted]
    own = numbers[len(kept) :]
    assert numbers[: len(kept)] == kept, "what was there before has changed"
    missing = [one for one in range(lane.number, own[-1] + 1) if one not in lane.deleted and one not in set(own)]
    assert not missing, "lost in the middle"
    assert own == sorted(set(own)), "out of order, or doubled"
    assert own[-1] + 1 - lane.number >= bot.committed, "committed, and lost"
    lost = bot.last - own[-1]
    assert lost <= (MOST_LOST_S / PACE_S if killed else 1), "lost more than the last moments"
    lane.kept, lane.number = numbers, bot.last + 1


def test_other_programs_that_use_the_database_lose_nothing_that_was_stored(tmp_path, clean_environment, needed):
    needed(shutil.which("sqlite3"), "the sqlite3 shell")
    seed = int(os.environ.get("COGMETER_OUTSIDE_SEED", "0")) or random.randrange(2**32)
    print("seed", seed)  # shown when it fails
    environment = clean_environment(PERFORMANCE_DATABASE_URL=f"sqlite:///{DATABASE}")
    epoch_s = time.time()

    def run(number: int) -> Lane:
        lane = Lane(tmp_path / f"lane-{number}", random.Random(seed + number), environment)
        (lane.folder / "copied").mkdir(parents=True)
        for _ in range(ROUNDS // LANES):
            live(lane, epoch_s)
        return lane

    with ThreadPoolExecutor(LANES) as pool:
        lanes = list(pool.map(run, range(LANES)))
    assert all(len(lane.kept) > ROUNDS for lane in lanes)
