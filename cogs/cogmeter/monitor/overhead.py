"""How much of a core cogmeter itself uses in the bot's process: an estimate from measured parts."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

import psutil

from cogmeter.recording.buffer import Buffer
from cogmeter.recording.recorder import Recorder

if TYPE_CHECKING:
    from cogmeter.recording.flusher import Flusher

OWN_THREADS: Final = ("aiosqlite", "cogmeter")  # how the names of our threads begin
CALIBRATION: Final = 500  # operations that are recorded to learn what one costs here


class Overhead:
    """The CPU time of our own threads, of converting rows on the loop, and of recording, since it was made."""

    def __init__(self, flusher: Flusher) -> None:
        self._flusher = flusher
        self._began_s = time.perf_counter()
        self._record_s = _cost_of_recording()
        self._threads_s = _threads_cpu_s()

    def percent(self) -> float:
        """The share of one core, in percent. The chart process is apart, at the lowest priority."""
        elapsed_s = max(time.perf_counter() - self._began_s, 1e-3)
        loop_s = self._flusher.loop_ns / 1e9 + self._flusher.written * self._record_s
        return 100.0 * (loop_s + max(_threads_cpu_s() - self._threads_s, 0.0)) / elapsed_s


def _cost_of_recording() -> float:
    """The seconds that one operation costs to record, tried on a recorder that is thrown away."""
    tracked = Recorder(Buffer(CALIBRATION)).track("cogmeter", "calibration")
    began_s = time.perf_counter()
    for _ in range(CALIBRATION):
        with tracked():
            pass
    return (time.perf_counter() - began_s) / CALIBRATION


def _threads_cpu_s() -> float:
    """The CPU seconds that our threads have used so far; 0 where the platform does not tell."""
    own = {thread.native_id for thread in threading.enumerate() if _is_own(thread)}
    try:
        times = psutil.Process().threads()
    except (psutil.Error, OSError):
        return 0.0
    return float(sum(one.user_time + one.system_time for one in times if one.id in own))


def _is_own(thread: threading.Thread) -> bool:
    module = getattr(type(thread), "__module__", "")
    return thread.name.startswith(OWN_THREADS) or module.startswith(OWN_THREADS)
