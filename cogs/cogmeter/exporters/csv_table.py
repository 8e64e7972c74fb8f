"""Operations as CSV: the guide's six columns, one operation a line, in order of their end.

``timestamp`` is when the operation ended, ``duration`` milliseconds, ``success`` what the error rate does not count.
A text that a spreadsheet would take for a formula gets an apostrophe in front of it; ``unguarded`` takes it away again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cogmeter.exporters.base import ROWS, Export, iso, milliseconds, wanted_ids

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cogmeter_storage.base import Store
    from cogmeter_storage.model import OperationRecord

HEADER: Final = "timestamp,service,operation,duration,success,error"

# What a spreadsheet takes for the beginning of a formula, or of a cell of its own: the signs (the wide ones where East
# Asian text is usual), blanks before them, and line breaks. Apostrophes that stand there already are counted in, so
# that taking one away always gives the text back.
_SIGNS = "=+\\-@\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}"
_FORMULA = re.compile(rf"'*(?:[\s\x00-\x1f\ufeff]*[{_SIGNS}]|[\t\r\n])")
_SPECIAL = re.compile(r'[",\r\n]')


async def write(store: Store, export: Export) -> AsyncIterator[bytes]:
    """See Exporter."""
    yield f"{HEADER}\n".encode()
    ids = await wanted_ids(store, export)
    async for operations in store.stream(ids, export.since_us, export.until_us, rows=ROWS):
        yield "".join(map(line, operations)).encode()


def line(one: OperationRecord) -> str:
    """The line of an operation. An error is always quoted, as in the guide; names are where they need it."""
    return (
        f"{iso(one.end_us)},{_name(one.service)},{_name(one.operation)},{milliseconds(one.duration_us)},"
        f"{'false' if one.outcome.failed else 'true'},{_quoted(guarded(one.error)) if one.error else ''}\n"
    )


def guarded(text: str) -> str:
    """The text as no spreadsheet takes it for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(text: str) -> str:
    """What ``guarded`` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _name(text: str) -> str:
    text = guarded(text)
    return _quoted(text) if _SPECIAL.search(text) else text


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
