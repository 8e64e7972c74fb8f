"""Usage as JSON: commands with the people who used them, heat map, contexts, languages and audience."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from cogmeter.query.usage import usage
from cogmeter.schemas import safe
from cogmeter.schemas.base import Number, Schema, TimeRange, rate
from cogmeter.schemas.times import Instant, utc_or_none
from cogmeter.times import utc

if TYPE_CHECKING:
    from cogmeter.query.query import Query
    from cogmeter.query.records import Range
    from cogmeter.query.usage import AudienceStep, UnusedCommand, Usage, UsedOperation

PEOPLE = "; an estimate within 3% above 512; null if they were not counted then"


class UsedOperationAnswer(Schema):
    """A command, component or reply and its use in the range."""

    name: str = Field(description='As an owner knows it: "/ask", "button Shop.buy", "reply on_message"')
    service: str
    operation: str
    operations: int
    failures: int
    error_rate: Number = Field(description="Failures over operations, 0 to 1")
    users: int | None = Field(description=f"Distinct users{PEOPLE}")
    guilds: int | None = Field(description=f"Distinct guilds{PEOPLE}")
    last_used: Instant | None = Field(description="The last use, also before the range; null if it is not known")

    @classmethod
    def of(cls, used: UsedOperation) -> UsedOperationAnswer:
        """Build it from a query's record."""
        return cls(
            name=safe.text(used.label),
            service=used.service,
            operation=used.operation,
            operations=used.operations,
            failures=used.failures,
            error_rate=rate(used.error_rate),
            users=used.people and used.people.users,
            guilds=used.people and used.people.guilds,
            last_used=utc_or_none(used.last_us),
        )


class UnusedCommandAnswer(Schema):
    """A registered command that was never used."""

    name: str
    registered_at: Instant = Field(description="When the command was first seen")

    @classmethod
    def of(cls, command: UnusedCommand) -> UnusedCommandAnswer:
        """Build it from a query's record."""
        return cls(name=safe.text(command.label), registered_at=utc(command.registered_us))


class AudienceStepAnswer(Schema):
    """Guilds and members at the end of a step, and the changes in it."""

    at: Instant = Field(description="The start of the step")
    guilds: int | None = Field(description="null where it was not sampled")
    members: int | None
    joined: int = Field(description="Guilds that were joined")
    left: int = Field(description="Guilds that were left")

    @classmethod
    def of(cls, step: AudienceStep) -> AudienceStepAnswer:
        """Build it from a query's record."""
        return cls(at=utc(step.at_us), guilds=step.guilds, members=step.members, joined=step.joined, left=step.left)


class UsageAnswer(Schema):
    """The use of the bot over a range, widened to whole hours. No user or guild is named."""

    time_range: TimeRange
    operations: int
    failures: int
    users: int | None = Field(description=f"Distinct users of all commands together{PEOPLE}")
    guilds: int | None = Field(description=f"Distinct guilds of all commands together{PEOPLE}")
    commands: list[UsedOperationAnswer] = Field(description="With operations in the range, the busiest first")
    unused: list[UnusedCommandAnswer] = Field(description="Registered commands that were never used")
    heat_map: list[list[int]] = Field(
        description="Runs by weekday (Monday first) and hour of the day, in UTC: 7 lists of 24 numbers"
    )
    contexts: dict[str, int] = Field(description="Runs by guild, dm, user_install")
    locales: dict[str, int] = Field(description="Runs of interactions by the user's language")
    joined: int = Field(description="Guilds that were joined")
    left: int = Field(description="Guilds that were left")
    audience: list[AudienceStepAnswer]

    @classmethod
    def of(cls, found: Usage) -> UsageAnswer:
        """Build it from a query's record."""
        return cls(
            time_range=TimeRange.of(found.range),
            operations=found.runs,
            failures=found.failures,
            users=found.people and found.people.users,
            guilds=found.people and found.people.guilds,
            commands=[UsedOperationAnswer.of(used) for used in found.operations],
            unused=[UnusedCommandAnswer.of(command) for command in found.unused],
            heat_map=found.heat,
            contexts=found.contexts,
            locales=found.locales,
            joined=found.joined,
            left=found.left,
            audience=[AudienceStepAnswer.of(step) for step in found.audience],
        )


async def usage_answer(query: Query, span: Range) -> UsageAnswer:
    """Return the use of the bot over a range.

    Raises:
        StorageError: the store cannot be read.
    """
    return UsageAnswer.of(await usage(query, span))
