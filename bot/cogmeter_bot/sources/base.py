"""The protocol of a source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cogmeter.diagnosis import MOST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from cogmeter.alerts.thresholds.limits import Limits
    from cogmeter.query.costs import CostGrouping
    from cogmeter.query.records import Range
    from cogmeter.schemas.alerts import AlertAnswer
    from cogmeter.schemas.comparison import ComparisonAnswer
    from cogmeter.schemas.costs import Costs
    from cogmeter.schemas.errors import ErrorGroupDetail, ErrorGroupPage, Errors
    from cogmeter.schemas.fleet import FleetAnswer
    from cogmeter.schemas.operations import OperationPage, RunningPage, Slowest
    from cogmeter.schemas.resources import ResourcesAnswer
    from cogmeter.schemas.selection import SelectionAnswer
    from cogmeter.schemas.slow import SlowAnswer
    from cogmeter.schemas.state import BotStateAnswer
    from cogmeter.schemas.statistics import Dashboard, Series, ServiceAnswer
    from cogmeter.schemas.usage import UsageAnswer
    from cogmeter_bot.sources.diagnosis import Diagnosis


@dataclass(frozen=True, slots=True)
class ExportStream:
    """A running export."""

    chunks: AsyncIterator[bytes]
    expected_operations: int | None  # an estimate; None if only the end of the stream shows it
    read_operations: Callable[[], int]  # the number so far


class Source(Protocol):
    """The data of one bot. Every method may raise a SourceError, and may be called again after it."""

    @property
    def name(self) -> str:
        """The database file or the API address, for display."""
        ...

    async def dashboard(
        self, time_range: Range, services: Collection[str] | None, *, findings: int = MOST
    ) -> Dashboard:
        """Return the statistics of all services, or of these, the active alerts, and so many findings at most."""
        ...

    async def service(self, service: str, operation: str | None, time_range: Range) -> ServiceAnswer:
        """Return the statistics of one service, of one of its operations, or of one command such as "/ask"."""
        ...

    async def comparison(
        self, service: str | None, operation: str | None, *, before: str | None, after: str | None
    ) -> ComparisonAnswer:
        """Return two periods of one service or command, or of all, compared; raise a RequestError for no period."""
        ...

    async def series(self, service: str | None, time_range: Range, *, trim: bool = False) -> Series:
        """Return throughput, failures and latency over time, of one service or of all.

        With ``trim``, the steps start at the first record.
        """
        ...

    async def alerts(self, state: str, *, limit: int) -> list[AlertAnswer]:
        """Return the alerts of a state in ``schemas.alerts.STATES``, the last changed first."""
        ...

    async def errors(self, time_range: Range, service: str | None, operation: str | None, *, limit: int) -> Errors:
        """Return failures, grouped by error text."""
        ...

    async def error_groups(
        self, time_range: Range, services: Collection[str] | None, operation: str | None, *, limit: int
    ) -> ErrorGroupPage:
        """Return the error groups of these services and this operation that are not resolved; most frequent first.

        None means all.
        """
        ...

    async def error_group(self, number: int) -> ErrorGroupDetail:
        """Return one error group with its newest errors; raise a RequestError if it does not exist."""
        ...

    async def failures(self, time_range: Range, service: str | None, *, limit: int) -> OperationPage:
        """Return the latest failed operations, newest first."""
        ...

    async def slowest(
        self, time_range: Range, services: Collection[str] | None, operation: str | None, *, limit: int
    ) -> Slowest:
        """Return the slowest operations of these services; without services, of all but background services."""
        ...

    async def slow(self, time_range: Range, service: str | None, operation: str | None = None) -> SlowAnswer:
        """Return the slowest run of each command and reply, or those of one of them, with their parts."""
        ...

    async def selection(self, time_range: Range, service: str | None) -> SelectionAnswer:
        """Return what happened in a range, to all services or to one service or command."""
        ...

    async def stopped(self) -> str:
        """Return that the bot does not run, so that nothing is known of now; empty if it runs."""
        ...

    async def running(self, *, limit: int) -> RunningPage:
        """Return the operations that run now, longest first; a database raises NotLiveError."""
        ...

    async def usage(self, time_range: Range) -> UsageAnswer:
        """Return who uses what."""
        ...

    async def state(self) -> BotStateAnswer:
        """Return the state of every part of the bot now; of a database, what it shows of them."""
        ...

    async def resources(self, time_range: Range) -> ResourcesAnswer:
        """Return the resources of the bot's process."""
        ...

    async def fleet(self) -> FleetAnswer:
        """Return the processes that share the database; of all processes, whichever one is chosen."""
        ...

    async def costs(self, time_range: Range, by: CostGrouping, service: str | None, *, limit: int) -> Costs:
        """Return tokens and money by a grouping, of all services or one; at most ``limit`` groups are listed."""
        ...

    async def service_names(self) -> list[str]:
        """Return the recorded services in alphabetical order."""
        ...

    async def subjects(self) -> list[str]:
        """Return the recorded commands by their labels, then the services: what ``service`` accepts."""
        ...

    async def require_services(self, services: Collection[str]) -> None:
        """Raise a RequestError if one of these services has not been recorded."""
        ...

    async def diagnosis(self, time_range: Range, services: Collection[str] | None) -> Diagnosis:
        """Return the results of all checks of bot, monitor and services."""
        ...

    async def limits(self) -> Limits:
        """Return the alert thresholds in effect."""
        ...

    async def export(self, kind: str, time_range: Range, services: Collection[str] | None) -> ExportStream:
        """Start an export of the operations in the range, in a format of ``exporters.table``."""
        ...

    async def close(self) -> None:
        """Close connections and threads."""
        ...


def complete_steps(series: Series) -> int:
    """Return how many steps of a series to draw: without the last one while it is not complete.

    A part of a step would show a rate and percentiles that never existed.
    """
    count = len(series.timestamps)
    passed_s = (series.time_range.until - series.timestamps[-1]).total_seconds() if count else 0.0
    return count - 1 if count > 1 and passed_s < series.step_seconds else count
