"""Alerts: lists, details, acknowledging, test alerts, and mutes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from cogmeter.alerts.lifecycle.engine import ClosedAlertError, UnevaluatedAlertError, UnknownAlertError
from cogmeter.alerts.review.muting import LONGEST_S, REASON, SHORTEST_S, check_service
from cogmeter.alerts.rules import RULES
from cogmeter.query.query import now_us
from cogmeter.redaction import quoted
from cogmeter.render.rule_text import worded, worded_detail
from cogmeter.schemas import safe
from cogmeter.schemas.alerts import (
    AlertAnswer,
    AlertDetail,
    AlertPage,
    ListedState,
    MuteAnswer,
    Mutes,
    TargetAnswer,
    TestAlert,
    alert_detail,
    alert_page,
)
from cogmeter.web.api.bodies import Body, Nothing
from cogmeter.web.api.params import BETWEEN, Name, PagedParams, QueryParams, Service, cursor_of, numbers_of
from cogmeter.web.api.problems import Problem
from cogmeter.web.api.routing import Reply, Route
from cogmeter_storage.alerting import AlertState, Mute

if TYPE_CHECKING:
    from typing import Self

    from cogmeter.monitor.monitor import Monitor
    from cogmeter_storage.alerting import Alert

SEARCHED: Final = 1_000  # alerts read at once when searching for a number

Rule = Annotated[str, Field(json_schema_extra={"enum": list(RULES)}, pattern=f"^({'|'.join(RULES)})$")]


class AlertsParams(PagedParams):
    """Parameters: the state, the service, and the page."""

    state: Annotated[
        ListedState,
        Field(description="active: not resolved yet, pending alerts included; history: every alert that fired"),
    ] = "active"
    service: Service | None = None


class AlertParams(QueryParams):
    """Parameters: the alert."""

    id: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,64}$", description="The alert's id or number")]


class TrialBody(Body):
    """Request body: the target to test."""

    target: Annotated[str | None, Field(max_length=100, description="Only this target, such as channel")] = None


class MuteBody(Body):
    """Request body: the service and rule to mute, and the duration."""

    service: Annotated[Name | None, Field(description="Default: every service")] = None
    rule: Annotated[Rule | None, Field(description="Default: every rule")] = None
    all: Annotated[Literal[True] | None, Field(description="Required to mute every rule of every service")] = None
    seconds: Annotated[int, Field(ge=SHORTEST_S, le=LONGEST_S)]
    reason: Annotated[str, Field(max_length=REASON)] = ""

    @model_validator(mode="after")
    def _of_something(self) -> Self:
        if self.service is None and self.rule is None and not self.all:
            raise PydanticCustomError(BETWEEN, "Choose a service or rule, or `all`", {"parameters": "service"})
        return self


class MuteParams(QueryParams):
    """Parameters: the mute."""

    id: Annotated[int, Field(ge=1, le=2**53)]


async def read_alerts(monitor: Monitor, params: AlertsParams) -> AlertPage:
    """Return one page of alerts."""
    (offset,) = numbers_of(params.cursor, 1) or (0,)
    alerts, next_offset = await alert_page(
        monitor.store.alerting, params.state, service=params.service, limit=params.limit, offset=offset
    )
    return AlertPage(alerts=[*map(worded, alerts)], next=cursor_of(next_offset))


async def read_alert(monitor: Monitor, params: AlertParams) -> AlertDetail:
    """Return one alert with its events."""
    return worded_detail(await alert_detail(monitor.store.alerting, await _alert(monitor, params.id)))


async def acknowledge_alert(monitor: Monitor, params: AlertParams, actor: str) -> AlertAnswer:
    """Acknowledge an alert."""
    alert = await _alert(monitor, params.id)
    try:
        return worded(AlertAnswer.of(await monitor.alerting.engine.acknowledge(alert.uid, actor, now_us())))
    except UnknownAlertError as error:
        raise Problem(404, "Unknown alert", str(error), parameter="id") from None
    except UnevaluatedAlertError as error:
        raise Problem(409, "Not evaluated", str(error), parameter="id") from None
    except ClosedAlertError as error:
        raise Problem(409, "Already resolved", str(error), parameter="id") from None


async def send_test_alert(monitor: Monitor, body: TrialBody, actor: str) -> TestAlert:
    """Send a test alert to every target, or to one."""
    results = await monitor.alerting.delivery.test(actor, body.target)
    if body.target is not None and not results:
        configured = ", ".join(monitor.alerting.delivery.names)
        detail = f"The target {quoted(body.target)} does not exist. Configured targets: {configured}"
        raise Problem(404, "Unknown target", detail, parameter="target")
    return TestAlert(
        targets=[
            TargetAnswer(target=name, delivered=not error, error=safe.text(error) or None)
            for name, error in results.items()
        ]
    )


async def _alert(monitor: Monitor, id_or_number: str) -> Alert:
    """Return the alert with this id or number.

    Raises:
        Problem: 404; it does not exist.
    """
    alert = await monitor.store.alerting.alert(id_or_number)
    if alert is None and id_or_number.isdecimal():
        alert = await _numbered(monitor, int(id_or_number))
    if alert is None:
        detail = f"Alert {id_or_number} does not exist. Old alerts are removed"
        raise Problem(404, "Unknown alert", detail, parameter="id")
    return alert


async def _numbered(monitor: Monitor, number: int) -> Alert | None:
    offset = 0
    while alerts := await monitor.store.alerting.alerts(tuple(AlertState), limit=SEARCHED, offset=offset):
        for alert in alerts:
            if alert.id == number:
                return alert
        offset += SEARCHED
    return None


async def read_mutes(monitor: Monitor) -> Mutes:
    """Return the mutes in effect."""
    return Mutes(mutes=[MuteAnswer.of(mute) for mute in await monitor.store.alerting.mutes(now_us())])


async def add_mute(monitor: Monitor, body: MuteBody, actor: str) -> Reply:
    """Mute; reply with 200 and the present mute if one of the same service and rule does not end earlier."""
    if body.service is not None:
        await check_service(monitor.query, body.service)
    since_us = now_us()
    mute = Mute(
        service=body.service or "",
        rule=body.rule or "",
        since_us=since_us,
        until_us=since_us + body.seconds * 1_000_000,
        actor=actor,
        reason=body.reason.strip(),
    )
    stored = await monitor.alerting.engine.mute(mute, since_us)
    return Reply(MuteAnswer.of(stored), status=201 if stored.since_us == since_us else 200)


async def end_mute(monitor: Monitor, params: MuteParams, actor: str) -> MuteAnswer:
    """End a mute."""
    ended = await monitor.alerting.engine.unmute([params.id], actor, now_us())
    if not ended:
        detail = f"Mute {params.id} is not in effect. It may have ended"
        raise Problem(404, "Unknown mute", detail, parameter="id")
    return MuteAnswer.of(ended[0])


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/alerts",
        read_alerts,
        "List active and past alerts, the most recently begun first, page by page",
        query=AlertsParams,
        response=AlertPage,
    ),
    Route(
        "GET",
        "/api/performance/alerts/{id}",
        read_alert,
        "Get one alert with its events and delivery attempts",
        query=AlertParams,
        response=AlertDetail,
        problems=(404,),
    ),
    Route(
        "POST",
        "/api/performance/alerts/{id}/acknowledge",
        acknowledge_alert,
        "Acknowledge an alert; the first acknowledgement stays",
        query=AlertParams,
        body=Nothing,
        response=AlertAnswer,
        problems=(404, 409),
        changes=True,
    ),
    Route(
        "POST",
        "/api/performance/test-alert",
        send_test_alert,
        "Send a test alert to every target or to one, and return each result",
        body=TrialBody,
        response=TestAlert,
        problems=(404,),
        changes=True,
    ),
    Route(
        "GET",
        "/api/performance/mutes",
        read_mutes,
        "List the mutes in effect, the first to end first",
        tag="mutes",
        response=Mutes,
    ),
    Route(
        "POST",
        "/api/performance/mutes",
        add_mute,
        "Mute alerts of a service or a rule",
        tag="mutes",
        body=MuteBody,
        response=MuteAnswer,
        status=201,
        other_responses={200: MuteAnswer},
        problems=(404,),
        changes=True,
    ),
    Route(
        "DELETE",
        "/api/performance/mutes/{id}",
        end_mute,
        "End a mute",
        tag="mutes",
        query=MuteParams,
        response=MuteAnswer,
        problems=(404,),
        changes=True,
    ),
)
