"""Alerts: which stand and stood, one in full, taking one up, and trying the targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from cogmeter.alerts.lifecycle.engine import ClosedAlertError, UnevaluatedAlertError, UnknownAlertError
from cogmeter.query.query import now_us
from cogmeter.redaction import quoted
from cogmeter.schemas import safe
from cogmeter.schemas.alerts import AlertAnswer, AlertDetail, AlertPage, Listed, detail, page
from cogmeter.schemas.changes import TargetAnswer, TestAlert
from cogmeter.web.api.params import PagedParams, Service, cursor_of, numbers_of
from cogmeter.web.api.routing import Body, Problem, QueryParams, Route
from cogmeter_storage.alerting import AlertState

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor
    from cogmeter_storage.alerting import Alert

SEARCHED: Final = 1_000  # alerts read at once for one of a number


class AlertsParams(PagedParams):
    """Which alerts."""

    state: Annotated[
        Listed,
        Field(description="active: what is not over, also before it is told; history: what was ever told"),
    ] = "active"
    service: Service | None = None


class AlertParams(QueryParams):
    """Which alert."""

    id: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,64}$", description="The alert's id, or its number")]


class Nothing(Body):
    """An empty body, or none."""


class TestAlertBody(Body):
    """Which target is to be tried."""

    target: Annotated[str | None, Field(max_length=100, description="One of them alone, such as channel")] = None


async def read_alerts(monitor: Monitor, ask: AlertsParams) -> AlertPage:
    """One page of alerts."""
    (offset,) = numbers_of(ask.cursor, 1) or (0,)
    found, following = await page(
        monitor.store.alerting, ask.state, service=ask.service, limit=ask.limit, offset=offset
    )
    return AlertPage(alerts=found, next=cursor_of(following))


async def read_alert(monitor: Monitor, ask: AlertParams) -> AlertDetail:
    """One alert in full."""
    return await detail(monitor.store.alerting, await _alert(monitor, ask.id))


async def acknowledge_alert(monitor: Monitor, ask: AlertParams, actor: str) -> AlertAnswer:
    """Take an alert up."""
    alert = await _alert(monitor, ask.id)
    try:
        return AlertAnswer.of(await monitor.alerting.engine.acknowledge(alert.uid, actor, now_us()))
    except UnknownAlertError as error:
        raise Problem(404, "Unknown alert", str(error), parameter="id") from None
    except UnevaluatedAlertError as error:
        raise Problem(409, "Not evaluated", str(error), parameter="id") from None
    except ClosedAlertError as error:
        raise Problem(409, "Resolved already", str(error), parameter="id") from None


async def send_test_alert(monitor: Monitor, body: TestAlertBody, actor: str) -> TestAlert:
    """Try every target, or one of them."""
    said = await monitor.alerting.delivery.test(actor, body.target)
    if body.target is not None and not said:
        known = ", ".join(monitor.alerting.delivery.names)
        words = f"There is no target {quoted(body.target)}; there are {known}"
        raise Problem(404, "Unknown target", words, parameter="target")
    return TestAlert(
        targets=[
            TargetAnswer(target=name, delivered=not trouble, error=safe.text(trouble) or None)
            for name, trouble in said.items()
        ]
    )


async def _alert(monitor: Monitor, wanted: str) -> Alert:
    """The alert of this id or number.

    Raises:
        Problem: 404; there is none.
    """
    kept = monitor.store.alerting
    found = await kept.alert(wanted)
    if found is None and wanted.isdecimal():
        found = await _numbered(monitor, int(wanted))
    if found is None:
        raise Problem(404, "Unknown alert", f"There is no alert {wanted}; it may be too old to be kept", parameter="id")
    return found


async def _numbered(monitor: Monitor, number: int) -> Alert | None:
    offset = 0
    while page := await monitor.store.alerting.alerts(tuple(AlertState), limit=SEARCHED, offset=offset):
        for one in page:
            if one.id == number:
                return one
        offset += SEARCHED
    return None


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/alerts",
        read_alerts,
        "Alerts that stand, or stood, the last changed first, page by page",
        query=AlertsParams,
        answer=AlertPage,
    ),
    Route(
        "GET",
        "/api/performance/alerts/{id}",
        read_alert,
        "One alert, what happened to it, and who was told",
        query=AlertParams,
        answer=AlertDetail,
        problems=(404,),
    ),
    Route(
        "POST",
        "/api/performance/alerts/{id}/acknowledge",
        acknowledge_alert,
        "Take an alert up; the first one to do so stays",
        query=AlertParams,
        body=Nothing,
        answer=AlertAnswer,
        problems=(404, 409),
        changes=True,
    ),
    Route(
        "POST",
        "/api/performance/test-alert",
        send_test_alert,
        "Send a test to every alert target or to one, and say how each of them fared",
        body=TestAlertBody,
        answer=TestAlert,
        problems=(404,),
        changes=True,
    ),
)
