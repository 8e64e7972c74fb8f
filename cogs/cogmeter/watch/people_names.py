"""The names of guilds and users by their hashes, for display: read when they are shown, and never stored."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final

import discord

from cogmeter.recording.people_hashes import person_hash

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cogmeter.watch.interactions.people import People

MOST_FETCHED: Final = 10  # users that are fetched for one answer


async def names_of(
    client: discord.Client, people: People, kind: str, hashes: Collection[str], *, fetched: bool = False
) -> dict[str, str]:
    """Return the names of guilds or users by their hashes; ``kind`` is "guild" or "user".

    They are those that discord.py has cached. The hashes of all cached ids are computed on a thread. A hash that two of
    them share has no name. With ``fetched``, the first users that are not cached are fetched from Discord: bots without
    the members intent have no cache. Never raises for an error of Discord.
    """
    wanted = set(hashes)
    if people.key is None or not wanted or kind not in {"guild", "user"}:
        return {}
    known = [(one.id, one.name) for one in (client.guilds if kind == "guild" else client.users)]
    names = await asyncio.to_thread(_matching, people.key, kind, known, wanted)
    if fetched and kind == "user":
        missing = [(one, number) for one in hashes if one not in names and (number := people.user_id(one)) is not None]
        for hashed, number in missing[:MOST_FETCHED]:
            try:
                names[hashed] = (await client.fetch_user(number)).name
            except discord.DiscordException:
                break
    return names


def _matching(key: bytes, kind: str, known: Sequence[tuple[int, str]], wanted: set[str]) -> dict[str, str]:
    found = [(hashed, name) for number, name in known if (hashed := person_hash(key, kind, number)) in wanted]
    times = Counter(hashed for hashed, _ in found)
    return {hashed: name for hashed, name in found if times[hashed] == 1}
