"""Starts, uses and ends one chart process, if the host can start one at all.

A host is not always a plain Python interpreter: a frozen or embedded bot names its own program as ``sys.executable``.
Started again, it would be a second bot.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cogmeter
import cogmeter_storage
from cogmeter.render.charts.worker import ANSWER, MISSING_GLYPHS, PICTURE, REQUEST

if TYPE_CHECKING:
    from types import ModuleType

ADVICE: Final = "Answers come without charts. To get charts, run the bot with a Python interpreter (`python bot.py`)"

_PYTHON = re.compile(r"(python|pypy|graalpy)w?[\d.]*[tdmu]*(-(dbg|intel64|arm64|\d+))?(\.exe)?", re.IGNORECASE)
_LARGEST = 32 * 1024 * 1024  # bytes of an answer; a longer one is invalid
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # on Windows, SIGTERM ends a process unconditionally
_END_TIMEOUT_S = 2.0  # after stdin was closed
_STDERR_LIMIT = 1500  # characters at the end of stderr that are kept


class ChartError(Exception):
    """No chart can be drawn now; the text names the reason."""


class WorkerProcess:
    """A running worker process. Use and end it on the event loop that started it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.missing_glyphs = ""  # the characters of names so far that no font has
        self._stderr = ""
        self._stderr_task = asyncio.create_task(self._read_stderr(), name="cogmeter-chart-stderr")

    @classmethod
    async def start(cls) -> WorkerProcess:
        """Start the process.

        Raises:
            ChartError: no process can be started (see ``unavailable_reason``), or memory or file handles ran out.
        """
        if reason := unavailable_reason():
            raise ChartError(reason)
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "cogmeter.render.charts.worker"),
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                env=_environment(),
                limit=_LARGEST,  # reading never pauses, so the pipes of a killed process always reach their end
                start_new_session=True,  # Ctrl-C in the terminal goes to the bot alone, which then ends this process
            )
        except (OSError, ValueError, NotImplementedError) as error:
            raise ChartError(f"The chart process could not be started: {type(error).__name__}: {error}") from error
        return cls(process)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """True until the end of the process has been noticed."""
        return self._process.returncode is None

    async def request(self, request: bytes) -> bytes:
        """Send one request and return the PNG.

        Raises:
            ChartError: the process runs and reports why it could not draw.
            ConnectionError: the process has ended or its answer is invalid.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(REQUEST.pack(len(request)) + request)
            await stdin.drain()
            kind, body = await self._frame(stdout)
            if kind == MISSING_GLYPHS:
                self.missing_glyphs = body.decode(errors="replace")
                kind, body = await self._frame(stdout)
        except (asyncio.IncompleteReadError, BrokenPipeError, ConnectionResetError) as error:
            raise ConnectionError(await self._exit_error()) from error
        if kind != PICTURE:
            raise ChartError(f"The chart could not be drawn: {body.decode(errors='replace')}")
        return body

    @staticmethod
    async def _frame(stdout: asyncio.StreamReader) -> tuple[bytes, bytes]:
        kind, length = ANSWER.unpack(await stdout.readexactly(ANSWER.size))
        if length > _LARGEST:
            raise ConnectionError(f"The chart process answered with {length} bytes.")
        return kind, await stdout.readexactly(length)

    def kill(self) -> None:
        """Kill the process; works on any event loop, and after its own has closed."""
        if not self.alive:
            return
        # Process.kill() polls the process first, which takes the exit code away from asyncio's watcher: that would log
        # an unknown child and report 255.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, _KILL)

    async def end(self, *, now: bool = False) -> None:
        """End the process, by a signal if ``now``, and wait until it and its pipes are closed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if now:
            self.kill()
        try:
            await asyncio.wait_for(self._process.wait(), _END_TIMEOUT_S)
        except TimeoutError:
            self.kill()
            await self._process.wait()
        await self._stderr_task
        await self._wait_for_pipes()

    async def _wait_for_pipes(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        await self._process.stdout.read()
        with contextlib.suppress(ConnectionError):
            await self._process.stdin.wait_closed()

    async def _read_stderr(self) -> None:
        """Keep the end of stderr, and keep the pipe from filling up."""
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(4096):
            self._stderr = (self._stderr + data.decode(errors="replace"))[-_STDERR_LIMIT:]

    async def _exit_error(self) -> str:
        self.kill()
        code = await self._process.wait()
        await self._stderr_task
        lines = self._stderr.strip().splitlines()
        return f"The chart process ended (code {code})." + (f" Its last output: {lines[-1]}" if lines else "")


def _environment() -> dict[str, str]:
    """Return the bot's environment with its import path and one thread for numpy. Large blocks are freed at once."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    memory = dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), "131072")  # of glibc
    return {**os.environ, "MPLBACKEND": "Agg", **threads, **memory, "PYTHONPATH": os.pathsep.join(import_path())}


def import_path() -> list[str]:
    """Return the bot's import path without the bot's own folder, whose modules the process must not import."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    own = {_absolute("."), _absolute(Path(main).parent if main else ".")}
    entries = [_absolute(entry) for entry in sys.path if entry]
    parents = [_absolute(parent) for package in (cogmeter, cogmeter_storage) for parent in _parents(package)]
    return list(dict.fromkeys([*(entry for entry in entries if entry not in own), *parents]))


def _parents(package: ModuleType) -> list[Path]:
    """Return the folders or zip files that a package was imported from; none for an importer that uses no files."""
    return [Path(folder).parent for folder in package.__path__]


def _absolute(path: str | Path) -> str:
    """Return an absolute path; the path itself if the working directory no longer exists."""
    try:
        return str(Path(path).absolute())
    except OSError:
        return str(path)


def unavailable_reason() -> str:
    """Return why no chart process can be started from this program; empty if one can."""
    frozen = _frozen_by()
    if frozen:
        return f"Charts need a Python interpreter, and this bot is a program made by {frozen}."
    executable = sys.executable
    if not executable:
        return "Charts need a Python interpreter, and sys.executable names none."
    reason = _reason_against(executable)
    return f"Charts need a Python interpreter, and sys.executable={executable} {reason}." if reason else ""


def _frozen_by() -> str:
    """Return the tool that packed the bot and its interpreter into a program; empty if none did."""
    if hasattr(sys, "_MEIPASS"):
        return "PyInstaller"
    if getattr(sys, "oxidized", False):
        return "PyOxidizer"
    # Nuitka sets no sys.frozen, and names a Python that need not exist as sys.executable.
    if "__compiled__" in globals() or hasattr(sys.modules.get("__main__"), "__compiled__"):
        return "Nuitka"
    frozen = getattr(sys, "frozen", False)
    return "a freezing tool (sys.frozen is set)" if frozen else ""


def _reason_against(executable: str) -> str:
    try:
        if not Path(executable).is_absolute():
            return "is not an absolute path"
        path = Path(os.path.realpath(executable))  # in a virtual environment, the Python that it links to
        if not path.is_file():
            return "does not exist"
        if not _PYTHON.fullmatch(path.name):
            return "is not Python: its interpreter is embedded"
        with path.open("rb") as file:
            script = file.read(2) == b"#!"
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        return f"cannot be read: {type(error).__name__}"
    return "is a script, which may start the bot again" if script else ""
