"""Reads the operations of JSON, NDJSON and CSV exports, one after the other.

JSON and NDJSON contain every field of an operation. CSV has no metadata, and of the outcome only success or failure:
``true`` becomes ``ok`` and ``false`` becomes ``error``.
"""

from __future__ import annotations

import csv
import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cogmeter.exporters.csv_table import HEADER, unguarded
from cogmeter.recording.operation import error_text
from cogmeter.recording.recorder import valid_name
from cogmeter.recording.rows import MAX_DURATION_US, metadata_json
from cogmeter.redaction import quoted, shown
from cogmeter.times import parse_iso
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

_NUMBER: Final = re.compile(r"op_([0-9]{1,18})")
_LAST_LINE: Final = "]}}"  # of a JSON export
_OUTCOMES: Final = {outcome.label: outcome for outcome in Outcome}
_MOST_LINE: Final = 1_000_000  # characters of an operation; exports have a few thousand at most
_MOST_DOCUMENT: Final = 256_000_000  # characters of JSON in another layout, which is read into memory
_LOOK: Final = 4_096  # characters that show the format of a file
_EXPORT_AGAIN: Final = "export it again with --format ndjson"
_UNKNOWN: Final = "is not an export with operations; export with --format json, ndjson or csv"


class FormatError(ValueError):
    """The file is not an export, or is damaged. The message names the place and the reason."""


class ImportedOperation(NamedTuple):
    """An operation of a file. ``number`` is its id in the file, or 0."""

    number: int
    service: str
    operation: str
    end_us: int
    duration_us: int
    outcome: Outcome
    error: str | None
    metadata: str | None  # JSON


def operations(file: TextIO) -> Iterator[ImportedOperation]:
    """Yield the operations of an export in its order. Its first line shows the format.

    Open ``file`` with ``newline=""``, so that line ends inside the quotes of CSV are kept.

    Raises:
        FormatError: it is not an export, it is cut, or an operation is invalid; all operations before it are valid.
    """
    try:
        first = file.readline(_LOOK).removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
        if first.lstrip()[:1] not in {"{", HEADER[0]}:  # a large file of another kind is not read to its end
            raise FormatError(_UNKNOWN)
        first += "" if first.endswith("\n") else file.readline(_MOST_DOCUMENT)
        if first.rstrip("\r\n") == HEADER:
            yield from _of_csv(file)
        elif first.startswith('{"operationId":'):
            yield from _of_lines(_chained(first, _lines(file)))
        elif first.startswith('{"exportTime":') and first.rstrip().endswith('"services":{'):
            yield from _of_json(file)
        else:
            yield from _of_document(first, file)
    except UnicodeDecodeError as error:
        name = "UTF-16" if error.encoding.startswith("utf-16") else "UTF-8"
        wrong = f"byte 0x{error.object[error.start]:02x}: {error.reason}"
        raise FormatError(f"is not {name} text ({wrong}); save it as UTF-8") from error
    except (EOFError, OSError) as error:
        raise FormatError(f"cannot be read to its end ({error})") from error


def _of_csv(file: TextIO) -> Iterator[ImportedOperation]:
    rows = csv.reader(_lines(file), strict=True)
    try:
        for row in rows:
            yield _of_row(row, rows.line_num + 1)
    except csv.Error as error:
        raise FormatError(f"line {rows.line_num + 1}: {error}") from error


def _of_row(row: list[str], line: int) -> ImportedOperation:
    if len(row) != HEADER.count(",") + 1:
        raise FormatError(f"line {line}: it has {len(row)} columns instead of {HEADER}")
    at, service, operation, duration, success, error = row
    if success not in {"true", "false"}:
        raise FormatError(f"line {line}: success={quoted(success)} is neither true nor false")
    try:
        took_ms = float(duration)
    except ValueError:
        raise FormatError(f"line {line}: duration={quoted(duration)} is not a number of milliseconds") from None
    fields = {
        "service": unguarded(service),
        "operation": unguarded(operation),
        "endTime": at,
        "duration": took_ms,
        "outcome": "ok" if success == "true" else "error",
        "error": unguarded(error) or None,
    }
    return _checked(fields, f"line {line}")


def _of_lines(lines: Iterable[str]) -> Iterator[ImportedOperation]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _of_line(line, number)


def _of_json(file: TextIO) -> Iterator[ImportedOperation]:
    """Read JSON as it was exported: each operation is on its own line, so only one line is in memory."""
    last = ""
    for number, line in enumerate(_lines(file), 2):
        last = line.strip() or last
        if line.startswith('{"operationId":'):
            yield _of_line(line.rstrip().removesuffix(","), number)
    if last != _LAST_LINE:
        raise FormatError("is incomplete: the export was interrupted, or the file was cut")


def _of_document(first: str, file: TextIO) -> Iterator[ImportedOperation]:
    """Read JSON that another program wrote in another layout; it is in memory as a whole."""
    text = first + file.read(_MOST_DOCUMENT - len(first) + 1)
    if len(text) > _MOST_DOCUMENT:
        raise FormatError(f"has another layout and more than {_MOST_DOCUMENT:,} characters; {_EXPORT_AGAIN}")
    try:
        services = json.loads(text)["metrics"]["services"].values()
        listed = [fields for service in services for fields in service["operations"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise FormatError(_UNKNOWN) from None
    for number, fields in enumerate(listed, 1):
        yield _checked(fields, f"operation {number}")


def _of_line(line: str, number: int) -> ImportedOperation:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"line {number}: {error}; the line is incomplete or was changed") from None
    return _checked(fields, f"line {number}")


def _checked(fields: Any, place: str) -> ImportedOperation:
    """Return the operation if it could have been recorded."""
    try:
        service, operation, outcome = fields["service"], fields["operation"], _OUTCOMES[fields["outcome"]]
        end_us = parse_iso(fields["endTime"])
        duration_us = round(fields["duration"] * 1000)
        error, metadata = fields.get("error"), fields.get("metadata") or None
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as wrong:
        reason = shown(f"{type(wrong).__name__}: {wrong}".strip(), limit=120)
        raise FormatError(f"{place}: it is not an operation of an export ({reason})") from None
    for name in (service, operation):
        if not isinstance(name, str) or not valid_name(name):
            raise FormatError(f"{place}: {quoted(name)} is not a name of 1 to 100 printable characters")
    if not 0 <= duration_us <= MAX_DURATION_US:
        raise FormatError(f"{place}: duration={shown(fields['duration'])} is not a duration in milliseconds")
    return ImportedOperation(
        number=_number(fields.get("operationId")),
        service=service,
        operation=operation,
        end_us=end_us,
        duration_us=duration_us,
        outcome=outcome,
        error=None if error is None else error_text(str(error)),
        metadata=None if metadata is None else metadata_json(metadata),
    )


def _number(text: object) -> int:
    match = _NUMBER.fullmatch(text) if isinstance(text, str) else None
    return int(match[1]) if match else 0


def _lines(file: TextIO) -> Iterator[str]:
    """Yield the lines of a file.

    Raises:
        FormatError: a line is longer than an export can have.
    """
    while line := file.readline(_MOST_LINE):
        if len(line) == _MOST_LINE and not line.endswith("\n"):
            raise FormatError(f"has a line of more than {_MOST_LINE:,} characters; {_EXPORT_AGAIN}")
        yield line


def _chained(first: str, rest: Iterable[str]) -> Iterator[str]:
    yield first
    yield from rest
