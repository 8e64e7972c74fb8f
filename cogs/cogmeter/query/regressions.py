"""The records of checks after a deploy: what became worse of a command or service."""

from __future__ import annotations

from dataclasses import dataclass

from cogmeter.query.comparison import ChangeVerdict, MeasuredChange
from cogmeter.query.comparison_periods import reference

WAITING, BEGUN, DONE = "waiting", "begun", "done"  # of the post about a check


@dataclass(frozen=True, slots=True)
class Regression:
    """A quantity of a command or service that became worse; values in microseconds or as a share."""

    service: str
    operation: str  # empty: the service as a whole
    statistic: str  # p50, p95 or error_rate
    before: float
    after: float
    operations: tuple[int, int]
    p_value: float

    @property
    def change(self) -> MeasuredChange:
        """The change as a record of comparisons."""
        return MeasuredChange(ChangeVerdict.WORSE, self.statistic, self.before, self.after, self.p_value)


@dataclass(frozen=True, slots=True)
class DeployCheck:
    """The result of one check."""

    marker: int  # the id of the marker
    name: str  # of the marker
    at_us: int  # of the deploy
    stage: str  # 1 h or 24 h
    checked_us: int
    subjects: int  # commands and services that had enough operations
    regressions: tuple[Regression, ...]  # the most certain first
    post: str = DONE

    @property
    def before(self) -> str:
        """The text that means the periods of this check in comparisons: the same time before and after the marker."""
        return reference(self.marker, self.stage.replace(" ", ""))
