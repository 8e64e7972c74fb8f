"""Stretches of time as Python code and addresses ask for them."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from cogmeter.query.records import Period, Range
from cogmeter.schemas.figures import TimeRange
from cogmeter.schemas.ranges import asked, between, passed
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US

DAY = datetime(2025, 8, 17, tzinfo=UTC)
DAY_BEGIN_US = int(DAY.timestamp()) * 1_000_000
NOW_US = DAY_BEGIN_US + 10 * HOUR_US + 17 * MINUTE_US


def test_without_ends_it_is_the_default_period_on_whole_minutes():
    assert between(None, None, NOW_US) == Period.DAY.range_at(NOW_US)


def test_one_end_leaves_the_other_to_the_default():
    assert between("2025-08-16", None, NOW_US).until_us == NOW_US
    span = between(None, "2025-08-10T12:00:00Z", NOW_US, Period.HOUR)
    assert span.until_us - span.since_us == HOUR_US
    assert asked(None, 5, NOW_US).since_us == 0  # nothing was before 1970


@pytest.mark.parametrize(
    "since",
    [DAY, DAY.replace(tzinfo=None), DAY.date(), "2025-08-17", DAY.astimezone(timezone(timedelta(hours=2)))],
)
def test_every_form_of_a_time_is_the_same_moment(since):
    assert between(since, None, NOW_US).since_us == DAY_BEGIN_US


def test_a_plain_day_as_the_end_includes_that_day_and_figures_end_now():
    assert between("2025-08-01", date(2025, 8, 16), NOW_US).until_us == DAY_BEGIN_US
    assert between("2025-08-01", date(2025, 8, 17), NOW_US).until_us == NOW_US
    assert asked(DAY_BEGIN_US, DAY_BEGIN_US + DAY_US, NOW_US).until_us == DAY_BEGIN_US + DAY_US
    assert passed(Range(5, 9, ""), 3) == Range(5, 6, "")


@pytest.mark.parametrize(("since", "until"), [("2025-08-18", None), ("2025-08-02", "2025-08-01"), (DAY, DAY)])
def test_ends_in_the_wrong_order_are_named(since, until):
    with pytest.raises(ValueError, match=r"since=2025-08.* is not before until="):
        between(since, until, NOW_US)


def test_a_midnight_that_ends_a_range_is_shown_as_the_last_second_of_the_day():
    shown = TimeRange.of(Range(DAY_BEGIN_US - DAY_US, DAY_BEGIN_US, "")).model_dump(mode="json")
    assert shown == {"since": "2025-08-16T00:00:00Z", "until": "2025-08-16T23:59:59Z"}
