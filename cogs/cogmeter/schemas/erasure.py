"""The erasure of a user's data as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from cogmeter.schemas.base import Schema

if TYPE_CHECKING:
    from typing import Self

    from cogmeter_storage.model import Erased


class ErasedAnswer(Schema):
    """The numbers of rows from which the data of one user was erased."""

    message: str = Field(description="The result as a sentence")
    rows: int = Field(description="All together")
    operations: int
    traces: int
    errors: int = Field(description="Error groups, their examples, and the users that they count")
    alerts: int = Field(description="Alerts, their changes and deliveries, and mutes")
    others: int = Field(description="The audit log, thresholds, markers, and rows that were set apart")

    @classmethod
    def of(cls, erased: Erased, message: str) -> Self:
        """Build it from the result of an erasure."""
        return cls(
            message=message,
            rows=erased.rows,
            operations=erased.operations,
            traces=erased.traces,
            errors=erased.errors,
            alerts=erased.alerts,
            others=erased.others,
        )
