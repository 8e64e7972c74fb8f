"""Imports an export into a store: sorts it in a temporary database, checks it, and writes all operations or none."""

from __future__ import annotations

import gzip
import io
import sqlite3
import sys
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from cogmeter.exporters.reading import FormatError, operations
from cogmeter.settings.text_file import encoding_of
from cogmeter.times import iso
from cogmeter_bot.errors import ImportFileError
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TextIO

    from cogmeter.exporters.reading import ImportedOperation
    from cogmeter_storage import Row, Store, StoreStatus

ROWS_PER_CHUNK: Final = 200  # the store writes a chunk in one turn of the loop
PROGRESS_EVERY: Final = 1_000  # operations
_GZIP_MAGIC: Final = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The imported operations."""

    operations: int
    series: int
    since_us: int
    until_us: int
    duplicates: int = 0  # in the file; each operation is imported once


class StagedOperations:
    """The operations of a file, sorted by their end, in a temporary database of this process."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        """Use ``stage`` instead."""
        self._raw = raw
        self.duplicates = _delete_duplicates(raw)
        self.names = raw.execute("SELECT DISTINCT service, operation FROM staged ORDER BY 1, 2").fetchall()
        self.count, since_us, until_us = raw.execute("SELECT count(*), min(end_us), max(end_us) FROM staged").fetchone()
        self.since_us, self.until_us = since_us or 0, until_us or 0

    def chunks(self, ids: list[int]) -> Iterator[list[Row]]:
        """Yield the rows for the store; ``ids`` are its series ids in the order of ``names``."""
        id_of_name = dict(zip(self.names, ids, strict=True))
        rows = self._raw.execute(
            "SELECT service, operation, end_us, duration_us, outcome, error, metadata FROM staged"
            " ORDER BY end_us, number, rowid"
        )
        while chunk := rows.fetchmany(ROWS_PER_CHUNK):
            yield [(id_of_name[row[0], row[1]], *row[2:]) for row in chunk]


def _delete_duplicates(raw: sqlite3.Connection) -> int:
    """Delete duplicates, for example of two overlapping exports, and return their number. CSV has no numbers, only 0.

    Exports of two bots may use one number for two operations, so all other columns must be equal, too.
    """
    (numbers,) = raw.execute("SELECT count(number) - count(DISTINCT number) FROM staged WHERE number > 0").fetchone()
    if not numbers:
        return 0
    return raw.execute(
        "DELETE FROM staged WHERE number > 0 AND rowid NOT IN (SELECT min(rowid) FROM staged GROUP BY number, service,"
        " operation, end_us, duration_us, outcome, error, metadata)"
    ).rowcount


@contextmanager
def stage(path: Path, on_progress: Callable[[int], None]) -> Iterator[StagedOperations]:
    """Read a file; ``-`` is standard input. ``on_progress`` receives the number of operations so far.

    Raises:
        ImportFileError: it cannot be read, or is not an export of cogmeter.
    """
    # A database without a name is in memory, and in a temporary file as far as it is too large for that.
    with closing(sqlite3.connect("", isolation_level=None)) as raw:
        raw.execute("PRAGMA journal_mode = OFF")
        raw.execute(
            "CREATE TABLE staged"
            " (number, service, operation, end_us INTEGER, duration_us INTEGER, outcome INTEGER, error, metadata)"
        )
        try:
            with _open(path) as file:
                raw.execute("BEGIN")
                rows = _with_progress(operations(file), on_progress)
                raw.executemany("INSERT INTO staged VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
                raw.execute("COMMIT")
        except (FormatError, gzip.BadGzipFile) as error:
            raise ImportFileError(f"{path} {error}.") from error
        except OSError as error:
            raise ImportFileError(f"{path} cannot be read: {error.strerror or error}.") from error
        yield StagedOperations(raw)


async def import_staged(store: Store, staged: StagedOperations, *, now_us: int) -> ImportResult:
    """Append the staged operations to the store and fold them.

    Raises:
        ImportFileError: they are not later than the operations of the store, or are in the future.
        StorageError: the store cannot write.
    """
    _check(await store.status(), staged, now_us)
    ids = await store.series_ids(staged.names)
    written = await store.append(staged.chunks(ids), now_us=staged.until_us)
    await store.fold(now_us=staged.until_us)
    return ImportResult(written, len(staged.names), staged.since_us, staged.until_us, staged.duplicates)


def _check(status: StoreStatus, staged: StagedOperations, now_us: int) -> None:
    if not staged.count:
        raise ImportFileError("The file contains no operations. Nothing was imported.")
    if staged.until_us > now_us:
        raise ImportFileError(f"The file has an operation at {iso(staged.until_us)}, in the future. Correct its times.")
    last_us = status.last_end_us
    # The last minute may be sealed already, and an operation in it would be moved to the next one.
    if last_us is not None and staged.since_us < (last_us // MINUTE_US + 1) * MINUTE_US:
        raise ImportFileError(
            f"The file starts at {iso(staged.since_us)}, but the database already has operations until {iso(last_us)}."
            " Import it into a new database (--database FILE), or export from the next minute on (--since)."
        )


@contextmanager
def _open(path: Path) -> Iterator[TextIO]:
    binary = sys.stdin.buffer if str(path) == "-" else path.open("rb")
    with closing(io.BufferedReader(cast("io.RawIOBase", binary))) as file:
        compressed = file.peek(2)[:2] == _GZIP_MAGIC
        content = io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=file))) if compressed else file
        yield io.TextIOWrapper(content, encoding=encoding_of(content.peek(2)[:2]), newline="")


def _with_progress(
    parsed: Iterator[ImportedOperation], on_progress: Callable[[int], None]
) -> Iterator[ImportedOperation]:
    for count, operation in enumerate(parsed, 1):
        if count % PROGRESS_EVERY == 0:
            on_progress(count)
        yield operation
