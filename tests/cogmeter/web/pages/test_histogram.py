"""The histogram of a page: its bars, rows and percentile lines."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.render import formatting
from cogmeter.web.pages.histogram import BARS, HEIGHT, WIDTH, drawn
from cogmeter_storage.histogram import BUCKETS, bucket_of, quantiles


def buckets(*durations_us):
    return np.bincount(bucket_of(np.array(durations_us)), minlength=BUCKETS)


def test_nothing_has_no_histogram():
    assert drawn(np.zeros(BUCKETS, dtype=np.int64)) is None


def test_its_rows_say_up_to_which_duration_there_were_how_many():
    found = drawn(buckets(*[100_000] * 7, *[2_000_000] * 2))
    assert [held for _, held in found.rows] == [7, 2]
    assert [words for words, _ in found.rows] == ["110 ms", "2.1 s"]  # the ends of the bars that they are in


def test_lines_are_at_the_percentiles_from_left_to_right():
    held = buckets(*range(1_000, 1_000_000, 1_000))
    percentiles_us = quantiles(held, (0.5, 0.95, 0.99)).tolist()
    found = drawn(held, *percentiles_us)
    expected = [formatting.duration(value) for value in percentiles_us]
    assert [(name, words) for name, _, words in found.lines] == list(zip(("p50", "p95", "p99"), expected, strict=True))
    places = [x for _, x, _ in found.lines]
    assert places == sorted(places)
    assert (found.ticks[0], found.ticks[-1]) == ("984 µs", "1.1 s")


def test_one_duration_is_a_narrow_bar_in_the_middle():
    found = drawn(buckets(123_000))
    (bar,) = re.findall(r"M([\d.]+) \d+h([\d.]+)", found.bars)
    assert [float(one) / WIDTH for one in bar] == pytest.approx([0.46, 0.0375], abs=0.01)
    assert (found.ticks[0], found.ticks[-1]) == ("97 ms", "160 ms")


def test_its_percentiles_are_those_that_the_page_shows_elsewhere():
    found = drawn(buckets(100_000), 100_000.0, 100_000.0, 100_000.0)  # the middle of the bucket is a little above
    assert [words for _, _, words in found.lines] == ["100 ms"] * 3


@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=50))
def test_whatever_took_however_long_every_operation_is_in_a_row_and_every_bar_in_the_box(durations_us):
    found = drawn(buckets(*durations_us))
    assert sum(held for _, held in found.rows) == len(durations_us)
    bars = re.findall(r"M([\d.]+) \d+h([\d.]+)v-(\d+)h-[\d.]+z", found.bars)
    assert 1 <= len(bars) <= BARS
    assert all(float(x) + float(wide) <= WIDTH and int(high) <= HEIGHT for x, wide, high in bars)
    assert all(0 <= x <= WIDTH for _, x, _ in found.lines)
