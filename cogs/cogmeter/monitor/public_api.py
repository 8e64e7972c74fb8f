"""What the bot's own code may ask of the monitor; REST answers the same records as JSON."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from cogmeter.query.query import now_us
from cogmeter.query.records import Period
from cogmeter.redaction import quoted
from cogmeter.schemas.alerts import STATES, page
from cogmeter.schemas.dashboard import dashboard
from cogmeter.schemas.ranges import between
from cogmeter.schemas.series import series
from cogmeter.schemas.service import service_stats

if TYPE_CHECKING:
    from collections.abc import Collection

    from cogmeter.alerts.alerting import Alerting
    from cogmeter.query.query import Query
    from cogmeter.schemas.alerts import AlertAnswer, Listed
    from cogmeter.schemas.dashboard import Dashboard
    from cogmeter.schemas.ranges import Moment
    from cogmeter.schemas.series import Series
    from cogmeter.schemas.service import ServiceAnswer
    from cogmeter_storage.base import Store


class PublicApi:
    """The public questions of a running monitor."""

    store: Store
    query: Query
    alerting: Alerting

    async def dashboard(
        self,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        services: Collection[str] | str | None = None,
    ) -> Dashboard:
        """All services over a stretch of time (the last 24 hours), or one, or some, and the alerts that stand.

        Times are datetimes, dates or ISO 8601 texts, in UTC where they name no offset; a plain day as ``until``
        includes that day. This, and what the methods below answer, is what REST answers too.

        Raises:
            UnknownNameError: nothing is stored under one of the services.
            ValueError: a time cannot be.
            StorageError: the store does not answer.
        """
        span = between(since, until, now_us())
        named = [services] if isinstance(services, str) else services
        return await dashboard(self.query, span, services=named, alerts=self.alerting.engine.active)

    async def service(
        self, name: str, operation: str | None = None, *, since: Moment | None = None, until: Moment | None = None
    ) -> ServiceAnswer:
        """One service, or one operation of it, over a stretch of time (the last 24 hours); see ``dashboard``."""
        return await service_stats(self.query, name, operation, between(since, until, now_us()))

    async def series(
        self,
        service: str | None = None,
        operation: str | None = None,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        step: timedelta | None = None,
    ) -> Series:
        """Throughput, failures and latency step by step (the last hour), of all that people asked for, of one service
        or of one operation of it; ``step`` is taken up to whole minutes. See ``dashboard``.
        """
        span = between(since, until, now_us(), Period.HOUR)
        step_us = None if step is None else step // timedelta(microseconds=1)
        return await series(self.query, service, operation, span, step_us=step_us)

    async def alerts(
        self, state: Listed = "active", *, service: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[AlertAnswer]:
        """Alerts that stand, or (``"history"``) stood, the last changed first; see ``dashboard``.

        ``limit`` is how many at most, ``offset`` how many are passed over before the first one.

        Raises:
            ValueError: there is no such state, or a number is below its least.
            StorageError: the store does not answer.
        """
        if state not in STATES:
            raise ValueError(f"state={quoted(state)} is none of {', '.join(STATES)}")
        if limit < 1 or offset < 0:
            raise ValueError(f"limit={limit} is below 1, or offset={offset} below 0")
        found, _ = await page(self.store.alerting, state, service=service, limit=limit, offset=offset)
        return found
