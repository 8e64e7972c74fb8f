"""``cogmeter summary``: all services over a period, in the guide's layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cogmeter_bot.cli.options import Ask, reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cogmeter.answers.alerts import AlertAnswer
    from cogmeter.answers.dashboard import Dashboard
    from cogmeter.answers.figures import Stats
    from cogmeter.settings import Settings
    from cogmeter_bot.cli.page import Block, Page, Table


@click.command()
@click.option("--top", type=click.IntRange(0, 1000), help="How many services to list; 3, or 10 on a terminal.")
@reading
def summary(ask: Ask, top: int | None) -> None:
    """Show volume, success, response times, top services and alerts.

    --check: an alert stands, or a service fails or is slow beyond the thresholds of the settings.
    """
    from cogmeter.records import Period
    from cogmeter_bot.cli.page import is_rich, show, show_json

    span = ask.span(Period.DAY)
    view = ask.answer(lambda source: source.dashboard(span, ask.services))
    settings = ask.settings
    if ask.as_json:
        show_json(view)
    else:
        tables = is_rich()
        show(
            page(view, span.label, top=(10 if tables else 3) if top is None else top, tables=tables, settings=settings)
        )
    ask.checked(well=is_well(view, settings))


def is_well(view: Dashboard, settings: Settings) -> bool:
    """Whether no alert stands and every service is within the thresholds."""
    from cogmeter_bot.reading.diagnosis import is_failing, is_slow

    services = view.service_stats.values()
    return not view.alerts and not any(is_failing(one, settings) or is_slow(one, settings) for one in services)


def page(view: Dashboard, label: str, *, top: int, tables: bool, settings: Settings) -> Page:
    """The page; with ``tables`` the busiest services as a table."""
    from cogmeter_bot.cli import words
    from cogmeter_bot.cli.page import BAD, GOOD, Fact, Page

    total = view.overall_stats
    count, failed = total.total_operations, total.failed_operations
    failing = count and settings.alert_threshold_error_rate and failed / count > settings.alert_threshold_error_rate
    colour = BAD if failing else GOOD if count else ""
    blocks: list[Block] = [
        Fact("Total Operations", f"{count:,}"),
        Fact("Success Rate", words.share(count - failed, count), colour),
        Fact("Average Response Time", words.ms(total.average_response_time)),
        Fact("Error Rate", words.share(failed, count), colour),
        Fact("Active Services", f"{total.active_services:,}"),
        *_dropped(total.dropped_operations, settings),
        *_services(view.service_stats, top, settings, tables=tables),
        *_alerts(view.alerts),
    ]
    return Page(f"Performance Summary ({words.heading(label)})", blocks)


def _dropped(operations: int, settings: Settings) -> Iterator[Block]:
    from cogmeter.render import text
    from cogmeter.settings import buffer_setting
    from cogmeter_bot.cli.page import WARN, Fact

    if operations:
        setting = buffer_setting(by_memory=settings.max_operations_in_memory is None)
        yield Fact("Dropped Operations", f"{text.exact(operations)} (the buffer was full: raise {setting})", WARN)


def _services(stats: Mapping[str, Stats], top: int, settings: Settings, *, tables: bool) -> Iterator[Block]:
    from cogmeter_bot.cli import words
    from cogmeter_bot.cli.page import Listing

    listed = list(stats.items())[:top]
    if not listed:
        return
    if tables:
        yield table(dict(listed), settings, "Top Services by Volume")
        return
    items = [
        f"{number}. {words.line(name)}: {one.total_operations:,} ops"
        f" ({words.share(one.successful_operations, one.total_operations)} success)"
        for number, (name, one) in enumerate(listed, 1)
    ]
    yield Listing("Top Services by Volume", items)


def table(stats: Mapping[str, Stats], settings: Settings, title: str, kind: str = "service") -> Table:
    """Services or operations with their figures."""
    from cogmeter_bot.cli import words
    from cogmeter_bot.cli.page import BAD, GOOD, WARN, Column, Table
    from cogmeter_bot.reading.diagnosis import is_failing, is_slow

    columns = [
        Column(kind, flexible=True),
        Column("ops", right=True),
        Column("success", right=True),
        Column("average", right=True),
        Column("p95", right=True),
        Column("p99", right=True, needs=70),
        Column("a minute", right=True, needs=80),
    ]
    rows = [
        (
            words.line(name),
            f"{one.total_operations:,}",
            (
                words.share(one.successful_operations, one.total_operations),
                BAD if is_failing(one, settings) else GOOD,
            ),
            (words.ms(one.average_response_time), WARN if is_slow(one, settings) else ""),
            words.ms(one.p95_response_time),
            words.ms(one.p99_response_time),
            f"{one.operations_per_minute:,.2f}",
        )
        for name, one in stats.items()
    ]
    return Table(columns, rows, title)


def _alerts(alerts: list[AlertAnswer]) -> Iterator[Block]:
    from cogmeter_bot.cli import words
    from cogmeter_bot.cli.page import Listing

    if alerts:
        items = [f"- {one.severity}: {words.line(one.service)}: {words.line(one.message)}" for one in alerts]
        yield Listing("Active Alerts", items)
