"""Whom an interaction touched: keyed hashes for what is stored, and a way back to its place in Discord, in memory only.

The ids of users, guilds and channels stay in the receipts of what is under way. What failed or was slow carries
``user`` and ``guild`` in its metadata: the same person has the same eight characters, which lead back to nobody
without the key.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cogmeter.startup import DamagedStateError
from cogmeter_storage.base import StorageError
from cogmeter_storage.model import FAILURES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogmeter_storage.base import Store
    from cogmeter_storage.model import OperationRecord

KEY: Final = "privacy-key"  # under which the store remembers the key
KEY_BYTES: Final = 16
HASH_BYTES: Final = 4  # eight characters: of 10,000 people, about one in 100 audiences has two that look the same
PLACES: Final = 500  # interactions that an alert's example may lead to
EARLY_US: Final = 1_000_000  # the wall clock may be set between the two times that are compared
NOBODY: Final[Mapping[str, str]] = {}

_logger = logging.getLogger("cogmeter.watch")


class Who(NamedTuple):
    """The ids of one interaction or prefix command, as they came. Never stored, never logged."""

    user: str | int | None
    guild: str | int | None  # None in direct messages
    channel: str | int | None
    place: str | int  # the interaction's or message's own id: Discord opens the moment in time that it holds


class MessagePlace:
    """Where an interaction that failed or was slow can be seen."""

    __slots__ = ("arrived_us", "people", "until_us", "url")

    def __init__(self, arrived_us: int, people: Mapping[str, str], url: str) -> None:
        self.arrived_us = arrived_us
        self.until_us = arrived_us  # when something in it was last recorded as failed or slow
        self.people = people
        self.url = url


class People:
    """Turns ids into hashes, once for each interaction that needs them; nothing is known before there is a key."""

    def __init__(self, *, slow_ms: float) -> None:
        """Operations that fail, or take ``slow_ms`` or longer, say whom they touched."""
        self.key: bytes | None = None
        self._slow_ns = int(slow_ms * 1e6)
        self._places: deque[MessagePlace] = deque(maxlen=PLACES)

    def matter(self, outcome: int, duration_ns: int) -> bool:
        """Whether an operation is to say whom it touched."""
        return outcome in FAILURES or duration_ns >= self._slow_ns

    def of(self, who: Who) -> Mapping[str, str]:
        """The hashes of a user and a guild; empty without a key."""
        if self.key is None:
            return NOBODY
        ids = {"user": who.user, "guild": who.guild}
        return {kind: _hash(self.key, kind, number) for kind, number in ids.items() if number is not None}

    def place(self, who: Who, people: Mapping[str, str], arrived_us: int) -> MessagePlace | None:
        """Keep the way to an interaction; None where there is no way that others than its user could take."""
        if who.guild is None or who.channel is None or not people:
            return None
        place = MessagePlace(arrived_us, people, f"https://discord.com/channels/{who.guild}/{who.channel}/{who.place}")
        self._places.append(place)
        return place

    def url_of(self, operation: OperationRecord) -> str | None:
        """Leads to where this operation happened: the same person's latest interaction that it can be part of."""
        people = {kind: operation.metadata.get(kind) for kind in ("user", "guild")}
        for place in reversed(tuple(self._places)):
            began, ended = place.arrived_us - EARLY_US, place.until_us + EARLY_US
            if place.people == people and began <= operation.end_us <= ended:
                return place.url
        return None


def new_key() -> bytes:
    """Return a random key for the hashes."""
    return secrets.token_bytes(KEY_BYTES)


async def stored_key(store: Store, new: bytes) -> bytes:
    """Return the key of the hashes that the store keeps; ``new`` is stored if it has none.

    Raises:
        StorageError: the store cannot be used; use ``new`` until the next start.
        DamagedStateError: what was stored is no key, and ``new`` has taken its place.
    """
    key = await store.get_value(KEY)
    if key is not None and len(key) == KEY_BYTES:
        return key
    await store.set_value(KEY, new)
    if key is not None:
        raise DamagedStateError(f"the stored key has {len(key)} bytes, not {KEY_BYTES}")
    return new


async def privacy_key(store: Store, known: bytes | None = None) -> bytes:
    """The key of the hashes: made at random once, and kept in the store that holds them.

    A ``known`` one goes on in a store that has none: it took a corrupt one's place.

    One that the store does not keep now serves until the next start, and what was stored meanwhile is somebody else's.
    """
    key = known or new_key()
    try:
        return await stored_key(store, key)
    except (StorageError, DamagedStateError) as error:
        _logger.warning("People are counted anew after the next start: %s", error)
        return key


def who_of(data: Mapping[str, Any]) -> Who:
    """Who an INTERACTION_CREATE comes from, and where from."""
    user = (data.get("member") or data).get("user") or {}
    return Who(user.get("id"), data.get("guild_id"), data.get("channel_id"), data["id"])


def _hash(key: bytes, kind: str, number: str | int) -> str:
    return hashlib.blake2b(str(number).encode(), digest_size=HASH_BYTES, key=key, person=kind.encode()).hexdigest()
