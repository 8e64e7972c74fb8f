"""The CostStore."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from cogmeter_storage.costs import COST_FIELDS, CostGroup, CostSums
from cogmeter_storage.model import DAY_US, HOUR_US
from cogmeter_storage.plan import floor_us
from cogmeter_storage.sql.observations import SET_VALUE
from cogmeter_storage.sql.session import marks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from cogmeter_storage.costs import CostField, CostKey
    from cogmeter_storage.sql.session import Runner, Session

HOURLY_US: Final = 2 * DAY_US  # the age from which whole days replace hours
_PAUSE_S: Final = 0.005
_QUOTED: Final = {name: f'"{name}"' for name in COST_FIELDS}  # "user" is a keyword of PostgreSQL
_KEYS: Final = ("start_us", *_QUOTED.values())
_SUMS: Final = ("operations", "tokens_in", "tokens_out", "cached_tokens", "micro_usd", "unpriced")
_SUMMED: Final = ", ".join(f"sum({name})" for name in _SUMS)
_INTO: Final = f"INSERT INTO cost ({', '.join((*_KEYS, *_SUMS))})"
_JOIN: Final = f"ON CONFLICT ({', '.join(_KEYS)}) DO UPDATE SET " + ", ".join(
    f"{name} = cost.{name} + excluded.{name}" for name in _SUMS
)
_ADD: Final = f"{_INTO} VALUES ({', '.join('?' * (len(_KEYS) + len(_SUMS)))}) {_JOIN}"


class SqlCostStore:
    """The costs in the store's file; see CostStore for the contract of each method."""

    def __init__(self, reading: Runner, writer: Callable[[], Runner], key: Callable[[str], str] = str) -> None:
        """``writer`` raises StorageError when the store is read-only; ``key`` returns the stored key of a value."""
        self._reading = reading
        self._writer = writer
        self._key = key

    async def add(self, lines: Mapping[CostKey, CostSums], *, key: str, state: bytes) -> None:
        """Add sums and store a value."""
        rows = []
        for line, line_sums in lines.items():
            sums: list[int] = [getattr(line_sums, name) for name in _SUMS]
            if line.start_us % HOUR_US or min(sums) < 0:
                raise ValueError(f"costs start at a whole hour and are not negative: {line}, {line_sums}")
            rows.append((*line, *sums))
        await self._writer().run(_add, rows, self._key(key), state)

    async def grouped(
        self,
        since_us: int,
        until_us: int,
        *,
        by: Sequence[CostField] = (),
        step_us: int | None = None,
        services: Collection[str] | None = None,
    ) -> list[CostGroup]:
        """Return sums by group and step."""
        named = None if services is None else tuple(services)
        return await self._reading.run(_grouped, (since_us, until_us, step_us), tuple(by), named)

    async def first_us(self) -> int | None:
        """Return the start of the first costs."""
        return await self._reading.run(_first_us)

    async def forget(self, user: str) -> int:
        """Remove a user from all sums."""
        return await self._writer().run(_forget, user)


def _add(raw: Session, rows: Sequence[tuple[object, ...]], key: str, state: bytes) -> None:
    with raw.transaction("costs"):
        raw.executemany(_ADD, rows)
        raw.execute(SET_VALUE, (key, state))


def _grouped(
    raw: Session,
    steps: tuple[int, int, int | None],
    by: tuple[CostField, ...],
    services: tuple[str, ...] | None,
) -> list[CostGroup]:
    since_us, until_us, step_us = steps
    order = [name for name in COST_FIELDS if name in by]
    columns = [_QUOTED[name] for name in order]
    if step_us is not None:
        columns = [f"start_us / {step_us:d} * {step_us:d}", *columns]
    selected = ", ".join([*([f"{since_us:d}"] if step_us is None else []), *columns, _SUMMED])
    grouped = f" GROUP BY {', '.join(columns)} ORDER BY {', '.join(columns)}" if columns else ""
    of_services = "" if services is None else f" AND service IN ({marks(services)})"
    rows = raw.execute(
        f"SELECT {selected} FROM cost WHERE start_us >= ? AND start_us < ?{of_services}"  # noqa: S608 - names of our columns
        f" AND {raw.sound_rows('cost')}{grouped}",
        (since_us, until_us, *(services or ())),
    )
    places = [1 + order.index(name) for name in by]
    first = 1 + len(order)
    return [
        CostGroup(row[0], tuple(row[place] for place in places), CostSums(*row[first:]))
        for row in rows
        if row[first] is not None
    ]


def _first_us(raw: Session) -> int | None:
    row = raw.execute(f"SELECT min(start_us) FROM cost WHERE {raw.sound_rows('cost')}").fetchone()  # noqa: S608 - names of our columns
    return None if row is None or row[0] is None else int(row[0])


def _forget(raw: Session, user: str) -> int:
    with raw.transaction("costs"):
        return forget_user(raw, user)


def forget_user(raw: Session, user: str) -> int:
    """Implement CostStore.forget, in the caller's transaction."""
    if not user:
        return 0
    others = ", ".join(name for name in _KEYS if name != _QUOTED["user"])
    select = f"SELECT {others}, '', {_SUMMED} FROM cost WHERE {_QUOTED['user']} = ? GROUP BY {others}"  # noqa: S608 - names of our columns
    raw.execute(f"{_INTO} {select} {_JOIN}", (user,))
    return raw.execute('DELETE FROM cost WHERE "user" = ?', (user,)).rowcount


async def fold_all(writer: Runner, now_us: int) -> None:
    """Fold the hours of each whole day that is old enough into one row per group, a transaction for each day."""
    until_us = floor_us(now_us, DAY_US) - HOURLY_US
    left = True
    while left:
        left = await writer.run(_fold_day, until_us)
        await asyncio.sleep(_PAUSE_S)


def _fold_day(raw: Session, until_us: int) -> bool:
    """Fold the first day before then that has hours; return False if there is none."""
    # From one start to the next: a scan would read each row of the last months again and again.
    row = raw.execute(
        "WITH RECURSIVE step (at) AS (SELECT min(start_us) FROM cost WHERE start_us < ?1 UNION ALL"  # noqa: S608 - names of our columns
        " SELECT (SELECT min(start_us) FROM cost WHERE start_us > at AND start_us < ?1) FROM step WHERE at IS NOT NULL)"
        f" SELECT at FROM step WHERE at % {DAY_US} <> 0"
        f" AND EXISTS (SELECT 1 FROM cost WHERE start_us = at AND {raw.sound_rows('cost')}) LIMIT 1",
        (until_us,),
    ).fetchone()
    if row is None:
        return False
    day_us = floor_us(row[0], DAY_US)
    hours = f"start_us > {day_us} AND start_us < {day_us + DAY_US} AND {raw.sound_rows('cost')}"
    fields = ", ".join(_QUOTED.values())
    with raw.transaction("costs"):
        select = f"SELECT {day_us}, {fields}, {_SUMMED} FROM cost WHERE {hours} GROUP BY {fields}"  # noqa: S608 - names of our columns
        raw.execute(f"{_INTO} {select} {_JOIN}")
        raw.execute(f"DELETE FROM cost WHERE {hours}")  # noqa: S608 - the text above
    return True


def delete_old(raw: Session, cut_us: int) -> int:
    """Delete the costs of the first day before the cut; return how many rows."""
    with raw.transaction("costs"):
        (first_us,) = raw.execute("SELECT min(start_us) FROM cost WHERE start_us < ?", (cut_us,)).fetchone()
        if first_us is None:
            return 0
        until_us = min(floor_us(first_us, DAY_US) + DAY_US, cut_us)
        return raw.execute("DELETE FROM cost WHERE start_us < ?", (until_us,)).rowcount
