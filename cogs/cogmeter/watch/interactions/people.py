"""The users and guilds that an operation affected: keyed hashes for the store, and links to messages in memory only.

The ids of users, guilds and channels stay in the interactions and messages in progress. A failed or slow operation has
``user`` and ``guild`` in its metadata: a user always has the same eight characters, which identify nobody without the
key.
"""

from __future__ import annotations

import logging
import secrets
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cogmeter.recording.people_hashes import person_hash
from cogmeter.startup import DamagedStateError
from cogmeter_storage.base import StorageError
from cogmeter_storage.clock import clock
from cogmeter_storage.model import FAILURES
from cogmeter_storage.usage import DM, GUILD, USER_INSTALL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogmeter_storage.base import Store
    from cogmeter_storage.model import OperationRecord

KEY: Final = "privacy-key"  # the name of the key in the store
KEY_BYTES: Final = 16
USERS: Final = 5_000  # of the last ones that were hashed
PLACES: Final = 500  # interactions that an alert's example may link to
EARLY_US: Final = 1_000_000  # the clock may be set between the two compared times
BOT_DM: Final = 1  # an interaction's context: the direct messages with the bot
GUILD_INSTALL: Final = "0"  # the key of the guild among the owners of an interaction's installation
NO_HASHES: Final[Mapping[str, str]] = {}

_logger = logging.getLogger("cogmeter.watch")


class Who(NamedTuple):
    """The ids of an interaction or message. They are never stored or logged."""

    user: str | int | None
    guild: str | int | None  # None in direct messages
    channel: str | int | None
    place: str | int  # the id of the interaction or message: Discord opens its moment in the channel
    context: str = ""  # where it was used: one of the names of CONTEXT in cogmeter_storage.usage
    locale: str = ""  # the user's language; "" for messages


class MessagePlace:
    """The link to a failed or slow interaction."""

    __slots__ = ("arrived_us", "people", "until_us", "url")

    def __init__(self, arrived_us: int, people: Mapping[str, str], url: str) -> None:
        self.arrived_us = arrived_us
        self.until_us = arrived_us  # when its last failed or slow operation was recorded
        self.people = people
        self.url = url


class People:
    """Hashes ids of users and guilds with a key, once for each interaction. Without a key there are no hashes."""

    def __init__(self, *, slow_ms: float) -> None:
        """Hash the ids of operations that fail or take at least ``slow_ms``."""
        self.key: bytes | None = None
        self._slow_ns = int(slow_ms * 1e6)
        self._places: deque[MessagePlace] = deque(maxlen=PLACES)
        self._users: OrderedDict[str, int] = OrderedDict()  # ids by hash, to look up names for display

    def matter(self, outcome: int, duration_ns: int) -> bool:
        """Return whether an operation records the affected user and guild."""
        return outcome in FAILURES or duration_ns >= self._slow_ns

    def of(self, who: Who) -> Mapping[str, str]:
        """Return the hashes of a user and a guild; empty without a key."""
        if self.key is None:
            return NO_HASHES
        ids = {"user": who.user, "guild": who.guild}
        hashes = {kind: person_hash(self.key, kind, number) for kind, number in ids.items() if number is not None}
        if who.user is not None:
            self._users[hashes["user"]] = int(who.user)
            if len(self._users) > USERS:
                self._users.popitem(last=False)
        return hashes

    def user_id(self, hashed: str) -> int | None:
        """Return the id of a user whose interaction or message was hashed since the start; it is in memory only."""
        return self._users.get(hashed)

    def forget(self, hashed: str) -> None:
        """Forget a user, by the hash."""
        self._users.pop(hashed, None)

    def place(self, who: Who, people: Mapping[str, str], arrived_us: int) -> MessagePlace | None:
        """Remember and return the link to an interaction; None in a place that only its user can open."""
        if who.guild is None or who.channel is None or not people:
            return None
        place = MessagePlace(arrived_us, people, f"https://discord.com/channels/{who.guild}/{who.channel}/{who.place}")
        self._places.append(place)
        return place

    def url_of(self, operation: OperationRecord) -> str | None:
        """Return the link to the user's latest interaction that can contain this operation."""
        people = {kind: operation.metadata.get(kind) for kind in ("user", "guild")}
        for place in reversed(tuple(self._places)):
            began, ended = place.arrived_us - EARLY_US, place.until_us + EARLY_US
            if place.people == people and began <= operation.end_us <= ended:
                return place.url
        return None


class AffectedPeople:
    """The user and guild of one interaction or message: hashed, with its link remembered, when first needed."""

    __slots__ = ("_arrived_us", "_hashes", "_people", "_who", "place")

    def __init__(self, people: People, who: Who, arrived_us: int) -> None:
        self._people = people
        self._who = who
        self._arrived_us = arrived_us
        self._hashes: Mapping[str, str] = NO_HASHES
        self.place: MessagePlace | None = None

    def hashes(self) -> Mapping[str, str]:
        """Return the hashes for an operation or error that is recorded now; empty without a key."""
        if not self._hashes:
            self._hashes = self._people.of(self._who)
            self.place = self._people.place(self._who, self._hashes, self._arrived_us)
        if self.place is not None:
            self.place.until_us = clock.now_ns() // 1000
        return self._hashes


def new_key() -> bytes:
    """Return a random key for the hashes."""
    return secrets.token_bytes(KEY_BYTES)


async def stored_key(store: Store, new: bytes) -> bytes:
    """Return the stored key of the hashes; store ``new`` if there is none.

    Raises:
        StorageError: the store cannot be used; use ``new`` until the next start.
        DamagedStateError: the stored value was not a key, and ``new`` has replaced it.
    """
    key = await store.get_value(KEY)
    if key is None:
        key = await store.add_value(KEY, new)  # another process of the bot may have been faster
    if len(key) == KEY_BYTES:
        return key
    await store.set_value(KEY, new)
    raise DamagedStateError(f"the stored key has {len(key)} bytes, not {KEY_BYTES}")


async def privacy_key(store: Store, known: bytes | None = None) -> bytes:
    """Return the stored key of the hashes, which is created at random once.

    ``known`` is the key for a store that replaces a corrupt one. If the key cannot be stored, it is used until the next
    start, and then users are counted again.
    """
    key = known or new_key()
    try:
        return await stored_key(store, key)
    except (StorageError, DamagedStateError) as error:
        _logger.warning("Could not store the key of user hashes; the next start counts users again: %s", error)
        return key


def who_of(data: Mapping[str, Any]) -> Who:
    """Return the ids of user, guild, channel and interaction in an INTERACTION_CREATE event, and where it was used."""
    get = data.get
    user, guild = (get("member") or data).get("user") or {}, get("guild_id")
    owners = get("authorizing_integration_owners")
    context = DM if guild is None else GUILD
    if owners and GUILD_INSTALL not in owners and get("context") != BOT_DM:
        context = USER_INSTALL
    return Who(user.get("id"), guild, get("channel_id"), data["id"], context, get("locale") or "")
