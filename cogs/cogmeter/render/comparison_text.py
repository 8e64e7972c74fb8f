"""A comparison as text, the same on every surface: ``confident: 38% slower (p95 870 ms to 1.2 s)``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from cogmeter.query.comparison import FEWEST, NOTICEABLE, ChangeVerdict
from cogmeter.query.comparison_samples import WARM_UP_US
from cogmeter.recording.service_names import label
from cogmeter.render import formatting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cogmeter.query.comparison import Comparison, MeasuredChange

NO_CHANGE: Final = "no significant change"
_UNLIKELY: Final = 0.01  # probability of a difference by chance, below which a small one is not said to be chance
NAMES: Final = {"p50": "p50", "p95": "p95", "error_rate": "error rate", "throughput": "throughput"}
_WORDS: Final = {  # worse and better, by statistic
    "p50": ("slower", "faster"),
    "p95": ("slower", "faster"),
    "error_rate": ("more errors", "fewer errors"),
    "throughput": ("fewer operations", "more operations"),
}


def subject_text(service: str | None, operation: str | None) -> str:
    """Return what is compared: ``/ask``, ``knowledge-graph``, ``all services``."""
    return "all services" if service is None else label(service, operation)


def around_text(marker: str) -> str:
    """Return which periods a marker divides: ``before and after "deployed 1.4"``."""
    return f'before and after "{marker}"'


def verdict_text(change: MeasuredChange, operations: tuple[int, int]) -> str:
    """Return the verdict on one quantity; ``operations`` of both periods."""
    if change.verdict is ChangeVerdict.TOO_FEW:
        which = "before" if operations[0] < FEWEST else "after"
        count = operations[0] if which == "before" else operations[1]
        return f"not enough data: {formatting.exact(count)} of {FEWEST} operations {which}"
    if change.verdict is ChangeVerdict.UNCHANGED:
        return f"{NO_CHANGE}{_why_none(change)}"
    return f"confident: {found_text(change)}"


def found_text(change: MeasuredChange) -> str:
    """Return the size of a change that is certain: ``38% slower (p95 870 ms to 1.2 s)``."""
    word = _WORDS[change.statistic][change.verdict is ChangeVerdict.BETTER]
    name = "" if change.statistic in {"error_rate", "throughput"} else f"{NAMES[change.statistic]} "
    before, after = value_texts(change)
    return f"{_size(change)}{word} ({name}{before} to {after})"


def value_texts(change: MeasuredChange) -> tuple[str, str]:
    """Return both values with their units; rates have the same unit, so that they can be compared at a glance."""
    return _value_text(change, change.before, change.after), _value_text(change, change.after, change.before)


def _value_text(change: MeasuredChange, value: float | None, other: float | None) -> str:
    if value is None:
        return formatting.NOTHING
    if change.statistic == "error_rate":
        return formatting.percent(value)
    return formatting.rate(value, other) if change.statistic == "throughput" else formatting.duration(value)


def _why_none(change: MeasuredChange) -> str:
    """Return why a difference that is so large that it looks like a change is none: it may be chance, or is small."""
    from_nothing = change.before == 0 and change.after and change.statistic == "error_rate"
    if (change.ratio is None and not from_nothing) or (change.ratio is not None and abs(change.ratio) < NOTICEABLE):
        return ""
    text = change_text(change)
    unlikely = change.p_value is not None and change.p_value < _UNLIKELY
    reason = "is too little to count" if change.is_small and unlikely else "may be chance"
    return "" if text == formatting.SAME else f" ({text} {reason})"


def change_text(change: MeasuredChange) -> str:
    """Return how much a quantity changed, whether or not that is certain."""
    if change.statistic == "error_rate" and change.after is not None:
        return formatting.change_of_share(change.after, change.before)
    return formatting.change(change.after, change.before)


def headline(comparison: Comparison) -> str:
    """Return the most important of the verdicts on response times and errors as a sentence without full stop."""
    operations = (comparison.before.operations, comparison.after.operations)
    changes = (comparison.latency, comparison.errors)
    worst = next((change for change in changes if change.verdict is comparison.verdict), comparison.latency)
    unchanged = comparison.verdict is ChangeVerdict.UNCHANGED
    text = f"{NO_CHANGE} in response times or errors" if unchanged else verdict_text(worst, operations)
    return formatting.sentence(text)


def verdicts(comparison: Comparison) -> list[tuple[str, str]]:
    """Return the name of each quantity and its verdict, without what the headline says already."""
    operations, said = (comparison.before.operations, comparison.after.operations), headline(comparison)
    changes = (
        ("Response times", comparison.latency),
        ("Errors", comparison.errors),
        ("Throughput", comparison.throughput),
    )
    texts = [(name, verdict_text(change, operations)) for name, change in changes]
    return [
        (name, text)
        for name, text in texts
        if formatting.sentence(text) != said and not (text == NO_CHANGE and name.lower() in said.lower())
    ]


class LeftOut(Protocol):
    """The operations of a period that are not compared."""

    @property
    def warm_up(self) -> int:
        """Those in the first minutes after a start."""
        ...

    @property
    def other_hours(self) -> int:
        """Those at hours of the day that the other period does not have."""
        ...


def notes(hours: int, *periods: LeftOut, recorded_since: str = "") -> Iterator[str]:
    """Yield which operations of both periods are left out, and why; ``hours`` of the day are compared.

    ``recorded_since`` is the time of the first record, if the first period begins before it.
    """
    warm_up, other_hours = sum(one.warm_up for one in periods), sum(one.other_hours for one in periods)
    if recorded_since:
        yield f"nothing was recorded before {recorded_since}"
    if other_hours and (hours or not recorded_since):
        common = f"only hours of the day that both periods have are compared ({hours} of 24, UTC)"
        none = "the periods have no hour of the day in common yet"
        yield f"{common if hours else none}; left out: {formatting.counted(other_hours, 'operation')}"
    if warm_up:
        minutes, count = WARM_UP_US // 60_000_000, formatting.counted(warm_up, "operation")
        yield f"the first {minutes} min after a start, a new version or a reload are not compared; left out: {count}"


def title(comparison: Comparison) -> str:
    """Return what is compared with what: ``/ask: before and after "version 1.4"``."""
    subject = subject_text(comparison.service, comparison.operation)
    if comparison.marker is not None:
        return f"{subject}: {around_text(comparison.marker.name)}"
    return f"{subject}: {comparison.after.range.label} and {comparison.before.range.label}"


def _size(change: MeasuredChange) -> str:
    """Return the relative change: ``38% ``, ``12x ``; of errors nothing, because both shares follow."""
    if change.statistic == "error_rate" or change.ratio is None:
        return ""
    return f"{change_text(change).partition(' ')[2]} "
