"""Operations as CSV: the guide's six columns, one operation per line, in the order of their end.

``timestamp`` is when the operation ended, ``duration`` is in milliseconds, ``success`` is false for failures that the
error rate counts. A text that a spreadsheet would run as a formula gets an apostrophe in front; ``unguarded`` removes
it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cogmeter.exporters.base import ROWS, Export, Exporter, milliseconds, series_ids
from cogmeter.times import iso

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cogmeter_storage.base import Store
    from cogmeter_storage.model import OperationRecord

HEADER: Final = "timestamp,service,operation,duration,success,error"

# The start of a formula, or of a new cell, to a spreadsheet: the signs (the wide ones too, which East Asian versions
# accept), blanks before them, and line breaks. Apostrophes in front are part of the match, so that removing one always
# restores the text.
_SIGNS = "=+\\-@\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}"
_FORMULA = re.compile(rf"'*(?:[\s\x00-\x1f\ufeff]*[{_SIGNS}]|[\t\r\n])")
_SPECIAL = re.compile(r'[",\r\n]')


async def write(store: Store, export: Export) -> AsyncIterator[bytes]:
    """Implement Exporter.write."""
    yield f"{HEADER}\n".encode()
    ids = await series_ids(store, export)
    async for operations in store.stream(ids, export.since_us, export.until_us, rows=ROWS):
        yield "".join(map(line, operations)).encode()


def line(row: OperationRecord) -> str:
    """Return the line of an operation. An error is always quoted, as in the guide, and a name where it needs it."""
    return (
        f"{iso(row.end_us)},{_name(row.service)},{_name(row.operation)},{milliseconds(row.duration_us)},"
        f"{'false' if row.outcome.failed else 'true'},{_quoted(guarded(row.error)) if row.error else ''}\n"
    )


def guarded(text: str) -> str:
    """Return the text so that no spreadsheet runs it as a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(text: str) -> str:
    """Return the text that ``guarded`` was called with."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _name(text: str) -> str:
    text = guarded(text)
    return _quoted(text) if _SPECIAL.search(text) else text


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


EXPORTER: Final = Exporter(
    name="csv",
    label="CSV",
    description="One operation per line for spreadsheets, without outcome and metadata",
    suffixes=("csv",),
    media_type="text/csv; charset=utf-8",
    streams=True,
    write=write,
)
