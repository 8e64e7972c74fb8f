"""The state of the whole bot as JSON: every component, shard, service, loop and dependency."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from cogmeter.diagnosis import BotState, StateArea, StateItem, Status, Verdict
from cogmeter.schemas import safe
from cogmeter.schemas.base import Schema
from cogmeter.schemas.health import VerdictAnswer
from cogmeter.schemas.times import Instant
from cogmeter.times import us_of, utc

if TYPE_CHECKING:
    from typing import Self


class StateItemAnswer(Schema):
    """One part of the bot."""

    name: str
    status: Status
    text: str = Field(description="Its most important figures, or what is wrong")


class StateAreaAnswer(Schema):
    """An area of the bot, such as its services."""

    name: str
    items: list[StateItemAnswer] = Field(description="Worst first")


class BotStateAnswer(Schema):
    """The state of the whole bot now."""

    timestamp: Instant
    verdict: VerdictAnswer
    areas: list[StateAreaAnswer]

    @classmethod
    def of(cls, state: BotState) -> Self:
        """Build it from a state."""
        return cls(
            timestamp=utc(state.at_us),
            verdict=VerdictAnswer(status=state.verdict.status, text=state.verdict.text),
            areas=[
                StateAreaAnswer(
                    name=area.name,
                    items=[
                        StateItemAnswer(name=safe.text(item.name), status=item.status, text=safe.text(item.text))
                        for item in area.items
                    ],
                )
                for area in state.areas
            ],
        )

    def to_state(self) -> BotState:
        """Return the state that this describes."""
        return BotState(
            us_of(self.timestamp),
            Verdict(self.verdict.status, self.verdict.text),
            tuple(
                StateArea(area.name, tuple(StateItem(item.name, item.status, item.text) for item in area.items))
                for area in self.areas
            ),
        )
