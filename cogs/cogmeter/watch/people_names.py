"""The names of guilds and users by their hashes, for display: read from discord.py's cache, and never stored."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from cogmeter.recording.people_hashes import person_hash

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import discord


async def names_of(client: discord.Client, key: bytes | None, kind: str, hashes: Collection[str]) -> dict[str, str]:
    """Return the names of guilds or users that discord.py knows now, by their hashes; ``kind`` is "guild" or "user".

    The hashes of all cached ids are computed on a thread. A hash that two of them share has no name.
    """
    wanted = set(hashes)
    if key is None or not wanted or kind not in {"guild", "user"}:
        return {}
    known = [(one.id, one.name) for one in (client.guilds if kind == "guild" else client.users)]
    return await asyncio.to_thread(_matching, key, kind, known, wanted)


def _matching(key: bytes, kind: str, known: Sequence[tuple[int, str]], wanted: set[str]) -> dict[str, str]:
    found = [(hashed, name) for number, name in known if (hashed := person_hash(key, kind, number)) in wanted]
    times = Counter(hashed for hashed, _ in found)
    return {hashed: name for hashed, name in found if times[hashed] == 1}
