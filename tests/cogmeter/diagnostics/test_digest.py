"""When a digest is due, in any time zone, and the cost of its days."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from cogmeter.diagnostics.digest import cost_of, digest_period
from cogmeter.query.records import Range
from cogmeter.settings import Settings
from cogmeter.times import us_of, utc
from cogmeter_storage import open_store
from cogmeter_storage.costs import CostKey, CostSums
from cogmeter_storage.model import DAY_US, HOUR_US


def us(text, zone="UTC"):
    return us_of(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)))


def daily(**settings):
    return Settings(_env_file=None, **{"digest": "daily"} | settings)


# Time zone, time of day, how often, now (local) -> the local day, and begin and end in UTC.
DUE = {
    "in UTC, just due": ("UTC", "09:00", "daily", "2026-11-29T09:00", "2026-11-29", "28T09:00", "29T09:00"),
    "a minute before": ("UTC", "09:00", "daily", "2026-11-29T08:59", "2026-11-28", "27T09:00", "28T09:00"),
    "east, where the day began earlier": (
        "Asia/Kolkata", "00:30", "daily", "2026-11-29T01:00", "2026-11-29", "27T19:00", "28T19:00"),
    "west": ("America/New_York", "20:00", "daily", "2026-11-29T21:00", "2026-11-29", "29T01:00", "30T01:00"),
    "a day of 23 hours": ("Europe/Berlin", "09:00", "daily", "2026-03-29T09:00", "2026-03-29", "28T08:00", "29T07:00"),
    "a day of 25 hours": ("Europe/Berlin", "09:00", "daily", "2026-10-25T09:00", "2026-10-25", "24T07:00", "25T08:00"),
    "a time that does not exist": (
        "Europe/Berlin", "02:30", "daily", "2026-03-29T12:00", "2026-03-29", "28T01:30", "29T01:30"),
    "a time that exists twice": (
        "Europe/Berlin", "02:30", "daily", "2026-10-25T12:00", "2026-10-25", "24T00:30", "25T00:30"),
    "weekly, on a Sunday": ("UTC", "09:00", "weekly", "2026-11-29T12:00", "2026-11-23", "16T09:00", "23T09:00"),
    "weekly, on Monday morning": ("UTC", "09:00", "weekly", "2026-11-30T08:00", "2026-11-23", "16T09:00", "23T09:00"),
    "weekly, on Monday": ("UTC", "09:00", "weekly", "2026-11-30T09:00", "2026-11-30", "23T09:00", "30T09:00"),
}  # fmt: skip


@pytest.mark.parametrize(("zone", "at", "often", "now", "day", "since", "until"), DUE.values(), ids=DUE)
def test_the_last_period_that_has_ended_is_due(zone, at, often, now, day, since, until):
    due = digest_period(daily(time_zone=zone, digest_time=at, digest=often), us(now, zone))
    assert due.day == date.fromisoformat(day)
    assert f"{utc(due.range.since_us):%dT%H:%M}" == since
    assert f"{utc(due.range.until_us):%dT%H:%M}" == until
    assert due.due_us == due.range.until_us


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/New_York"])
@pytest.mark.parametrize("at", ["00:00", "02:15", "23:59"])
def test_over_a_year_each_day_is_due_once_and_the_periods_follow_each_other(zone, at):
    settings, now_us, until_us, days = daily(time_zone=zone, digest_time=at), us("2026-01-01T00:00"), None, []
    while now_us < us("2027-01-02T00:00"):
        due = digest_period(settings, now_us)
        if not days or due.day != days[-1]:
            assert until_us in {None, due.range.since_us}
            days.append(due.day)
            until_us = due.range.until_us
        assert due.range.until_us <= now_us
        now_us += 2 * HOUR_US
    assert days == sorted(set(days))
    assert (days[-1] - days[0]).days == len(days) - 1


async def test_costs_are_of_the_whole_days_that_ended_in_the_period(tmp_path):
    today = us("2026-11-29T00:00") // DAY_US
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    now_us = today * DAY_US + 9 * HOUR_US
    assert await cost_of(store, Range(now_us - DAY_US, now_us, "")) is None
    days = {
        CostKey(number * DAY_US, "chat", model="gpt"): CostSums(1, micro_usd=(today - number) * 1_000_000)
        for number in range(today - 20, today + 1)
    }
    await store.costs.add(days, key="costs", state=b"{}")
    one = await cost_of(store, Range(now_us - DAY_US, now_us, ""))
    assert (one.dollars, one.before) == (1.0, 2.0)
    assert one.days == (date(2026, 11, 28), date(2026, 11, 28))
    weekly = await cost_of(store, Range(now_us - 7 * DAY_US, now_us, ""))
    assert (weekly.dollars, weekly.before) == (sum(range(1, 8)), sum(range(8, 15)))
    assert weekly.days == (date(2026, 11, 22), date(2026, 11, 28))
    whole = await cost_of(store, Range((today - 7) * DAY_US, today * DAY_US, ""))
    assert whole == weekly
    await store.close()
