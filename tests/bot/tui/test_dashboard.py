"""Every view and key of the dashboard, on a real database, at the sizes that it must fit."""

import asyncio
import re
import shutil
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from factories import make_errors
from rich.cells import cell_len
from terminal_driver import grid, opened, said, shown, until
from textual.widgets import Input, Static

from cogmeter.recording.buffer import DROPPED
from cogmeter.render.charts.ticks import Tick
from cogmeter.schemas.base import Stats
from cogmeter.schemas.operations import RunningAnswer, RunningPage
from cogmeter_bot.sources.database import DatabaseSource
from cogmeter_bot.tui.chart import Line, TerminalChart, limit_ticks
from cogmeter_bot.tui.chrome import KEYS, HelpScreen, RangePicker, StatusLine
from cogmeter_bot.tui.grid import Grid
from cogmeter_bot.tui.views.services import ORDERS
from cogmeter_storage import open_store
from cogmeter_storage.sqlite import reader
from cogmeter_storage.sqlite.database_file import ReadOpener

SIZES = [(80, 24), (160, 50)]


def flat(app, name):
    return " ".join(str(app.query_one(f"#{name}", Static).render()).split())


def _rows(table):
    return [table.get_row_at(place) for place in range(table.row_count)]


def column(table, place=0):
    return [str(table.get_row_at(row)[place]) for row in range(table.row_count)]


async def test_the_overview_says_how_many_operations_were_dropped(dashboard, database):
    store = await open_store(f"sqlite:///{database}")
    await store.add_samples(time.time_ns() // 1_000, {DROPPED: 2_500.0})
    await store.close()
    app = dashboard(database)
    async with opened(app, (160, 50)) as pilot:
        await until(pilot, lambda: "2,500 dropped: the buffer was full" in flat(app, "figures"))


@pytest.mark.parametrize("size", SIZES)
async def test_each_view_shows_its_part(dashboard, database, size):
    app = dashboard(database)
    async with opened(app, size) as pilot:
        words = ("7 of 7 component checks", "core-intelligence", "Latency", "━ p50", "Active alerts (1)", "[bold]It f")
        await until(pilot, lambda: all(word in shown(app) for word in words))
        await pilot.press("2")
        await until(pilot, lambda: "[red]=cmd[/] [@c" in shown(app))
        await pilot.press("3")
        words_of_service = ("p99", "Recent errors", "process", "average")
        await until(pilot, lambda: all(word in shown(app) for word in words_of_service))
        await pilot.press("4")
        await until(pilot, lambda: grid(app, "error-groups").row_count > 5)
        await pilot.press("end")
        await until(pilot, lambda: "UTC, op_" in shown(app))
        assert any("[/] went wrong" in str(row[-1]) for row in _rows(grid(app, "error-groups")))
        await pilot.press("5")
        await until(pilot, lambda: "Active (1 firing or acknowledged, 0 pending or muted)" in shown(app))
        assert "resolved" in shown(app)
        assert "[bold]It fails" in str(app.query_one("#alert", Static).render())
        assert all(len(line) == size[0] for line in shown(app).splitlines())


async def test_errors_with_a_place_come_first_and_the_selected_one_shows_its_stack(dashboard, database):
    now_us = time.time_ns() // 1_000
    store = await open_store(f"sqlite:///{database}")
    await store.errors.add([make_errors("first", now_us, count=9_000), make_errors("[b]second", now_us)])
    await store.close()
    app = dashboard(database)
    async with opened(app, (160, 50)) as pilot:
        await pilot.press("4")
        await until(pilot, lambda: "discord/app_commands/commands.py:858" in flat(app, "example"))
        assert (
            str(_rows(grid(app, "error-groups"))[0][-1]) == "cogs/graph.py:42 in Graph.first: ValueError: no node first"
        )
        assert "> cogs/graph.py:42 in Graph.first" in flat(app, "example")
        await pilot.press("down")
        await until(pilot, lambda: "> cogs/graph.py:42 in Graph.[b]second" in flat(app, "example"))
        await pilot.press("down")
        await until(pilot, lambda: "UTC, op_" in flat(app, "example"))


async def test_tab_and_shift_tab_go_through_the_views_and_round(dashboard, database):
    app = dashboard(database)
    async with opened(app) as pilot:
        names = []
        for key in ("tab",) * 6 + ("shift+tab",):
            await pilot.press(key)
            names.append(app.view.NAME)
        assert names == ["Services", "Service", "Errors", "Alerts", "Running", "Overview", "Running"]


async def test_a_database_says_that_only_the_bot_knows_what_runs(dashboard, database):
    app = dashboard(database)
    async with opened(app) as pilot:
        await pilot.press("6")
        await until(pilot, lambda: "only the running bot knows" in flat(app, "line"))
        assert "Retrying" not in said(app)


async def test_running_operations_are_listed_with_the_line_of_the_selected_one(dashboard, database, monkeypatch):
    now = datetime.now(UTC)
    operations = [
        RunningAnswer(service="llm", operation=name, start_time=now, age=age, line=f"bot.py:{number} in {name}")
        for number, (name, age) in enumerate((("chat", 75_000), ("[b]embed", 1_200)))
    ]

    async def running(self, *, limit):
        return RunningPage(at=now, total=2, operations=operations, next=None)

    monkeypatch.setattr(DatabaseSource, "running", running)
    app = dashboard(database)
    async with opened(app) as pilot:
        await pilot.press("6")
        await until(pilot, lambda: grid(app, "running-operations").row_count == 2)
        assert column(grid(app, "running-operations")) == ["1 min 15 s", "1.2 s"]
        assert "bot.py:0 in chat" in flat(app, "line")
        await pilot.press("down")
        await until(pilot, lambda: "bot.py:1 in [b]embed" in flat(app, "line"))
        await pilot.press("slash", *"chat", "enter")
        await until(pilot, lambda: grid(app, "running-operations").row_count == 1)


async def test_enter_opens_the_chosen_service_and_escape_goes_back(dashboard, database):
    app = dashboard(database)
    async with opened(app) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: grid(app, "all-services").row_count > 3)
        await pilot.press("down", "down")
        name = grid(app, "all-services").selected.service
        await pilot.press("enter")
        await until(pilot, lambda: grid(app, "operations").row_count)
        assert app.view.NAME == "Service"
        assert name in str(app.query_one("#service-name", Static).render())
        await pilot.press("escape")
        assert app.view.NAME == "Services"
        assert grid(app, "all-services").selected.service == name


async def test_commands_are_ranked_by_their_labels_and_open_by_enter(dashboard, commanded):
    app = dashboard(commanded)
    async with opened(app, (120, 36)) as pilot:
        await until(pilot, lambda: grid(app, "top").row_count)
        assert column(grid(app, "top")) == ["/ask", "button Shop.buy", "/ask"]
        assert "Top commands and services (3 of 3)" in str(grid(app, "top").border_title)
        assert "1 command, 1 component, 1 service" in flat(app, "figures")
        await pilot.press("down", "enter")
        await until(pilot, lambda: grid(app, "operations").row_count)
        assert "button Shop.buy" in str(app.query_one("#service-name", Static).render())
        await pilot.press("2")
        await until(pilot, lambda: grid(app, "all-services").row_count == 3)
        assert "Commands and services (3), by ops" in str(grid(app, "all-services").border_title)


async def test_a_service_whose_name_is_markup_opens_as_text(dashboard, database):
    app = dashboard(database)
    async with opened(app) as pilot:
        await pilot.press("5")
        await until(pilot, lambda: grid(app, "active-alerts").row_count == 1)
        await pilot.press("enter")
        await until(pilot, lambda: "[/] went wrong" in shown(app))
        assert "[b]run" in shown(app)
        assert "[red]=cmd[/] [@click=app.quit]x" in shown(app)


async def test_services_sort_by_key_and_by_mouse_and_keep_what_is_chosen(dashboard, database):
    app = dashboard(database)
    async with opened(app) as pilot:
        await pilot.press("2")
        table = grid(app, "all-services")
        await until(pilot, lambda: table.row_count > 3)
        by_ops, counts = column(table), [int(one.replace(",", "")) for one in column(table, 1)]
        assert counts == sorted(counts, reverse=True)
        await pilot.press("down")
        chosen = table.selected.key
        await pilot.press("S")
        assert [int(one.replace(",", "")) for one in column(table, 1)] == sorted(counts)
        assert table.selected.key == chosen
        await pilot.press("s")
        shares = [float(one.rstrip("%")) for one in column(table, 2)]
        assert shares == sorted(shares)
        await pilot.click(table, offset=(3, 1))
        assert column(table) == sorted(by_ops, key=str.casefold)
        await pilot.click(table, offset=(3, 1))
        assert column(table) == sorted(by_ops, key=str.casefold, reverse=True)
        assert table.selected.key == chosen


def test_services_are_sorted_by_the_share_that_is_shown():
    key, _ = ORDERS[2]

    def of(failed, total):  # error rates of 1.25% and 1.3% are both rounded to 1.3%
        counts = {"total_operations": total, "failed_operations": failed, "successful_operations": total - failed}
        return key("a", Stats.model_construct(**counts, error_rate=0.013))

    assert of(1, 80) > of(13, 1_000)


async def test_a_tall_screen_charts_the_selected_service_and_a_small_one_only_lists(dashboard, database):
    app = dashboard(database)
    async with opened(app, (160, 50)) as pilot:
        await pilot.press("2")
        charts = app.query_one("#services-charts")
        await until(pilot, lambda: "Latency of core-intelligence" in shown(app) and "Error rate" in shown(app))
        await pilot.press("down")
        second = grid(app, "all-services").selected.service
        await until(pilot, lambda: f"Latency of {second}" in shown(app))
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: not charts.display)


async def test_an_empty_table_says_what_would_fill_it(dashboard, young):
    app = dashboard(young)
    async with opened(app) as pilot:
        await until(pilot, lambda: "No alert is active." in shown(app))
        await pilot.press("5")
        await until(pilot, lambda: "moves here when its metric has recovered." in " ".join(shown(app).split()))
        await pilot.press("4")
        await until(pilot, lambda: "No errors in this period." in shown(app))


async def test_the_filter_narrows_while_it_is_typed_and_escape_drops_it(dashboard, database):
    app = dashboard(database)
    async with opened(app) as pilot:
        await pilot.press("2")
        table = grid(app, "all-services")
        await until(pilot, lambda: table.row_count > 3)
        everything = table.row_count
        await pilot.press("slash", *"CRAWL")
        assert column(table) == ["web-crawling"]
        await pilot.press("enter", "1", "2")
        assert app.query_one(Input).value == "CRAWL"
        assert column(table) == ["web-crawling"]
        await pilot.press("escape")
        assert table.row_count == everything
        assert not app.query_one("#filter").has_class("shown")


async def test_the_range_is_chosen_from_a_list(dashboard, database):
    app = dashboard(database)
    async with opened(app) as pilot:
        before = str(app.query_one("#figures", Static).render())
        await pilot.press("t")
        assert isinstance(app.screen, RangePicker)
        await pilot.press("up", "up", "enter")
        await until(pilot, lambda: "Last Hour" in shown(app))
        await until(pilot, lambda: str(app.query_one("#figures", Static).render()) != before)
        await pilot.press("t", "t", "escape")
        assert "Last Hour" in shown(app)


async def test_a_requested_range_is_shown_first(dashboard, database):
    app = dashboard(database, since="90m")
    async with opened(app):
        assert " to " in str(app.query_one("#range", Static).render())


async def test_help_lists_the_keys_and_any_of_several_closes_it(dashboard, database):
    app = dashboard(database)
    async with opened(app) as pilot:
        for key in ("escape", "question_mark", "q"):
            await pilot.press("question_mark")
            assert isinstance(app.screen, HelpScreen)
            assert [does for _, does in KEYS if does not in shown(app)] == []
            await pilot.press(key)
            assert not isinstance(app.screen, HelpScreen)


async def test_arrows_continue_in_the_next_table(dashboard, database):
    app = dashboard(database)
    async with opened(app) as pilot:
        await until(pilot, lambda: grid(app, "top").row_count)
        await pilot.press("end", *("down",) * 12)
        assert app.focused is grid(app, "active")
        await pilot.press("up")
        assert app.focused is grid(app, "top")


async def test_names_above_can_be_clicked(dashboard, database):
    app = dashboard(database)
    async with opened(app) as pilot:
        await pilot.click("#tab-errors")
        assert app.view.NAME == "Errors"
        assert app.query_one("#tab-errors").has_class("open")


async def test_it_resizes_and_changes_between_dark_and_light(dashboard, database):
    app = dashboard(database)
    async with opened(app, (160, 50)) as pilot:
        await until(pilot, lambda: grid(app, "top").row_count)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: all(len(line) == 80 for line in shown(app).splitlines()))
        await until(pilot, lambda: "core-intelligence" in shown(app))
        dark = str(grid(app, "top").get_row_at(0)[2].spans)
        await pilot.press("d")
        await until(pilot, lambda: str(grid(app, "top").get_row_at(0)[2].spans) != dark)
        assert not app.current_theme.dark


async def test_a_refresh_during_the_end_of_the_application_is_no_error(dashboard, database):
    app = dashboard(database)
    async with opened(app):
        pass
    await app._refresh_loop()


async def test_refreshing_keeps_the_selection(dashboard, database):
    app = dashboard(database, interval_s=0.05)
    async with opened(app) as pilot:
        await pilot.press("2", "r")
        await until(pilot, lambda: grid(app, "all-services").row_count > 3)
        await pilot.press("down", "down", "down")
        chosen = grid(app, "all-services").selected.key
        first = said(app)
        await until(pilot, lambda: said(app) != first)
        assert grid(app, "all-services").selected.key == chosen


async def test_a_missing_database_is_reported_and_its_successor_is_read(dashboard, database, tmp_path):
    app = dashboard(database, interval_s=0.05)
    fresh = shutil.copy(database, tmp_path / "fresh.db")
    async with opened(app) as pilot:
        await until(pilot, lambda: grid(app, "top").row_count)
        database.rename(tmp_path / "rotated.db")
        await until(pilot, lambda: "Retrying" in said(app))
        assert grid(app, "top").row_count
        fresh.write_bytes(b"this is no database, " * 400)
        fresh.rename(database)
        await until(pilot, lambda: "Retrying" in said(app))
        database.unlink()
        shutil.copy(tmp_path / "rotated.db", tmp_path / "third.db")
        (tmp_path / "third.db").rename(database)
        await until(pilot, lambda: "updated" in said(app))


async def test_the_chosen_alert_is_shown_in_full(dashboard, database):
    app = dashboard(database)
    async with opened(app) as pilot:
        await pilot.press("5")
        await until(pilot, lambda: grid(app, "past-alerts").row_count)
        assert re.search(r" alert \d+, firing(, acknowledged by \w+)?, since ", flat(app, "alert"))
        await pilot.press("down")
        await until(pilot, lambda: "resolved" in flat(app, "alert"))
        assert grid(app, "past-alerts").selected.cells[-1] in flat(app, "alert")
        assert "…" not in flat(app, "alert")


@pytest.mark.parametrize("size", SIZES)
async def test_an_empty_database_is_reported_with_the_next_step(dashboard, empty, size):
    app = dashboard(empty)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "Nothing has been recorded" in said(app))
        await until(pilot, lambda: "another --database" in " ".join(shown(app).split()))
        for key in "12345":
            await pilot.press(key)
            await pilot.pause(0.1)
        assert all(not one.is_valid_cursor and one.cursor_row == 0 for one in app.query(Grid))


async def test_a_small_terminal_of_40_columns_is_no_fault(dashboard, database):
    app = dashboard(database)
    async with opened(app, (40, 10)) as pilot:
        for key in "12345":
            await pilot.press(key)
            await pilot.pause(0.1)
            assert all(len(line) == 40 for line in shown(app).splitlines())


@pytest.mark.parametrize("size", SIZES)
async def test_a_hundred_services_with_very_long_names_fit(dashboard, crowded, size):
    app = dashboard(crowded)
    async with opened(app, size) as pilot:
        for key in "12345":
            await pilot.press(key)
            await until(pilot, lambda: "updated" in said(app))
            assert all(cell_len(line) == size[0] for line in shown(app).splitlines())
        await pilot.press("2")
        await until(pilot, lambda: grid(app, "all-services").row_count == 100)
        await pilot.press("end", "enter")
        await until(pilot, lambda: grid(app, "operations").row_count)


async def test_durations_that_spread_far_are_drawn_on_a_logarithmic_axis(dashboard, database):
    app = dashboard(database)
    async with opened(app) as pilot:
        await until(pilot, lambda: grid(app, "top").row_count)
        assert "Latency (log)" in shown(app)
        chart, now = app.query_one("#latency", TerminalChart), datetime.now(UTC)
        times = [now + timedelta(minutes=one) for one in range(3)]
        chart.draw(times, [Line("p50", [1e3, None, 1e6], "green")])
        assert "(log)" in str(chart.border_title)
        chart.draw(times, [Line("p50", [5e5, None, 1e6], "green")])
        assert "(log)" not in str(chart.border_title)
        await until(pilot, lambda: "0 ms" in shown(app))


async def test_charts_of_a_bot_that_started_ten_minutes_ago_have_ten_minutes(dashboard, young):
    app = dashboard(young, since="24h")
    async with opened(app, (120, 36)) as pilot:
        await until(pilot, lambda: grid(app, "top").row_count)
        await pilot.press("3")
        await until(pilot, lambda: app.query_one("#service-latency", TerminalChart)._times)
        for name in ("latency", "throughput", "service-latency"):
            times = app.query_one(f"#{name}", TerminalChart)._times
            assert 10 <= len(times) <= 12
            assert times[-1] - times[0] < timedelta(minutes=12)


@pytest.mark.parametrize(("count", "most"), [(0, 3), (1, 2), (6, 2), (6, 6), (7, 6), (5, 4)])
def test_no_more_labels_than_there_is_room_for(count, most):
    kept = limit_ticks([Tick(one, str(one)) for one in range(count)], most)
    assert len(kept) <= most
    assert not count or kept[0].value == 0


async def test_r_reads_again_and_page_keys_move_the_selection(dashboard, crowded):
    app = dashboard(crowded)
    async with opened(app) as pilot:
        await pilot.press("2")
        table = grid(app, "all-services")
        await until(pilot, lambda: table.row_count == 100)
        await pilot.press("pagedown")
        assert table.cursor_row > 5
        await pilot.press("pageup")
        assert table.cursor_row == 0
        app.query_one(StatusLine).set_text("before")
        await pilot.press("r")
        await until(pilot, lambda: "updated" in said(app))


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_q_and_ctrl_c_end_it(dashboard, database, key):
    app = dashboard(database)
    async with opened(app) as pilot:
        await pilot.press("slash" if key == "ctrl+c" else "1")  # a field that takes letters takes no Ctrl+C
        await pilot.press(key)
    assert app.return_code == 0


class Gate:
    """Blocks the thread of a connection before a function, until it is opened."""

    def __init__(self):
        self.reached, self.opened = threading.Event(), threading.Event()

    def before(self, function):
        def blocked(*arguments):
            self.reached.set()
            assert self.opened.wait(60)
            return function(*arguments)

        return blocked


@pytest.mark.parametrize(
    ("owner", "function"), [(ReadOpener, "__call__"), (reader, "series")], ids=["opening", "reading"]
)
@pytest.mark.parametrize("key", ["q", None])
async def test_no_connection_outlives_an_application_that_ends_while_it_is_opening_or_reading(
    dashboard, database, monkeypatch, owner, function, key
):
    gate, before = Gate(), set(threading.enumerate())
    monkeypatch.setattr(owner, function, gate.before(getattr(owner, function)))
    app = dashboard(database)
    async with app.run_test() as pilot:
        await until(pilot, gate.reached.is_set)
        assert len(set(threading.enumerate()) - before) == 1
        asyncio.get_running_loop().call_later(0.3, gate.opened.set)
        if key:
            await pilot.press(key)
    assert set(threading.enumerate()) == before
    assert app._source._source is None


async def test_the_overview_begins_with_what_needs_attention(dashboard, database):
    app = dashboard(database)
    async with opened(app, (160, 50)) as pilot:
        await until(pilot, lambda: "1. " in flat(app, "attention"))
        first = next(line for line in shown(app).splitlines() if "1. " in line)
        assert first.lstrip().startswith("1. ")
        assert app.query_one("#attention").region.y < app.query_one("#health").region.y
        assert flat(app, "health").lstrip("● ").startswith("unhealthy")


async def test_the_overview_says_that_nothing_needs_attention(dashboard, young):
    app = dashboard(young)
    async with opened(app) as pilot:
        await until(pilot, lambda: "Nothing needs attention" in flat(app, "attention"))
