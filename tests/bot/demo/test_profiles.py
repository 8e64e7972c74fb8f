"""The demo's profiles: activity over the week, and operations without duplicates."""

import numpy as np

from cogmeter_bot.demo.profiles import PROFILES, activity
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US

WEEK = np.arange(0, 7 * DAY_US, MINUTE_US) + 2900 * 7 * DAY_US


def test_the_mean_activity_over_a_week_is_one():
    assert abs(activity(WEEK).mean() - 1) < 0.01


def test_an_evening_is_busier_than_a_morning_and_a_sunday_busier_than_a_monday():
    monday = 4 * DAY_US  # 1970-01-05
    evening, morning, sunday = activity([monday + 19 * HOUR_US, monday + 7 * HOUR_US, monday - 5 * HOUR_US])
    assert sunday > evening > 2 * morning > 0


def test_no_operation_is_in_the_table_twice():
    assert len({(one.service, one.operation) for one in PROFILES}) == len(PROFILES)
