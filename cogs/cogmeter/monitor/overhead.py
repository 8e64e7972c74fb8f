"""Estimates the CPU time of cogmeter itself in the bot's process from measured parts."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

import psutil

from cogmeter.recording.buffer import Buffer
from cogmeter.recording.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogmeter.recording.flusher import Flusher

OWN_THREADS: Final = "cogmeter-"  # prefix of the names of our threads
CALIBRATION: Final = 500  # operations that are recorded to measure the cost of one


class Overhead:
    """The CPU time of cogmeter's threads, of its work on the loop, and of recording, since its creation."""

    def __init__(self, flusher: Flusher, watch_ns: Callable[[], int] = lambda: 0) -> None:
        """``watch_ns`` returns the time that counting live objects has taken on the loop."""
        self._flusher = flusher
        self._watch_ns = watch_ns
        self._began_s = time.perf_counter()
        self._record_s = _cost_of_recording()
        self._threads_s = _threads_cpu_s()

    def percent(self) -> float:
        """Return the share of a core in percent, without the chart process, which has the lowest priority."""
        elapsed_s = max(time.perf_counter() - self._began_s, 1e-3)
        loop_s = (self._flusher.loop_ns + self._watch_ns()) / 1e9 + self._flusher.written * self._record_s
        return 100.0 * (loop_s + max(_threads_cpu_s() - self._threads_s, 0.0)) / elapsed_s


def _cost_of_recording() -> float:
    """Return the seconds that recording an operation takes, measured with a temporary recorder."""
    tracked = Recorder(Buffer(CALIBRATION)).track("cogmeter", "calibration")
    began_s = time.perf_counter()
    for _ in range(CALIBRATION):
        with tracked():
            pass
    return (time.perf_counter() - began_s) / CALIBRATION


def _threads_cpu_s() -> float:
    """Return the CPU seconds of cogmeter's threads; 0 if the platform does not support it."""
    own = {thread.native_id for thread in threading.enumerate() if thread.name.startswith(OWN_THREADS)}
    try:
        times = psutil.Process().threads()
    except (psutil.Error, OSError):
        return 0.0
    return float(sum(thread.user_time + thread.system_time for thread in times if thread.id in own))
