"""The command as a person starts it, a process of its own in an empty folder, and databases for it to read."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from datetime import datetime
from pathlib import Path

import pytest
from preloaded_command import PreloadedCommand

from cogmeter_storage import open_store

MS = 1_000
MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US


@pytest.fixture
def environment() -> dict[str, str]:
    return clean_environment()


def clean_environment(**more: str) -> dict[str, str]:
    """This process's environment without settings of ours, plain and wide."""
    ours = ("PERFORMANCE_", "DISCORD_", "COGMETER_", "ENABLE_", "NO_COLOR", "FORCE_COLOR", "COLUMNS")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {"TZ": "UTC"} | more


def _powerless() -> None:
    """Take the right from an administrator to write where nobody may; whoever is none has none to lose."""
    prctl = ctypes.CDLL(None).prctl
    for right in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        prctl(24, right, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.fixture(scope="session")
def preloaded():
    command = PreloadedCommand()
    yield command
    command.close()


STARTED = ("-m", "cogmeter_bot")  # as a program: a Python that starts


@pytest.fixture
def cogmeter(tmp_path, preloaded):
    """Runs the command with these arguments; gives its exit code, output and error output.

    It is a process that has its modules already, unless a program is named, the right to write anywhere is taken, or
    Python reads something of the environment when it starts.
    """

    def run(*arguments, program=None, stdin="", powerless=False, **more):
        if not (program or powerless or any(name.startswith(("PYTHON", "LC_", "LANG")) for name in more)):
            texts = [*map(str, arguments)]
            return preloaded.run(texts, tmp_path, clean_environment(**more), stdin=stdin, timeout=100)
        program = program or STARTED
        done = subprocess.run(
            [sys.executable, *program, *map(str, arguments)],
            cwd=tmp_path,
            env=clean_environment(**more),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            preexec_fn=_powerless if powerless else None,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def at():
    """``at("2025-08-17T10:00:00Z")``: the microseconds of a time."""
    return lambda text: int(datetime.fromisoformat(text).timestamp()) * 1_000_000


@pytest.fixture
def now_us() -> int:
    return time.time_ns() // 1_000


@pytest.fixture
def seed(tmp_path):
    """``seed(rows)`` makes the database that the command reads; a row is (service, operation, end_us, duration_us,
    outcome, error, metadata).
    """

    def make(rows, name="data/performance.db", *, work=None) -> Path:
        path = tmp_path / name

        async def fill():
            store = await open_store(f"sqlite:///{path}")
            try:
                rows.sort(key=lambda row: row[2])
                names = sorted({row[:2] for row in rows})
                ids = dict(zip(names, await store.series_ids(names), strict=True))
                made = [(ids[row[:2]], *row[2:6], None if row[6] is None else json.dumps(row[6])) for row in rows]
                if made:
                    slices = (made[start : start + 200] for start in range(0, len(made), 200))
                    await store.append(slices, now_us=made[-1][1])
                    await store.fold(now_us=made[-1][1])
                if work is not None:
                    await work(store)
            finally:
                await store.close()

        asyncio.run(fill())
        return path

    return make


@pytest.fixture
def some(now_us):
    """A hundred operations of the last hours, hostile names and texts among them."""
    rows = []
    for place in range(100):
        end_us = now_us - (99 - place) * MINUTE_US - 5_000_000  # the newest in the range of live figures, for a minute
        rows.append(
            ("knowledge-graph", "query", end_us, (100 + place) * MS + 7, 0, None, {"model": "gpt-4o", "n": [1]})
        )
        rows.append(
            ("=cmd|'/c calc'!A0", '[bold]"a", b\u2603', end_us + 1, 5, place % 4, HOSTILE if place % 4 else None, None)
        )
    return rows


class Terminal:
    """A process on a terminal of so many columns."""

    def __init__(self, arguments, columns, env, folder, rows=50):
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        command = [sys.executable, "-m", "cogmeter_bot", *arguments]
        self.process = subprocess.Popen(command, cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self.said = ""

    def read(self, until=None):
        """Read to the end, or until this is on the screen."""
        deadline = time.perf_counter() + 60
        while until is None or until not in self.said:
            assert time.perf_counter() < deadline, self.said
            try:
                data = os.read(self._ours, 65_536)
            except OSError:  # Linux says so when the other side has been closed
                break
            if not data:
                break
            self.said += data.decode()
        return self.said

    def close(self):
        code = self.process.wait(60)
        os.close(self._ours)
        return code


@pytest.fixture
def terminal(tmp_path, environment):
    def run(*arguments, columns=80, rows=50, **more):
        env = {**environment, "TERM": "xterm-256color", **more}
        shown = Terminal(arguments, columns, env, tmp_path, rows)
        return shown.read(), shown.close()

    return run


@pytest.fixture
def on_terminal(tmp_path, environment):
    """``on_terminal(*arguments)`` starts the command on a terminal; the test reads from it and closes it."""
    env = {**environment, "TERM": "xterm-256color"}
    return lambda *arguments, columns=100, **more: Terminal(arguments, columns, env | more, tmp_path)


HOSTILE = 'x\x1b[31mred\x1b[0m "quoted", <b>\u2603</b>\r\n=1+1 [/bold] \U0001f600'
