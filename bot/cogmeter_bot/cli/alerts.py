"""``cogmeter alerts``: active and past alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cogmeter_bot.cli.options import ReadingOptions, reading

if TYPE_CHECKING:
    from cogmeter.schemas.alerts import AlertAnswer
    from cogmeter_bot.cli.output import OutputPage
    from cogmeter_bot.sources.base import Source

COLOURS: Final = {"critical": "bold red", "warning": "yellow", "info": "cyan"}
MOST: Final = 1_000  # that are looked through


@click.command()
@click.option("--history", is_flag=True, help="Also what is over: of the last 7 days, or of the stretch asked for.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many at most.")
@reading
def alerts(ask: ReadingOptions, history: bool, limit: int) -> None:
    """List the alerts that stand, the last changed first.

    With --since, --until or --period, those that were told and last measured in that stretch, as with --history.

    --check: one of those listed is active.
    """
    from cogmeter.query.records import Period
    from cogmeter.schemas.alerts import AlertPage
    from cogmeter_bot.cli import guide_format
    from cogmeter_bot.cli.output import show, show_json

    ranged = any((ask.since, ask.until, ask.period))
    span = ask.span(Period.WEEK)
    found = ask.answer(lambda source: _asked(source, "history" if history or ranged else "active", ask.services))
    if history or ranged:
        found = [one for one in found if span.since_us <= one.seen_at.timestamp() * 1e6 < span.until_us]
    shown = found[:limit]
    if ask.as_json:
        show_json(AlertPage(alerts=shown, next=None))
    else:
        title = f"Alerts ({guide_format.heading(span.label)})" if history or ranged else "Active Alerts"
        show(page(shown, title, left=len(found) - len(shown)))
    ask.checked(well=not any(one.state in {"firing", "acknowledged"} for one in found))


async def _asked(source: Source, state: str, services: tuple[str, ...] | None) -> list[AlertAnswer]:
    """All alerts, or those of these services; a service without any has to be a recorded one, or it is misspelled."""
    found = await source.alerts(state, limit=MOST)
    if services is None:
        return found
    alarmed = {one.service for one in found}
    await source.known([name for name in services if name not in alarmed])
    return [one for one in found if one.service in services]


def page(alerts: list[AlertAnswer], title: str, *, left: int) -> OutputPage:
    """The page; ``left`` is how many more there are."""
    from cogmeter_bot.cli import guide_format
    from cogmeter_bot.cli.output import Column, OutputPage, Table

    if not alerts:
        return OutputPage(title, ["None."])
    columns = [
        Column("#", right=True),
        Column("state"),
        Column("severity", needs=80),
        Column("since", needs=100),
        Column("service", flexible=True),
        Column("message", flexible=True, wraps=True),
    ]
    rows = [
        (
            str(one.number),
            one.state,
            (one.severity, COLOURS.get(one.severity, "")),
            guide_format.when(one.started_at),
            guide_format.line(one.service + (f" / {one.operation}" if one.operation else "")),
            guide_format.line(one.message),
        )
        for one in alerts
    ]
    more = [f"{left} more; raise --limit."] if left else []
    return OutputPage(title, [Table(columns, rows), *more])
