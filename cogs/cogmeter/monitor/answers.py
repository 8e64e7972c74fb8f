"""The statistics and alerts of a running monitor for the host's own code, as REST returns them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from cogmeter.query.query import now_us
from cogmeter.query.records import Period
from cogmeter.redaction import quoted
from cogmeter.render.rule_text import worded, worded_alerts
from cogmeter.schemas.alerts import STATES, alert_page
from cogmeter.schemas.statistics import dashboard, series, service_stats
from cogmeter.schemas.times import between

if TYPE_CHECKING:
    from collections.abc import Collection

    from cogmeter.alerts.alerting import Alerting
    from cogmeter.diagnostics.attention_reader import Attention
    from cogmeter.query.query import Query
    from cogmeter.schemas.alerts import AlertAnswer, ListedState
    from cogmeter.schemas.statistics import Dashboard, Series, ServiceAnswer
    from cogmeter.schemas.times import Moment
    from cogmeter_storage.base import Store


class Answers:
    """The part of a monitor that answers the host's own code."""

    store: Store
    query: Query
    alerting: Alerting
    attention: Attention

    async def dashboard(
        self,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        services: Collection[str] | str | None = None,
    ) -> Dashboard:
        """Return the statistics of all services, or of some, and the active alerts, as REST does.

        Without ``since`` the range is 24 hours long, without ``until`` it ends now. Times are datetimes, dates or
        ISO 8601 texts, in UTC where they name no offset. A date as ``until`` includes that day.

        Raises:
            UnknownNameError: nothing is stored under one of the services.
            ValueError: a time is not valid.
            StorageError: the store does not answer.
        """
        span = between(since, until, now_us())
        named = [services] if isinstance(services, str) else services
        alerts = self.alerting.engine.active
        answer = await dashboard(self.query, span, services=named, alerts=alerts, attention=self.attention.concerns)
        return worded_alerts(answer)

    async def service(
        self, name: str, operation: str | None = None, *, since: Moment | None = None, until: Moment | None = None
    ) -> ServiceAnswer:
        """Return the statistics of one service, operation or command; see ``dashboard`` for times and errors."""
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
        """Return throughput, failures and latency per step; see ``dashboard`` for times and errors.

        Without ``since`` the range is one hour long. ``step`` is rounded up to whole minutes. Without ``service`` the
        series covers all services but the background ones.
        """
        span = between(since, until, now_us(), Period.HOUR)
        step_us = None if step is None else step // timedelta(microseconds=1)
        return await series(self.query, service, operation, span, step_us=step_us)

    async def alerts(
        self, state: ListedState = "active", *, service: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[AlertAnswer]:
        """Return up to ``limit`` alerts in a state, the last changed first, after skipping ``offset`` of them.

        Raises:
            ValueError: the state does not exist, ``limit`` is below 1 or ``offset`` below 0.
            StorageError: the store does not answer.
        """
        if state not in STATES:
            raise ValueError(f"state={quoted(state)} is none of {', '.join(STATES)}")
        if limit < 1 or offset < 0:
            raise ValueError(f"limit={limit} is below 1, or offset={offset} below 0")
        alerts, _ = await alert_page(self.store.alerting, state, service=service, limit=limit, offset=offset)
        return [*map(worded, alerts)]
