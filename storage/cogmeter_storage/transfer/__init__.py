"""Copies everything from one store to another of any engine, resumable and checked; and PostgreSQL to a backup file."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Final

from cogmeter_storage.base import StorageError
from cogmeter_storage.factory import is_postgres, sqlite_path
from cogmeter_storage.transfer.copying import CHUNK_ROWS, StoreTransfer, Transferred
from cogmeter_storage.transfer.sqlite_side import new_sqlite_file, sqlite_reader, sqlite_writer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cogmeter_storage.transfer.reading import TransferReader
    from cogmeter_storage.transfer.writing import TransferWriter

__all__ = ["IMPORTED", "StoreTransfer", "Transferred", "backup_postgres", "transfer"]
IMPORTED: Final = "imported"


def transfer(
    source_url: str,
    target_url: str,
    *,
    process: str = IMPORTED,
    force: bool = False,
    step: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005 - nothing to show
    chunk_rows: int = CHUNK_ROWS,
) -> Transferred:
    """Copy all data of one store to another, which must be new or empty, and compare both.

    The same call continues after an interruption at any moment, also by kill -9; it copies nothing twice. Neither may
    change until it is complete. Alerts, errors, deliveries, traces and markers keep their ids. Operations have one
    sequence of ids in SQLite, and belong to one run of ``process`` in PostgreSQL, so the ids of operations of several
    runs change. Statistics stay the same. It blocks: call it from a thread.

    Args:
        source_url: as for open_store; no bot may use it.
        target_url: the same.
        process: the name in PostgreSQL of the process that has recorded the copied operations.
        force: copy though a process of a PostgreSQL database seems to run.
        step: called after each chunk with the rows done and in total; what it raises ends the call.
        chunk_rows: rows in one transaction.

    Raises:
        StorageError: one of the two is in use or cannot be opened, the target has other data, or the copy differs.
    """
    with ExitStack() as stack:
        _refuse_same(source_url, target_url)
        source = stack.enter_context(_reader(source_url, force=force))
        target = stack.enter_context(_writer(target_url, process, force=force))
        return StoreTransfer(source, target, step, chunk_rows=chunk_rows).run()


async def backup_postgres(url: str, path: Path, progress: Callable[[int, int], None] | None) -> None:
    """Implement Store.backup of a PostgreSQL database: write everything, as of one moment, to a new SQLite file."""
    from cogmeter_storage.sqlite.backup import write_new

    def copy(part: Path, step: Callable[[int, int], None]) -> None:
        with ExitStack() as stack:
            source = stack.enter_context(_reader(url, force=True))
            transferring = StoreTransfer(source, stack.enter_context(new_sqlite_file(part)), step)
            transferring.run()
            transferring.forget()

    await write_new(path, lambda part, step: asyncio.to_thread(copy, part, step), progress)


def _refuse_same(source_url: str, target_url: str) -> None:
    same = source_url == target_url
    if not same and not is_postgres(source_url) and not is_postgres(target_url):
        source, target = sqlite_path(source_url), sqlite_path(target_url)
        same = source.exists() and target.exists() and source.samefile(target)
    if same:
        raise StorageError("The source and the target are the same database.", permanent=True)


def _reader(url: str, *, force: bool) -> AbstractContextManager[TransferReader]:
    if not is_postgres(url):
        return sqlite_reader(sqlite_path(url))
    _require_psycopg()
    from cogmeter_storage.transfer.postgres_side import postgres_reader

    return postgres_reader(url, force=force)


def _writer(url: str, process: str, *, force: bool) -> AbstractContextManager[TransferWriter]:
    if not is_postgres(url):
        return sqlite_writer(sqlite_path(url))
    _require_psycopg()
    from cogmeter_storage.transfer.postgres_side import postgres_writer

    return postgres_writer(url, process, force=force)


def _require_psycopg() -> None:
    try:
        import psycopg  # noqa: F401 - whether it is there
    except ModuleNotFoundError as error:
        raise StorageError(
            'PostgreSQL needs another package. To fix it: pip install "cogmeter[postgres]".', permanent=True
        ) from error
