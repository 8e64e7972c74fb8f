"""Erases what a store knows about one user: the one place for chat, REST and the terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cogmeter.watch.interactions.people import KEY, People, Who
from cogmeter_storage.model import Person

if TYPE_CHECKING:
    from cogmeter_storage.base import Store
    from cogmeter_storage.model import Erased


USER_ID: Final = "^[0-9]{15,20}$"  # as Python, JSON schema and JavaScript understand it
# Follows the value that is wrong.
NOT_A_USER_ID: Final = (
    "is not a Discord user id. Use the 15 to 20 digits that Copy User ID in Discord's Developer Mode copies, for"
    " example 80351110224678912"
)


def is_user_id(text: str) -> bool:
    """Return whether a text is a Discord id."""
    return re.fullmatch(USER_ID, text) is not None


async def forget_user(store: Store, user_id: str, name: str | None = None) -> Erased:
    """Erase a user from every kind of stored data; ``name`` is the display name in alerts, mutes and changes.

    Of a running bot, ``monitor.erasure`` also erases what it keeps in memory.

    Raises:
        StorageError: the store cannot be written; what was erased stays erased.
    """
    return await store.erase_person(await person_of(store, user_id, name))


async def person_of(store: Store, user_id: str, name: str | None = None) -> Person:
    """Return the hash and the id under which a store knows a user; a store without a key has no hashes."""
    people = People(slow_ms=0)
    people.key = await store.get_value(KEY)
    hashes = people.of(Who(user_id, None, None, 0))
    return Person(("user", hashes.get("user", user_id)), user_id, name)
