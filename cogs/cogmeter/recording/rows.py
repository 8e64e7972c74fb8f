"""Converts the buffer's atoms to the store's rows, slice by slice: wall times, microseconds, JSON, no secrets."""

from __future__ import annotations

import json
import logging
import reprlib
import time
from typing import TYPE_CHECKING, Any

from cogmeter.recording.buffer import FIELDS
from cogmeter.redaction import redact
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cogmeter.recording.recorder import Recorder
    from cogmeter_storage.model import BatchId, Row

SLICE = 128  # rows converted and written in one turn of the loop
MAX_METADATA = 4_000  # characters of JSON that an operation may keep
MAX_KEYS = 100  # metadata with more keys is shortened at once
MAX_VALUE = 500  # characters of one value that is cut
MAX_PLAIN = 5  # values of metadata that are written without an encoder
MAX_NUMBER = 1e15
MAX_DURATION_US = 3 * 365 * 86_400 * 1_000_000
_strict_json = json.JSONEncoder(allow_nan=False).encode  # json.dumps would make a new encoder for each operation
_BRIEF = reprlib.Repr()  # for large values: three levels deep, a few items of each
_BRIEF.maxlevel, _BRIEF.maxstring, _BRIEF.maxother = 3, MAX_VALUE // 2, MAX_VALUE
_BRIEF.maxlist = _BRIEF.maxtuple = _BRIEF.maxdict = _BRIEF.maxset = _BRIEF.maxfrozenset = _BRIEF.maxdeque = 8

_CONTAINERS = frozenset({dict, list, tuple, set, frozenset})
_SIZED = _CONTAINERS | {str, bytes, bytearray}

_traces = logging.getLogger("cogmeter.operations")


class Batch:
    """Atoms that were taken from the buffer together, and the offset from their clock to the wall clock."""

    __slots__ = ("_wall_minus_perf_ns", "atoms", "began_ns", "id", "loop_ns", "taken_ns", "tried")

    def __init__(self, atoms: list[Any], *, wall_minus_perf_ns: int, id: BatchId | None = None) -> None:  # noqa: A002 - its name
        self.atoms = atoms
        self.id = id
        self.began_ns = self.taken_ns = time.perf_counter_ns()  # when the first and the last atoms were taken
        self.tried = False  # whether somebody tried to store it: its operations do not change any more
        self.loop_ns = 0  # spent on the event loop for the conversion
        self._wall_minus_perf_ns = wall_minus_perf_ns

    @property
    def operations(self) -> int:
        """The number of operations."""
        return len(self.atoms) // FIELDS

    @property
    def taken_us(self) -> int:
        """The wall time at which its last operations were taken from the buffer."""
        return (self.taken_ns + self._wall_minus_perf_ns) // 1000

    def extend(self, atoms: list[Any]) -> None:
        """Add operations that were taken from the buffer now."""
        self.atoms += atoms
        self.taken_ns = time.perf_counter_ns()

    def follow(self, step_ns: int, wall_minus_perf_ns: int) -> None:
        """Follow a step of the wall clock, unless the batch was taken after the step and has the new offset."""
        left_ns = wall_minus_perf_ns - self._wall_minus_perf_ns
        if abs(left_ns - step_ns) < abs(left_ns):
            self._wall_minus_perf_ns += step_ns

    def sort(self) -> None:
        """Sort the operations by their end: threads that record at the same time can overtake each other."""
        ends = self.atoms[1::FIELDS]
        if ends == sorted(ends):
            return
        order = sorted(range(len(ends)), key=ends.__getitem__)
        self.atoms[:] = [atom for index in order for atom in self.atoms[index * FIELDS : (index + 1) * FIELDS]]

    def slices(self, ids: Sequence[int], recorder: Recorder) -> Iterator[list[Row]]:
        """Yield the rows in slices, each converted when needed; ``ids`` are the store's, by the recorder's number."""
        tracing = _traces.isEnabledFor(logging.DEBUG)
        for start in range(0, len(self.atoms), SLICE * FIELDS):
            began_ns = time.perf_counter_ns()
            rows = self._rows(self.atoms[start : start + SLICE * FIELDS], ids, recorder)
            self.loop_ns += time.perf_counter_ns() - began_ns
            if tracing:
                _trace(rows, dict(zip(ids, recorder.names, strict=False)))
            yield rows

    def _rows(self, atoms: list[Any], ids: Sequence[int], recorder: Recorder) -> list[Row]:
        offset, piece = self._wall_minus_perf_ns, iter(atoms)
        rows: list[Row] = []
        for series, end, duration, outcome, extra in zip(piece, piece, piece, piece, piece, strict=True):
            end_us = (end + offset) // 1000
            if outcome is None:
                duration_us = checked_us(duration)
                if duration_us is None:
                    recorder.refuse()
                else:
                    rows.append((ids[series], end_us, duration_us, 0, None, None))
            elif extra is None:
                rows.append((ids[series], end_us, duration // 1000, outcome, None, None))
            else:
                error, metadata = extra
                text = metadata_json(metadata) if metadata else None
                rows.append((ids[series], end_us, duration // 1000, outcome, error, text))
        return rows


def checked_us(duration_ms: Any) -> int | None:
    """Return the microseconds of a duration that was passed to ``record()``; None if it is not a duration."""
    try:
        duration_us = int(duration_ms * 1000)
    except (TypeError, ValueError, OverflowError):
        return None
    return duration_us if 0 <= duration_us <= MAX_DURATION_US else None


def metadata_json(metadata: Mapping[str, Any]) -> str:
    """Return metadata as JSON without secrets; a value that JSON cannot express becomes its ``repr``. Never raises."""
    try:
        if _is_plain(metadata):
            return repr(metadata).replace("'", '"')
        if isinstance(metadata, dict) and _fits(metadata):
            text = _strict_json(metadata)
            if len(text) <= MAX_METADATA:
                return redact(text)
    except Exception:  # noqa: BLE001, S110 - the values are the host's objects and may fail in any way
        pass
    try:
        return redact(json.dumps(_plain(metadata) if len(metadata) <= MAX_KEYS else _shortened(metadata)))
    except Exception:  # noqa: BLE001 - not a mapping, or one that another thread changes
        return redact(json.dumps({"metadata": _text(metadata)}))


def _is_plain(metadata: Any) -> bool:
    """Return whether metadata is a few numbers, as most of cogmeter's own: an encoder and a search would take longer.

    Names are like Python's, with nothing to escape, and numbers as JSON has them: no boolean, NaN or infinity.
    """
    if type(metadata) is not dict or len(metadata) > MAX_PLAIN:
        return False
    for key, value in metadata.items():
        kind = type(value)
        if (kind is not int and kind is not float) or not -MAX_NUMBER < value < MAX_NUMBER:
            return False
        if type(key) is not str or len(key) > MAX_VALUE or not (key.isascii() and key.isidentifier()):
            return False
    return True


def _fits(value: Any) -> bool:
    """Return whether a value may be short enough to be kept whole, without reading more of it than may be kept.

    Converting a prompt of a megabyte, even one deep inside a list of messages, would take the loop milliseconds.
    """
    remaining, waiting = MAX_METADATA, [value]
    while waiting and remaining >= 0:
        part = waiting.pop()
        kind = type(part)
        if kind in _SIZED:
            remaining -= len(part)
        if kind in _CONTAINERS and remaining >= 0:
            waiting.extend(part)
            if kind is dict:
                waiting.extend(part.values())
        remaining -= 1
    return remaining >= 0


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return each value as JSON can express it, or as its repr; cut all of them if the whole is too long."""
    plain: dict[str, Any] = {}
    remaining = MAX_METADATA
    for key, value in metadata.items():
        name = _text(key)
        try:
            item = value if _fits(value) else _text(value)
            remaining -= len(json.dumps({name: item}, allow_nan=False))
        except Exception:  # noqa: BLE001 - see metadata_json
            item = _text(value)
            remaining -= len(json.dumps({name: item}))
        if remaining < 0:
            return _shortened(metadata)
        plain[name] = item
    return plain


def _shortened(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return as many values as fit, each cut, and the number of missing ones."""
    shortened: dict[str, str] = {}
    remaining = MAX_METADATA
    for key, value in metadata.items():
        name, text = _text(key), _text(value)
        remaining -= len(json.dumps({name: text}))
        if remaining < 0:
            shortened["(cut)"] = f"{len(metadata) - len(shortened)} more values"
            break
        shortened[name] = text
    return shortened


def _text(value: Any) -> str:
    try:
        text = value if isinstance(value, str) else repr(value) if _fits(value) else _BRIEF.repr(value)
    except Exception:  # noqa: BLE001 - a repr is the host's code
        text = f"({type(value).__name__}: its repr failed)"
    return text[:MAX_VALUE]


def _trace(rows: list[Row], names: Mapping[int, tuple[str, str]]) -> None:
    for series, _, duration_us, outcome, error, metadata in rows:
        cause = f": {error}" if error else ""
        extra = f" {metadata}" if metadata else ""
        _traces.debug(
            "%s/%s %s in %.3f ms%s%s", *names[series], Outcome(outcome).label, duration_us / 1e3, cause, extra
        )
