"""The page of costs: money and tokens by a grouping, the budget, and the forecast of the month."""

import time
from datetime import UTC, datetime

import pytest
from large_dataset import HOSTILE

from cogmeter.query.costs import forecast
from cogmeter.recording.people_hashes import person_hash
from cogmeter.render.cost_text import money, rough_money
from cogmeter.web.pages.cost import LISTED
from cogmeter_storage.model import DAY_US, HOUR_US

NOON_US = int(datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp() * 1e6)
TODAY = NOON_US // DAY_US
FIRST = TODAY - 23  # 1 November


def test_a_forecast_adds_the_mean_of_the_last_whole_days_for_what_is_left_of_the_month():
    daily = dict.fromkeys(range(FIRST, TODAY), 10) | {TODAY: 5}
    found = forecast(daily, (FIRST - 40) * DAY_US, NOON_US)
    assert found.spent == 23 * 10 + 5
    assert found.expected == pytest.approx(235 + 10 * 6.5)  # half of today, and six days
    assert (found.least, found.most) == (found.expected, found.expected)
    assert (found.since, found.days) == (FIRST, 7)


def test_its_ends_are_those_of_the_cheapest_and_the_most_expensive_of_these_days():
    daily = {TODAY - back: 2 * back for back in range(1, 8)}
    found = forecast(daily, 0, NOON_US)
    assert found.least == pytest.approx(found.spent + 2 * 6.5)
    assert found.most == pytest.approx(found.spent + 14 * 6.5)
    assert found.expected == pytest.approx(found.spent + 8 * 6.5)


def test_a_day_without_costs_is_a_cheap_day_and_one_before_anything_was_known_is_none():
    found = forecast({TODAY - 1: 70}, (TODAY - 4) * DAY_US + HOUR_US, NOON_US)
    assert (found.since, found.days) == (TODAY - 4, 3)  # the day that counting began in is no whole one
    assert found.least == 70
    assert found.expected == round(70 + 70 / 3 * 6.5)


def test_nothing_is_foretold_from_fewer_than_three_whole_days():
    assert forecast({TODAY: 4, TODAY - 1: 4}, (TODAY - 2) * DAY_US, NOON_US).expected is None


def test_what_was_spent_before_this_month_is_not_in_it():
    assert forecast({FIRST - 1: 99, FIRST: 1}, 0, NOON_US).spent == 1


@pytest.mark.parametrize(
    ("amount", "words", "about"),
    [
        (0, "$0.00", "$0.00"),
        (1, "$0.000001", "$0.000001"),
        (4_200, "$0.0042", "$0.0042"),
        (18_400_000, "$18.40", "$18"),
        (1_204_300_000, "$1,204", "$1,204"),
        (1_000_000_000_000, "$1,000,000", "$1,000,000"),
    ],
)
def test_money_in_words(amount, words, about):
    assert (money(amount), rough_money(amount)) == (words, about)


@pytest.mark.parametrize("by", ["command", "reply", "model", "guild", "user", "service"])
async def test_the_page_shows_every_grouping_and_its_links_keep_it(crowded, by):
    async with crowded() as web:
        page = (await web.get(f"/performance/cost?by={by}")).text
    assert f"<h1>Cost by {'server' if by == 'guild' else by}" in page
    assert f"by={by}" in page


async def test_servers_are_named_by_the_name_that_discord_knows_now(served):
    async with served() as web:
        web.monitor.recorder.budgets.key = b"0" * 16
        web.monitor.recorder.record("ai", "chat", duration_ms=5, metadata={"cost_usd": 0.5, "guild": 42})
        await web.flushed()
        page = (await web.get("/performance/cost?by=guild")).text
    hashed = person_hash(b"0" * 16, "guild", 42)
    assert f"server {hashed}" in page  # it is in no cache
    assert ">42<" not in page


async def test_money_that_is_missing_is_explained(served):
    async with served() as web:
        web.monitor.recorder.record("ai", "chat", duration_ms=5, metadata={"model": "nobody-knows", "tokens_in": 5})
        await web.flushed()
        page = (await web.get("/performance/cost")).text
    assert "Money is missing" in page
    assert "PERFORMANCE_COST_PRICES=nobody-knows=2.50/10" in page


async def test_no_more_groups_are_listed_than_fit(served):
    async with served() as web:
        for number in range(LISTED + 5):
            name = f"service-{number}"
            web.monitor.recorder.record(name, "x", duration_ms=5, metadata={"cost_usd": 1})
        await web.flushed()
        page = (await web.get("/performance/cost?by=service")).text
    assert page.count('data-key="group-service-') == LISTED
    assert "and 5 more" in page


async def test_the_page_says_what_was_spent_on_what(crowded):
    async with crowded() as web:
        page = (await web.get("/performance/cost?by=model")).text
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
        assert "No tokens and no costs recorded in this period." in (await web.get("/performance/cost")).text
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
