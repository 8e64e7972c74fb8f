"""``cogmeter summary``: all services over a period, in the guide's layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cogmeter_bot.cli.options import ReadingOptions, reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cogmeter.alerts.thresholds.limits import Limits
    from cogmeter.query.records import Range
    from cogmeter.schemas.alerts import AlertAnswer
    from cogmeter.schemas.dashboard import Dashboard
    from cogmeter.schemas.figures import Stats
    from cogmeter.settings import Settings
    from cogmeter_bot.cli.output import Block, OutputPage, Table
    from cogmeter_bot.sources.base import Source


@click.command()
@click.option("--top", type=click.IntRange(0, 1000), help="How many services to list; 3, or 10 on a terminal.")
@reading
def summary(ask: ReadingOptions, top: int | None) -> None:
    """Show volume, success, response times, top services and alerts.

    --check: an alert is active, or a service exceeds the thresholds in effect.
    """
    from cogmeter.query.records import Period
    from cogmeter_bot.cli.output import is_rich, show, show_json

    span = ask.span(Period.DAY)
    view, limits = ask.answer(lambda source: _asked(source, span, ask.services))
    settings = ask.settings
    if ask.as_json:
        show_json(view)
    else:
        tables = is_rich()
        show(
            page(
                view,
                span.label,
                limits,
                top=(10 if tables else 3) if top is None else top,
                tables=tables,
                settings=settings,
            )
        )
    ask.checked(well=is_well(view, limits))


async def _asked(source: Source, span: Range, services: tuple[str, ...] | None) -> tuple[Dashboard, Limits]:
    return await source.dashboard(span, services), await source.limits()


def is_well(view: Dashboard, limits: Limits) -> bool:
    """Whether no alert stands and every service is within the thresholds."""
    from cogmeter_bot.sources.diagnosis import judged

    judgements = [judged(one, limits, name) for name, one in view.service_stats.items()]
    return not view.alerts and not any(one.failing or one.slow for one in judgements)


def page(view: Dashboard, label: str, limits: Limits, *, top: int, tables: bool, settings: Settings) -> OutputPage:
    """The page; with ``tables`` the busiest services as a table."""
    from cogmeter_bot.cli import guide_format
    from cogmeter_bot.cli.output import BAD, GOOD, LabelledValue, OutputPage
    from cogmeter_bot.sources.diagnosis import judged

    total = view.overall_stats
    count, failed = total.total_operations, total.failed_operations
    colour = BAD if judged(total, limits).failing else GOOD if count else ""
    blocks: list[Block] = [
        LabelledValue("Total Operations", f"{count:,}"),
        LabelledValue("Success Rate", guide_format.share(count - failed, count), colour),
        LabelledValue("Average Response Time", guide_format.ms(total.average_response_time)),
        LabelledValue("Error Rate", guide_format.share(failed, count), colour),
        LabelledValue("Active Services", f"{total.active_services:,}"),
        *_dropped(total.dropped_operations, settings),
        *_services(view.service_stats, top, limits, tables=tables),
        *_alerts(view.alerts),
    ]
    return OutputPage(f"Performance Summary ({guide_format.heading(label)})", blocks)


def _dropped(operations: int, settings: Settings) -> Iterator[Block]:
    from cogmeter.render import formatting
    from cogmeter.settings import buffer_setting
    from cogmeter_bot.cli.output import WARN, LabelledValue

    if operations:
        setting = buffer_setting(by_memory=settings.max_operations_in_memory is None)
        yield LabelledValue(
            "Dropped Operations", f"{formatting.exact(operations)} (the buffer was full: raise {setting})", WARN
        )


def _services(stats: Mapping[str, Stats], top: int, limits: Limits, *, tables: bool) -> Iterator[Block]:
    from cogmeter_bot.cli import guide_format
    from cogmeter_bot.cli.output import Listing

    listed = list(stats.items())[:top]
    if not listed:
        return
    if tables:
        yield table(dict(listed), limits, "Top Services by Volume")
        return
    items = [
        f"{number}. {guide_format.line(name)}: {one.total_operations:,} ops"
        f" ({guide_format.share(one.successful_operations, one.total_operations)} success)"
        for number, (name, one) in enumerate(listed, 1)
    ]
    yield Listing("Top Services by Volume", items)


def table(stats: Mapping[str, Stats], limits: Limits, title: str, *, service: str = "") -> Table:
    """Return a table of services, or of the operations of one service."""
    from cogmeter_bot.cli import guide_format
    from cogmeter_bot.cli.output import BAD, GOOD, WARN, Column, Table
    from cogmeter_bot.sources.diagnosis import judged

    columns = [
        Column("operation" if service else "service", flexible=True),
        Column("ops", right=True),
        Column("success", right=True),
        Column("average", right=True),
        Column("p95", right=True),
        Column("p99", right=True, needs=70),
        Column("ops/min", right=True, needs=80),
    ]
    judgements = {
        name: judged(one, limits, service, name) if service else judged(one, limits, name)
        for name, one in stats.items()
    }
    rows = [
        (
            guide_format.line(name),
            f"{one.total_operations:,}",
            (
                guide_format.share(one.successful_operations, one.total_operations),
                BAD if judgements[name].failing else GOOD,
            ),
            (guide_format.ms(one.average_response_time), WARN if judgements[name].slow else ""),
            guide_format.ms(one.p95_response_time),
            guide_format.ms(one.p99_response_time),
            f"{one.operations_per_minute:,.2f}",
        )
        for name, one in stats.items()
    ]
    return Table(columns, rows, title)


def _alerts(alerts: list[AlertAnswer]) -> Iterator[Block]:
    from cogmeter_bot.cli import guide_format
    from cogmeter_bot.cli.output import Listing

    if alerts:
        items = [
            f"- {one.severity}: {guide_format.line(one.service)}: {guide_format.line(one.message)}" for one in alerts
        ]
        yield Listing("Active Alerts", items)
