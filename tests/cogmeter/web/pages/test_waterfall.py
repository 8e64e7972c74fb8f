"""The waterfall of a trace: place, length, order and indentation of its bars."""

from cogmeter.query.slow import TimeProfile
from cogmeter.query.time_parts import TimePart
from cogmeter.web.pages.waterfall import DEEPEST, bars_of, profile_bars
from cogmeter_storage.model import Outcome, SpanRecord


def span(number, parent, start_us, duration_us):
    return SpanRecord(number, parent, "memory", "retrieve", start_us, duration_us, Outcome.OK)


def drawn(*spans, duration_us=1_000):
    return bars_of(duration_us, spans)


def test_a_bar_lies_where_its_operation_ran_in_thousandths_of_the_whole():
    (bar,) = drawn(span(1, 0, 250, 500))
    assert (bar.left, bar.width, bar.depth) == (250, 500, 0)


def test_bars_are_in_the_order_of_their_start_and_indented_below_their_parent():
    bars = drawn(span(3, 2, 30, 10), span(2, 1, 20, 50), span(1, 0, 0, 900))
    assert [(bar.span.id, bar.depth) for bar in bars] == [(1, 0), (2, 1), (3, 2)]


def test_what_takes_no_time_can_still_be_seen():
    assert drawn(span(1, 0, 10, 0))[0].width > 0


def test_an_operation_that_outlasts_its_interaction_ends_inside_the_picture():
    (bar,) = drawn(span(1, 0, 500, 1_500))
    assert bar.left + bar.width == 1_000


def test_a_parent_that_was_left_out_a_circle_and_great_depth_are_drawn_all_the_same():
    assert drawn(span(5, 99, 0, 10))[0].depth == 0
    assert len(drawn(span(1, 2, 0, 10), span(2, 1, 0, 10))) == 2
    assert drawn(*(span(number, number - 1, number, 1) for number in range(1, 40)))[-1].depth == DEEPEST


def test_a_profile_is_two_bars_on_one_scale_whose_pieces_follow_each_other():
    p50 = dict.fromkeys(TimePart, 0.0) | {TimePart.OWN: 100.0, TimePart.HOST: 150.0}
    p95 = dict.fromkeys(TimePart, 0.0) | {TimePart.REST: 333.0, TimePart.HOST: 667.0}
    typical, slow = profile_bars(TimeProfile(9, 99, False, p95, p50, p95, p50, p95))
    assert (typical.whole_us, slow.whole_us) == (250, 1_000)
    assert typical.pieces == [(TimePart.OWN, 0, 100), (TimePart.HOST, 100, 150)]
    assert slow.pieces == [(TimePart.REST, 0, 333), (TimePart.HOST, 333, 667)]
    assert profile_bars(None) == []
