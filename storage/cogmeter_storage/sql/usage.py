"""The UsageStore, and the SQL for sketches, counts and last uses.

A batch becomes a small row of ``usage_part``, so that a killed process loses nothing that was added. Now and then the
parts of an hour are merged into its slot. Readers merge the slot and the parts that are left. A union does not change
when something is added twice: therefore a late part, a slot that is rebuilt, or a day that has been folded already need
no order and no position.
"""

from __future__ import annotations

import asyncio
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from cogmeter_storage.model import DAY_US, HOUR_US, LAST_US, Tier
from cogmeter_storage.plan import floor_us
from cogmeter_storage.sketch import MAX_KEY, Sketches, SketchFormatError, decode, merge
from cogmeter_storage.sql.session import marks
from cogmeter_storage.totals import Lookup
from cogmeter_storage.usage import DistinctCounts, PeopleKind, people_key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from cogmeter_storage.model import BatchId
    from cogmeter_storage.sql.session import DamagedRows, Runner, Session
    from cogmeter_storage.usage import UsageBatch

MAX_PARTS: Final = 32  # rows of usage_part, about five minutes, before they are merged
_KINDS: Final = len(PeopleKind)
_MERGE_VALUES: Final = 200_000  # values read before they are merged: a few megabytes
_SLOTS_PER_CHUNK: Final = 20  # read or deleted at once
_PAUSE_S: Final = 0.005
_COUNT: Final = (
    "INSERT INTO usage_count (start_us, kind, name, count) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (start_us, kind, name) DO UPDATE SET count = usage_count.count + excluded.count"
)
_LAST: Final = (
    "INSERT INTO usage_last (series, at_us) VALUES (?, ?)"
    " ON CONFLICT (series) DO UPDATE SET at_us = excluded.at_us WHERE usage_last.at_us < excluded.at_us"
)


class SqlUsageStore:
    """The usage in the store's file; see UsageStore for the contract of each method."""

    def __init__(self, reading: Runner, writer: Callable[[], Runner], damage: DamagedRows) -> None:
        """``writer`` raises StorageError when the store is read-only."""
        self._reading = reading
        self._writer = writer
        self._damage = damage

    async def add(self, batch: UsageBatch, *, batch_id: BatchId | None = None) -> None:
        """Store a batch, everything or nothing."""
        _check(batch)
        await self._writer().run(add_batch, self._damage, batch, batch_id)

    async def distinct(self, since_us: int, until_us: int, *, groups: Mapping[int, int]) -> list[DistinctCounts]:
        """Count distinct users and guilds."""
        return await self._reading.run(read_distinct, self._damage, since_us, until_us, dict(groups))

    async def counts(self, since_us: int, until_us: int, kinds: Collection[str]) -> dict[tuple[str, str], int]:
        """Return sums of counts."""
        return await self._reading.run(read_counts, since_us, until_us, tuple(kinds))

    async def series_of_counts(
        self, since_us: int, until_us: int, kind: str, step_us: int
    ) -> list[tuple[int, dict[str, int]]]:
        """Return counts by step."""
        if step_us <= 0 or step_us % HOUR_US:
            raise ValueError(f"step_us is a positive multiple of an hour ({HOUR_US}), not {step_us}")
        return await self._reading.run(read_series_of_counts, since_us, until_us, kind, step_us)

    async def last_use(self, series: Collection[int]) -> dict[int, int]:
        """Return the last use of series."""
        return await self._reading.run(read_last_use, self._damage, tuple(series))


def _check(batch: UsageBatch) -> None:
    """Refuse a batch that cannot be stored, before anything is.

    Raises:
        ValueError: a count is below 1, or a key belongs to no series.
    """
    if batch.counts and min(batch.counts.values()) < 1:
        raise ValueError(f"a count of usage is at least 1, not {min(batch.counts.values())}")
    if batch.keys.size and not _KINDS <= int(batch.keys.min()) <= int(batch.keys.max()) <= MAX_KEY:
        raise ValueError(f"a key of usage is {_KINDS} to {MAX_KEY}: see people_key")


def add_batch(raw: Session, damage: DamagedRows, batch: UsageBatch, batch_id: BatchId | None = None) -> None:
    """Implement UsageStore.add; one transaction."""
    start_us = floor_us(batch.at_us, HOUR_US)
    data = Sketches.of(batch.keys, batch.hashes).encode((Tier.HOUR, start_us)) if batch.keys.size else None
    with raw.transaction("usage"):
        if not raw.claim("usage", batch_id):
            return
        if data is not None:
            part = (start_us, batch.at_us, data)
            raw.execute("INSERT INTO usage_part (start_us, at_us, data) VALUES (?, ?, ?)", part)
        raw.executemany(_COUNT, [(start_us, kind, name, count) for (kind, name), count in batch.counts.items()])
        (parts,) = raw.execute("SELECT count(*) FROM usage_part").fetchone()
        if parts > MAX_PARTS:
            _merge_parts(raw, damage, LAST_US)


def _merge_parts(raw: Session, damage: DamagedRows, until_us: int) -> None:
    """Merge the parts of hours that start before then into their slots, in the caller's transaction."""
    rows = raw.execute(
        f"SELECT id, start_us, at_us, data FROM usage_part WHERE start_us < ? AND {raw.sound_rows('usage_part')}",  # noqa: S608 - names of our columns
        (until_us,),
    ).fetchall()
    by_hour: dict[int, list[Sketches]] = {}
    uses: list[tuple[Sketches, int]] = []
    for number, start_us, at_us, data in rows:
        sketches = decoded(damage, "usage_part", (number,), (Tier.HOUR, start_us), data)
        if sketches is None:
            set_apart(raw, damage, "usage_part", (number,))
        else:
            by_hour.setdefault(start_us, []).append(sketches)
            uses.append((sketches, at_us))
    for start_us, parts in by_hour.items():
        _add_to_slot(raw, damage, Tier.HOUR, start_us, parts)
        day_us = floor_us(start_us, DAY_US)
        find = "SELECT EXISTS (SELECT 1 FROM usage_slot WHERE tier = ? AND start_us = ?)"
        if raw.execute(find, (Tier.DAY, day_us)).fetchone()[0]:
            _add_to_slot(raw, damage, Tier.DAY, day_us, parts)
    raw.executemany(_LAST, _last_uses(uses).items())
    raw.executemany("DELETE FROM usage_part WHERE id = ?", [(number,) for number, *_ in rows])


def _add_to_slot(raw: Session, damage: DamagedRows, tier: Tier, start_us: int, parts: Collection[Sketches]) -> None:
    """Merge sketches into a slot, which begins with them if it does not exist or is damaged."""
    key = (tier, start_us)
    row = raw.execute("SELECT data FROM usage_slot WHERE tier = ? AND start_us = ?", key).fetchone()
    stored = None if row is None else decoded(damage, "usage_slot", key, key, row[0])
    if row is not None and stored is None:
        set_apart(raw, damage, "usage_slot", key)
        if tier is Tier.DAY:
            return  # it is folded again from its hours, which have the parts
    merged = merge([*parts] if stored is None else [stored, *parts])
    data = merged.encode((tier, start_us))
    raw.execute(
        "INSERT INTO usage_slot (tier, start_us, data) VALUES (?, ?, ?)"
        " ON CONFLICT (tier, start_us) DO UPDATE SET data = excluded.data",
        (*key, data),
    )


def decoded(
    damage: DamagedRows, table: str, key: tuple[object, ...], row: tuple[object, object], data: object
) -> Sketches | None:
    """Return the sketches of a row; count a damaged one, and return None."""
    try:
        return decode(data, row)
    except SketchFormatError as error:
        damage.note_row(table, key, str(error))
        return None


def set_apart(raw: Session, damage: DamagedRows, table: str, key: tuple[int, ...]) -> None:
    """Move a damaged row to the table ``damage``, which counts it from now on, in the caller's transaction."""
    raw.move_damaged_rows(table, "id = ?" if table == "usage_part" else "tier = ? AND start_us = ?", key)
    damage.note_removed_row(table, key)


def fold(raw: Session, damage: DamagedRows, now_us: int) -> int:
    """Merge the parts of ended hours, and fold the first ended day that has no slot; return how many are left."""
    today_us = floor_us(now_us, DAY_US)
    with raw.transaction("usage"):
        _merge_parts(raw, damage, floor_us(now_us, HOUR_US))
        days = raw.execute(
            "SELECT DISTINCT start_us / ?1 * ?1 FROM usage_slot WHERE tier = ?2 AND start_us < ?3"  # noqa: S608 - names of our columns
            f" AND {raw.sound_rows('usage_slot')}"
            " AND start_us / ?1 * ?1 NOT IN (SELECT start_us FROM usage_slot WHERE tier = ?4) ORDER BY 1",
            (DAY_US, Tier.HOUR, today_us, Tier.DAY),
        ).fetchall()
        if not days:
            return 0
        ((day_us,), *left) = days
        hours = [sketches for _, sketches in _read(raw, damage, Tier.HOUR, day_us, day_us + DAY_US)]
        # Without a readable hour, the slot is empty: the day must not be tried again and again.
        _add_to_slot(raw, damage, Tier.DAY, day_us, hours)
    return len(left)


async def fold_all(writer: Runner, damage: DamagedRows, now_us: int) -> None:
    """Fold the usage of all ended hours and days, a transaction for each day."""
    left = 1
    while left:
        left = await writer.run(fold, damage, now_us)
        await asyncio.sleep(_PAUSE_S)


def _read(
    raw: Session, damage: DamagedRows, tier: Tier, since_us: int, until_us: int
) -> Iterator[tuple[int, Sketches]]:
    """Yield start and sketches of the slots of a tier that start in the range; skip and count damaged ones."""
    rows = raw.execute(
        "SELECT start_us, data FROM usage_slot WHERE tier = ? AND start_us >= ? AND start_us < ?"  # noqa: S608 - names of our columns
        f" AND {raw.sound_rows('usage_slot')} ORDER BY start_us",
        (tier, since_us, until_us),
    )
    for start_us, data in rows:
        sketches = decoded(damage, "usage_slot", (tier, start_us), (tier, start_us), data)
        if sketches is not None:
            yield start_us, sketches


def read_distinct(
    raw: Session, damage: DamagedRows, since_us: int, until_us: int, groups: Mapping[int, int]
) -> list[DistinctCounts]:
    """Implement UsageStore.distinct."""
    size = max(groups.values(), default=-1) + 1
    lookup = Lookup(
        {people_key(series, kind): people_key(group, kind) for series, group in groups.items() for kind in PeopleKind}
    )
    merged = merge([])
    with raw.snapshot():
        waiting: list[Sketches] = []
        for sketches in _covering(raw, damage, since_us, until_us):
            waiting.append(sketches.mapped(lookup))
            if sum(part.size for part in waiting) > _MERGE_VALUES:
                merged, waiting = merge([merged, *waiting]), []
    counts = merge([merged, *waiting]).counts()
    return [DistinctCounts(*(counts.get(people_key(group, kind), 0) for kind in PeopleKind)) for group in range(size)]


def _covering(raw: Session, damage: DamagedRows, since_us: int, until_us: int) -> Iterator[Sketches]:
    """Yield the sketches of a range: of whole days, of the hours outside of them, and of parts that are not merged."""
    if until_us <= since_us:
        return
    since_us, until_us = floor_us(since_us, HOUR_US), -floor_us(-until_us, HOUR_US)
    if _has_day_only(raw, since_us):
        since_us = floor_us(since_us, DAY_US)
    if _has_day_only(raw, until_us - 1):
        until_us = -floor_us(-until_us, DAY_US)
    covered_us = set()
    for start_us, sketches in _read(raw, damage, Tier.DAY, -floor_us(-since_us, DAY_US), floor_us(until_us, DAY_US)):
        covered_us.add(start_us)
        yield sketches
    for start_us, sketches in _read(raw, damage, Tier.HOUR, since_us, until_us):
        if floor_us(start_us, DAY_US) not in covered_us:
            yield sketches
    for part, _ in _parts(raw, damage, since_us, until_us):
        yield part


def _parts(raw: Session, damage: DamagedRows, since_us: int, until_us: int) -> Iterator[tuple[Sketches, int]]:
    """Yield the parts of the hours that start in the range, and the time of each; skip and count damaged ones."""
    rows = raw.execute(
        "SELECT id, start_us, at_us, data FROM usage_part WHERE start_us >= ? AND start_us < ?"  # noqa: S608 - names of our columns
        f" AND {raw.sound_rows('usage_part')}",
        (since_us, until_us),
    )
    for number, start_us, at_us, data in rows:
        part = decoded(damage, "usage_part", (number,), (Tier.HOUR, start_us), data)
        if part is not None:
            yield part, at_us


def _has_day_only(raw: Session, at_us: int) -> bool:
    """Return True if the day of this time has a slot and its hours were removed."""
    find = "SELECT EXISTS (SELECT 1 FROM usage_slot WHERE tier = ? AND start_us BETWEEN ? AND ?)"
    day_us = floor_us(at_us, DAY_US)
    of_day, of_hours = (
        raw.execute(find, (tier, day_us, last_us)).fetchone()[0]
        for tier, last_us in ((Tier.DAY, day_us), (Tier.HOUR, day_us + DAY_US - 1))
    )
    return bool(of_day and not of_hours)


def read_counts(raw: Session, since_us: int, until_us: int, kinds: Collection[str]) -> dict[tuple[str, str], int]:
    """Implement UsageStore.counts."""
    rows = raw.execute(
        "SELECT kind, name, sum(count) FROM usage_count WHERE start_us >= ? AND start_us < ?"  # noqa: S608 - names of our columns
        f" AND kind IN ({marks(kinds)}) AND {raw.sound_rows('usage_count')} GROUP BY kind, name",
        (floor_us(since_us, HOUR_US), until_us, *kinds),
    )
    return {(kind, name): count for kind, name, count in rows}


def read_series_of_counts(
    raw: Session, since_us: int, until_us: int, kind: str, step_us: int
) -> list[tuple[int, dict[str, int]]]:
    """Implement UsageStore.series_of_counts."""
    since_us = floor_us(since_us, HOUR_US)
    steps: list[tuple[int, dict[str, int]]] = [(start_us, {}) for start_us in range(since_us, until_us, step_us)]
    rows = raw.execute(
        "SELECT (start_us - ?1) / ?2, name, sum(count) FROM usage_count WHERE start_us >= ?1 AND start_us < ?3"  # noqa: S608 - names of our columns
        f" AND kind = ?4 AND {raw.sound_rows('usage_count')} GROUP BY 1, 2",
        (since_us, step_us, until_us, kind),
    )
    for number, name, count in rows:
        steps[number][1][name] = count
    return steps


def read_last_use(raw: Session, damage: DamagedRows, series: Collection[int]) -> dict[int, int]:
    """Implement UsageStore.last_use: the merged parts are in usage_last, the others are read."""
    with raw.snapshot():
        last_us: dict[int, int] = dict(
            raw.execute(f"SELECT series, at_us FROM usage_last WHERE {raw.sound_rows('usage_last')}").fetchall()  # noqa: S608 - names of our columns
        )
        for number, at_us in _last_uses(_parts(raw, damage, -LAST_US, LAST_US)).items():
            last_us[number] = max(last_us.get(number, at_us), at_us)
    return {number: last_us[number] for number in series if number in last_us}


def _last_uses(parts: Iterable[tuple[Sketches, int]]) -> dict[int, int]:
    """Return the last use of each series in these parts with their times."""
    last_us: dict[int, int] = {}
    for part, at_us in sorted(parts, key=itemgetter(1)):
        last_us.update(dict.fromkeys([key // _KINDS for key in part.keys], at_us))
    return last_us


def delete_hours(raw: Session, cut_us: int) -> int:
    """Delete the hours of the first day before the cut that has its own slot; return how many.

    It is a whole day: a range that begins in a day with some of its hours is not widened to the day.
    """
    find = (
        "SELECT start_us / ?1 * ?1 FROM usage_slot WHERE tier = ?2 AND start_us < ?3 AND start_us / ?1 * ?1"
        " IN (SELECT start_us FROM usage_slot WHERE tier = ?4) ORDER BY start_us LIMIT 1"
    )
    with raw.transaction("usage"):
        row = raw.execute(find, (DAY_US, Tier.HOUR, floor_us(cut_us, DAY_US), Tier.DAY)).fetchone()
        if row is None:
            return 0
        delete = "DELETE FROM usage_slot WHERE tier = ? AND start_us BETWEEN ? AND ?"
        return raw.execute(delete, (Tier.HOUR, row[0], row[0] + DAY_US - 1)).rowcount


def delete_old(raw: Session, cut_us: int) -> int:
    """Delete the slots of a few days, and the counts of a few hours, that are before the cut; return how many."""
    with raw.transaction("usage"):
        oldest = "SELECT start_us FROM usage_slot WHERE tier = ?1 AND start_us < ?2 ORDER BY start_us LIMIT ?3"
        slots = raw.execute(
            f"DELETE FROM usage_slot WHERE tier = ?1 AND start_us IN ({oldest})",  # noqa: S608 - the text above
            (Tier.DAY, cut_us, _SLOTS_PER_CHUNK),
        ).rowcount
        hours = "SELECT DISTINCT start_us FROM usage_count WHERE start_us < ? ORDER BY start_us LIMIT ?"
        counts = raw.execute(
            f"DELETE FROM usage_count WHERE start_us IN ({hours})",  # noqa: S608 - the text above
            (cut_us, _SLOTS_PER_CHUNK),
        ).rowcount
    return slots + counts
