"""The resources of the bot's process as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from cogmeter.query.resources import resources
from cogmeter.schemas import safe
from cogmeter.schemas.base import Number, Schema, TimeRange, rounded
from cogmeter.schemas.times import Instant, utc_or_none
from cogmeter.times import utc

if TYPE_CHECKING:
    from typing import Self

    from cogmeter.alerts.model import GrownObjects
    from cogmeter.query.query import Query
    from cogmeter.query.records import Range
    from cogmeter.query.resources import ResourceLine

DIGITS = 3


class ResourceAnswer(Schema):
    """One resource over the steps of a range."""

    name: str = Field(examples=["memory"])
    title: str
    unit: str = Field(description="percent (of a core), bytes, duration (microseconds), bytes/s or count")
    latest: Number | None
    mean: Number | None
    peak: Number | None = Field(
        description="The highest sample; of a counter, its highest increase per second between two samples"
    )
    growth_per_day: Number | None = Field(
        description="In the unit per day, over the longest run; null if less than two hours of it are known"
    )
    growing: bool = Field(description="It grows steadily, by at least 1% per day")
    values: list[Number | None] = Field(description="By step; null where nothing was sampled")


class ResourcesAnswer(Schema):
    """The resources of the bot's process; the network is that of the machine."""

    time_range: TimeRange
    step_seconds: int
    timestamps: list[Instant] = Field(description="The start of each step, from the first sample on")
    growth_since: Instant | None = Field(description="The start of the longest run in the range: growth is that of it")
    growth_until: Instant | None = Field(description="Its end")
    rate_window_seconds: int | None = Field(
        default=None, description="The time over which network rates are means; null: between two samples"
    )
    resources: list[ResourceAnswer]
    grown_objects: list[str] | None = Field(
        description="Live objects that grew within the last hour; null if nothing was compared yet"
    )

    @classmethod
    async def read(cls, query: Query, span: Range, grown: GrownObjects | None) -> Self:
        """Read the resources over a range.

        Raises:
            StorageError: the store cannot be read.
        """
        use = await resources(query, span)
        return cls(
            time_range=TimeRange.of(span),
            step_seconds=use.step_us // 1_000_000,
            timestamps=[utc(edge) for edge in use.edges_us],
            growth_since=utc_or_none(None if use.longest_run is None else use.longest_run[0]),
            growth_until=utc_or_none(None if use.longest_run is None else use.longest_run[1]),
            rate_window_seconds=None if use.rate_us is None else use.rate_us // 1_000_000,
            resources=[_answer(line) for line in use.lines],
            grown_objects=None if grown is None else [safe.text(name) for name in grown.names],
        )


def _answer(line: ResourceLine) -> ResourceAnswer:
    resource = line.resource
    return ResourceAnswer(
        name=resource.key,
        title=resource.title,
        unit=resource.unit,
        latest=_rounded(line.latest),
        mean=_rounded(line.mean),
        peak=_rounded(line.peak),
        growth_per_day=_rounded(line.growth_per_day),
        growing=line.steady,
        values=[_rounded(value) for value in line.values],
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else rounded(value, DIGITS)
