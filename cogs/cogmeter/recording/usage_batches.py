"""Converts the users, guilds and counts of operations to the store's batch: keyed hashes in place of ids."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cogmeter.recording.usage import FIELDS
from cogmeter_storage.usage import CONTEXT, LOCALE, PeopleKind, UsageBatch, people_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cogmeter.recording.usage import Taken

MOST_NAMES: Final = 50  # of one kind in one batch; Discord has 33 languages
MAX_NAME: Final = 20
_MASK: Final = 2**64 - 1
_BY_KIND: Final = 0x9E3779B97F4A7C15  # separates users from guilds with the same id


def batch_of(taken: Taken, ids: Sequence[int], key: bytes) -> UsageBatch:
    """Return what was taken as the store keeps it; ``ids`` are the store's, by the recorder's number of a series."""
    numbers, users, guilds, contexts, locales = (taken.rows[at::FIELDS] for at in range(FIELDS))
    counts = Counter(taken.counted)
    for kind, names in ((CONTEXT, contexts), (LOCALE, locales)):
        found = Counter(names)
        del found[""]
        counts.update({(kind, name[:MAX_NAME]): count for name, count in found.most_common(MOST_NAMES)})
    series = np.array(ids, np.int64)[np.array(numbers, np.intp)]
    parts = [_people(series, users, key, PeopleKind.USER), _people(series, guilds, key, PeopleKind.GUILD)]
    return UsageBatch(
        taken.at_us, np.concatenate([keys for keys, _ in parts]), np.concatenate([found for _, found in parts]), counts
    )


def _people(
    series: NDArray[np.int64], people: list[Any], key: bytes, kind: PeopleKind
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return the keys and hashes of the known people."""
    numbers = _numbers(people)
    known = numbers != 0
    return people_key(series[known], kind), hashed(numbers[known], key, kind)  # type: ignore[return-value]  # of each


def _numbers(people: list[Any]) -> NDArray[np.uint64]:
    """Return ids as numbers, 0 for None: the gateway has texts, discord.py has numbers."""
    try:
        known = ["0" if person is None else person for person in people] if None in people else people
        text = " ".join(known)  # a quarter of the time of int()
        found = np.fromstring(text, np.uint64, sep=" ") if people else np.empty(0, np.uint64)
    except (TypeError, ValueError):  # a number, or a text that is none
        found = None
    if found is None or found.size != len(people):  # "1 2" would be two
        return np.array([_number(person) for person in people], np.uint64)
    return found


def _number(person: Any) -> int:
    """Return one id as a number, 0 for None and for what is no id: it is not counted, the others of its batch are."""
    try:
        number = 0 if person is None else int(person)
    except (TypeError, ValueError):
        return 0
    return number if 0 <= number <= _MASK else 0


def hashed(numbers: NDArray[np.uint64], key: bytes, kind: PeopleKind) -> NDArray[np.uint64]:
    """Return keyed 64-bit hashes of ids: the finalizer of MurmurHash3 (A. Appleby), twice, with half of the key each.

    The store keeps 28 bits of a hash, and of more than 512 people only registers. Without the key, which is random and
    in the same database, nobody can find out or test an id by them. A reader of the whole database with a list of ids
    can test which ids may be in a small sketch. The same is true of the hashes in the metadata of operations
    (watch/interactions/people.py). A cryptographic hash would not prevent that either.
    """
    first, second = (int.from_bytes(key[at : at + 8], "little") for at in (0, 8))
    return _mixed(_mixed(numbers ^ np.uint64((first + kind * _BY_KIND) & _MASK)) ^ np.uint64(second))


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    shift = np.uint64(33)
    values = (values ^ (values >> shift)) * np.uint64(0xFF51AFD7ED558CCD)
    values = (values ^ (values >> shift)) * np.uint64(0xC4CEB9FE1A85EC53)
    return values ^ (values >> shift)
