"""A slot: the aggregates of every series in one stretch of time, as columns, and the bytes that they are kept in.

The bytes are a header (version, number of series, number of filled buckets, one width code a column), then the
columns one after another, little-endian, each in the narrowest unsigned width that holds its largest value; a column
of zeros takes no bytes. Most columns of a minute are one or two bytes wide, so a minute of ten operations of one
series takes near 45 bytes.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from cogmeter_storage.histogram import BUCKETS, bucket_of
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Column: TypeAlias = "NDArray[np.integer[Any]]"

VERSION = 1
_HEADER = struct.Struct("<BII11B")
_WIDTHS = tuple(np.dtype(code) for code in ("<u1", "<u1", "<u2", "<u4", "<u8"))  # by width code; code 0 has no bytes
_SIZES = (0, 1, 2, 4, 8)
_OUTCOMES = len(Outcome)
_BY_SERIES = 4 + _OUTCOMES  # columns with one value a series; the others have one a bucket


class SlotFormatError(ValueError):
    """The bytes are no slot that this version can read."""


class Slot(NamedTuple):
    """Aggregates by series, in the order of the series ids, then the filled buckets of all series in that order."""

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
    """The slot of these operations (three columns of the same length, at least one operation)."""
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
    """The columns of all slots, one after another, as int64; a series stands in it as often as slots hold it."""
    return Slot._make(np.concatenate(column, dtype=np.int64) for column in zip(*slots, strict=True))


def merge(slots: Sequence[Slot]) -> Slot:
    """The slot of all the operations of these slots (at least one)."""
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


def encode(slot: Slot) -> bytes:
    """The bytes of a slot."""
    codes = [_width_code(column) for column in slot]
    header = _HEADER.pack(VERSION, slot.series.size, slot.buckets.size, *codes)
    columns = (column.astype(_WIDTHS[code]).tobytes() for column, code in zip(slot, codes, strict=True) if code)
    return b"".join((header, *columns))


def decode(data: bytes) -> Slot:
    """The slot in these bytes; its columns are views of them.

    Raises:
        SlotFormatError: they are damaged, or of a later version.
    """
    if len(data) < _HEADER.size or data[0] != VERSION:
        raise SlotFormatError("not a slot, or one of a later version")
    _, series, buckets, *codes = _HEADER.unpack_from(data)
    lengths = (series,) * _BY_SERIES + (buckets,) * (len(codes) - _BY_SERIES)
    offset = _HEADER.size
    columns = []
    try:
        for code, length in zip(codes, lengths, strict=True):
            columns.append(np.frombuffer(data, _WIDTHS[code], length, offset) if code else np.zeros(length, np.uint8))
            offset += length * _SIZES[code]
    except (ValueError, IndexError) as error:
        raise SlotFormatError(f"a damaged slot: {error}") from error
    if offset != len(data):
        raise SlotFormatError(f"a damaged slot: {len(data)} bytes instead of {offset}")
    return Slot._make(columns)


def _width_code(column: Column) -> int:
    largest = int(column.max(initial=0))
    return next(code for code, size in enumerate(_SIZES) if largest < 256**size)
