"""The processes that share the database: their operations in a range, event-loop lag, and last sign of life.

``diagnostics.process_health`` judges them; every surface shows its result.
"""

from __future__ import annotations

import asyncio
import enum
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.diagnosis import Check, Status, worst
from cogmeter.query.statistics import GroupSums
from cogmeter.recording.service_names import in_background
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogmeter.query.query import Query
    from cogmeter.query.records import Figures, Range
    from cogmeter_storage.model import Totals
    from cogmeter_storage.process import ProcessRecord

LAG: Final = "loop.lag_p99_ms"
SILENT_US: Final = MINUTE_US  # without a sign of life, after which a process is silent; one is due every 5 s
LISTED_US: Final = {True: HOUR_US, False: DAY_US}  # by an orderly end: how long a process is listed after its last sign
ONE_PROCESS: Final = (
    "One process writes this database, because it is an SQLite file. For more processes set PERFORMANCE_DATABASE_URL"
    " to a PostgreSQL database: see docs/fleet.md."
)


class ProcessState(enum.StrEnum):
    """The state of a process."""

    ALIVE = "alive"
    SILENT = "silent"  # no sign of life, and no orderly end
    ENDED = "ended"  # in an orderly way


@dataclass(frozen=True, slots=True)
class FleetProcess:
    """One process of the fleet."""

    name: str
    version: str  # of the bot; empty: not known
    shards: str  # "0, 1"; empty: not known
    host: str
    pid: int
    started_us: int
    seen_us: int  # its last sign of life, by the clock of the database
    silent_us: int  # how long ago that was
    state: ProcessState
    figures: Figures | None  # of its foreground services in the range; None without operations
    lag_us: float | None  # the p99 of its event-loop lag in its newest sample of the range

    @property
    def alive(self) -> bool:
        """Return whether it has shown a sign of life lately."""
        return self.state is ProcessState.ALIVE


@dataclass(frozen=True, slots=True)
class Fleet:
    """The processes of a database, by name; none if only one process can write it."""

    range: Range
    processes: tuple[FleetProcess, ...]

    @property
    def versions(self) -> dict[str, int]:
        """The number of live processes by version of the bot, the most frequent first."""
        return dict(Counter(one.version for one in self.processes if one.alive and one.version).most_common())


@dataclass(frozen=True, slots=True)
class ProcessHealth:
    """A process and its check."""

    process: FleetProcess
    check: Check
    sign_of_life: str  # its state in words: ``alive``, ``silent for 2 min``, ``ended 5 min ago``


@dataclass(frozen=True, slots=True)
class FleetHealth:
    """The judged processes of the database: silent and unhealthy ones first, ended ones last."""

    range: Range
    processes: tuple[ProcessHealth, ...]
    versions: dict[str, int]  # see Fleet
    text: str  # one line: ``3 of 4 processes alive; silent: shards 4-7 (2 min); versions differ: 1.4 (2), 1.5 (1)``

    @property
    def status(self) -> Status:
        """The worst status of a process, of those that have operations; healthy if none has, unknown without any."""
        present = [one.check.status for one in self.processes if one.process.state is not ProcessState.ENDED]
        known = [status for status in present if status is not Status.UNKNOWN]
        return worst(known or [Status.HEALTHY for _ in present])

    @property
    def alive(self) -> int:
        """The number of live processes."""
        return sum(one.process.alive for one in self.processes)

    @property
    def expected(self) -> int:
        """The number of processes that have not ended in an orderly way."""
        return sum(one.process.state is not ProcessState.ENDED for one in self.processes)


async def fleet(query: Query, span: Range) -> Fleet:
    """Return the processes with their operations in a range that ends now.

    A process that is not alive is listed for a day, after an orderly end for an hour, and not any more once another
    process has its shards.

    Raises:
        StorageError: the store cannot be read.
    """
    store = query.store
    records = _present(await store.processes())
    if not records:
        return Fleet(span, ())
    groups = {series.id: 0 for series in await store.series() if not in_background(series.service)}
    totals = await store.totals_by_process(span.since_us, span.until_us, groups=groups)
    lags = await store.samples_by_process(LAG, span.since_us, span.until_us + 1)
    counted = await asyncio.to_thread(_figures, totals, span)  # of 64 processes it takes milliseconds
    processes = [
        FleetProcess(
            name=record.process.name,
            version=record.process.version,
            shards=record.process.shards,
            host=record.host,
            pid=record.pid,
            started_us=record.started_us,
            seen_us=record.seen_us,
            silent_us=record.silent_us,
            state=_state(record),
            figures=counted.get(record.process.name),
            lag_us=lags[record.process.name][-1][1] * 1000 if record.process.name in lags else None,
        )
        for record in records
    ]
    return Fleet(span, tuple(processes))


async def process_names(query: Query) -> list[str]:
    """Return the names of the processes that ``fleet`` lists.

    Raises:
        StorageError: the store cannot be read.
    """
    return [record.process.name for record in _present(await query.store.processes())]


def _figures(totals: Mapping[str, Totals], span: Range) -> dict[str, Figures]:
    """Return the figures of each process that has operations; all totals cover the same time."""
    if not totals:
        return {}
    sums = GroupSums.join([GroupSums.of(one).together() for one in totals.values()])
    figures = sums.figures(next(iter(totals.values())), span)
    return {name: one for name, one in zip(totals, figures, strict=True) if one.operations}


def _state(record: ProcessRecord) -> ProcessState:
    if record.orderly:
        return ProcessState.ENDED
    return ProcessState.SILENT if record.ended or record.silent_us >= SILENT_US else ProcessState.ALIVE


def _present(records: list[ProcessRecord]) -> list[ProcessRecord]:
    """Return the processes to list."""
    alive = [record for record in records if _state(record) is ProcessState.ALIVE]
    latest_us: dict[str, int] = {}  # when the process that has these shards now began
    for record in alive:
        shards = record.process.shards
        latest_us[shards] = max(record.started_us, latest_us.get(shards, 0))
    gone = [
        record
        for record in records
        if record not in alive
        and record.silent_us < LISTED_US[record.orderly]
        and not (record.process.shards and latest_us.get(record.process.shards, 0) > record.started_us)
    ]
    return sorted([*alive, *gone], key=lambda record: record.process.name)
