"""The resources of the bot's process: CPU, memory, threads, open files, garbage collection; the machine's network."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from cogmeter.diagnosis import Finding
from cogmeter.render import formatting
from cogmeter.watch.surface import Surface, WatchContext

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# The limit of the container that the process runs in, by version 2 and 1 of Linux's control groups.
CGROUP_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
FULL: Final = 0.8  # share of the allowed open files that the doctor reports
_UNSUPPORTED: Final = (psutil.Error, OSError, NotImplementedError, AttributeError)  # of gauges on this platform


class Resources(Surface):
    """Gauges of the process, without hooks; those that the platform does not support are left out."""

    name = "resources"
    setting = "watch_resources"
    reads = ("memory_limit_mb",)

    def __init__(self, context: WatchContext) -> None:
        super().__init__(context)
        self._process = psutil.Process()
        self._pauses = context.pauses
        megabytes = context.settings.memory_limit_mb
        self._allowed = container_limit() if megabytes is None else megabytes * 1e6

    def prepare(self) -> None:
        """Start the measurement of CPU time. There are no hooks."""
        self._process.cpu_percent(None)  # the next call measures from here

    async def install(self) -> None:
        """Start measuring garbage collections."""
        await super().install()
        self._pauses.begin(self.name)

    async def remove(self) -> None:
        """Stop measuring garbage collections."""
        self._pauses.end(self.name)
        await super().remove()

    def sample(self) -> dict[str, float]:
        """Return CPU in percent of a core since the last sample, memory in bytes, numbers of threads and open files.

        The limit of the memory is that of the setting or the container, and never more than the machine has left.
        Garbage collection: number and total since loading, longest since the last sample. Network: bytes since the
        machine's start, without loopback, because systems do not count them by process.
        """
        with self._process.oneshot():  # reads shared values once
            gauges = _known(
                {
                    "cpu_percent": lambda: self._process.cpu_percent(None),
                    "memory_bytes": lambda: self._process.memory_info().rss,
                    "memory_limit_bytes": self._memory_limit,
                    "threads": self._process.num_threads,
                    "open_files": self._open_files,
                }
            )
        gauges["gc_pauses"] = self._pauses.count
        gauges["gc_pause_ms_sum"] = self._pauses.total_ns / 1e6
        gauges["gc_pause_ms_max"] = self._pauses.take_longest_ns() / 1e6
        gauges |= _network()
        return {f"resources.{name}": float(value) for name, value in gauges.items()}

    def findings(self) -> list[Finding]:
        """Return the present use, and whether the limit of open files is near."""
        used = _known({"memory": lambda: self._process.memory_info().rss, "files": self._open_files})
        limit = _known({"files": self._most_files}).get("files", -1)
        files = used.get("files", 0)
        text = f"{used.get('memory', 0) / 1e6:.0f} MB of memory, {formatting.exact(int(files))} open files"
        text += f" of {formatting.exact(int(limit))}" if limit > 0 else ""
        took = formatting.duration(self._pauses.total_ns / 1000)
        collected = f"{formatting.exact(self._pauses.count)} garbage collections took {took}"
        advice = "Close sessions, files and databases after use, or raise the limit with ulimit -n"
        return [Finding(self.name, not 0 < FULL * limit <= files, f"{text}, {collected}", advice)]

    def _memory_limit(self) -> float:
        """Return the memory in bytes at which the process is killed, or the machine has none left."""
        left = self._process.memory_info().rss + psutil.virtual_memory().available
        return min(self._allowed, float(left))

    def _open_files(self) -> float:
        """Return the number of file descriptors, or of handles on Windows."""
        process: Any = self._process
        return float(process.num_handles() if psutil.WINDOWS else process.num_fds())

    def _most_files(self) -> float:
        """Return how many files the process may open, negative for no limit; works only on Linux."""
        process: Any = self._process
        return float(process.rlimit(psutil.RLIMIT_NOFILE)[0])


def container_limit(files: Sequence[Path] = CGROUP_LIMITS) -> float:
    """Return the memory in bytes that the container may use, infinite without such a limit."""
    for file in files:
        try:
            text = file.read_text("ascii").strip()
        except (OSError, ValueError):
            continue
        if text.isdecimal():  # else "max"
            return float(text)
    return math.inf


def _known(gauges: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Return the gauges that this platform supports."""
    known = {}
    for name, read in gauges.items():
        try:
            known[name] = read()
        except _UNSUPPORTED:
            continue
    return known


def _network() -> dict[str, float]:
    try:
        interfaces = psutil.net_io_counters(pernic=True)
    except _UNSUPPORTED:
        return {}
    real = [counters for name, counters in interfaces.items() if not name.lower().startswith("lo")]
    return {
        "machine_network_bytes_sent": sum(counters.bytes_sent for counters in real),
        "machine_network_bytes_received": sum(counters.bytes_recv for counters in real),
    }
