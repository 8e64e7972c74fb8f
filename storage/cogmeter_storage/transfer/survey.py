"""The counts and sums by which two stores are compared."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from cogmeter_storage.model import FAILURES, Outcome, Tier

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cogmeter_storage.sql.session import Session

SOUND_OUTCOME: Final = f"outcome BETWEEN 0 AND {len(Outcome) - 1}"
_FAILED: Final = ", ".join(str(int(outcome)) for outcome in sorted(FAILURES))


@dataclass(frozen=True, slots=True)
class Survey:
    """Counts and sums of a store. The keys are texts, as in JSON."""

    tables: dict[str, int]  # rows by table
    operations: dict[str, list[int]]  # by series: number, sum of the durations in microseconds, failures
    slots: dict[str, list[int]]  # by tier: number, operations in all of them

    @property
    def rows(self) -> int:
        """The number of everything that is copied."""
        slots = sum(number for number, _ in self.slots.values())
        return sum(self.tables.values()) + self.operation_count + slots

    @property
    def operation_count(self) -> int:
        """The number of operations."""
        return sum(number for number, *_ in self.operations.values())

    def as_json(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)

    def differences(self, other: Survey) -> Iterator[str]:
        """Yield what differs in the other store, as texts."""
        for table, count in self.tables.items():
            if count != other.tables.get(table, 0):
                yield f"table {table}: {count:,} rows, {other.tables.get(table, 0):,} in the copy"
        names = {"operations": "operations of series", "slots": "slots of tier"}
        for kind, title in names.items():
            mine: Mapping[str, list[int]] = getattr(self, kind)
            theirs: Mapping[str, list[int]] = getattr(other, kind)
            for key in sorted({*mine, *theirs}):
                if mine.get(key) != theirs.get(key):
                    yield f"{title} {key}: {_text(kind, mine.get(key))}, {_text(kind, theirs.get(key))} in the copy"


def _text(kind: str, sums: list[int] | None) -> str:
    if sums is None:
        return "none"
    if kind == "slots":
        return f"{sums[0]:,} with {sums[1]:,} operations"
    return f"{sums[0]:,} of {sums[1]:,} us with {sums[2]:,} failures"


def sum_operations(session: Session) -> dict[str, list[int]]:
    """Return number, sum of the durations and failures by series, of the operations that are copied."""
    rows = session.execute(
        f"SELECT series, count(*), sum(duration_us), sum(CASE WHEN outcome IN ({_FAILED}) THEN 1 ELSE 0 END)"  # noqa: S608 - constants
        f" FROM operation WHERE {session.sound_rows('operation')} AND {SOUND_OUTCOME} GROUP BY series ORDER BY series"
    )
    return {str(series): [int(value) for value in sums] for series, *sums in rows}


def tier_name(tier: Tier) -> str:
    """Return the name of a tier in a survey."""
    return tier.name.lower()
