"""One chart-drawing process as the bot sees it: started, asked, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cogmeter
import cogmeter_storage
from cogmeter.render.charts.interpreter import obstacle
from cogmeter.render.charts.worker import ANSWER, LACKING, PICTURE, REQUEST

if TYPE_CHECKING:
    from types import ModuleType

_LARGEST = 32 * 1024 * 1024  # bytes of an answer; more is not an answer of ours
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # on Windows the latter ends a process just as surely
_PATIENCE_S = 2.0  # for a process that was asked to end
_TAIL = 1500  # characters of its stderr that are kept


class ChartError(Exception):
    """There is no chart to be had; the text says why."""


class WorkerProcess:
    """A running worker process. Use and end it on the event loop that started it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lacking = ""  # the characters of names so far that no font has
        self._complaints = ""
        self._listener = asyncio.create_task(self._listen(), name="cogmeter-chart-stderr")

    @classmethod
    async def start(cls) -> WorkerProcess:
        """Starts the process.

        Raises:
            ChartError: there is no interpreter to start (see ``obstacle``), or no memory or file handle for it.
        """
        if reason := obstacle():
            raise ChartError(reason)
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "cogmeter.render.charts.worker"),
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                env=_environment(),
                limit=_LARGEST,  # reading never pauses, so the pipes of a killed process always come to their end
                start_new_session=True,  # a Ctrl-C in the terminal is for the bot, which then ends us
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
        """Whether it has not ended yet, as far as is known."""
        return self._process.returncode is None

    async def ask(self, request: bytes) -> bytes:
        """The answer to one request.

        Raises:
            ChartError: the process lives and says why it could not draw.
            ConnectionError: the process has ended or talks nonsense.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(REQUEST.pack(len(request)) + request)
            await stdin.drain()
            kind, body = await self._frame(stdout)
            if kind == LACKING:
                self.lacking = body.decode(errors="replace")
                kind, body = await self._frame(stdout)
        except (asyncio.IncompleteReadError, BrokenPipeError, ConnectionResetError) as error:
            raise ConnectionError(await self._last_words()) from error
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
        """Ends the process without asking; works on any event loop, and after its own has closed."""
        if not self.alive:
            return
        # Process.kill() looks first whether it has ended, and then takes its exit code away from asyncio's watcher,
        # which warns of an unknown child and reports 255.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, _KILL)

    async def end(self, *, now: bool = False) -> None:
        """Ends the process, kindly unless ``now``, and waits until it and its pipes are gone."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if now:
            self.kill()
        try:
            await asyncio.wait_for(self._process.wait(), _PATIENCE_S)
        except TimeoutError:
            self.kill()
            await self._process.wait()
        await self._listener
        await self._pipes_gone()

    async def _pipes_gone(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        await self._process.stdout.read()
        with contextlib.suppress(ConnectionError):
            await self._process.stdin.wait_closed()

    async def _listen(self) -> None:
        """Keeps the end of what it says on stderr, and the pipe from filling up."""
        assert self._process.stderr is not None
        while said := await self._process.stderr.read(4096):
            self._complaints = (self._complaints + said.decode(errors="replace"))[-_TAIL:]

    async def _last_words(self) -> str:
        self.kill()
        code = await self._process.wait()
        await self._listener
        lines = self._complaints.strip().splitlines()
        return f"The chart process ended (code {code})." + (f" It said: {lines[-1]}" if lines else "")


def _environment() -> dict[str, str]:
    """The bot's environment, with its import path handed over, and one thread for numpy."""
    settings = {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return {**os.environ, **settings, "PYTHONPATH": os.pathsep.join(import_path())}


def import_path() -> list[str]:
    """Where the process may import from: as the bot does, without the bot's own folder, whose modules are its own."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    own = {_absolute("."), _absolute(Path(main).parent if main else ".")}
    entries = [_absolute(entry) for entry in sys.path if entry]
    homes = [_absolute(home) for package in (cogmeter, cogmeter_storage) for home in _homes(package)]
    return list(dict.fromkeys([*(entry for entry in entries if entry not in own), *homes]))


def _homes(package: ModuleType) -> list[Path]:
    """The folders, or zip files, that a package was imported from; an importer that uses no files names none."""
    return [Path(folder).parent for folder in package.__path__]


def _absolute(path: str | Path) -> str:
    """An absolute path, also where the working directory is gone."""
    try:
        return str(Path(path).absolute())
    except OSError:
        return str(path)
