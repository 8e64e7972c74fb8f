"""Damaged files, and child processes that write or die."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cogmeter_storage.model import Tier
from cogmeter_storage.slot import encode, summarise


@pytest.fixture
def backend(sqlite_backend):
    """The back end of the tests in this folder."""
    return sqlite_backend


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "performance.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def slots_agree_with_rows() -> Callable[[Path], None]:
    """Return a check that every slot counts exactly the raw rows of its time, and every sealed row is in a slot."""

    def check(path: Path) -> None:
        with sqlite3.connect(path) as raw:
            slots = raw.execute("SELECT tier, start_us, first_id, last_id, data FROM slot").fetchall()
            everything = raw.execute("SELECT end_us, id, series, duration_us, outcome FROM operation ORDER BY id")
            rows = np.array(everything.fetchall()).reshape(-1, 5)
            for tier, start_us, first_id, last_id, data in slots:
                start, end = np.searchsorted(rows[:, 0], [start_us, start_us + Tier(tier).width_us])
                sealed = rows[start:end][rows[start:end, 1] <= last_id]
                assert (sealed[0, 1], sealed[-1, 1]) == (first_id, last_id)
                assert encode(summarise(*sealed[:, 2:].T), (tier, start_us, first_id, last_id)) == data
                if tier == Tier.MINUTE:
                    assert len(sealed) == end - start
            borders = sorted((first, last) for tier, _, first, last, _ in slots if tier == Tier.MINUTE)
            assert [first for first, _ in borders] == [1, *(last + 1 for _, last in borders[:-1])][: len(borders)]
        raw.close()

    return check


@pytest.fixture
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script in a child process; with ``mounts`` (shell lines that may mount), in its own namespaces."""

    def run(script: str, *args: object, mounts: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", script, *map(str, args)]
        if mounts:
            shell = ["sh", "-ec", f'{mounts}\nexec "$@"', "sh", *command]
            command = ["unshare", "--user", "--map-root-user", "--mount", *shell]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    if_allowed = shutil.which("unshare") and run("pass", mounts="mount -t tmpfs tmpfs /tmp").returncode == 0
    run.can_mount = bool(if_allowed)
    return run
