"""A database with the operations of a fleet of processes that did not really run."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psycopg

from cogmeter_storage import open_store
from cogmeter_storage.process import Process

MINUTE_US = 60_000_000
NAMES = [("alpha", "one"), ("discord.commands", "ask"), ("discord.stalls", "stall")]
LAG = "loop.lag_p99_ms"
LONG_NAME = "shards of the cluster with the longest name that anybody could give " + "w" * 40


@dataclass
class Member:
    """A process as ``fill_fleet`` makes it; ``silent_s`` with ``ended`` None means that it is alive or silent."""

    name: str
    version: str = "1.4"
    shards: str = ""
    operations: int = 100  # in the last four minutes
    failures: int = 0
    duration_ms: int = 20
    lag_ms: float | None = 3.0
    silent_s: float = 1.0
    ended: bool | None = None  # None: not yet; True: in an orderly way; False: because it was silent


FOUR = [
    Member("shards 0-3", shards="0, 1, 2, 3"),
    Member("shards 4-7", "1.5", "4, 5, 6, 7", silent_s=125),
    Member("shards 8-11", "1.5", "8, 9, 10, 11", failures=40),
    Member("shards 12-15", shards="12, 13, 14, 15", lag_ms=450.0),
]
MANY = [Member(f"shards {4 * place}-{4 * place + 3}", shards=str(place), operations=20 + place) for place in range(64)]


async def fill_fleet(url: str, members: list[Member], now_us: int | None = None) -> None:
    """Write the operations of these processes, and set what the database knows of them."""
    now_us = time.time_ns() // 1000 if now_us is None else now_us
    for member in members:
        store = await open_store(url, process=Process(member.name, member.version, member.shards))
        ids = await store.series_ids(NAMES)
        step_us = 4 * MINUTE_US // max(member.operations, 1)
        rows = [
            (
                ids[place % 2],
                now_us - 4 * MINUTE_US + place * step_us,
                member.duration_ms * 1000,
                *_result(place, member),
            )
            for place in range(member.operations)
        ]
        await store.append([rows], now_us=now_us)
        if member.lag_ms is not None:
            await store.add_samples(now_us - 1_000_000, {LAG: member.lag_ms})
        await store.close()
    with psycopg.connect(url) as raw:
        for member in members:
            seen = f"seen_us = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - {int(member.silent_s * 1e6)}"
            raw.execute(f"UPDATE cogmeter.run SET {seen} WHERE process = %s", (member.name,))
            ended = {None: "NULL", True: "seen_us + 1", False: "seen_us"}[member.ended]
            raw.execute(f"UPDATE cogmeter.run SET ended_us = {ended} WHERE process = %s", (member.name,))


def _result(place: int, member: Member) -> tuple[int, str | None, None]:
    return (1, f"no answer for {member.name}", None) if place < member.failures else (0, None, None)
