"""Comparisons as text: one unit per row, and words that do not contradict the numbers next to them."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.query.comparison import ChangeVerdict, MeasuredChange
from cogmeter.render import formatting
from cogmeter.render.comparison_text import found_text, headline, value_texts, verdict_text, verdicts


def change(statistic, before, after, verdict=ChangeVerdict.UNCHANGED, p_value=0.5):
    return MeasuredChange(verdict, statistic, before, after, p_value)


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        (1.7, 43 / 60, ("102/h", "43/h")),
        (43 / 60, 1.7, ("43/h", "102/h")),
        (12.0, 0.0, ("12/min", "0/min")),
        (0.5, None, ("30/h", "\N{EN DASH}")),
        (0.01, 0.02, ("14/day", "29/day")),
    ],
)
def test_both_rates_of_a_row_have_one_unit(before, after, shown):
    assert value_texts(change("throughput", before, after)) == shown


def test_a_large_difference_that_is_not_certain_is_named_as_such():
    assert verdict_text(change("throughput", 1.7, 0.73), (900, 400)) == ("no significant change (▼ 57% may be chance)")
    small = change("throughput", 1.7, 1.43, p_value=0.0007)
    assert verdict_text(small, (900, 400)) == "no significant change (▼ 16% is too little to count)"
    assert verdict_text(change("p95", 100.0, 102.0), (900, 400)) == "no significant change"
    large = change("error_rate", 0.056, 0.012, p_value=0.005)  # one of several that are judged together
    assert verdict_text(large, (900, 400)) == "no significant change (▼ 4.4 points may be chance)"
    assert (
        verdict_text(change("error_rate", 0.01, 0.03), (900, 400)) == "no significant change (▲ 2 points may be chance)"
    )
    assert verdict_text(change("error_rate", 0.0001, 0.0002), (900, 400)) == "no significant change"
    first = verdict_text(change("error_rate", 0.0, 0.132), (69, 423))
    assert first == "no significant change (▲ 13.2 points may be chance)"
    assert verdict_text(change("error_rate", 0.0, 0.0), (900, 400)) == "no significant change"


def test_a_certain_change_has_both_rates_in_one_unit():
    certain = change("throughput", 1.7, 43 / 60, ChangeVerdict.WORSE)
    assert found_text(certain) == "58% fewer operations (102/h to 43/h)"


@given(st.floats(0.001, 0.999), st.floats(0.001, 0.999))
def test_the_difference_of_two_shares_is_that_of_the_shown_ones(before, after):
    shown = [float(formatting.percent(share).rstrip("%")) for share in (before, after)]
    text = formatting.change_of_share(after, before)
    points = 0.0 if text == "no change" else float(text.split()[1])
    assert points == pytest.approx(abs(shown[1] - shown[0]), abs=0.0501 if points == 0 else 1e-6)


def compared(verdict, **changes):
    """A comparison of 900 with 400 operations."""
    return SimpleNamespace(
        before=SimpleNamespace(operations=900), after=SimpleNamespace(operations=400), verdict=verdict, **changes
    )


SLOWER = change("p95", 500_000.0, 1_485_000.0, ChangeVerdict.WORSE)
FEWER = change("throughput", 12.0, 6.0, ChangeVerdict.WORSE)
CHANCE = change("error_rate", 0.01, 0.03)


@pytest.mark.parametrize(
    ("comparison", "said", "others"),
    [
        pytest.param(
            compared(ChangeVerdict.WORSE, latency=SLOWER, errors=CHANCE, throughput=FEWER),
            "Confident: 197% slower (p95 500 ms to 1.5 s)",
            [
                ("Errors", "no significant change (▲ 2 points may be chance)"),
                ("Throughput", "confident: 50% fewer operations (12/min to 6/min)"),
            ],
            id="slower",
        ),
        pytest.param(
            compared(
                ChangeVerdict.UNCHANGED,
                latency=change("p95", 100.0, 100.0),
                errors=CHANCE,
                throughput=change("throughput", 12.0, 12.0),
            ),
            "No significant change in response times or errors",
            [
                ("Errors", "no significant change (▲ 2 points may be chance)"),
                ("Throughput", "no significant change"),
            ],
            id="unchanged",
        ),
    ],
)
def test_the_verdicts_do_not_repeat_the_headline(comparison, said, others):
    assert headline(comparison) == said
    assert verdicts(comparison) == others
