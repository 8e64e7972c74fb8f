"""All of Python's clocks, to be set forward: call ``replace()`` before anything is imported that may keep one."""

from __future__ import annotations

import time
from itertools import product

ahead_ns = [0]  # of all steps so far
ARGUMENTS = {"clock_gettime": [(one,) for name, one in vars(time).items() if name.startswith("CLOCK_")]}


def replace() -> None:
    """Replace the clocks: what a busy machine delays is measured as a fraction of it; asyncio's timers run as ever."""
    clocks = (("time", 50), ("perf_counter", 50), ("clock_gettime", 50), ("monotonic", 1))
    for (name, slower), suffix in product(clocks, ("", "_ns")):
        _replace(name + suffix, slower, ARGUMENTS.get(name, [()]))


def advance(seconds: float) -> None:
    """Set all clocks forward, or before their first use back."""
    ahead_ns[0] += int(seconds * 1e9)


def _replace(name: str, slower: int, known: list[tuple]) -> None:
    """Replace a clock by one that is ahead by the steps so far, and runs slower between them."""
    clock, unit = getattr(time, name), 1 if name.endswith("_ns") else 10**9
    begins = {arguments: clock(*arguments) for arguments in known}  # now, so that the clocks agree with each other

    def virtual(*arguments):
        now = clock(*arguments)
        begin = begins.setdefault(arguments, now)
        elapsed = (now - begin) // slower if unit == 1 else (now - begin) / slower
        return begin + elapsed + (ahead_ns[0] if unit == 1 else ahead_ns[0] / unit)

    setattr(time, name, virtual)
