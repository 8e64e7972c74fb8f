"""What leads to one user in a store: the keyed hash under which operations know them, and their id itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogmeter.watch.interactions.people import KEY, People, Who
from cogmeter_storage import Person

if TYPE_CHECKING:
    from cogmeter_storage import Store


async def person_of(store: Store, user: str, name: str | None) -> Person:
    """That of the user with this Discord id.

    A store without a key holds no hashes; the id itself may still stand in what the host recorded.
    """
    people = People(slow_ms=0)
    people.key = await store.get_value(KEY)
    hashes = people.of(Who(user, None, None, 0))
    return Person(("user", hashes.get("user", user)), user, name)
