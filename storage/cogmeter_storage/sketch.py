"""Distinct-count sketches of people by key: HyperLogLog with 2**14 registers, exact while a sketch is small.

A sketch knows 28 bits of each person's keyed hash. Up to SPARSE people it is the sorted list of these values. A larger
one has 2**14 registers: the first 14 bits choose the register, which remembers the most leading zeros of the other 14
bits. Sketches are merged by union, so a person counts once over any number of slots, series and restarts, and adding
anything twice changes nothing.

The bytes are a version, a checksum (CRC-32), a header, the keys, the small sketches and the large ones. All small
sketches of a slot are one rising sequence of numbers (place of the key, hash), stored as Elias and Fano do: the lower
bits of each number as they are, the upper bits as a bitmap. That takes 30 bits for a person who is alone, 24 bits for
each of 64. Registers have four bits and are compressed by zlib: 1 to 7 kB.

The standard error of a large sketch is 1.04 / sqrt(2**14) = 0.81%, so an error of 3% is more than three and a half
standard errors. (P. Flajolet and others, "HyperLogLog: the analysis of a near-optimal cardinality estimation
algorithm", 2007.) No library is used: the known ones have an object and a header for each sketch, and merge in a loop.
"""

from __future__ import annotations

import math
import struct
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Keys = NDArray[np.int64]
    Registers = NDArray[np.uint8]

SPARSE: Final = 512  # people in a small sketch; with more, the registers take less space
MAX_KEY: Final = 2**34 - 1
_INDEX_BITS, _ZERO_BITS = 14, 14  # of a hash: the register, and the bits whose leading zeros are counted
_HASH_BITS: Final = _INDEX_BITS + _ZERO_BITS
_HASH_MASK: Final = (1 << _HASH_BITS) - 1
_REGISTERS: Final = 1 << _INDEX_BITS
_VERSION: Final = 1
_CHECKSUM: Final = struct.Struct("<BI")  # the version, and the checksum of what follows
_HEADER: Final = struct.Struct("<IIIIBB")  # small and large sketches, values, bytes of the bitmap, two widths
_ROW: Final = struct.Struct("<2q")


class SketchFormatError(ValueError):
    """Stored sketches are damaged, or were written by a later version."""


class Sketches:
    """One sketch for each key; never changed in place."""

    def __init__(self, small: Keys, large: dict[int, Registers]) -> None:
        """Use ``of`` or ``decode`` instead."""
        self._small = small  # key << 28 | hash, rising; keys of ``large`` do not occur
        self._large = large

    @classmethod
    def of(cls, keys: NDArray[np.integer[Any]], hashes: NDArray[np.uint64]) -> Sketches:
        """Return the sketches of these people: the key and the 64-bit hash of each, in any order.

        Raises:
            ValueError: a key is negative or above MAX_KEY.
        """
        if keys.size and not 0 <= int(keys.min()) <= int(keys.max()) <= MAX_KEY:
            raise ValueError(f"a key of a sketch is 0 to {MAX_KEY}")
        kept = (hashes >> np.uint64(64 - _HASH_BITS)).astype(np.int64)
        return _limited(_distinct((keys.astype(np.int64) << _HASH_BITS) | kept), {})

    @property
    def size(self) -> int:
        """The number of values in memory, about eight bytes each."""
        return len(self._small) + len(self._large) * _REGISTERS // 8

    @property
    def keys(self) -> list[int]:
        """The keys of the sketches."""
        return [*_groups(self._small)[0].tolist(), *self._large]

    def __bool__(self) -> bool:
        return bool(self._small.size or self._large)

    def mapped(self, lookup: Callable[[Keys], Keys]) -> Sketches:
        """Return these sketches under the keys that ``lookup`` returns for theirs; without those it maps below 0.

        Sketches that get the same key are merged.
        """
        new = lookup(self._small >> _HASH_BITS)
        values = ((new << _HASH_BITS) | (self._small & _HASH_MASK))[new >= 0]
        large: dict[int, Registers] = {}
        for key, registers in zip(lookup(np.array([*self._large], np.int64)), self._large.values(), strict=True):
            if key >= 0:
                known = large.get(int(key))
                large[int(key)] = registers if known is None else np.maximum(known, registers)
        return _limited(_distinct(values), large)

    def counts(self) -> dict[int, int]:
        """Return the estimated number of people of each key."""
        keys, _, sizes = _groups(self._small)
        counts = dict(zip(keys.tolist(), sizes.tolist(), strict=True))
        counts.update((key, round(_estimate(registers))) for key, registers in self._large.items())
        return counts

    def encode(self, row: tuple[int, int]) -> bytes:
        """Return the bytes; the checksum also covers ``row``, the tier and start of the slot."""
        keys, _, sizes = _groups(self._small)
        values = (np.repeat(np.arange(keys.size), sizes) << _HASH_BITS) | (self._small & _HASH_MASK)
        width = _low_width(keys.size, values.size)
        bitmap = np.zeros(int(values[-1] >> width) + values.size if values.size else 0, dtype=np.uint8)
        bitmap[(values >> width) + np.arange(values.size)] = 1
        low, high = _packed(values, width), np.packbits(bitmap)
        largest = max([int(keys.max(initial=0)), *self._large])
        key_type = next(code for code, limit in enumerate((2**8, 2**16, 2**32, 2**63)) if largest < limit)
        large = np.array([self._large[key] for key in sorted(self._large)], np.uint8).reshape(-1)
        body = b"".join([
            _HEADER.pack(keys.size, len(self._large), values.size, high.size, width, key_type),
            np.concatenate([keys, np.array(sorted(self._large), np.int64)]).astype(_KEY_TYPES[key_type]).tobytes(),
            low.tobytes(),
            high.tobytes(),
            zlib.compress((large[::2] | large[1::2] << 4).tobytes(), 1) if large.size else b"",
        ])  # fmt: skip
        return _CHECKSUM.pack(_VERSION, zlib.crc32(body, zlib.crc32(_ROW.pack(*row)))) + body


_KEY_TYPES: Final = tuple(np.dtype(code) for code in ("<u1", "<u2", "<u4", "<u8"))


def decode(data: object, row: tuple[object, object]) -> Sketches:
    """Return the sketches of these bytes of a row.

    Raises:
        SketchFormatError: the bytes or the row are damaged, or of a later version.
    """
    if not isinstance(data, bytes) or len(data) < _CHECKSUM.size + _HEADER.size:
        raise SketchFormatError("it is truncated, or has no bytes")
    version, checksum = _CHECKSUM.unpack_from(data)
    if version != _VERSION:
        raise SketchFormatError(f"it has version {version} instead of {_VERSION}")
    try:
        seed = zlib.crc32(_ROW.pack(*row))
    except struct.error:
        raise SketchFormatError("its tier or its start is impossible") from None
    if zlib.crc32(memoryview(data)[_CHECKSUM.size :], seed) != checksum:
        raise SketchFormatError("its checksum is wrong")
    return _decoded(data)


def merge(parts: Sequence[Sketches]) -> Sketches:
    """Return the union of sketches by key."""
    if len(parts) == 1:
        return parts[0]
    large: dict[int, Registers] = {}
    for part in parts:
        for key, registers in part._large.items():  # noqa: SLF001 - of this module
            large[key] = np.maximum(large[key], registers) if key in large else registers
    small = [part._small for part in parts]  # noqa: SLF001 - of this module
    return _limited(_distinct(np.concatenate([*small, np.empty(0, np.int64)])), large)


def _decoded(data: bytes) -> Sketches:
    """Return the sketches of bytes whose checksum is right."""
    smalls, larges, values, high_bytes, width, key_type = _HEADER.unpack_from(data, _CHECKSUM.size)
    at = _CHECKSUM.size + _HEADER.size
    keys = np.frombuffer(data, _KEY_TYPES[key_type], smalls + larges, at).astype(np.int64)
    at += keys.size * _KEY_TYPES[key_type].itemsize
    low_bytes = -(-values * width // 8)
    low = _unpacked(np.frombuffer(data, np.uint8, low_bytes, at), values, width)
    high = np.flatnonzero(np.unpackbits(np.frombuffer(data, np.uint8, high_bytes, at + low_bytes)))
    numbers = ((high - np.arange(values)) << width) | low
    small = (keys[numbers >> _HASH_BITS] << _HASH_BITS) | (numbers & _HASH_MASK)
    large: dict[int, Registers] = {}
    if larges:
        packed = np.frombuffer(zlib.decompress(data[at + low_bytes + high_bytes :]), np.uint8)
        registers: Registers = np.empty((larges, _REGISTERS), np.uint8)
        registers[:, ::2], registers[:, 1::2] = packed.reshape(larges, -1) & 15, packed.reshape(larges, -1) >> 4
        large = dict(zip(keys[smalls:].tolist(), registers, strict=True))
    return Sketches(small, large)


def _low_width(keys: int, values: int) -> int:
    """Return how many lower bits of each number are stored as they are: about log2 of the mean distance."""
    return max((keys << _HASH_BITS) // values, 1).bit_length() - 1 if values else 0


def _packed(values: Keys, width: int) -> NDArray[np.uint8]:
    """Return the lower ``width`` bits (up to 32) of each value, one after another."""
    lower = (values & (2**width - 1)).astype("<u4").view(np.uint8).reshape(-1, 4)
    return np.packbits(np.unpackbits(lower, axis=1, bitorder="little")[:, :width])


def _unpacked(packed: NDArray[np.uint8], values: int, width: int) -> Keys:
    bits = np.zeros((values, 32), np.uint8)
    bits[:, :width] = np.unpackbits(packed, count=values * width).reshape(values, width)
    return np.packbits(bits, axis=1, bitorder="little").view("<u4").reshape(-1).astype(np.int64)


def _distinct(values: Keys) -> Keys:
    """Return each value once, in rising order; numpy.unique takes four times as long."""
    values = np.sort(values)
    return values[_is_first(values)]


def _is_first(values: Keys) -> NDArray[np.bool_]:
    """Return which of these values, which are in order, differ from the one before."""
    first = np.ones(values.size, np.bool_)
    np.not_equal(values[1:], values[:-1], out=first[1:])
    return first


def _groups(values: Keys) -> tuple[Keys, Keys, Keys]:
    """Return the keys in rising values, and where the values of each begin and how many they are."""
    keys = values >> _HASH_BITS
    starts = np.flatnonzero(_is_first(keys))
    return keys[starts], starts, np.diff(starts, append=keys.size)


def _limited(values: Keys, large: dict[int, Registers]) -> Sketches:
    """Return the sketches of rising unique values and of registers; small ones beyond SPARSE become registers."""
    keys, starts, sizes = _groups(values)
    grown = sizes > SPARSE
    if large:
        grown |= np.isin(keys, [*large])
    if not grown.any():
        return Sketches(values, large)
    large = dict(large)
    for key, start, size in zip(keys[grown].tolist(), starts[grown].tolist(), sizes[grown].tolist(), strict=True):
        registers = large[key].copy() if key in large else np.zeros(_REGISTERS, np.uint8)
        hashes = values[start : start + size] & _HASH_MASK
        # frexp returns the number of bits of a whole number as the exponent.
        ranks = _ZERO_BITS + 1 - np.frexp(hashes & (2**_ZERO_BITS - 1))[1]
        np.maximum.at(registers, hashes >> _ZERO_BITS, ranks.astype(np.uint8))
        large[key] = registers
    return Sketches(values[np.repeat(~grown, sizes)], large)


def _estimate(registers: Registers) -> float:
    """Return the number of people of a large sketch.

    This is the improved raw estimator of O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches"
    (2017), algorithm 6: it has no bias at any size, and needs no table of corrections.
    """
    counts: list[int] = np.bincount(registers, minlength=_ZERO_BITS + 2).tolist()
    sum_ = _REGISTERS * _tau(1 - counts[_ZERO_BITS + 1] / _REGISTERS)
    for count in counts[_ZERO_BITS:0:-1]:
        sum_ = 0.5 * (sum_ + count)
    sum_ += _REGISTERS * _sigma(counts[0] / _REGISTERS)
    return float(_REGISTERS**2 / (2 * math.log(2) * sum_))


def _sigma(x: float) -> float:
    """Return x + the sum of x**(2**k) * 2**(k-1) for k from 1 on; ``x`` is below 1."""
    result, power, factor = x, x, 1.0
    while True:
        power *= power
        previous, result = result, result + power * factor
        factor *= 2
        if result == previous:
            return result


def _tau(x: float) -> float:
    """Return (1 - x - the sum of (1 - x**(2**-k))**2 * 2**-k for k from 1 on) / 3."""
    if x in (0.0, 1.0):
        return 0.0
    result, root, factor = 1 - x, x, 1.0
    while True:
        root, factor = math.sqrt(root), factor / 2
        previous, result = result, result - (1 - root) ** 2 * factor
        if result == previous:
            return result / 3
