"""``cogmeter cost``: tokens and money of language models, by command, reply, model, server, user or service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cogmeter_bot.cli.options import ReadingOptions, reading_options
from cogmeter_bot.cli.output import BAD, Column, LabelledValue, Listing, OutputPage, Table, show, show_json
from cogmeter_bot.cli.text import of_services, one_line, range_title, share

if TYPE_CHECKING:
    from cogmeter.schemas.costs import CostGroupAnswer, Costs
    from cogmeter_bot.cli.output import Block

GROUPS: Final = ("command", "reply", "model", "guild", "user", "service")  # as query.costs, which help must not import
DAY_S: Final = 86_400
BAR: Final = 30  # characters of the longest bar


@click.command()
@click.option("--by", type=click.Choice(GROUPS), default="command", show_default=True, help="What to group by.")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="Maximum number of groups.")
@reading_options
def cost(options: ReadingOptions, by: str, limit: int) -> None:
    """Show tokens and money of language models.

    Money is cost_usd of the operations, or their tokens with the prices of
    PERFORMANCE_COST_PRICES and genai-prices. A server (guild) or user is shown by
    a hash: the database has no names. --services accepts one service.

    --check: operations have tokens without a known price.
    """
    time_range = options.time_range("30d")
    service = _one_service(options)
    answer = options.query(lambda source: source.costs(time_range, by, service, limit=limit))  # type: ignore[arg-type]  # click checks it
    if options.as_json:
        show_json(answer)
    else:
        show(_page(answer, f"Cost{of_services(options.services)} by {_title(by)} ({range_title(time_range.label)})"))
    options.exit_unless(not answer.total.unpriced_operations)


def _one_service(options: ReadingOptions) -> str | None:
    services = options.services or ()
    if len(services) > 1:
        raise click.UsageError("cost reads all services or one. Name one with --services.")
    return next(iter(services), None)


def _title(by: str) -> str:
    return "server" if by == "guild" else by


def _page(answer: Costs, title: str) -> OutputPage:
    from cogmeter.render.cost_text import CALL, NO_COSTS, covered_text, forecast_text, money
    from cogmeter.render.formatting import counted
    from cogmeter.times import us_of

    total, forecast, span = answer.total, answer.forecast, answer.time_range
    if not total.operations:
        return OutputPage(title, [f"{NO_COSTS} Add them with cogmeter.usage(response), see docs/cost.md."])
    expected = forecast_text(
        forecast.days, forecast.expected_micro_usd, forecast.least_micro_usd, forecast.most_micro_usd
    )
    covered = covered_text(
        answer.step_seconds * 1_000_000,
        us_of(span.since),
        None if answer.counted_since is None else us_of(answer.counted_since),
    )
    blocks: list[Block] = [
        LabelledValue("Covers", f"{span.since:%Y-%m-%d %H:%M} to {span.until:%Y-%m-%d %H:%M}, {covered}"),
        LabelledValue("Total", f"{money(total.cost_micro_usd)} for {counted(total.operations, CALL)}"),
        LabelledValue(
            "Tokens", f"{total.tokens_in:,} input ({total.cached_tokens:,} cached), {total.tokens_out:,} output"
        ),
        LabelledValue(
            "Today", f"{money(answer.today.cost_micro_usd)}, yesterday {money(answer.yesterday.cost_micro_usd)}"
        ),
        LabelledValue("This month", money(forecast.spent_micro_usd)),
        LabelledValue("Month forecast", expected),
        _groups(answer),
    ]
    if answer.groups_total > len(answer.groups):
        blocks.append(f"and {answer.groups_total - len(answer.groups):,} more")
    if len({step.at for step in answer.steps}) > 1:
        blocks.append(
            Listing("Money by hour (UTC)" if answer.step_seconds < DAY_S else "Money by day (UTC)", _bars(answer))
        )
    blocks += _missing(answer)
    if answer.price_source:
        blocks.append(LabelledValue("Prices", answer.price_source))
    return OutputPage(title, blocks)


def _per_thousand(group: CostGroupAnswer) -> str:
    from cogmeter.render.cost_text import money
    from cogmeter.render.formatting import NOTHING

    return NOTHING if group.per_thousand_micro_usd is None else money(group.per_thousand_micro_usd)


def _groups(answer: Costs) -> Table:
    from cogmeter.render.cost_text import group_text, money, per_thousand_title
    from cogmeter.render.formatting import NOTHING

    uses = any(one.uses is not None for one in answer.groups)
    rated = any(one.per_thousand_micro_usd is not None for one in answer.groups)  # not where no use is counted
    columns = [
        Column(_title(answer.by), flexible=True),
        Column("money", right=True),
        Column("share", right=True, hides=3),
        Column("calls", right=True, hides=2),
        *([Column("uses", right=True, hides=3)] if uses else []),
        *([Column(per_thousand_title(answer.by).lower(), right=True, hides=5)] if rated else []),
        Column("input", right=True, hides=1),
        Column("output", right=True, hides=1),
        Column("no price", right=True, style=BAD, hides=4),
    ]
    rows = [
        (
            one_line(group_text(answer.by, one.name)),
            money(one.cost_micro_usd),
            share(one.cost_micro_usd, answer.total.cost_micro_usd) if answer.total.cost_micro_usd else "",
            f"{one.operations:,}",
            *([NOTHING if one.uses is None else f"{one.uses:,}"] if uses else []),
            *([_per_thousand(one)] if rated else []),
            f"{one.tokens_in:,}",
            f"{one.tokens_out:,}",
            f"{one.unpriced_operations:,}" if one.unpriced_operations else "",
        )
        for one in answer.groups
    ]
    return Table(columns, rows)


def _bars(answer: Costs) -> list[str]:
    """Return a bar for each step."""
    from cogmeter.render.cost_text import money

    totals: dict[str, int] = {}
    for step in answer.steps:
        name = f"{step.at:%d %b %H:%M}" if answer.step_seconds < DAY_S else f"{step.at:%d %b}"
        totals[name] = totals.get(name, 0) + step.cost_micro_usd
    most = max(totals.values()) or 1
    width = max(len(money(amount)) for amount in totals.values())
    return [
        f"{name} {money(amount):>{width}} {'#' * round(BAR * amount / most)}".rstrip()
        for name, amount in totals.items()
    ]


def _missing(answer: Costs) -> list[Block]:
    if not answer.total.unpriced_operations:
        return []
    from cogmeter.render.cost_text import CALL
    from cogmeter.render.formatting import counted

    lines = [
        f"{one_line(one.name) or '(no model named)'}: {counted(one.unpriced_operations, CALL)}"
        for one in answer.unpriced
    ]
    fix = answer.price_problem or "set PERFORMANCE_COST_PRICES, for example my-model=2.50/10"
    return [Listing("Without a known price", [*lines, f"Next step: {fix}"])]
