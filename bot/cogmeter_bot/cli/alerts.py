"""``cogmeter alerts``: what stands, and what was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cogmeter_bot.cli.options import Ask, reading

if TYPE_CHECKING:
    from cogmeter.answers.alerts import AlertAnswer
    from cogmeter_bot.cli.page import Page

COLOURS: Final = {"critical": "bold red", "warning": "yellow", "info": "cyan"}
MOST: Final = 1_000  # that are looked through


@click.command()
@click.option("--history", is_flag=True, help="Also what is over: of the last 7 days, or of the stretch asked for.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many at most.")
@reading
def alerts(ask: Ask, history: bool, limit: int) -> None:
    """List the alerts that stand, the last changed first.

    With --since, --until or --period, those that were told and last measured in that stretch, as with --history.

    --check: one of those listed stands.
    """
    from cogmeter.answers.alerts import AlertPage
    from cogmeter.records import Period
    from cogmeter_bot.cli.page import show, show_json

    ranged = any((ask.since, ask.until, ask.period))
    span = ask.span(Period.WEEK)
    found = ask.answer(lambda source: source.alerts("history" if history or ranged else "active", limit=MOST))
    if history or ranged:
        found = [one for one in found if span.since_us <= one.seen_at.timestamp() * 1e6 < span.until_us]
    if ask.services is not None:
        found = [one for one in found if one.service in ask.services]
    shown = found[:limit]
    if ask.as_json:
        show_json(AlertPage(alerts=shown, next=None))
    else:
        show(
            page(
                shown, f"Alerts ({span.label})" if history or ranged else "Active Alerts", left=len(found) - len(shown)
            )
        )
    ask.checked(well=not any(one.state in {"firing", "acknowledged"} for one in found))


def page(alerts: list[AlertAnswer], title: str, *, left: int) -> Page:
    """The page; ``left`` is how many more there are."""
    from cogmeter_bot.cli import words
    from cogmeter_bot.cli.page import Column, Page, Table

    if not alerts:
        return Page(title, ["None."])
    columns = [
        Column("#", right=True),
        Column("state"),
        Column("severity"),
        Column("since", needs=80),
        Column("service", needs=100),
        Column("message", flexible=True),
    ]
    rows = [
        (
            str(one.number),
            one.state,
            (one.severity, COLOURS.get(one.severity, "")),
            words.when(one.started_at),
            words.line(one.service + (f" / {one.operation}" if one.operation else "")),
            words.line(one.message),
        )
        for one in alerts
    ]
    more = [f"{left} more; raise --limit."] if left else []
    return Page(title, [Table(columns, rows), *more])
