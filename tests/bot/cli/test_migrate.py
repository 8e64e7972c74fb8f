"""``cogmeter migrate`` as a process, killed at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

import psycopg
import pytest
from postgres_server import PROGRAMS
from postgres_server import server as started
from transfer_stores import answers_of, fill_small_tables, metadata_of, opened, rows_of

from cogmeter_storage.factory import is_postgres, sqlite_path
from cogmeter_storage.model import DAY_US, MINUTE_US
from cogmeter_storage.transfer.postgres_side import postgres_reader
from cogmeter_storage.transfer.sqlite_side import sqlite_reader
from cogmeter_storage.transfer.tables import KEY

NOON = 1_750_075_200_000_000
NAMES = [("alpha", "one"), ("alpha", "two"), ("beta", "one")]
MANY = int(os.environ.get("COGMETER_TRANSFER_OPERATIONS", "200000"))  # a million takes minutes


@pytest.fixture(scope="module")
def server():
    with started() as running:
        yield running


@pytest.fixture
def postgres_url(needed, request):
    """An empty PostgreSQL database."""
    needed(PROGRAMS, "PostgreSQL")
    running = request.getfixturevalue("server")
    running.clear("postgres")
    return running.url("postgres")


@pytest.fixture
def file_url(tmp_path):
    return lambda name="performance.db": f"sqlite:///{tmp_path / name}"


@pytest.fixture
def start(tmp_path, environment):
    """Starts the command; it runs while the test does something else."""

    def run(source, target):
        command = [sys.executable, "-m", "cogmeter_bot", "migrate", "--from", source, "--to", target]
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    return run


async def fill(url, count, *, gap_us=MINUTE_US // 5, small=2):
    """Put operations of three series, and something of everything else, into a store; return the last time."""
    source = random.Random(7)
    async with opened(url) as store:
        await store.series_ids(NAMES)
        last_us = NOON
        for first in range(0, count, 50_000):
            rows = []
            for number in range(first, min(first + 50_000, count)):
                last_us += source.randrange(2 * gap_us)
                outcome = source.randrange(5) if number % 20 == 0 else 0
                metadata = metadata_of(number) if number % 10 == 0 else None
                rows.append(
                    (1 + number % 3, last_us, int(source.lognormvariate(10, 2)), outcome, "late" * outcome, metadata)
                )
            await store.append((rows[at : at + 250] for at in range(0, len(rows), 250)), now_us=last_us)
        await fill_small_tables(store, last_us, 1, small)
        await store.fold(now_us=last_us)
    return last_us


def done_rows(url):
    """Return how many rows a copy has in its target by now."""
    find = f"SELECT value FROM memory WHERE name = '{KEY}'"
    try:
        if is_postgres(url):
            with psycopg.connect(url, options="-c search_path=cogmeter") as raw:
                row = raw.execute(find).fetchone()
        else:
            with contextlib.closing(sqlite3.connect(f"file:{sqlite_path(url)}?mode=ro", uri=True)) as raw:
                row = raw.execute(find).fetchone()
    except (sqlite3.OperationalError, psycopg.errors.UndefinedTable):
        return 0  # not created yet
    return sum(json.loads(bytes(row[0]))["done"].values()) if row else 0


def wait_until(process, condition):
    until_s = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until_s
        time.sleep(0.002)


def kill(process):
    assert process.poll() is None, process.stdout.read() + process.stderr.read()
    process.kill()
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL


def contents_of(url):
    """Return a hash of all operations in their order without their ids, and the number of them."""
    opener = postgres_reader(url, force=True) if is_postgres(url) else sqlite_reader(sqlite_path(url))
    content, count = hashlib.sha256(), 0
    with opener as reader:
        chunk = reader.operations(None, 50_000)
        while chunk.rows:
            count += len(chunk.rows)
            for row in chunk.rows:
                content.update(repr(row[1:]).encode())
            chunk = reader.operations(chunk.after, 50_000)
    return content.hexdigest(), count


def check_same(source, target, last_us):
    span = NOON - DAY_US, last_us
    assert rows_of(target) == rows_of(source)
    assert contents_of(target) == contents_of(source)
    assert asyncio.run(answers_of(target, *span)) == asyncio.run(answers_of(source, *span))


def seal(url, last_us):
    async def work():
        async with opened(url) as store:
            await store.append([], now_us=last_us + DAY_US)

    asyncio.run(work())


def test_a_whole_database_is_copied_both_ways_and_the_result_is_named(cogmeter, file_url, postgres_url, tmp_path):
    source, back = file_url(), file_url("back.db")
    last_us = asyncio.run(fill(source, 300))
    seal(source, last_us)
    code, out, err = cogmeter("migrate", "--from", source, "--to", postgres_url)
    assert (code, err) == (0, "")
    server = postgres_url.partition("@")[2]
    assert out.startswith(f"{server} has everything of {tmp_path / 'performance.db'}: 300 operations of 3 series, and ")
    assert out.endswith("Counts of all tables and sums of operations are the same in both\n")
    check_same(source, postgres_url, last_us)
    assert cogmeter("migrate", "--from", postgres_url, "--to", back)[0] == 0
    check_same(source, back, last_us)
    code, out, _ = cogmeter("migrate", "--from", source, "--to", postgres_url)
    assert code == 0
    assert "This call copied 0 rows; the others were there already\n" in out
    assert "300 operations" in cogmeter("export", "--database", tmp_path / "back.db", "-o", "all.json")[2]


def test_a_copy_to_postgresql_that_is_killed_within_two_transactions_continues(cogmeter, start, file_url, postgres_url):
    source = file_url()
    last_us = asyncio.run(fill(source, 3_000))
    seal(source, last_us)
    make_tables(postgres_url)
    for table in ("alert_change", "slot"):
        with psycopg.connect(postgres_url) as lock:
            lock.execute(f"LOCK TABLE cogmeter.{table} IN SHARE MODE")
            process = start(source, postgres_url)
            wait_until(process, lambda: waits_for_a_lock(postgres_url))
            kill(process)
    assert done_rows(postgres_url) > 3_000
    code, out, err = cogmeter("migrate", "--from", source, "--to", postgres_url)
    assert (code, err) == (0, "")
    assert "This call copied " in out
    check_same(source, postgres_url, last_us)


def make_tables(url):
    async def work():
        async with opened(url):
            pass

    asyncio.run(work())


def waits_for_a_lock(url):
    find = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'cogmeter transfer' AND wait_event_type = 'Lock'"
    with psycopg.connect(url) as raw:
        return raw.execute(find).fetchone() is not None


def test_a_copy_to_sqlite_that_is_killed_twice_continues(cogmeter, start, file_url, postgres_url):
    target = file_url()
    last_us = asyncio.run(fill(postgres_url, 60_000, gap_us=MINUTE_US // 500))
    for threshold in (1, 20_000):
        process = start(postgres_url, target)
        wait_until(process, lambda threshold=threshold: done_rows(target) >= threshold)
        with contextlib.closing(sqlite3.connect(sqlite_path(target), timeout=30)) as lock:
            lock.execute("BEGIN IMMEDIATE")  # now it waits, in the middle of its work
            kill(process)
    assert 20_000 <= done_rows(target) < 60_000
    code, out, err = cogmeter("migrate", "--from", postgres_url, "--to", target)
    assert (code, err) == (0, "")
    assert "This call copied " in out
    check_same(postgres_url, target, last_us)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_operations_are_copied_both_ways_exactly_though_the_copy_is_killed_twice(start, file_url, postgres_url):
    source, back = file_url(), file_url("back.db")
    last_us = asyncio.run(fill(source, MANY, gap_us=MINUTE_US // 300, small=50))
    seal(source, last_us)
    for way in ((source, postgres_url), (postgres_url, back)):
        begun_s = time.perf_counter()
        for threshold in (MANY // 5, MANY * 7 // 10):
            process = start(*way)
            wait_until(process, lambda way=way, threshold=threshold: done_rows(way[1]) >= threshold)
            kill(process)
            assert threshold <= done_rows(way[1]) < MANY
        process = start(*way)
        out, err = process.communicate(timeout=600)
        print(f"{way[0][:10]} to {way[1][:10]}: {time.perf_counter() - begun_s:.1f} s with two kills")
        assert (process.returncode, err) == (0, b"")
        assert f" {MANY:,} operations of 3 series" in out.decode()
        check_same(*way, last_us)
    assert contents_of(back) == contents_of(source)


def test_a_backup_of_postgresql_is_a_file_that_the_commands_read(cogmeter, file_url, postgres_url, tmp_path):
    last_us = asyncio.run(fill(postgres_url, 300))

    async def while_it_is_open():
        async with opened(postgres_url):
            return await asyncio.to_thread(cogmeter, "backup", "copy.db", PERFORMANCE_DATABASE_URL=postgres_url)

    code, out, _ = asyncio.run(while_it_is_open())
    assert code == 0
    assert out.startswith("Wrote copy.db (")
    assert [one.name for one in tmp_path.iterdir() if not one.name.endswith(".lock")] == ["copy.db"]
    check_same(postgres_url, file_url("copy.db"), last_us)


def test_a_database_in_use_and_one_with_other_data_are_refused(cogmeter, file_url, postgres_url, tmp_path):
    source, other = file_url(), file_url("other.db")
    asyncio.run(fill(source, 10))
    asyncio.run(fill(other, 10))

    async def in_use(url, *arguments):
        async with opened(url):
            return await asyncio.to_thread(cogmeter, "migrate", *arguments)

    code, out, err = asyncio.run(in_use(source, "--from", source, "--to", postgres_url))
    path = tmp_path / "performance.db"
    assert (code, out) == (3, "")
    assert err.startswith(f"Error: Database {path} is being written by another bot")
    code, _, err = asyncio.run(in_use(postgres_url, "--from", source, "--to", postgres_url))
    assert code == 3
    assert " is in use by 1 process: " in err
    assert "--force" in err
    code, _, err = cogmeter("migrate", "--from", source, "--to", other)
    assert code == 3
    assert f"Database {tmp_path / 'other.db'} has other data (in series, trace, metric)" in err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (
            ("--from", "mysql://user:secret@host/x", "--to", "sqlite:///x.db"),
            2,
            "expected sqlite:///data/performance.db",
        ),
        (("--from", "x.db", "--to", "sqlite:///y.db"), 2, "or postgresql://user@host/database"),
        (("--to", "sqlite:///y.db"), 2, "Missing option '--from'"),
        (("--from", "sqlite:///none.db", "--to", "sqlite:///y.db"), 3, "none.db does not exist"),
        (("--from", "sqlite:///a.db", "--to", "sqlite:///a.db"), 3, "are the same database"),
        (("--from", "postgresql://u:secret@127.0.0.1:9/x", "--to", "sqlite:///y.db"), 3, "cannot be reached"),
    ],
)
def test_wrong_urls_are_refused_in_one_line_without_a_password(cogmeter, tmp_path, arguments, code, words):
    found, out, err = cogmeter("migrate", *arguments)
    assert (found, out) == (code, "")
    assert words in err
    assert "secret" not in err
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("*.db"))


def test_a_terminal_shows_a_progress_bar(terminal, file_url):
    asyncio.run(fill(file_url(), 300))
    said, code = terminal("migrate", "--from", file_url(), "--to", file_url("copy.db"))
    assert code == 0
    assert "Copying" in said
    assert " rows " in said
    assert "has everything of" in said
