"""``cogmeter fleet``: every process that shares the database, the silent and the unhealthy first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cogmeter_bot.cli.options import ReadingOptions, live_options
from cogmeter_bot.cli.output import BAD, DIM, GOOD, WARN, Column, LabelledValue, OutputPage, Table, show, show_json
from cogmeter_bot.cli.text import one_line

if TYPE_CHECKING:
    from cogmeter.schemas.fleet import FleetAnswer, ProcessAnswer
    from cogmeter_bot.cli.output import Cell

STYLES: Final = {"healthy": GOOD, "degraded": WARN, "unhealthy": BAD, "unknown": DIM}


@click.command()
@live_options
def fleet(options: ReadingOptions) -> None:
    """Show every process that shares the database.

    Each has its last sign of life, its health over the alert window, its rate,
    failures and response time, its event-loop lag, version and shards. An SQLite
    file has one process.

    --check: a process is silent, degraded or unhealthy.
    """
    answer = options.query(lambda source: source.fleet())
    if options.as_json:
        show_json(answer)
    else:
        show(_page(answer))
    options.exit_unless(answer.status in {"healthy", "unknown"} and answer.alive == answer.expected)


def _page(answer: FleetAnswer) -> OutputPage:
    if not answer.processes:
        return OutputPage("Fleet", [answer.text])
    columns = [
        Column("process", flexible=True),
        Column("life", hides=0),
        Column("health"),
        Column("ops/min", right=True),
        Column("failed", right=True),
        Column("p95", right=True),
        Column("loop lag", right=True, hides=2),
        Column("version", hides=3, flexible=True, least=7),
        Column("shards", hides=4, flexible=True, least=6),
        Column("details", hides=1, flexible=True),
    ]
    head = LabelledValue("Fleet", one_line(answer.text), STYLES[answer.status])
    return OutputPage("Processes of the fleet", [head, Table(columns, [_row(one) for one in answer.processes])])


def _row(one: ProcessAnswer) -> list[Cell]:
    from cogmeter.render import formatting

    figures = one.stats
    numbers = [formatting.NOTHING] * 3
    if figures is not None:
        p95_ms = figures.p95_response_time
        numbers = [
            formatting.rate(figures.operations_per_minute),
            formatting.percent(figures.error_rate),
            formatting.duration(None if p95_ms is None else p95_ms * 1000),
        ]
    life = (one.sign_of_life, {"alive": GOOD, "silent": BAD, "ended": DIM}[one.state])
    return [
        one_line(one.name),
        life,
        (one.status.value, STYLES[one.status]),
        *numbers,
        formatting.duration(None if one.loop_lag is None else one.loop_lag * 1000),
        one_line(one.version) or formatting.NOTHING,
        one.shards or formatting.NOTHING,
        one_line(one.reason),
    ]
