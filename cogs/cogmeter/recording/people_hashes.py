"""Keyed hashes of users and guilds: eight characters that identify nobody without the key."""

from __future__ import annotations

import hashlib
import re
from typing import Final

HASH_BYTES: Final = 4  # eight characters: of 10,000 users, two have the same hash with a probability of about 1%
_HASH: Final = re.compile(r"[0-9a-f]{8}")


def person_hash(key: bytes, kind: str, number: str | int) -> str:
    """Return the hash of an id; ``kind`` is "user" or "guild"."""
    return hashlib.blake2b(str(number).encode(), digest_size=HASH_BYTES, key=key, person=kind.encode()).hexdigest()


def hash_in(metadata_value: object, key: bytes | None, kind: str) -> str:
    """Return the hash of the user or guild that metadata names; an empty text without one.

    cogmeter's own metadata has hashes already. What the host has put there, such as an id, is hashed.
    """
    if isinstance(metadata_value, str) and _HASH.fullmatch(metadata_value):
        return metadata_value
    if key is None or isinstance(metadata_value, bool) or not isinstance(metadata_value, str | int):
        return ""
    return person_hash(key, kind, metadata_value)
