"""``cogmeter alerts``: active and past alerts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import click

from cogmeter_bot.cli.options import ReadingOptions, reading_options
from cogmeter_bot.cli.output import BAD, WARN, Column, OutputPage, Table, show, show_json
from cogmeter_bot.cli.text import of_services, one_line, range_title, timestamp
from cogmeter_bot.zones import zone_label

if TYPE_CHECKING:
    from cogmeter.schemas.alerts import AlertAnswer
    from cogmeter.settings import Settings
    from cogmeter_bot.sources.base import Source

SEVERITY_COLOURS: Final = {"critical": BAD, "warning": WARN, "info": "cyan"}
MAX_ALERTS: Final = 1_000  # read from the source
MAX_LINKS: Final = 5
NO_ALERTS: Final = (
    "No alert is active. An alert is listed here from when a metric exceeds its threshold until it has recovered "
    "(`/perf thresholds view` in Discord); `--history` lists past ones."
)
NO_PAST_ALERTS: Final = "No alert in this period. `--period 30d` looks further back."


@click.command()
@click.option("--history", is_flag=True, help="Include resolved alerts, of the last 7 days or of the given range.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Maximum number of alerts.")
@reading_options
def alerts(options: ReadingOptions, history: bool, limit: int) -> None:
    """List active alerts, and with --history past ones.

    With --since, --until or --period, list the alerts that were active in that range, as with --history.

    --check: a listed alert is active.
    """
    from cogmeter.alerts.model import by_urgency
    from cogmeter.schemas.alerts import AlertPage

    history = history or options.has_range
    time_range = options.time_range("7d")
    state = "history" if history else "active"
    matching = options.query(lambda source: _alerts(source, state, options.services), present=not history)
    if history:
        # Without an end, an alert that began after this command counts, too.
        since_s = time_range.since_us / 1e6
        until_s = time_range.until_us / 1e6 if options.until is not None else math.inf
        matching = [alert for alert in matching if overlaps(alert, since_s, until_s)]
    else:
        matching = by_urgency(matching)
    if options.as_json:
        show_json(AlertPage(alerts=matching[:limit], next=None))
    else:
        of = of_services(options.services)
        title = f"Alerts{of} ({range_title(time_range.label)})" if history else f"Active Alerts{of}"
        empty = NO_PAST_ALERTS if history else NO_ALERTS
        empty = empty.replace("No alert", f"No alert{of}", 1)
        page = _page(matching[:limit], title, empty, hidden=len(matching) - len(matching[:limit]))
        show(replace(page, blocks=[*page.blocks, *_links(matching, options.settings)]))
    options.exit_unless(not any(alert.state in {"firing", "acknowledged"} for alert in matching))


def overlaps(alert: AlertAnswer, since_s: float, until_s: float) -> bool:
    """Return whether an alert was active in a range."""
    ended_at = alert.resolved_at or alert.seen_at
    return since_s <= ended_at.timestamp() and alert.started_at.timestamp() < until_s


async def _alerts(source: Source, state: str, services: tuple[str, ...] | None) -> list[AlertAnswer]:
    """Return all alerts, or those of these services. A service without alerts must be recorded, or it is misspelled."""
    alerts = await source.alerts(state, limit=MAX_ALERTS)
    if services is None:
        return alerts
    with_alerts = {alert.service for alert in alerts}
    await source.require_services([name for name in services if name not in with_alerts])
    return [alert for alert in alerts if alert.service in services]


def _page(alerts: list[AlertAnswer], title: str, empty: str, *, hidden: int) -> OutputPage:
    if not alerts:
        return OutputPage(title, [empty])
    columns = [
        Column("#", right=True, hides=2),
        Column("state"),
        Column("severity", hides=3),
        Column(f"began ({zone_label()})", hides=1),
        Column("service", flexible=True),
        Column("message", flexible=True, least=24, wraps=True),
    ]
    rows = [
        (
            str(alert.number),
            alert.state,
            (alert.severity, SEVERITY_COLOURS.get(alert.severity, "")),
            timestamp(alert.started_at),
            one_line(alert.service + (f" / {alert.operation}" if alert.operation else "")),
            alert_text(alert),
        )
        for alert in alerts
    ]
    return OutputPage(title, [Table(columns, rows), *([f"{hidden:,} more. Raise --limit."] if hidden else [])])


def _links(alerts: list[AlertAnswer], settings: Settings) -> list[str]:
    """Return the links of the first alerts to the dashboard; none without PERFORMANCE_DASHBOARD_URL."""
    from cogmeter.render.links import alert_answer_link

    links = [(alert.number, alert_answer_link(settings, alert)) for alert in alerts[:MAX_LINKS]]
    return [f"#{number}: {link}" for number, link in links if link]


def alert_text(alert: AlertAnswer, limit: int | None = None) -> str:
    """Return the message of an alert and its counts on one line; of a resolved one, its worst value and duration."""
    from cogmeter.alerts.model import with_counts
    from cogmeter.render.rule_text import present_text, worded

    if alert.resolved_at is not None or not alert.breached:
        return one_line(worded(alert).message, limit)
    message = with_counts(alert.message, alert.failed_operations or 0, alert.operations or 0)
    return one_line(present_text(alert.type, message, alert.current, alert.threshold), limit)
