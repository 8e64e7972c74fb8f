"""Health as JSON: how the bot, the monitor and each service are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from cogmeter import __version__
from cogmeter.diagnosis import Check, Status
from cogmeter.query.query import now_us
from cogmeter.recording.background import paced
from cogmeter.schemas.base import Schema
from cogmeter.schemas.figures import moment
from cogmeter.schemas.numbers import Number, ms_or_none, rate, rounded
from cogmeter.schemas.safe import text
from cogmeter.schemas.times import Instant, at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Self

    from cogmeter.diagnosis import ServiceHealth


class CheckAnswer(Schema):
    """How one component is."""

    status: Status
    reason: str
    age_seconds: Number | None = Field(
        description="Age of what it rests on: the last heartbeat, flush, write, sample, run or operation"
    )

    @classmethod
    def of(cls, check: Check) -> Self:
        """That of a judgement."""
        return cls(**_fields(check))


class ServiceHealthAnswer(CheckAnswer):
    """How one service is, by what it did within the window of the alerts."""

    total_operations: int = Field(description="Within the window")
    error_rate: Number | None = Field(description="0 to 1; null without operations in the window")
    average_response_time: Number | None = Field(description="Milliseconds")
    p95_response_time: Number | None = Field(description="Milliseconds, within 1%")
    last_seen: Instant | None = Field(description="When its last operation ended, to a sixtieth of the window")

    @classmethod
    def of_service(cls, one: ServiceHealth) -> Self:
        """That of a service."""
        return cls(
            **_fields(one.check),
            total_operations=one.operations,
            error_rate=None if one.error_rate is None else rate(one.error_rate),
            average_response_time=ms_or_none(one.mean_us),
            p95_response_time=ms_or_none(one.p95_us),
            last_seen=moment(one.last_seen_us),
        )


class _About(Schema):
    status: Status = Field(description="The worst of what counts; healthy and degraded are answered with 200")
    version: str = Field(description="Of cogmeter")
    uptime_seconds: Number = Field(description="Since cogmeter was started")
    timestamp: Instant


class HealthAnswer(_About):
    """How the bot or the monitor is."""

    checks: dict[str, CheckAnswer]

    @classmethod
    def of(cls, status: Status, checks: Iterable[Check], up_s: float) -> Self:
        """That of these judgements."""
        return cls(checks={one.name: CheckAnswer.of(one) for one in checks}, **_about(status, up_s))


class ServicesHealthAnswer(_About):
    """How each recorded service is."""

    checks: dict[str, ServiceHealthAnswer] = Field(description="By the services' names; their worst is the status")
    discord: dict[str, ServiceHealthAnswer] = Field(description="What cogmeter records of Discord by itself")

    @classmethod
    async def of(
        cls, status: Status, own: Mapping[str, ServiceHealth], discord: Mapping[str, ServiceHealth], up_s: float
    ) -> Self:
        """Return the answer about these services, built in short pieces."""
        return cls(checks=await _named(own), discord=await _named(discord), **_about(status, up_s))


async def _named(services: Mapping[str, ServiceHealth]) -> dict[str, ServiceHealthAnswer]:
    return {text(name): ServiceHealthAnswer.of_service(one) async for name, one in paced(services.items())}


def _fields(check: Check) -> dict[str, Any]:
    return {
        "status": check.status,
        "reason": text(check.reason),
        "age_seconds": None if check.age_s is None else rounded(check.age_s, 3),
    }


def _about(status: Status, up_s: float) -> dict[str, Any]:
    return {"status": status, "version": __version__, "uptime_seconds": rounded(up_s, 3), "timestamp": at(now_us())}
