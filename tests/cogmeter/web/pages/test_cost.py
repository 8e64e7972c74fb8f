"""The page of costs: money and tokens by day, service and model, the budget, and what the month may come to."""

import time
from datetime import UTC, datetime

import pytest
from large_dataset import HOSTILE

from cogmeter.alerts.measurement.spending import Spent
from cogmeter.web.pages.cost import LISTED, Spendings, dollars, forecast, rough
from cogmeter_storage.model import DAY_US, HOUR_US

NOON_US = int(datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp() * 1e6)
TODAY = NOON_US // DAY_US
FIRST = TODAY - 23  # 1 November


def test_a_forecast_adds_the_mean_of_the_last_whole_days_for_what_is_left_of_the_month():
    daily = dict.fromkeys(range(FIRST, TODAY), 10.0) | {TODAY: 5.0}
    found = forecast(daily, (FIRST - 40) * DAY_US, NOON_US)
    assert found.spent == 23 * 10 + 5
    assert found.expected == pytest.approx(235 + 10 * 6.5)  # half of today, and six days
    assert (found.least, found.most) == (found.expected, found.expected)
    assert (found.since, found.days) == (FIRST, 7)


def test_its_ends_are_those_of_the_cheapest_and_the_most_expensive_of_these_days():
    daily = {TODAY - back: float(back) for back in range(1, 8)}
    found = forecast(daily, 0, NOON_US)
    assert found.least == pytest.approx(found.spent + 1 * 6.5)
    assert found.most == pytest.approx(found.spent + 7 * 6.5)
    assert found.expected == pytest.approx(found.spent + 4 * 6.5)


def test_a_day_without_costs_is_a_cheap_day_and_one_before_anything_was_known_is_none():
    found = forecast({TODAY - 1: 7.0}, (TODAY - 4) * DAY_US + HOUR_US, NOON_US)
    assert (found.since, found.days) == (TODAY - 4, 3)  # the day that counting began in is no whole one
    assert found.least == pytest.approx(7.0)
    assert found.expected == pytest.approx(7.0 + 7 / 3 * 6.5)


def test_nothing_is_foretold_from_fewer_than_three_whole_days():
    assert forecast({TODAY: 4.0, TODAY - 1: 4.0}, (TODAY - 2) * DAY_US, NOON_US).expected is None


def test_what_was_spent_before_this_month_is_not_in_it():
    assert forecast({FIRST - 1: 99.0, FIRST: 1.0}, 0, NOON_US).spent == 1.0


async def test_the_days_of_a_range_are_added_up_by_day_and_by_service_and_model():
    days = {
        7: {("a", "m"): Spent(1, 10, 5, 0.5), ("b", ""): Spent(2, 0, 0, 0.25)},
        8: {("a", "m"): Spent(3, 30, 15, 1.5)},
        9: {("a", "m"): Spent(9, 9, 9, 9)},
    }
    found = await Spendings.of(days, 7, 8, None)
    assert (found.total.operations, found.total.dollars) == (6, 2.25)
    assert {day: one.dollars for day, one in found.days.items()} == {7: 0.75, 8: 1.5}
    assert [(pair, one.tokens_in) for pair, one in found.most_expensive] == [(("a", "m"), 40), (("b", ""), 0)]
    assert (await Spendings.of(days, 7, 9, "b")).total.dollars == 0.25


async def test_no_more_pairs_are_listed_than_fit_and_the_most_expensive_come_first():
    days = {7: {(f"service-{number}", "m"): Spent(1, 0, 0, number) for number in range(LISTED + 5)}}
    found = await Spendings.of(days, 7, 7, None)
    assert len(found.pairs) == LISTED + 5
    assert [pair for (pair, _), _ in found.most_expensive] == [
        f"service-{LISTED + 4 - place}" for place in range(LISTED)
    ]


@pytest.mark.parametrize(
    ("amount", "words", "about"),
    [(0, "$0.00", "$0.00"), (0.0042, "$0.0042", "$0.0042"), (18.4, "$18.40", "$18"), (1204.3, "$1,204", "$1,204")],
)
def test_money_in_words(amount, words, about):
    assert (dollars(amount), rough(amount)) == (words, about)


async def test_the_page_says_what_was_spent_on_what(crowded):
    async with crowded() as web:
        page = (await web.get("/performance/cost")).text
        of_one = (await web.get("/performance/cost?service=service-001&days=7")).text
        nobody = await web.get("/performance/cost?service=nobody", headers={"Accept": "text/html"})
    assert "Today so far</dt><dd><strong>$1.10" in page
    assert "Last 30 days</dt><dd><strong>$11.00" in page
    assert "15,000 input, 1,000 output" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page
    assert "Last 7 days</dt><dd><strong>$7.00" in of_one
    assert nobody.status == 404


async def test_the_budget_is_that_of_the_alert_also_after_it_was_changed(crowded):
    async with crowded() as web:
        assert "No budget is set" in (await web.get("/performance/cost")).text
        await web.monitor.override({"cost": "1.2"}, actor="owner")
        page = (await web.get("/performance/cost")).text
        assert "of $1.20 per day: 91.7%" in page
        assert "nearly used" in page
        assert 'data-limit="1.2"' in page
        await web.monitor.override({"cost": "1"}, actor="owner")
        assert "above the budget" in (await web.get("/performance/cost")).text


async def test_operations_that_are_recorded_while_it_runs_are_in_it(served):
    async with served() as web:
        assert "No costs recorded in this period." in (await web.get("/performance/cost")).text
        for _ in range(3):
            noted = {"model": HOSTILE, "tokens_in": 100, "tokens_out": 20, "cost_usd": 0.5}
            web.monitor.recorder.record("core-intelligence", "process", duration_ms=5, metadata=noted)
        await web.flushed()
        page = (await web.get("/performance/cost")).text
    assert "Today so far</dt><dd><strong>$1.50" in page
    assert "available after 3 whole days" in page


async def test_the_cost_of_a_range_is_that_of_its_days(crowded):
    today = time.time_ns() // 1_000 // DAY_US
    since, until = (datetime.fromtimestamp((today - back) * 86_400, UTC).strftime("%Y-%m-%d") for back in (4, 3))
    async with crowded() as web:
        page = (await web.get(f"/performance/cost?since={since}&until={until}")).text
    assert "In this period</dt><dd><strong>$2.20" in page
