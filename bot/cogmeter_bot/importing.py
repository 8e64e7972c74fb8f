"""Brings the operations of an export into a store: sorted through a temporary file, checked, and all or none."""

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
from cogmeter_bot.errors import CannotRunError
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TextIO

    from cogmeter.exporters.reading import Read
    from cogmeter_storage import Row, Store, StoreStatus

SLICE: Final = 200  # rows that the store writes in one turn of the loop
TOLD: Final = 1_000  # operations between two words on how far it is
_MAGIC: Final = b"\x1f\x8b"


class ImportFileError(CannotRunError):
    """The file cannot be brought in; the text says why, and how to mend it."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What was brought in."""

    operations: int
    series: int
    since_us: int
    until_us: int
    again: int = 0  # operations that stood in the file more than once, each brought in once


class Staged:
    """The operations of a file, by the order of their end, in a temporary database that goes with the process."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        """Made by ``stage``."""
        self._raw = raw
        self.again = _without_repeated(raw)
        self.names = raw.execute("SELECT DISTINCT service, operation FROM staged ORDER BY 1, 2").fetchall()
        self.count, since_us, until_us = raw.execute("SELECT count(*), min(end_us), max(end_us) FROM staged").fetchone()
        self.since_us, self.until_us = since_us or 0, until_us or 0

    def slices(self, ids: list[int]) -> Iterator[list[Row]]:
        """The rows as the store takes them; ``ids`` are its series ids in the order of ``names``."""
        by_name = dict(zip(self.names, ids, strict=True))
        rows = self._raw.execute(
            "SELECT service, operation, end_us, duration_us, outcome, error, metadata FROM staged"
            " ORDER BY end_us, number, rowid"
        )
        while some := rows.fetchmany(SLICE):
            yield [(by_name[row[0], row[1]], *row[2:]) for row in some]


def _without_repeated(raw: sqlite3.Connection) -> int:
    """Leave out what is there twice, as where two exports overlap; the number of CSV, 0, tells nothing.

    Exports of two bots may have the same number for two operations: all else must be the same, too.
    """
    (numbers,) = raw.execute("SELECT count(number) - count(DISTINCT number) FROM staged WHERE number > 0").fetchone()
    if not numbers:
        return 0
    return raw.execute(
        "DELETE FROM staged WHERE number > 0 AND rowid NOT IN (SELECT min(rowid) FROM staged GROUP BY number, service,"
        " operation, end_us, duration_us, outcome, error, metadata)"
    ).rowcount


@contextmanager
def stage(path: Path, told: Callable[[int], None]) -> Iterator[Staged]:
    """Read a file; ``-`` is standard input. ``told`` hears how many operations there are so far.

    Raises:
        ImportFileError: it cannot be read, or is no export of ours.
    """
    # Without a name SQLite keeps it in a temporary file of its own, as far as it is too large for memory.
    with closing(sqlite3.connect("", isolation_level=None)) as raw:
        raw.execute("PRAGMA journal_mode = OFF")
        raw.execute(
            "CREATE TABLE staged"
            " (number, service, operation, end_us INTEGER, duration_us INTEGER, outcome INTEGER, error, metadata)"
        )
        try:
            with _opened(path) as file:
                raw.execute("BEGIN")
                raw.executemany("INSERT INTO staged VALUES (?, ?, ?, ?, ?, ?, ?, ?)", _counted(operations(file), told))
                raw.execute("COMMIT")
        except (FormatError, gzip.BadGzipFile) as error:
            raise ImportFileError(f"{path} {error}.") from error
        except OSError as error:
            raise ImportFileError(f"{path} cannot be read: {error.strerror or error}.") from error
        yield Staged(raw)


async def bring_in(store: Store, staged: Staged, *, now_us: int) -> Imported:
    """Append what is staged, fold it, or refuse it as a whole.

    Raises:
        ImportFileError: it does not lie behind what the store has, or lies ahead of now.
        StorageError: the store cannot write.
    """
    _check(await store.status(), staged, now_us)
    ids = await store.series_ids(staged.names)
    written = await store.append(staged.slices(ids), now_us=staged.until_us)
    await store.fold(now_us=staged.until_us)
    return Imported(written, len(staged.names), staged.since_us, staged.until_us, staged.again)


def _check(status: StoreStatus, staged: Staged, now_us: int) -> None:
    if not staged.count:
        raise ImportFileError("The file holds no operations, so nothing was brought in.")
    if staged.until_us > now_us:
        raise ImportFileError(f"The file reaches to {iso(staged.until_us)}, which has not come yet; mend its times.")
    last_us = status.last_end_us
    # The minute of the last one may be sealed already, and what comes into it would be moved behind it.
    if last_us is not None and staged.since_us < (last_us // MINUTE_US + 1) * MINUTE_US:
        raise ImportFileError(
            f"The file begins at {iso(staged.since_us)}, and the database reaches to {iso(last_us)} already: bring it"
            " into a new database (--database FILE), or export from the minute after on (--since)."
        )


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    binary = sys.stdin.buffer if str(path) == "-" else path.open("rb")
    with closing(io.BufferedReader(cast("io.RawIOBase", binary))) as file:
        packed = file.peek(2)[:2] == _MAGIC
        unpacked = io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=file))) if packed else file
        yield io.TextIOWrapper(unpacked, encoding=encoding_of(unpacked.peek(2)[:2]), newline="")


def _counted(found: Iterator[Read], told: Callable[[int], None]) -> Iterator[Read]:
    for count, one in enumerate(found, 1):
        if count % TOLD == 0:
            told(count)
        yield one
