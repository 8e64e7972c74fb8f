"""A PostgreSQL server of the tests' own, on a private port, and PgBouncer before it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg

from cogmeter_storage import open_store

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))  # Debian's place; none: not installed
_AS_ROOT = os.geteuid() == 0  # PostgreSQL refuses to run as root
_USER = "postgres"
_FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=200", "shared_buffers=32MB")
_READY_S = 30.0

# All relations (but the partitions), columns, indexes, constraints, functions and rights of the schema, as one value.
_STRUCTURE = """
    WITH part AS (SELECT inhrelid AS oid FROM pg_inherits
            UNION SELECT indexrelid FROM pg_index WHERE indrelid IN (SELECT inhrelid FROM pg_inherits)),
        own AS (SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace('cogmeter')
            AND oid NOT IN (SELECT oid FROM part))
    SELECT
        (SELECT array_agg((nspname, nspowner, nspacl)::text) FROM pg_namespace WHERE nspname = 'cogmeter'),
        (SELECT array_agg((oid, relname, relkind, relowner, relpersistence, relacl, reloptions, relrowsecurity,
            relhasrules, relhastriggers)::text ORDER BY oid) FROM pg_class WHERE oid IN (SELECT oid FROM own)),
        (SELECT array_agg((attrelid, attnum, attname, atttypid, attnotnull, attisdropped, attidentity, attacl)::text
            ORDER BY attrelid, attnum) FROM pg_attribute WHERE attnum > 0 AND attrelid IN (SELECT oid FROM own)),
        (SELECT array_agg((indexrelid, indkey, indisunique, indisvalid)::text ORDER BY indexrelid) FROM pg_index
            WHERE indexrelid IN (SELECT oid FROM own)),
        (SELECT array_agg((oid, conname, contype, convalidated)::text ORDER BY oid) FROM pg_constraint
            WHERE conrelid IN (SELECT oid FROM own)),
        (SELECT array_agg(oid ORDER BY oid) FROM pg_proc WHERE pronamespace = to_regnamespace('cogmeter'))
"""
_KEPT = """
    SELECT (SELECT array_agg(version::text) FROM cogmeter.version),
        (SELECT array_agg(area::text ORDER BY name) FROM cogmeter.area)
"""
# The partitions go; what is small is emptied row by row, which makes no new files.
_EMPTY = """
    SET client_min_messages = warning;
    DO $$
    DECLARE one record;
    BEGIN
        FOR one IN SELECT inhrelid::regclass AS name FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
            WHERE relkind = 'r' AND relnamespace = to_regnamespace('cogmeter')
        LOOP
            EXECUTE format('DROP TABLE %s', one.name);
        END LOOP;
        FOR one IN SELECT oid::regclass AS name, pg_relation_size(oid) AS size FROM pg_class
            WHERE relkind = 'r' AND relnamespace = to_regnamespace('cogmeter') AND relname NOT IN ('version', 'area')
        LOOP
            IF one.size > 100000 THEN
                EXECUTE format('TRUNCATE %s', one.name);
            ELSIF one.size > 0 THEN
                EXECUTE format('DELETE FROM %s', one.name);
            END IF;
        END LOOP;
        PERFORM setval(seqrelid, seqstart, false) FROM pg_sequence JOIN pg_class ON pg_class.oid = seqrelid
            WHERE relnamespace = to_regnamespace('cogmeter');
    END $$
"""


def missing_program() -> str:
    """Why no server can be started; an empty text if one can."""
    return "" if PROGRAMS else "PostgreSQL is not installed (apt-get install postgresql)"


class Server:
    """A running server. Its folder goes away with it."""

    def __init__(self, folder: Path, options: Sequence[str] = _FAST) -> None:
        self.folder = folder
        self.port = free_port()
        self._options = options
        self._binaries = PROGRAMS[-1].parent
        self._process: subprocess.Popen[bytes] | None = None
        self._as_made: Any = None
        self._kept: Any = None

    def create(self) -> None:
        """Make the data folder."""
        self._run("initdb", "-D", self.data, "-U", _USER, "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        options = [f"-c{option}" for option in (*self._options, f"port={self.port}", "listen_addresses=127.0.0.1")]
        command = [self._binaries / "postgres", "-D", self.data, *options, "-cunix_socket_directories="]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **as_user())
        self.wait()

    def wait(self) -> None:
        """Wait until the server accepts connections."""
        wait_for(lambda: psycopg.connect(self.url("postgres"), connect_timeout=2).close())

    def stop(self, *, kill: bool = False) -> None:
        """Stop the server at once, with an orderly end or, with ``kill``, without."""
        assert self._process is not None
        if kill:
            self._process.kill()
        else:
            self._run("pg_ctl", "stop", "-D", self.data, "-m", "fast")
        self._process.wait(30)

    def url(self, database: str) -> str:
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{database}"

    def clear(self, database: str) -> None:
        """Remove everything of cogmeter from a database: a new one would take ten times as long."""
        with psycopg.connect(self.url(database), autocommit=True) as raw:
            raw.execute("SET client_min_messages = warning; DROP SCHEMA IF EXISTS cogmeter CASCADE")

    def empty(self, database: str) -> None:
        """Empty a database of cogmeter whose tables are as they were made; otherwise remove and make them again.

        To make all tables takes ten times as long as to empty them. What is as new stays: the version, and the rows
        whose locks order the writers.
        """
        with psycopg.connect(self.url(database), autocommit=True) as raw:
            if self._as_made is not None and raw.execute(_STRUCTURE).fetchone() == self._as_made:
                raw.execute(_EMPTY)
                if raw.execute(_KEPT).fetchone() == self._kept:
                    return
        self.clear(database)
        with ThreadPoolExecutor(1) as other:  # a test may run a loop in this thread
            other.submit(asyncio.run, _make_tables(self.url(database))).result()
        with psycopg.connect(self.url(database), autocommit=True) as raw:
            self._as_made, self._kept = raw.execute(_STRUCTURE).fetchone(), raw.execute(_KEPT).fetchone()
            raw.execute(_EMPTY)

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._binaries / program), *map(str, arguments)]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, **as_user())
        assert done.returncode == 0, done.stderr


class Bouncer:
    """PgBouncer in transaction mode before a server."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.port = free_port()
        settings = folder / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port} user={_USER}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {self.port}\nauth_type = any\npool_mode = transaction\nmax_client_conn = 200\n"
            "default_pool_size = 4\nserver_idle_timeout = 2\nunix_socket_dir =\nignore_startup_parameters ="
            " extra_float_digits\n"
        )
        settings.chmod(0o644)
        with (folder / "pgbouncer.log").open("ab") as log:
            command = ["pgbouncer", settings]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **as_user())
        wait_for(lambda: psycopg.connect(self.url("postgres"), connect_timeout=2).close())

    def url(self, database: str) -> str:
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)


async def _make_tables(url: str) -> None:
    await (await open_store(url)).close()


@contextlib.contextmanager
def server(options: Sequence[str] = _FAST) -> Iterator[Server]:
    """Yield a running server with these settings; by default it writes nothing to the disk before it responds."""
    folder = Path(tempfile.mkdtemp(prefix="cogmeter-postgres-"))
    try:
        if _AS_ROOT:
            shutil.chown(folder, _USER, _USER)
        made = Server(folder, options)
        made.create()
        made.start()
        try:
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(attempt: object) -> None:
    """Call until there is no error of psycopg: the outside program is ready."""
    until_s = time.monotonic() + _READY_S
    while True:
        try:
            attempt()  # type: ignore[operator]
        except psycopg.OperationalError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.05)
        else:
            return


def as_user() -> dict[str, Any]:
    """Arguments of Popen for a user that PostgreSQL accepts."""
    return {"user": _USER, "group": _USER, "extra_groups": []} if _AS_ROOT else {}
