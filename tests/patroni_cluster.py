"""Three PostgreSQL servers that Patroni keeps as one cluster with synchronous replication, and their etcd."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg
import yaml
from postgres_server import PROGRAMS, as_user, free_port

NODES = ("one", "two", "three")
TTL_S = 20  # the shortest that Patroni accepts: another node leads after it
_READY_S = 90.0


def missing_programs() -> str:
    """The programs that are not installed; an empty text if all are."""
    missing = [name for name in ("patroni", "etcd") if shutil.which(name) is None]
    return ", ".join([*missing, *([] if PROGRAMS else ["postgresql"])])


class Node:
    """One server with its Patroni."""

    def __init__(self, name: str, folder: Path, etcd_port: int) -> None:
        self.name = name
        self.port, self._api_port = free_port(), free_port()
        self._settings = folder / f"{name}.yml"
        self._log = folder / f"{name}.log"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        user = {"username": "postgres", "password": "unused"}
        dcs = {
            "ttl": TTL_S,
            "loop_wait": 2,
            "retry_timeout": 5,
            "maximum_lag_on_failover": 1048576,
            "synchronous_mode": True,
            "postgresql": {
                "use_pg_rewind": True,
                "parameters": {"max_connections": 50, "shared_buffers": "16MB", "wal_log_hints": "on", "fsync": "off"},
            },
        }
        settings = {
            "scope": "cogmeter",
            "name": name,
            "restapi": {"listen": f"127.0.0.1:{self._api_port}", "connect_address": f"127.0.0.1:{self._api_port}"},
            # Version 2 of etcd's API: with version 3, Patroni before 3.1 can stop naming standbys (its #2783).
            "etcd": {"host": f"127.0.0.1:{etcd_port}"},
            "bootstrap": {
                "dcs": dcs,
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "no-sync", {"auth": "trust"}],
                "pg_hba": ["host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}",
                "connect_address": f"127.0.0.1:{self.port}",
                "data_dir": str(folder / f"{name}-data"),
                "bin_dir": str(PROGRAMS[-1].parent),
                "pgpass": str(folder / f"{name}.pgpass"),
                "authentication": {"superuser": user, "replication": user, "rewind": user},
                "parameters": {"unix_socket_directories": str(folder)},
            },
            "watchdog": {"mode": "off"},
        }
        self._settings.write_text(yaml.safe_dump(settings))
        self._settings.chmod(0o644)

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["patroni", self._settings],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
                env={**os.environ, "HOME": str(self._folder)},
                **as_user(),
            )

    def kill(self) -> None:
        """Kill the server and its Patroni at once, as a power cut does."""
        for process in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        assert self._process is not None
        self._process.wait(30)

    def pause(self) -> None:
        """Stop the server and its Patroni where they are, as a partition of the network does for the others."""
        for process in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGSTOP)

    def cut_off(self) -> None:
        """Stop Patroni and the replication: another node is promoted, but clients can still reach this server."""
        with psycopg.connect(self.url, connect_timeout=1, autocommit=True) as raw:
            senders = raw.execute("SELECT pid FROM pg_stat_replication").fetchall()
        assert self._process is not None
        for process in (self._process.pid, *(number for (number,) in senders)):
            os.kill(process, signal.SIGSTOP)

    def resume(self) -> None:
        for process in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)

    def is_primary(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=1, autocommit=True) as raw:
                row = raw.execute("SELECT NOT pg_is_in_recovery()").fetchone()
        except psycopg.Error:
            return False
        return bool(row and row[0])

    def standbys(self) -> tuple[int, int]:
        """How many standbys follow this primary, and how many of them Patroni has noted as synchronous.

        The server has a synchronous standby some seconds before Patroni notes it; no other may be promoted.
        """
        with psycopg.connect(self.url, connect_timeout=1, autocommit=True) as raw:
            (following,) = raw.execute("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'").fetchone()
        with urllib.request.urlopen(f"http://127.0.0.1:{self._api_port}/cluster", timeout=2) as response:
            members = json.load(response)["members"]
        return following, sum(member["role"] == "sync_standby" for member in members)

    def log_end(self, lines: int = 40) -> str:
        """The last lines of the log of Patroni and its server."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def _processes(self) -> list[int]:
        """The Patroni and every process of its server; the postmaster has a session of its own."""
        found = [self._process.pid] if self._process is not None and self._process.poll() is None else []
        postmaster = self._folder / f"{self.name}-data" / "postmaster.pid"
        with contextlib.suppress(OSError, ValueError, IndexError):
            number = int(postmaster.read_text().splitlines()[0])
            children = subprocess.run(["pgrep", "-P", str(number)], capture_output=True, text=True, check=False)
            found += [number, *map(int, children.stdout.split())]
        return found


class Cluster:
    """The three nodes; ``url`` names all of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        etcd_port = free_port()
        self._etcd_command = [
            *("etcd", "--enable-v2", "--data-dir", str(folder / "etcd"), "--log-level", "error"),
            *("--listen-client-urls", f"http://127.0.0.1:{etcd_port}"),
            *("--advertise-client-urls", f"http://127.0.0.1:{etcd_port}"),
            *("--listen-peer-urls", f"http://127.0.0.1:{free_port()}"),
        ]
        self.nodes = [Node(name, folder, etcd_port) for name in NODES]
        self._etcd: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "etcd.log").open("ab") as log:
            self._etcd = subprocess.Popen(self._etcd_command, stdout=log, stderr=log, cwd=self._folder, **as_user())
        for node in self.nodes:
            node.start()
        self.wait_for_standbys(2)

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()
        if self._etcd is not None:
            self._etcd.kill()
            self._etcd.wait(30)

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"postgresql://postgres@{hosts}/postgres?connect_timeout=2"

    def clear(self) -> None:
        """Remove everything of cogmeter."""
        with psycopg.connect(self.primary().url, autocommit=True) as raw:
            raw.execute("SET client_min_messages = warning; DROP SCHEMA IF EXISTS cogmeter CASCADE")

    def primary(self, other_than: Node | None = None) -> Node:
        """Wait for a primary, and return it."""
        until_s = time.monotonic() + _READY_S
        while time.monotonic() < until_s:
            for node in self.nodes:
                if node is not other_than and node.is_primary():
                    return node
            time.sleep(0.2)
        raise AssertionError(f"no primary after {_READY_S:.0f} s")

    def wait_for_standbys(self, count: int, primary: Node | None = None) -> None:
        """Wait until so many standbys follow the primary, and Patroni would make one of them the next primary.

        Name the primary after a partition: an old one that comes back says for some seconds that it is one, and that
        others follow it.
        """
        until_s = time.monotonic() + _READY_S
        found: tuple[int, int] | None = None
        while time.monotonic() < until_s:
            with contextlib.suppress(psycopg.Error, OSError):
                found = (primary or self.primary()).standbys()
                if found[0] >= count and found[1] >= 1:
                    return
            time.sleep(0.2)
        logs = "".join(f"\n{node.name}:\n{node.log_end()}" for node in self.nodes)
        raise AssertionError(f"standbys and synchronous ones after {_READY_S:.0f} s: {found}{logs}")


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """Yield a running cluster."""
    folder = Path(tempfile.mkdtemp(prefix="cogmeter-patroni-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        made = Cluster(folder)
        try:
            made.start()
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
