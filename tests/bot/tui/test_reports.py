"""What opens over a view: the interval of a point of a chart, why a service is slow, and a comparison."""

import asyncio
import socket
import time
from contextlib import asynccontextmanager
from datetime import timedelta

import discord
import pytest
from discord.ext import commands
from rich.cells import cell_len
from terminal_driver import grid, opened, said, shown, until

from cogmeter.monitor.monitor import Monitor
from cogmeter.recording.recorder import Recorder
from cogmeter.settings import Settings, load_settings
from cogmeter.web.server.servers import Servers
from cogmeter_bot.sources.api import ApiSource
from cogmeter_bot.sources.factory import ReconnectingSource
from cogmeter_bot.tui.app import DashboardApp
from cogmeter_bot.tui.chart import TerminalChart
from cogmeter_bot.tui.chrome import range_choices
from cogmeter_bot.tui.report import ReportScreen
from cogmeter_bot.zones import use_zone
from cogmeter_storage import open_store
from cogmeter_storage.model import MINUTE_US, Marker, Outcome, SpanRecord, TraceRecord

COMMANDS = "discord.commands"
HOSTILE = "[red]=cmd[/] " + "\u65e5\u672c\u8a9e" * 20
SIZES = [(80, 24), (140, 45)]
AGO = 32  # minutes: the slow run


@pytest.fixture
def incident(tmp_path):
    """An hour of fast runs of /ask and of a service whose name is markup; one run of /ask failed slowly."""

    async def filled(path):
        now_us = time.time_ns() // 1_000 // MINUTE_US * MINUTE_US
        bad_us = now_us - AGO * MINUTE_US
        store = await open_store(f"sqlite:///{path}")
        ask, other = await store.series_ids([(COMMANDS, "ask"), (HOSTILE, "[b]run")])
        rows = [
            (one, now_us - ago * MINUTE_US - 5_000_000, 7_000, int(Outcome.OK), None, None)
            for ago in range(60, 1, -1)
            for one in (ask, other)
        ]
        rows.append((ask, bad_us + 5_000_000, 4_000_000, int(Outcome.ERROR), "Timeout: [/] closed", None))
        rows.sort(key=lambda row: row[1])
        await store.append([rows], now_us=now_us)
        spans = (
            SpanRecord(1, 0, "http.api.example.com", "POST", 1_000_000, 3_000_000, Outcome.OK),
            SpanRecord(2, 1, HOSTILE, "[b]inner", 1_500_000, 1_000_000, Outcome.ERROR),
        )
        trace = TraceRecord(bad_us + 1_000_000, COMMANDS, "ask", 4_000_000, Outcome.ERROR, "Timeout: [/]", 0, spans)
        await store.add_traces([trace])
        await store.add_marker(Marker(bad_us + 2_000_000, "version", "version [bold]2.0"))
        await store.fold(now_us=now_us)
        await store.close()

    asyncio.run(filled(tmp_path / "incident.db"))
    return tmp_path / "incident.db"


def chart(app, name="latency"):
    return app.screen_stack[0].query_one(f"#{name}", TerminalChart)


def text_of(app):
    """The text of the open report, also what is scrolled out of sight."""
    static = app.screen.query_one("#report-text")
    return "\n".join(static.render_line(row).text.rstrip() for row in range(static.size.height))


def is_open(app):
    return isinstance(app.screen, ReportScreen) and app.screen.complete and text_of(app).strip() != "loading ..."


async def choose_the_slow_run(pilot, name="latency"):
    """Move the cursor of the focused chart to the point with the slow run."""
    app = pilot.app
    await until(pilot, lambda: chart(app, name).chosen is not None)
    await pilot.press("p")
    await until(pilot, lambda: chart(app, name).has_focus)
    worst = max(range(len(chart(app, name)._times)), key=lambda index: chart(app, name)._lines[0].values[index] or 0)
    await pilot.press("home", *("right",) * worst)
    await until(pilot, lambda: chart(app, name).chosen == worst)
    return worst


@asynccontextmanager
async def over_http(path):
    """The address of a bot that serves this database."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    settings = Settings(
        _env_file=None,
        database_url=f"sqlite:///{path}",
        http_port=port,
        dashboard_port=port,
        alert_check_interval=3600,
        watch_stalls=False,
    )
    bot = commands.Bot("!", intents=discord.Intents.default())
    monitor = Monitor(bot, settings, recorder=Recorder())
    await monitor.start()
    servers = Servers(monitor, {})
    await servers.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await servers.stop()
        await monitor.stop()
        await bot.close()


async def assert_the_slow_run_opens(pilot, size):
    app = pilot.app
    index = await choose_the_slow_run(pilot)
    since = chart(app)._times[index]
    until_time = since + chart(app)._step
    assert f"{since:%m-%d %H:%M} to {until_time:%H:%M} UTC" in str(chart(app).border_title)
    await pilot.press("enter")
    await until(pilot, lambda: is_open(app))
    text = text_of(app)
    assert f"{since:%Y-%m-%d %H:%M:%S} to {until_time:%H:%M:%S} UTC" in " ".join(text.split())
    words = ("Slowest operations", "/ask 4 s", "POST api.example.com took 3 s", "[red]=cmd[/]", "Timeout: [/]")
    for word in (*words, "version [bold]2.0", "No alert fired."):
        assert word in text, word
    bar = next(line for line in text.splitlines() if "http.api.example.com POST" in line and "|" in line)
    assert bar.split("|")[1] == " " * 6 + "#" * 18
    assert all(cell_len(line) == size[0] for line in shown(app).splitlines())
    await pilot.press("escape")
    assert not isinstance(app.screen, ReportScreen)
    assert app.focused is chart(app)
    await pilot.press("escape")
    assert app.focused is grid(app, "top")


@pytest.mark.parametrize("size", SIZES)
async def test_enter_opens_the_interval_of_the_chosen_point(dashboard, incident, size):
    app = dashboard(incident, since="55m")
    async with opened(app, size) as pilot:
        await assert_the_slow_run_opens(pilot, size)


async def test_a_point_opens_from_the_api_too(incident):
    use_zone("UTC")
    async with over_http(incident) as url:
        settings = load_settings()
        source = ReconnectingSource(lambda: ApiSource.open(url, None, settings))
        app = DashboardApp(source, settings, *range_choices("55m", None, None), name=url, interval_s=3600)
        async with opened(app) as pilot:
            await assert_the_slow_run_opens(pilot, (80, 24))
            await pilot.press("2")
            await until(pilot, lambda: app.view.subject is not None)
            await pilot.press("w")
            await until(pilot, lambda: is_open(app) and "/ask" in text_of(app))
            await pilot.press("escape", "c")
            await until(pilot, lambda: is_open(app) and "Comparison of" in text_of(app))


async def test_a_click_opens_the_point_in_its_column(dashboard, incident):
    app = dashboard(incident, since="55m")
    async with opened(app, (140, 45)) as pilot:
        await until(pilot, lambda: chart(app).chosen is not None and chart(app)._label_width)
        one = chart(app)
        last = len(one._times) - 1
        left = one.content_region.x - one.region.x + one._label_width
        top = one.content_region.y - one.region.y + 2
        for offset, index in ((left, 0), (one.region.width - 1, last)):
            await pilot.click(one, offset=(offset, top))
            await until(pilot, lambda: is_open(app))
            assert one.chosen == index
            assert f"{one._times[index]:%Y-%m-%d %H:%M:%S} to" in text_of(app)
            await pilot.press("escape")


async def test_a_chart_of_a_service_opens_only_what_happened_to_it(dashboard, incident):
    app = dashboard(incident, since="55m")
    async with opened(app, (140, 45)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: app.view.subject == "/ask")
        await pilot.press("down")
        await until(pilot, lambda: app.view.subject == HOSTILE)
        await pilot.press("enter")
        await until(pilot, lambda: chart(app, "service-latency")._subject == HOSTILE)
        await pilot.press("p", "left", "enter")
        await until(pilot, lambda: is_open(app) and "No operation failed." in text_of(app))
        assert "ask" not in text_of(app)


@pytest.mark.parametrize("size", SIZES)
async def test_w_says_why_the_selected_service_is_slow_and_c_compares_it(dashboard, incident, size):
    app = dashboard(incident)
    async with opened(app, size) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: app.view.subject == "/ask")
        assert "w Why slow" in shown(app)
        assert "q Quit" in shown(app)
        await pilot.press("w")
        await until(pilot, lambda: is_open(app) and "Where the time goes (1 traced of" in text_of(app))
        assert "POST api.example.com took 3 s" in text_of(app)
        await pilot.press("escape", "down")
        await until(pilot, lambda: app.view.subject == HOSTILE)
        await pilot.press("c")
        await until(pilot, lambda: is_open(app) and "version [bold]2.0" in text_of(app))
        assert "version [bold]2.0" in text_of(app)
        assert all(cell_len(line) == size[0] for line in shown(app).splitlines())
        await pilot.press("q")
        assert not isinstance(app.screen, ReportScreen)
        assert app.is_running


async def test_the_cursor_stays_at_its_time_when_the_chart_moves_on(dashboard, incident):
    app = dashboard(incident, since="55m")
    async with opened(app) as pilot:
        index = await choose_the_slow_run(pilot)
        one, times = chart(app), list(chart(app)._times)
        one.draw(times[1:], one._lines, step=timedelta(minutes=1))
        assert one._times[one.chosen] == times[index]


async def test_without_points_and_without_a_service_the_keys_say_so_or_do_nothing(dashboard, empty):
    app = dashboard(empty)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Nothing has been recorded" in said(app))
        await pilot.press("p")
        assert "No chart with points here" in said(app)
        await pilot.press("2", "w", "c")
        assert not isinstance(app.screen, ReportScreen)


async def test_a_report_that_cannot_be_read_says_why_and_is_read_when_it_can_be(dashboard, incident, tmp_path):
    app = dashboard(incident, interval_s=0.05)
    async with opened(app) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: app.view.subject == "/ask")
        incident.rename(tmp_path / "away.db")
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, ReportScreen) and "Retrying" in text_of(app))
        (tmp_path / "away.db").rename(incident)
        await until(pilot, lambda: is_open(app) and "Slow: /ask" in text_of(app))
