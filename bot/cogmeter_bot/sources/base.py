"""What a source answers, and how it says that it cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cogmeter_bot.errors import CannotRunError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from cogmeter.alerts.thresholds.limits import Limits
    from cogmeter.query.records import Range
    from cogmeter.schemas.alerts import AlertAnswer
    from cogmeter.schemas.dashboard import Dashboard
    from cogmeter.schemas.errors import Errors
    from cogmeter.schemas.operations import OperationPage
    from cogmeter.schemas.series import Series
    from cogmeter.schemas.service import ServiceAnswer
    from cogmeter.schemas.slowest import Slowest
    from cogmeter_bot.sources.diagnosis import Diagnosis


class SourceError(CannotRunError):
    """The source cannot answer; the text says why and how to mend it, in a line."""


class RequestError(SourceError):
    """It was asked for what cannot be: an unknown service, a wrong token."""


class NoDataError(SourceError):
    """There is no database, nobody at the address, or nothing has been recorded yet."""


@dataclass(frozen=True, slots=True)
class Exporting:
    """An export on its way."""

    pieces: AsyncIterator[bytes]
    operations: int | None  # the approximate total; None: not known before the end
    done: Callable[[], int]  # how many have been read so far


class Source(Protocol):
    """Answers questions about one bot. Every method may raise SourceError, and may be asked again after it."""

    @property
    def name(self) -> str:
        """What is read, for people: the database's file, or the API's address."""
        ...

    async def dashboard(self, span: Range, services: Collection[str] | None) -> Dashboard:
        """All services, or those named, and the alerts that stand."""
        ...

    async def service(self, service: str, operation: str | None, span: Range) -> ServiceAnswer:
        """One service, or one operation in it."""
        ...

    async def series(self, service: str | None, span: Range, *, trim: bool = False) -> Series:
        """Return throughput, failures and latency step by step, of one service or of all.

        With ``trim``, the steps begin with the first record.
        """
        ...

    async def alerts(self, state: str, *, limit: int) -> list[AlertAnswer]:
        """The alerts that a word of ``answers.alerts.STATES`` lists, the last changed first."""
        ...

    async def errors(self, span: Range, service: str | None, operation: str | None, *, limit: int) -> Errors:
        """Failures, grouped by what they say."""
        ...

    async def failures(self, span: Range, service: str | None, *, limit: int) -> OperationPage:
        """The latest failures one by one, newest first."""
        ...

    async def slowest(
        self, span: Range, services: Collection[str] | None, operation: str | None, *, limit: int
    ) -> Slowest:
        """The slowest operations; without services, those of all that do not run in the background."""
        ...

    async def names(self) -> list[str]:
        """The services that are recorded, in alphabetical order."""
        ...

    async def known(self, services: Collection[str]) -> None:
        """Raise AskedError if nothing is recorded of one of these services."""
        ...

    async def diagnosis(self, span: Range, services: Collection[str] | None) -> Diagnosis:
        """How bot, monitor and services are."""
        ...

    async def export(self, kind: str, span: Range, services: Collection[str] | None) -> Exporting:
        """The operations that ended in the span, in a format of ``exporters.table``."""
        ...

    async def limits(self) -> Limits:
        """Return the alert thresholds in effect."""
        ...

    async def close(self) -> None:
        """Give connections and threads back."""
        ...
