"""``cogmeter live``: what goes on now, refreshed until Ctrl+C."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from cogmeter_bot.cli.error_output import closed_pipe, told
from cogmeter_bot.cli.options import Finite, ReadingOptions, reading
from cogmeter_bot.cli.terminal_text import echo, safe, safe_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cogmeter.alerts.thresholds.limits import Limits
    from cogmeter.schemas.dashboard import Dashboard
    from cogmeter.schemas.operations import OperationAnswer
    from cogmeter_bot.cli.output import Block, OutputPage
    from cogmeter_bot.sources.base import Source

NOW_US: Final = 60_000_000  # what "now" is over
TREND_US: Final = 30 * 60_000_000
FAILURES: Final = 5
SERVICES: Final = 8
HEADS: Final = 16  # rows of the screen that are not one service, alert or failure each
BARS: Final = "▁▂▃▄▅▆▇█"


class LiveReading(NamedTuple):
    """What is shown at one time."""

    view: Dashboard
    trend: Sequence[float]  # operations a minute
    failures: Sequence[OperationAnswer]
    limits: Limits


@click.command()
@click.option("--interval", type=Finite(0.5, 3600), default=2.0, show_default=True, help="Seconds between two looks.")
@click.option("--count", type=click.IntRange(1), help="End after so many looks; without it, at Ctrl+C.")
@reading
def live(ask: ReadingOptions, interval: float, count: int | None) -> None:
    """Watch what goes on now, refreshed by itself until Ctrl+C.

    It shows operations a second, latency, errors, services, active alerts and the last failures. "Now" is the last
    minute, or the stretch asked for. Not on a terminal, one look is printed below the other; with --json, each is a
    JSON document on a line. A database or bot that goes away is waited for.

    --check: at the end, an alert is active.
    """
    import asyncio

    from cogmeter_bot.cli.progress import ended_by_signals

    ask.span(None)  # what cannot be read is said at once
    try:
        with told(), ended_by_signals(), _screen(lines=ask.as_json) as screen:
            well = asyncio.run(_Watch(ask, screen).go(interval, count))
    except KeyboardInterrupt:
        return  # Ctrl+C is how this ends
    ask.checked(well=well)


class _Watch:
    """Looks again and again, at a source that may go away and come back."""

    def __init__(self, ask: ReadingOptions, screen: Screen) -> None:
        self._ask = ask
        self._screen = screen
        self._source: Source | None = None

    async def go(self, interval_s: float, count: int | None) -> bool:
        """Look until the count is reached; says whether no alert stood at the last look."""
        import asyncio

        from cogmeter_bot.sources.base import NoDataError

        try:
            while True:
                try:
                    well = await self._look()
                except NoDataError as error:
                    await self._close()
                    if count == 1:
                        raise
                    well = False
                    self._tell(f"{error} Looking again every {interval_s:g} s.")
                count = None if count is None else count - 1
                if count == 0:
                    return well
                await asyncio.sleep(interval_s)
        finally:
            await self._close()

    async def _look(self) -> bool:
        if self._source is None:
            self._source = await self._ask.open()
        moment = await look(self._source, self._ask)
        if self._ask.as_json:
            self._screen.show(as_line(moment))
        else:
            self._screen.show(page(moment, self._source.name, self._screen.height()))
        return not moment.view.alerts

    def _tell(self, said: str) -> None:
        if self._ask.as_json:
            echo(said, err=True)  # standard output is for JSON alone
        else:
            self._screen.show(said)

    async def _close(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            await source.close()


async def look(source: Source, ask: ReadingOptions) -> LiveReading:
    """What goes on now."""
    from cogmeter.query.query import now_us
    from cogmeter.query.records import Range
    from cogmeter_bot.sources.steps import drawn_steps

    now = now_us()
    ranged = any((ask.since, ask.until, ask.period))
    span = ask.span(None) if ranged else Range(now - NOW_US, now, "last minute")
    lately, names = Range(now - TREND_US, now, ""), ask.services or (None,)
    parts = [await source.series(name, lately) for name in names]
    drawn = zip(*(one.operations_per_minute[: drawn_steps(one)] for one in parts), strict=False)
    recent = [await source.failures(lately, name, limit=FAILURES) for name in names]
    failures = sorted((one for page in recent for one in page.operations), key=lambda one: one.end_time, reverse=True)
    view = await source.dashboard(span, ask.services)
    return LiveReading(view, [sum(step) for step in drawn], failures[:FAILURES], await source.limits())


def as_line(moment: LiveReading) -> str:
    """A moment as JSON on one line."""
    import json

    parts = {
        "dashboard": moment.view.model_dump(mode="json"),
        "recentFailures": [one.model_dump(mode="json") for one in moment.failures],
    }
    return safe_json(json.dumps(parts, separators=(",", ":")))


def page(moment: LiveReading, name: str, height: int | None) -> OutputPage:
    """The page, on a screen with so many rows; None: with as many as it takes."""
    from cogmeter_bot.cli import guide_format
    from cogmeter_bot.cli.output import BAD, DIM, GOOD, LabelledValue, Listing, OutputPage
    from cogmeter_bot.cli.summary import table

    total = moment.view.overall_stats
    count, failed = total.total_operations, total.failed_operations
    alerts = [
        f"- {one.severity}: {guide_format.line(one.service)}: {guide_format.line(one.message)}"
        for one in moment.view.alerts
    ]
    services = dict(moment.view.service_stats)
    errors = [
        f"- {guide_format.when(one.end_time)}: {guide_format.line(one.service)} / {guide_format.line(one.operation)}:"
        f" {guide_format.line(one.error, 200) or one.outcome}"
        for one in moment.failures
    ]
    blocks: list[Block] = [
        LabelledValue("Time", f"{guide_format.when(moment.view.time_range.until)} UTC", DIM),
        LabelledValue("Operations", f"{total.operations_per_minute / 60:,.2f} a second"),
        LabelledValue(
            "Latency",
            f"{guide_format.ms(total.average_response_time)} average, {guide_format.ms(total.p95_response_time)} p95",
        ),
        LabelledValue(
            "Errors", f"{failed:,} of {count:,} ({guide_format.share(failed, count)})", BAD if failed else GOOD
        ),
        LabelledValue("Last 30 Minutes", f"{bars(moment.trend)} operations/min"),
    ]
    room = shared(len(services), len(alerts), len(errors), height)
    if services:
        title = f"Services ({room[0]} of {len(services)})" if room[0] < len(services) else "Services"
        blocks.append(table(dict(list(services.items())[: room[0]]), moment.limits, title))
    blocks.append(Listing(f"Active Alerts ({len(alerts)})", alerts[: room[1]] or ["none"]))
    blocks.append(Listing("Last Failures", errors[: room[2]] or ["none"], cut=True))
    return OutputPage(f"Live ({guide_format.line(name)})", blocks)


def shared(services: int, alerts: int, failures: int, height: int | None) -> tuple[int, int, int]:
    """How many of each are shown on a screen with so many rows: of alerts and failures a third of the room at least."""
    services = min(services, SERVICES)
    if height is None:
        return services, alerts, failures
    left = max(height - HEADS, 3)
    alerts = min(alerts, max(left // 3, left - services - failures))
    failures = min(failures, max(left // 3, left - services - alerts))
    return min(services, max(left - alerts - failures, 1)), alerts, failures


def bars(values: Sequence[float]) -> str:
    """Values as small columns, the highest of them as high as there is room."""
    most = max(values, default=0)
    return "".join(BARS[round(value / most * (len(BARS) - 1))] if most else BARS[0] for value in values)


class Screen(NamedTuple):
    """What shows a page or a line, and how many rows there are; None: as many as it takes."""

    show: Callable[[OutputPage | str], None]
    height: Callable[[], int | None]


@contextmanager
def _screen(*, lines: bool) -> Iterator[Screen]:
    """On a terminal, unless lines are wanted, each is shown in the place of the one before, and the last one stays.

    Elsewhere each is shown below the one before.
    """
    from cogmeter_bot.cli.output import console, is_rich, plain, rich

    if lines or not is_rich():
        yield Screen(
            lambda shown: _echo(shown if isinstance(shown, str) else "\n".join([*plain(shown), ""])), lambda: None
        )
        return
    from rich.live import Live
    from rich.text import Text

    terminal = console()
    last: Any = ""
    with Live(console=terminal, screen=True, auto_refresh=False) as view:

        def show(shown: OutputPage | str) -> None:
            nonlocal last
            last = Text(safe(shown)) if isinstance(shown, str) else rich(shown, console().width)
            view.update(last, refresh=True)

        yield Screen(show, lambda: console().height)
    terminal.print(last)


def _echo(text: str) -> None:
    try:
        echo(text)
    except BrokenPipeError:
        closed_pipe()
