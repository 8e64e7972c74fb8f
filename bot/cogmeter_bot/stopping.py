"""Ctrl+C and SIGTERM cancel the work, so that everything is closed in order before the process ends."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


async def run_until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` to its end, or cancel it at the first signal and wait until it has tidied up.

    A second signal ends the process at once, as without us.
    """
    with _stop_signals() as stop:
        working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            working.cancel()  # does nothing to work that has ended
            stopping.cancel()
            await asyncio.wait({working, stopping})
        if not (stop.is_set() and working.cancelled()):
            working.result()


@contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    """An event that the first signal sets."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def release() -> None:
        for one in SIGNALS:
            loop.remove_signal_handler(one)

    def stopped() -> None:
        release()
        stop.set()

    try:
        for one in SIGNALS:
            loop.add_signal_handler(one, stopped)
    except NotImplementedError:  # Windows: Ctrl+C arrives as KeyboardInterrupt instead
        yield stop
        return
    try:
        yield stop
    finally:
        release()
