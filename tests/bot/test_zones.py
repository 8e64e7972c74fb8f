"""The zone of printed times, and of times that a person types without an offset."""

import time
from contextvars import copy_context
from datetime import UTC, datetime

import pytest

from cogmeter.times import parse_iso
from cogmeter_bot.errors import RequestError
from cogmeter_bot.sources.ranges import parse_range
from cogmeter_bot.zones import shown_at, use_zone, zone_label, zone_name

NOW_US = parse_iso("2026-03-29T12:00:00Z")  # summer time began in Berlin at 01:00 UTC


@pytest.fixture
def in_zone():
    """Calls a function under a zone, which ends with it."""

    def call(zone, function, *arguments, **options):
        def work():
            use_zone(zone)
            return function(*arguments, **options)

        return copy_context().run(work)

    return call


def test_a_time_is_shown_in_the_chosen_zone_across_the_change_to_summer_time(in_zone):
    before, after = datetime(2026, 3, 29, 0, 30, tzinfo=UTC), datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert f"{in_zone('Europe/Berlin', shown_at, before):%H:%M}" == "01:30"
    assert f"{in_zone('Europe/Berlin', shown_at, after):%H:%M}" == "03:30"
    assert in_zone("Europe/Berlin", zone_name, before) == "CET"
    assert in_zone("Europe/Berlin", zone_name, after) == "CEST"


@pytest.mark.parametrize(
    ("zone", "label"),
    [
        ("UTC", "UTC"),
        ("utc", "UTC"),
        ("Europe/Berlin", "CET/CEST"),
        ("Asia/Kolkata", "IST"),
        ("America/Sao_Paulo", "UTC-03"),
    ],
)
def test_a_zone_is_stated_by_its_names(in_zone, zone, label):
    assert in_zone(zone, zone_label) == label


def test_the_default_is_the_terminals_own_zone(monkeypatch, in_zone):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert in_zone("local", zone_label) == "EST/EDT"
        assert in_zone("local", parse_range, "2026-03-01", None, None, now_us=NOW_US).since_us == parse_iso(
            "2026-03-01T05:00:00Z"
        )
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_zone_that_does_not_exist_is_refused(in_zone):
    with pytest.raises(ValueError, match="Mars/Base is not a time zone of this machine"):
        in_zone("Mars/Base", zone_label)


def test_times_without_an_offset_are_read_in_the_zone_and_others_in_their_own(in_zone):
    day = in_zone("Europe/Berlin", parse_range, "2026-03-28", "2026-03-28", None, now_us=NOW_US)
    assert (day.since_us, day.until_us) == (parse_iso("2026-03-27T23:00:00Z"), parse_iso("2026-03-28T23:00:00Z"))
    assert day.label == "2026-03-28 to 2026-03-28 CET/CEST"
    today = in_zone("Europe/Berlin", parse_range, "today", None, None, now_us=NOW_US)
    assert today.since_us == parse_iso("2026-03-28T23:00:00Z")
    assert today.label == "2026-03-29 to 2026-03-29 14:00 CET/CEST"
    fixed = in_zone("Europe/Berlin", parse_range, "2026-03-28T10:00:00Z", None, None, now_us=NOW_US)
    assert fixed.since_us == parse_iso("2026-03-28T10:00:00Z")
    assert fixed.label.startswith("2026-03-28 11:00 to ")


def test_a_start_in_the_future_is_compared_with_the_time_of_the_zone(in_zone):
    with pytest.raises(RequestError, match=r"It is now 2026-03-29 14:00 CET/CEST\."):
        in_zone("Europe/Berlin", parse_range, "2026-04-01", None, None, now_us=NOW_US)
