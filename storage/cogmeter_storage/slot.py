"""A slot: the aggregates of every series in one minute, hour or day, as columns, and their encoding as bytes.

The bytes are a version, a checksum (CRC-32), a header and the columns. The header has the number of series, the number
of filled buckets and one width code per column. A column is little-endian, in the narrowest unsigned width for its
largest value. A column of zeros takes no bytes. Most columns of a minute are one or two bytes wide: a minute with ten
operations of one series takes about 50 bytes. The checksum covers everything after it and the other columns of the
slot's row, so a changed key is detected, too.

Version 1 has no checksum. Such a slot is compared with itself: its counts by outcome with its buckets, its sums and
largest durations with the bounds of the buckets.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from cogmeter_storage.histogram import BUCKETS, bucket_of, upper_bound_of
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Column: TypeAlias = "NDArray[np.integer[Any]]"
Row: TypeAlias = tuple[int, int, int, int]  # of a slot's row: tier, start, first and last id

VERSION = 2
_WITHOUT_CHECKSUM = 1  # written by schema versions 1 to 3
_HEADER = struct.Struct("<II11B")
_CHECKSUM = struct.Struct("<BI")  # the version, and the checksum of what follows
_ROW = struct.Struct("<4q")
_WIDTHS = tuple(np.dtype(code) for code in ("<u1", "<u1", "<u2", "<u4", "<u8"))  # by width code; code 0 has no bytes
_SIZES = (0, 1, 2, 4, 8)
_OUTCOMES = len(Outcome)
_BY_SERIES = 4 + _OUTCOMES  # columns with one value per series; the others have one per bucket
_MAX_VALUE = 2**62  # sums beyond it would overflow
NO_ROW = (0, 0, 0, 0)


class SlotFormatError(ValueError):
    """A stored slot is damaged, or was written by a later version."""


class Slot(NamedTuple):
    """Aggregates by series in order of the series ids, then the filled buckets of all series in that order."""

    series: Column  # [n] series ids, rising
    ok: Column  # [n] operations by outcome
    error: Column
    upstream: Column
    user: Column
    cancelled: Column
    sum_us: Column  # [n] sum of the durations
    max_us: Column  # [n]
    sizes: Column  # [n] how many of the buckets below belong to the series
    buckets: Column  # [m] bucket numbers, see histogram.py
    counts: Column  # [m] operations in them

    @property
    def outcomes(self) -> tuple[Column, ...]:
        """The counts by outcome, in the order of Outcome."""
        return self[1 : 1 + _OUTCOMES]


def summarise(series: Column, duration_us: Column, outcome: Column) -> Slot:
    """Return the slot of these operations (three columns of the same length, at least one operation)."""
    duration_us = np.maximum(duration_us, 0)
    keys, counts = np.unique(series * BUCKETS + bucket_of(duration_us), return_counts=True)
    ids, sizes = np.unique(keys // BUCKETS, return_counts=True)
    row = np.searchsorted(ids, series)
    outcomes = np.bincount(row * _OUTCOMES + outcome, minlength=ids.size * _OUTCOMES).reshape(-1, _OUTCOMES)
    sum_us, max_us = np.zeros((2, ids.size), dtype=np.int64)
    np.add.at(sum_us, row, duration_us)
    np.maximum.at(max_us, row, duration_us)
    return Slot._make([ids, *outcomes.T, sum_us, max_us, sizes, keys % BUCKETS, counts])


def concatenate(slots: Sequence[Slot]) -> Slot:
    """Return the columns of all slots, one after another, as int64; a series may occur several times.

    The bucket numbers stay narrow where they are: there are many, and converting them would take a fifth of the time.
    """
    *columns, buckets, counts = zip(*slots, strict=True)
    numbers = np.concatenate(buckets)
    return Slot._make([
        *(np.concatenate(column, dtype=np.int64) for column in columns),
        numbers if numbers.dtype.itemsize < np.int64().itemsize else numbers.astype(np.int64, copy=False),
        np.concatenate(counts, dtype=np.int64),
    ])  # fmt: skip


def merge(slots: Sequence[Slot]) -> Slot:
    """Return the slot of all operations of these slots (at least one)."""
    if len(slots) == 1:
        return slots[0]
    parts = concatenate(slots)
    ids, row = np.unique(parts.series, return_inverse=True)
    added = np.zeros((_OUTCOMES + 1, ids.size), dtype=np.int64)
    for target, column in zip(added, (*parts.outcomes, parts.sum_us), strict=True):
        np.add.at(target, row, column)
    max_us = np.zeros(ids.size, dtype=np.int64)
    np.maximum.at(max_us, row, parts.max_us)
    keys, position = np.unique(np.repeat(row, parts.sizes) * BUCKETS + parts.buckets, return_inverse=True)
    counts = np.zeros(keys.size, dtype=np.int64)
    np.add.at(counts, position, parts.counts)
    sizes = np.bincount(keys // BUCKETS, minlength=ids.size)
    return Slot._make([ids, *added, max_us, sizes, keys % BUCKETS, counts])


def encode(slot: Slot, row: Row = NO_ROW) -> bytes:
    """Return the bytes of a slot; the checksum also covers ``row``, the other columns of its row."""
    codes = [_width_code(column) for column in slot]
    header = _HEADER.pack(slot.series.size, slot.buckets.size, *codes)
    columns = (column.astype(_WIDTHS[code]).tobytes() for column, code in zip(slot, codes, strict=True) if code)
    content = b"".join((header, *columns))
    return _CHECKSUM.pack(VERSION, zlib.crc32(content, zlib.crc32(_ROW.pack(*row)))) + content


def decode(data: object, row: Row = NO_ROW) -> Slot:
    """Return the slot in these bytes; its columns are views of them. ``row`` must be that of ``encode``.

    Raises:
        SlotFormatError: they are damaged, or from a later version.
    """
    stored = check(data, row)
    return _columns(stored, _CHECKSUM.size if has_checksum(stored) else 1)


def check(data: object, row: Row = NO_ROW) -> bytes:
    """Return these bytes if they are a sound slot, written with the same ``row``.

    Raises:
        SlotFormatError: they are damaged, or from a later version.
    """
    if not isinstance(data, bytes) or not data:
        raise SlotFormatError("it is empty, or not bytes")
    if data[0] == _WITHOUT_CHECKSUM:
        _compare(data)
        return data
    if data[0] != VERSION:
        raise SlotFormatError("it is not a slot, or one of a later version")
    try:
        checksum = zlib.crc32(memoryview(data)[_CHECKSUM.size :], zlib.crc32(_ROW.pack(*row)))
        _, written = _CHECKSUM.unpack_from(data)
    except struct.error as error:
        raise SlotFormatError(f"it is truncated, or a column of its row is not a number ({error})") from error
    if checksum != written:
        raise SlotFormatError("its checksum does not match")
    return data


def has_checksum(data: bytes) -> bool:
    """Return True if the bytes of a sound slot contain a checksum."""
    return data[0] != _WITHOUT_CHECKSUM


def _columns(data: bytes, offset: int) -> Slot:
    """Return the columns of the header at ``offset``, in bytes that were checked."""
    series, buckets, *codes = _HEADER.unpack_from(data, offset)
    offset += _HEADER.size
    columns = []
    for place, code in enumerate(codes):
        length = series if place < _BY_SERIES else buckets
        columns.append(np.frombuffer(data, _WIDTHS[code], length, offset) if code else np.zeros(length, np.uint8))
        offset += length * _SIZES[code]
    return Slot._make(columns)


def _compare(data: bytes) -> None:
    """Compare the header of a slot without checksum with its length, and its columns with each other.

    Raises:
        SlotFormatError: they contradict each other.
    """
    if len(data) < 1 + _HEADER.size:
        raise SlotFormatError(f"its header is truncated after {len(data)} bytes")
    series, buckets, *codes = _HEADER.unpack_from(data, 1)
    if max(codes) >= len(_SIZES):
        raise SlotFormatError(f"its columns have widths that do not exist: {codes}")
    lengths = (series,) * _BY_SERIES + (buckets,) * (len(codes) - _BY_SERIES)
    expected = 1 + _HEADER.size + sum(length * _SIZES[code] for code, length in zip(codes, lengths, strict=True))
    if expected != len(data):
        raise SlotFormatError(f"it has {len(data)} bytes instead of {expected}")
    if not codes[0] or not codes[-1]:  # a column of zeros may be of any length, and these two are never zero
        raise SlotFormatError("it has no series, or no operations")
    _compare_columns(_columns(data, 1))


def _compare_columns(slot: Slot) -> None:
    if max(int(column.max(initial=0)) for column in slot) >= _MAX_VALUE:
        raise SlotFormatError("a value is too large")
    columns = Slot._make(column.astype(np.int64) for column in slot)
    if not columns.series.size or columns.series[0] < 1 or (np.diff(columns.series) < 1).any():
        raise SlotFormatError("its series are not in order")
    if columns.sizes.min() < 1 or int(columns.sizes.astype(np.float64).sum()) != columns.buckets.size:
        raise SlotFormatError("its buckets do not fit its series")
    if columns.counts.min() < 1 or columns.buckets.max() >= BUCKETS:
        raise SlotFormatError("a bucket is empty, or does not exist")
    ends = np.cumsum(columns.sizes)
    starts = ends - columns.sizes
    inside = np.ones(columns.buckets.size, dtype=np.bool_)
    inside[starts] = False
    if (np.diff(columns.buckets, prepend=-1) < 1)[inside].any():
        raise SlotFormatError("its buckets are not in order")
    counts = columns.counts.astype(np.float64)  # exact below 2**53, and never overflows
    if (np.add.reduceat(counts, starts) != np.sum(columns.outcomes, axis=0, dtype=np.float64)).any():
        raise SlotFormatError("its counts by outcome differ from those of its buckets")
    if (bucket_of(columns.max_us) != columns.buckets[ends - 1]).any():
        raise SlotFormatError("a largest duration is in another bucket than the last one")
    upper = np.minimum(upper_bound_of(columns.buckets), np.repeat(columns.max_us, columns.sizes))
    lower = np.where(columns.buckets > 0, upper_bound_of(columns.buckets - 1), 0.0)
    lowest, highest = (np.add.reduceat(counts * bound, starts) for bound in (lower, upper))
    if (columns.sum_us < lowest * (1 - 1e-6) - 1).any() or (columns.sum_us > highest * (1 + 1e-6) + 1).any():
        raise SlotFormatError("a sum of durations is outside the range that its buckets allow")


def _width_code(column: Column) -> int:
    largest = int(column.max(initial=0))
    return next(code for code, size in enumerate(_SIZES) if largest < 256**size)
