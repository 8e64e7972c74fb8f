"""``cogmeter live``: current activity, refreshed until Ctrl+C."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from cogmeter_bot.cli.exits import exit_closed_pipe, exit_on_signals, reporting_errors
from cogmeter_bot.cli.options import Finite, ReadingOptions, reading_options
from cogmeter_bot.cli.output import BAD, DIM, GOOD, LabelledValue, Listing, OutputPage, console, is_rich, plain, rich
from cogmeter_bot.cli.summary import alert_lines, ranking_heading, stats_table
from cogmeter_bot.cli.text import duration, echo, one_line, safe, safe_json, share, timestamp, zoned, zoned_title

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cogmeter.alerts.thresholds.limits import Limits
    from cogmeter.schemas.operations import OperationAnswer
    from cogmeter.schemas.statistics import Dashboard
    from cogmeter_bot.cli.output import Block
    from cogmeter_bot.sources.base import Source
    from cogmeter_bot.sources.factory import ReconnectingSource

TREND_US: Final = 30 * 60_000_000
MAX_FAILURES: Final = 5
MAX_RANKED: Final = 8  # commands and services
FIXED_ROWS: Final = 16  # rows of the screen without the ranking, alerts and failures
BARS: Final = "▁▂▃▄▅▆▇█"


class LiveData(NamedTuple):
    """The data of one refresh."""

    source_name: str
    dashboard: Dashboard
    trend: Sequence[float]  # operations/min
    failures: Sequence[OperationAnswer]
    limits: Limits


@click.command()
@click.option("--interval", type=Finite(0.5, 3600), default=2.0, show_default=True, help="Seconds between refreshes.")
@click.option("--count", type=click.IntRange(1), help="Number of refreshes (default: until Ctrl+C).")
@reading_options
def live(options: ReadingOptions, interval: float, count: int | None) -> None:
    """Show current activity until Ctrl+C.

    The page shows throughput, latency, errors, commands and services, active alerts and the last failures, over this
    minute and the last one, or over the given range. In a pipe, pages are printed one after the other; with --json,
    each is one line of JSON. While the database or bot is unavailable, the command retries.

    --check: an alert is active at the end.
    """
    import asyncio

    from cogmeter_bot.sources.factory import ReconnectingSource

    options.time_range(None)  # reports a wrong time before the screen is cleared
    try:
        with reporting_errors(), exit_on_signals(), _screen(json_lines=options.as_json) as screen:
            source = ReconnectingSource(options.open_source)
            healthy = asyncio.run(_refresh(source, options, screen, interval, count))
    except KeyboardInterrupt:
        return  # the usual way to end
    options.exit_unless(healthy)


async def _refresh(
    source: ReconnectingSource, options: ReadingOptions, screen: Screen, interval_s: float, count: int | None
) -> bool:
    """Refresh the screen ``count`` times; return whether no alert was active at the last time."""
    import asyncio

    from cogmeter_bot.errors import NoDataError

    remaining = count
    try:
        while True:
            try:
                data = await source.query(lambda opened: _read(opened, options))
                healthy = not data.dashboard.alerts
                screen.show(_json_line(data) if options.as_json else _page(data, screen.height()))
            except NoDataError as error:
                if remaining == 1:
                    raise
                healthy = False
                _show_error(f"{error} Retrying every {interval_s:g} s.", options, screen)
            remaining = None if remaining is None else remaining - 1
            if remaining == 0:
                return healthy
            await asyncio.sleep(interval_s)
    finally:
        await source.close()


def _show_error(text: str, options: ReadingOptions, screen: Screen) -> None:
    if options.as_json:
        echo(text, err=True)  # standard output has only JSON
    else:
        screen.show(text)


async def _read(source: Source, options: ReadingOptions) -> LiveData:
    from cogmeter.query.query import now_us
    from cogmeter.query.records import Range, live_range
    from cogmeter.render import formatting
    from cogmeter_bot.sources.base import complete_steps

    now = now_us()
    time_range = options.time_range(None) if options.has_range else live_range(now, formatting.LIVE_WINDOW)
    recent, names = Range(now - TREND_US, now, ""), options.services or (None,)
    series = [await source.series(name, recent) for name in names]
    steps = zip(*(line.operations_per_minute[: complete_steps(line)] for line in series), strict=False)
    failure_pages = [await source.failures(recent, name, limit=MAX_FAILURES) for name in names]
    failures = [operation for page in failure_pages for operation in page.operations]
    failures.sort(key=lambda operation: operation.end_time, reverse=True)
    dashboard, limits = await source.dashboard(time_range, options.services), await source.limits()
    return LiveData(source.name, dashboard, [sum(step) for step in steps], failures[:MAX_FAILURES], limits)


def _json_line(data: LiveData) -> str:
    import json

    document = {
        "dashboard": data.dashboard.model_dump(mode="json"),
        "recentFailures": [operation.model_dump(mode="json") for operation in data.failures],
    }
    return safe_json(json.dumps(document, separators=(",", ":")))


def _page(data: LiveData, height: int | None) -> OutputPage:
    """Return the page for a screen with ``height`` rows; None if the height is unlimited."""
    total = data.dashboard.overall_stats
    count, failed = total.total_operations, total.failed_operations
    ranking, alerts = data.dashboard.ranking, alert_lines(data.dashboard.alerts)
    failures = [
        f"- {timestamp(operation.end_time)}: {one_line(operation.service)} / {one_line(operation.operation)}:"
        f" {one_line(operation.error, 200) or operation.outcome}"
        for operation in data.failures
    ]
    blocks: list[Block] = [
        LabelledValue("Time", zoned(data.dashboard.time_range.until), DIM),
        LabelledValue("Throughput", f"{total.operations_per_minute:,.1f} operations/min"),
        LabelledValue(
            "Latency", f"{duration(total.average_response_time)} average, {duration(total.p95_response_time)} p95"
        ),
        LabelledValue("Errors", f"{failed:,} of {count:,} ({share(failed, count)})", BAD if failed else GOOD),
        LabelledValue("Last 30 Minutes", f"{_bars(data.trend)} operations/min"),
    ]
    rows, alert_rows, failure_rows = _share_rows(len(ranking), len(alerts), len(failures), height)
    if ranking:
        title = ranking_heading(data.dashboard)
        kind = "service" if title == "Services" else "name"
        title = f"{title} ({rows} of {len(ranking)})" if rows < len(ranking) else title
        blocks.append(stats_table(ranking[:rows], data.limits, title, kind=kind))
    blocks.append(Listing(f"Active Alerts ({len(alerts)})", alerts[:alert_rows] or ["none"]))
    blocks.append(Listing(zoned_title("Last Failures"), failures[:failure_rows] or ["none"], cut=True))
    return OutputPage(f"Live ({one_line(data.source_name)})", blocks)


def _share_rows(ranked: int, alerts: int, failures: int, height: int | None) -> tuple[int, int, int]:
    """Return how many ranked rows, alerts and failures fit; the latter two get at least a third of the rows each."""
    ranked = min(ranked, MAX_RANKED)
    if height is None:
        return ranked, alerts, failures
    rows = max(height - FIXED_ROWS, 3)
    alerts = min(alerts, max(rows // 3, rows - ranked - failures))
    failures = min(failures, max(rows // 3, rows - ranked - alerts))
    return min(ranked, max(rows - alerts - failures, 1)), alerts, failures


def _bars(values: Sequence[float]) -> str:
    """Return a bar chart in one line; the highest value has the full height."""
    highest = max(values, default=0)
    return "".join(BARS[round(value / highest * (len(BARS) - 1))] if highest else BARS[0] for value in values)


class Screen(NamedTuple):
    """A function that shows a page or a line, and one that returns the height in rows, None if it is unlimited."""

    show: Callable[[OutputPage | str], None]
    height: Callable[[], int | None]


@contextmanager
def _screen(*, json_lines: bool) -> Iterator[Screen]:
    """Provide a screen: on a terminal a page replaces the previous one, elsewhere pages follow each other."""
    if json_lines or not is_rich():
        yield Screen(_print_page, lambda: None)
        return
    from rich.live import Live
    from rich.text import Text

    terminal = console()
    last: Any = ""
    with Live(console=terminal, screen=True, auto_refresh=False) as view:

        def show(page: OutputPage | str) -> None:
            nonlocal last
            last = Text(safe(page)) if isinstance(page, str) else rich(page, console().width)
            view.update(last, refresh=True)

        yield Screen(show, lambda: console().height)
    terminal.print(last)  # the last page stays on the terminal


def _print_page(page: OutputPage | str) -> None:
    try:
        echo(page if isinstance(page, str) else "\n".join([*plain(page), ""]))
    except BrokenPipeError:
        exit_closed_pipe()
