"""The range that ``since`` and ``until`` select."""

from urllib.parse import urlencode

import pytest

from cogmeter.query.records import Period
from cogmeter.schemas.times import parse_time
from cogmeter.web.api.params import RangeParams, parameters, read_parameters
from cogmeter.web.api.problems import Problem
from cogmeter_storage.model import DAY_US

NOW_US = parse_time("2025-08-17T10:30:00Z")


def asked(**query: str) -> RangeParams:
    return read_parameters(RangeParams, parameters(RangeParams), {}, urlencode(query))


def test_neither_is_the_default_period():
    assert asked().span(NOW_US, Period.HOUR) == Period.HOUR.range_at(NOW_US)


def test_both_are_the_stretch_between_them_with_the_last_day_in_it():
    ask = asked(since="2025-08-16", until="2025-08-17")
    whole = ask.whole_range(NOW_US)
    assert (whole.since_us, whole.until_us) == (parse_time("2025-08-16"), parse_time("2025-08-18"))
    assert whole.label == "2025-08-16T00:00:00Z to 2025-08-17T23:59:59Z"


def test_figures_are_over_what_has_passed():
    assert asked(since="2025-08-16", until="2025-08-17").span(NOW_US).until_us == NOW_US


def test_since_alone_ends_now():
    assert asked(since="2025-08-16").whole_range(NOW_US).until_us == NOW_US


def test_until_alone_is_as_long_as_the_default_period():
    span = asked(until="2025-08-10").span(NOW_US, Period.WEEK)
    assert span.until_us == parse_time("2025-08-11")
    assert span.until_us - span.since_us == 7 * DAY_US


def test_until_alone_and_ahead_is_the_default_period_up_to_now():
    span = asked(until="9999-12-31").span(NOW_US, Period.DAY)
    assert (span.since_us, span.until_us) == (NOW_US - DAY_US, NOW_US)


def test_until_at_the_beginning_of_time_is_an_instant_of_it():
    span = asked(until="1970-01-01T00:00Z").span(NOW_US)
    assert (span.since_us, span.until_us) == (0, 1)


@pytest.mark.parametrize("until", ["2025-08-15", "2025-08-16T00:00:00Z"])
def test_since_at_or_after_until_is_refused_naming_both(until):
    with pytest.raises(Problem) as raised:
        asked(since="2025-08-16", until=until)
    assert (raised.value.status, raised.value.extra["parameter"]) == (422, "since, until")
    assert "since=2025-08-16T00:00:00Z is not before until=2025-08-1" in raised.value.detail


@pytest.mark.parametrize("until", [{}, {"until": "2099-01-01"}])
def test_since_ahead_is_refused(until):
    with pytest.raises(Problem) as raised:
        asked(since="2090-01-01", **until).span(NOW_US)
    assert (raised.value.status, raised.value.extra["parameter"]) == (422, "since")
