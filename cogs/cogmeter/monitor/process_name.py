"""How this process is known among those that share the database."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cogmeter_storage.process import Process

if TYPE_CHECKING:
    from cogmeter.settings import Settings


def process_of(bot: object, settings: Settings, version: str) -> Process:
    """Return the name, the bot's version ("": unknown) and the shards of this process.

    The name is the setting's, else that of its shards, else host and process id. A bot that learns its shards from
    Discord does not know them yet.
    """
    shards = _shards(bot)
    process = Process(version=version, shards=", ".join(map(str, shards)))
    name = settings.process_name or (f"shard{'s' if len(shards) > 1 else ''} {_short(shards)}" if shards else "")
    return replace(process, name=name) if name else process


def _shards(bot: object) -> list[int]:
    """Return the shards that the bot was created with, in order."""
    given = getattr(bot, "shard_ids", None)  # of AutoShardedClient
    number = getattr(bot, "shard_id", None)
    return sorted(given) if given else [] if number is None else [number]


def _short(shards: list[int]) -> str:
    """Return ``0-3``, or ``0, 2, 5`` for shards with gaps."""
    if len(shards) > 1 and shards == list(range(shards[0], shards[-1] + 1)):
        return f"{shards[0]}-{shards[-1]}"
    return ", ".join(map(str, shards))
