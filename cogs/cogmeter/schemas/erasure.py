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

    rows: int = Field(description="All together")
    operations: int
    traces: int
    errors: int = Field(description="Error groups, their examples, and the users that they count")
    alerts: int = Field(description="Alerts, their changes and deliveries, and mutes")
    others: int = Field(description="The audit log, thresholds, markers, and rows that were set apart")

    @classmethod
    def of(cls, erased: Erased) -> Self:
        """Build it from the result of an erasure."""
        return cls(
            rows=erased.rows,
            operations=erased.operations,
            traces=erased.traces,
            errors=erased.errors,
            alerts=erased.alerts,
            others=erased.others,
        )
