"""The texts of costs that Discord, dashboard and terminal share: money, groups, and why money is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.query.costs import LEAST_BASIS, NONE_TITLES, TITLES, used
from cogmeter.render import formatting
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogmeter.query.costs import CostGrouping, CostReport
    from cogmeter_storage.costs import CostSums

NO_COSTS: Final = "No tokens and no costs were recorded in this period."
CALL: Final = "model call"  # an operation with tokens or money; a command may have several
MODELS: Final = 5  # unknown models that are named
PEOPLE: Final = ("guild", "user")


def money(micro_usd: int) -> str:
    """Format money: ``$18.40``, ``$1,204``, ``$0.0042``, ``$0.000015``; ``$0.00`` only for nothing."""
    if micro_usd >= 1_000_000_000:
        return f"${micro_usd / 1e6:,.0f}"
    digits = 2 if micro_usd >= 100_000 or not micro_usd else 4 if micro_usd >= 100 else 6
    return f"${micro_usd / 1e6:.{digits}f}"


def rough_money(micro_usd: int) -> str:
    """Format an estimate of money: ``$265``."""
    return money(micro_usd) if micro_usd < 10_000_000 else f"${micro_usd / 1e6:,.0f}"


def title(by: CostGrouping) -> str:
    """Return the title of a grouping: ``Cost by server``."""
    return f"Cost by {TITLES[by]}"


def per_thousand_title(by: CostGrouping) -> str:
    """Return the title of the money of 1,000 uses of a group, or of 1,000 calls where its uses are not counted."""
    return "Per 1,000 uses" if used(by) else f"Per 1,000 {CALL}s"


def group_text(by: CostGrouping, name: str, names: Mapping[str, str] | None = None) -> str:
    """Return the text of a group. ``names`` are those of guilds or users by hash, resolved now."""
    if by not in PEOPLE or name == NONE_TITLES[by]:
        return name
    return formatting.clean((names or {}).get(name, "")) or f"{TITLES[by]} {name}"


def tokens_text(sums: CostSums) -> str:
    """Return the tokens: ``1.2 M input (40% cached), 80 k output``."""
    known = sums.cached_tokens and sums.tokens_in  # an operation may have recorded cached tokens alone
    cached = f" ({formatting.percent(sums.cached_tokens / sums.tokens_in)} cached)" if known else ""
    return f"{formatting.count(sums.tokens_in)} input{cached}, {formatting.count(sums.tokens_out)} output tokens"


def forecast_text(days: int, expected: int | None, least: int, most: int) -> str:
    """Return the month's forecast with its range: ``about $265 ($200 to $300), based on the last 7 days``.

    Money is in micro-dollars; nothing is ``expected`` if there are too few ``days`` with known costs.
    """
    if expected is None:
        return f"available after {LEAST_BASIS} whole days; {days} so far"
    ends = forecast_ends(least, most)
    return f"about {rough_money(expected)}{f' ({ends})' if ends else ''}, {basis_text(days)}"


def forecast_ends(least: int, most: int) -> str:
    """Return the range of a forecast: ``$200 to $300``; empty if both ends read the same."""
    ends = (rough_money(least), rough_money(most))
    return "" if ends[0] == ends[1] else " to ".join(ends)


def basis_text(days: int) -> str:
    """Return what a forecast follows from: ``based on the last 7 days``."""
    return f"based on the last {days} days"


def covered_text(step_us: int, since_us: int, known_since_us: int | None) -> str:
    """Return what costs of a range cover: ``whole days (UTC), recorded since 23 Nov``.

    Costs are recorded since ``known_since_us``, which is named only where the range begins earlier.
    """
    whole = "whole hours (UTC)" if step_us < DAY_US else "whole days (UTC)"
    if known_since_us is None or known_since_us <= since_us:
        return whole
    return f"{whole}, recorded since {formatting.day(known_since_us)}"


def missing_money(report: CostReport) -> str:
    """Return why money is missing and the next step; an empty text if all operations have a price."""
    if not report.total.unpriced:
        return ""
    count = formatting.counted(report.total.unpriced, CALL)
    names = [formatting.cut(formatting.clean(name), 60) for name in report.unpriced if name]
    listed = ", ".join(names[:MODELS]) + (f" and {len(names) - MODELS} more" if len(names) > MODELS else "")
    if report.price_problem:
        return f"Tokens of {count} are counted without money: {report.price_problem}, or set PERFORMANCE_COST_PRICES."
    if not names:
        return f"No price is known for {count} without a model. Add model=... to their metadata."
    example = f"PERFORMANCE_COST_PRICES={names[0]}=2.50/10"
    return f"No price is known for {count} of these models: {listed}. Set it, for example {example}."
