"""Numbers and names as readable text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.query.records import Figures, Period, RankedOperation
from cogmeter.render import formatting


@pytest.mark.parametrize(
    ("duration_us", "said"),
    [
        (None, "\N{EN DASH}"),
        (float("nan"), "\N{EN DASH}"),
        (0, "0 ms"),
        (0.4, "0.4 µs"),
        (850, "850 µs"),
        (999.6, "1 ms"),
        (1_500, "1.5 ms"),
        (145_000, "145 ms"),
        (999_700, "1 s"),
        (1_234_000, "1.2 s"),
        (8_234_000, "8.2 s"),
        (9_970_000, "10 s"),
        (59_600_000, "1 min"),
        (125_000_000, "2 min 5 s"),
        (120_000_000, "2 min"),
        (11_520_000_000, "3 h 12 min"),
        (3_599_700_000, "1 h"),
        (86_399_000_000, "1 d"),
        (187_200_000_000, "2 d 4 h"),
        (-145_000, "-145 ms"),
    ],
)
def test_a_duration_is_written_in_the_unit_that_people_would_choose(duration_us, said):
    assert formatting.duration(duration_us) == said


UNITS = {"µs": 1, "ms": 1e3, "s": 1e6, "min": 60e6, "h": 3600e6, "d": 86400e6}


@given(st.floats(min_value=1, max_value=1e14))
def test_a_duration_as_text_is_within_six_percent_of_the_real_one(duration_us):
    said = formatting.duration(duration_us).replace(",", "")
    meant = sum(float(amount) * UNITS[unit] for amount, unit in re.findall(r"([\d.]+) (\S+)", said))
    assert meant == pytest.approx(duration_us, rel=0.06)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0"), (7, "7"), (0.4, "0.4"), (0.02, "0.02"), (0.001, "<0.01"), (945, "945"), (999.7, "1 k"),
        (12_400, "12.4 k"), (999_960, "1 M"), (1_200_000, "1.2 M"), (3_100_000_000, "3.1 G"), (-1_500, "-1.5 k"),
    ],
)  # fmt: skip
def test_an_amount_is_written_short(number, said):
    assert formatting.count(number) == said


def test_an_exact_amount_has_commas_between_its_thousands():
    assert formatting.exact(1247) == "1,247"
    assert formatting.exact(15_000.0) == "15,000"


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0, "0%"), (1, "100%"), (0.972, "97.2%"), (0.05, "5%"), (0.9996, "99.96%"), (0.0004, "0.04%"),
        (0.000001, "<0.01%"), (0.999999, ">99.99%"), (0.9995, "99.95%"),
    ],
)  # fmt: skip
def test_a_share_is_written_in_percent(share, said):
    assert formatting.percent(share) == said


@given(st.integers(1, 10**12), st.data())
def test_all_is_written_only_when_nothing_failed_and_nothing_only_when_nothing_succeeded(operations, data):
    failures = data.draw(st.integers(0, operations))
    assert (formatting.percent(failures / operations) in {"0%", "0.0%", "0.00%"}) == (failures == 0)
    assert (formatting.percent(1 - failures / operations) in {"100%", "100.00%"}) == (failures == 0)


@pytest.mark.parametrize(
    ("per_minute", "said"),
    [
        (0, "0/min"), (20, "20/min"), (12_400, "12,400/min"), (1.5, "1.5/min"),
        (0.5, "30/h"), (0.05, "3/h"), (2 / 1440, "2/day"),
    ],
)  # fmt: skip
def test_a_rate_is_written_per_unit_of_time_with_a_number_of_at_least_one(per_minute, said):
    assert formatting.rate(per_minute) == said


@pytest.mark.parametrize(
    ("now", "before", "said"),
    [
        (112, 100, "▲ 12% vs previous 24 h"), (97, 100, "▼ 3% vs previous 24 h"), (100, 100, "no change"),
        (100.1, 100, "no change"), (1200, 100, "▲ 12x vs previous 24 h"), (0, 100, "▼ 100% vs previous 24 h"),
        (1, 100_000, "▼ 99% vs previous 24 h"),
        (None, 100, "nothing to compare with"), (100, None, "nothing to compare with"),
        (0, 0, "nothing to compare with"), (5, 0, "New"),
    ],
)  # fmt: skip
def test_a_change_has_an_arrow_and_names_the_period_that_it_is_compared_with(now, before, said):
    assert formatting.change(now, before, previous="24 h") == said


@given(st.floats(0, 1e15) | st.none(), st.floats(0, 1e15) | st.none())
def test_the_arrow_of_a_change_agrees_with_the_numbers(now, before):
    text = formatting.change(now, before, previous="24 h")
    assert ("▲" in text or "▼" in text) == text.endswith(" vs previous 24 h")
    assert ("▲" in text) <= (now is not None and before is not None and now > before)
    assert ("▼" in text) <= (now is not None and before is not None and now < before)


@pytest.mark.parametrize(
    ("period", "text"), list(zip(Period, ("1 h", "6 h", "24 h", "7 days", "30 days"), strict=True))
)
def test_the_length_of_a_period_is_written_in_one_unit(period, text):
    span = period.range_at(1_755_454_020_000_000)
    assert formatting.length(span.until_us - span.since_us) == text
    assert formatting.length(45 * 60_000_000) == "45 min"
    assert formatting.length(90 * 60_000_000) == "1 h 30 min"


def test_a_change_of_a_share_is_in_points():
    assert formatting.change_of_share(0.028, 0.016) == "▲ 1.2 points"
    assert formatting.change_of_share(0.02, 0.03) == "▼ 1 point"
    assert formatting.change_of_share(0.0201, 0.02) == "no change"
    assert formatting.change_of_share(0.007, 0.0867) == "▼ 8 points"  # shown: 8.7% and 0.7%
    assert formatting.change_of_share(0.0504, 0.0496) == "no change"  # shown: 5% and 5%
    assert formatting.change_of_share(0.02, None) == "nothing to compare with"


@given(st.text(), st.integers(0, 30))
def test_a_cut_text_keeps_to_its_limit_and_is_untouched_when_it_fits(whole, limit):
    shown = formatting.cut(whole, limit)
    assert len(shown) <= limit
    assert shown == whole if len(whole) <= limit else limit == 0 or shown.endswith("…")


@given(st.text(st.characters()))
def test_a_cleaned_text_is_one_line_that_can_be_encoded(whole):
    assert formatting.clean(whole + "\ud800\n").encode().isascii() in {True, False}
    assert len(formatting.clean(whole).splitlines()) <= 1


def test_times_are_written_in_utc():
    at_us = 1_755_426_600_000_000  # 2025-08-17 10:30 UTC
    assert formatting.clock_time(at_us) == "10:30"
    assert formatting.clock_time(at_us, with_date=True) == "17 Aug 10:30"
    assert formatting.day(at_us) == "17 Aug"


def ranked(*names):
    figures = Figures(1, (1, 0, 0, 0, 0), 1, 1.0, 1.0, 1.0, 1.0, 1)
    return [RankedOperation(f"discord.{service}", operation, figures) for service, operation in names]


COMMANDS = ranked(("commands", "ask"), ("commands", "help"))
COMPONENT, REPLY = ranked(("components", "Shop.buy")), ranked(("replies", "on_message"))
UNKNOWN = ranked(("commands", "(unknown)"))


@pytest.mark.parametrize(
    ("commands", "services", "said"),
    [
        ([], 1, "1 active service"),
        ([], 12, "12 active services"),
        (COMMANDS, 3, "2 commands, 3 services"),
        (COMMANDS, 0, "2 commands"),
        ([*COMMANDS, *COMPONENT, *REPLY], 1, "2 commands, 1 component, 1 reply listener, 1 service"),
        ([*COMMANDS, *UNKNOWN], 0, "2 commands"),
        (UNKNOWN, 0, "0 services"),
    ],
)
def test_what_is_active_is_counted_by_its_kind(commands, services, said):
    assert formatting.active(commands, services) == said


@pytest.mark.parametrize(
    ("number", "counted", "waiting", "part"),
    [
        (0, "0 operations", "0 operations wait are", "0 of 0 operations"),
        (1, "1 operation", "1 operation waits is", "1 of 1 operation"),
        (1_247, "1,247 operations", "1,247 operations wait are", "1,247 of 1,247 operations"),
    ],
)
def test_nouns_and_verbs_go_with_their_number(number, counted, waiting, part):
    assert formatting.counted(number, "operation") == counted
    assert f"{formatting.waiting(number, 'operation')} {formatting.are(number)}" == waiting
    assert formatting.part(number, number, "operation") == part


@pytest.mark.parametrize(
    ("commands", "services", "title"),
    [
        ([], True, "Services"),
        ([], False, "Services"),
        (COMMANDS, False, "Commands"),
        (COMPONENT, False, "Commands"),
        (REPLY, False, "Replies"),
        ([*COMMANDS, *REPLY], False, "Commands and Replies"),
        (COMMANDS, True, "Commands and Services"),
        ([*REPLY, *COMMANDS], True, "Commands, Replies and Services"),
    ],
)
def test_a_ranking_is_titled_by_what_it_lists(commands, services, title):
    assert formatting.ranking_title(commands, services=services) == title
