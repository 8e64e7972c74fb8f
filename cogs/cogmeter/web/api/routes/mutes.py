"""Mutes: what nobody wants to hear of for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from cogmeter.alerts.review.muting import LONGEST_S, REASON, SHORTEST_S, check_service
from cogmeter.alerts.rules import RULES
from cogmeter.query.query import now_us
from cogmeter.schemas.changes import MuteAnswer, Mutes
from cogmeter.web.api.params import Name
from cogmeter.web.api.routing import Body, Problem, QueryParams, Reply, Route
from cogmeter_storage.alerting import Mute

if TYPE_CHECKING:
    from typing import Self

    from cogmeter.monitor.monitor import Monitor

Rule = Annotated[str, Field(json_schema_extra={"enum": list(RULES)}, pattern=f"^({'|'.join(RULES)})$")]


class MuteBody(Body):
    """What to mute, and for how long."""

    service: Annotated[Name | None, Field(description="Left out: every service")] = None
    rule: Annotated[Rule | None, Field(description="Left out: every rule")] = None
    all: Annotated[Literal[True] | None, Field(description="Needed to mute every rule of every service")] = None
    seconds: Annotated[int, Field(ge=SHORTEST_S, le=LONGEST_S)]
    reason: Annotated[str, Field(max_length=REASON)] = ""

    @model_validator(mode="after")
    def _of_something(self) -> Self:
        if self.service is None and self.rule is None and not self.all:
            raise PydanticCustomError("between", "name a service or a rule, or say all", {"parameters": "service"})
        return self


class MuteParams(QueryParams):
    """Which mute."""

    id: Annotated[int, Field(ge=1, le=2**53)]


async def read_mutes(monitor: Monitor) -> Mutes:
    """The mutes that hold."""
    return _listed(await monitor.store.alerting.mutes(now_us()))


async def add_mute(monitor: Monitor, body: MuteBody, actor: str) -> Reply:
    """Mute; answer with 200 and the active mute where one of the same service and rule ends no earlier."""
    if body.service is not None:
        await check_service(monitor.query, body.service)
    begin_us = now_us()
    mute = Mute(
        service=body.service or "",
        rule=body.rule or "",
        since_us=begin_us,
        until_us=begin_us + body.seconds * 1_000_000,
        actor=actor,
        reason=body.reason.strip(),
    )
    kept = await monitor.alerting.engine.mute(mute, begin_us)
    return Reply(MuteAnswer.of(kept), status=201 if kept.since_us == begin_us else 200)


async def end_mute(monitor: Monitor, ask: MuteParams, actor: str) -> MuteAnswer:
    """End a mute."""
    ended = await monitor.alerting.engine.unmute([ask.id], actor, now_us())
    if not ended:
        raise Problem(404, "Unknown mute", f"No mute {ask.id} holds; it may be over", parameter="id")
    return MuteAnswer.of(ended[0])


def _listed(mutes: list[Mute]) -> Mutes:
    return Mutes(mutes=[MuteAnswer.of(one) for one in mutes])


PATH: Final = "/api/performance/mutes"
ROUTES: Final = (
    Route("GET", PATH, read_mutes, "The mutes that hold, the first to end first", answer=Mutes),
    Route(
        "POST",
        PATH,
        add_mute,
        "Mute alerts of a service or a rule",
        body=MuteBody,
        answer=MuteAnswer,
        status=201,
        others={200: MuteAnswer},
        problems=(404,),
        changes=True,
    ),
    Route(
        "DELETE",
        f"{PATH}/{{id}}",
        end_mute,
        "End a mute",
        query=MuteParams,
        answer=MuteAnswer,
        problems=(404,),
        changes=True,
    ),
)
