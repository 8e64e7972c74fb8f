"""A progress bar on the error output of a terminal; elsewhere nothing."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class ProgressStep(Protocol):
    """Tells how far it is."""

    def __call__(self, done: int, total: int | None) -> None:
        """So many of so many; None: of nobody knows how many."""
        ...


@contextmanager
def progress(title: str, unit: str) -> Iterator[ProgressStep]:
    """A bar as long as the block runs."""
    if not sys.stderr.isatty():
        yield lambda done, total: None  # noqa: ARG005 - nobody looks
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True, markup=False), transient=True) as bar:
        task = bar.add_task(title, total=None)

        def step(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=None if total is None else max(done, total))

        yield step


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM, and SIGHUP when a connection breaks, end the block by an exception, so that it cleans up."""

    def end(number: int, _frame: Any) -> NoReturn:
        raise SystemExit(128 + number)

    signals = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {one: signal.signal(one, end) for one in signals if signal.getsignal(one) is signal.SIG_DFL}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
