"""Runs the command ``cogmeter`` as a process that need not start: a process that has imported its modules forks.

A short command takes most of its time to start Python and to import numpy and pydantic. The forked process has its own
folder, environment, arguments, standard streams, signals and exit code, and ends as any Python process does. What
Python reads at its start (``PYTHON...``, the locale, a terminal as output) needs a process that is started.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

# What almost every command imports. No command is named here: what one of them alone imports, it imports itself.
MODULES = (
    "rich.console",
    "rich.table",
    "cogmeter_bot.cli",
    "cogmeter_bot.sources.database",
    "cogmeter_storage.sqlite.store",
    "cogmeter.query.query",
)
STREAMS = 3
STARTED_BY = b"\n"  # one byte that comes with the files of a call


class PreloadedCommand:
    """Starts the process that forks, and lets it run the command. It is no child of this process."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno())]
            quiet = subprocess.DEVNULL
            subprocess.run(command, pass_fds=[theirs.fileno()], stdin=quiet, stdout=quiet, check=True, timeout=60)

    def run(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], *, stdin: str, timeout: float
    ) -> tuple[int, str, str]:
        """Run the command in this folder; return its exit code (negative for a signal), output and error output.

        Raises:
            subprocess.TimeoutExpired: It did not end in so many seconds; it is killed.
        """
        request = json.dumps({"arguments": arguments, "folder": str(folder), "environment": dict(environment)})
        reading, writing = os.pipe()
        with (
            _file(request) as call,
            _file(stdin) as given,
            _file() as out,
            _file() as err,
            os.fdopen(reading, encoding="ascii") as reply,
        ):
            try:
                files = [given.fileno(), out.fileno(), err.fileno(), call.fileno(), writing]
                socket.send_fds(self._ours, [STARTED_BY], files)
            finally:
                os.close(writing)
            pid = int(reply.readline())
            if not select.select([reply], [], [], timeout)[0]:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(list(arguments), timeout, _read(out), _read(err))
            return int(reply.readline()), _read(out), _read(err)

    def close(self) -> None:
        """Let the process that forks end."""
        self._ours.close()


def _file(text: str = "") -> IO[str]:
    file = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - the caller closes it
    file.write(text)
    file.seek(0)
    return file


def _read(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _serve(calls: socket.socket) -> list[int]:
    """Fork twice for each call; return the files of a call in the process that is to become the command."""
    while True:
        started, files, _, _ = socket.recv_fds(calls, 1, STREAMS + 2)
        while _has_ended():
            pass
        if not started:
            sys.exit()
        if os.fork() == 0:  # it waits for the command, so that calls can overlap
            calls.close()
            pid = os.fork()
            if pid == 0:
                return files
            reply = files.pop()
            os.write(reply, b"%d\n" % pid)
            os.write(reply, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            os._exit(0)
        for file in files:
            os.close(file)


def _has_ended() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def _become(files: list[int]) -> None:
    """Take over the folder, the environment and the streams of a call."""
    for number, file in enumerate(files[:STREAMS]):
        os.dup2(file, number)
    with os.fdopen(files[STREAMS], "rb") as call:
        request = json.load(call)
    for file in (*files[:STREAMS], files[-1]):
        os.close(file)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` does
    sys.argv[1:] = request["arguments"]


def _main() -> None:
    del sys.path[0]  # this folder: folders here have the names of the real packages
    if os.fork():
        os._exit(0)  # tests check that no child is left; none of theirs is the one that goes on
    with socket.socket(fileno=int(sys.argv[1])) as calls:
        for name in MODULES:
            importlib.import_module(name)
        gc.freeze()  # the end of a forked process need not look through all that was imported
        files = _serve(calls)
    _become(files)
    runpy.run_module("cogmeter_bot", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
