"""The processes that share the database as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from cogmeter.diagnosis import Status
from cogmeter.query.fleet import ONE_PROCESS, ProcessState
from cogmeter.schemas import safe
from cogmeter.schemas.base import Number, Schema, Stats, TimeRange, ms_or_none, rounded
from cogmeter.schemas.times import Instant
from cogmeter.times import utc

if TYPE_CHECKING:
    from typing import Self

    from cogmeter.query.fleet import FleetHealth, ProcessHealth


class ProcessAnswer(Schema):
    """One process of the fleet."""

    name: str
    state: ProcessState = Field(description="alive; silent: no sign of life for a minute; ended: in an orderly way")
    sign_of_life: str = Field(description="The state in words, such as: silent for 2 min")
    status: Status = Field(description="By its operations in the alert window and its event-loop lag")
    reason: str
    version: str = Field(description="Of the bot; empty if it is not known")
    shards: str = Field(description="Such as 0, 1; empty if they are not known")
    host: str
    pid: int
    started: Instant
    last_sign_of_life: Instant = Field(description="By the clock of the database")
    silent_seconds: Number = Field(description="How long ago the last sign of life was")
    loop_lag: Number | None = Field(description="p99 of the event-loop lag in milliseconds, of the newest sample")
    stats: Stats | None = Field(description="Its operations in the range; null without any")

    @classmethod
    def of(cls, one: ProcessHealth) -> Self:
        """Convert a judged process."""
        process = one.process
        return cls(
            name=safe.text(process.name),
            state=process.state,
            sign_of_life=one.sign_of_life,
            status=one.check.status,
            reason=safe.text(one.check.reason),
            version=safe.text(process.version),
            shards=process.shards,
            host=safe.text(process.host),
            pid=process.pid,
            started=utc(process.started_us),
            last_sign_of_life=utc(process.seen_us),
            silent_seconds=rounded(process.silent_us / 1e6, 1),
            loop_lag=ms_or_none(process.lag_us),
            stats=None if process.figures is None else Stats.of(process.figures),
        )


class FleetAnswer(Schema):
    """The processes that share the database."""

    time_range: TimeRange = Field(description="The alert window")
    status: Status = Field(description="The worst status of a process that has not ended; unknown without any")
    text: str = Field(description="The state of the fleet in one line")
    alive: int
    expected: int = Field(description="Processes that have not ended in an orderly way")
    versions: dict[str, int] = Field(description="Live processes by version of the bot")
    processes: list[ProcessAnswer] = Field(
        description="The silent and the unhealthy first; empty if only one process can write the database"
    )

    @classmethod
    def of(cls, health: FleetHealth) -> Self:
        """Convert the judged processes."""
        return cls(
            time_range=TimeRange.of(health.range),
            status=health.status,
            text=safe.text(health.text) if health.processes else ONE_PROCESS,
            alive=health.alive,
            expected=health.expected,
            versions={safe.text(name): count for name, count in health.versions.items()},
            processes=[ProcessAnswer.of(one) for one in health.processes],
        )
