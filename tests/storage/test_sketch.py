"""Distinct-count sketches: their error, their union, and their bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cogmeter_storage.sketch import MAX_KEY, SPARSE, Sketches, SketchFormatError, decode, merge

ROW = (1, 1_750_075_200_000_000)
LIMIT = 0.03


def random(count, seed=0):
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def sketch(hashes, key=3):
    return Sketches.of(np.full(hashes.size, key), hashes)


@pytest.mark.parametrize("count", [1, 2, 20, 100, SPARSE])
def test_a_small_sketch_is_exact(count):
    assert sketch(np.repeat(random(count, count), 3)).counts() == {3: count}


@pytest.mark.parametrize("count", [SPARSE + 1, 700, 1_000, 3_000, 10_000, 17_000, 30_000, 100_000, 1_000_000])
def test_a_large_sketch_is_within_three_percent(count):
    for seed in range(10 if count < 50_000 else 2):
        assert sketch(random(count, seed)).counts()[3] == pytest.approx(count, rel=LIMIT)


def test_the_error_has_the_expected_size_and_no_bias():
    errors = np.array([sketch(random(30_000, seed)).counts()[3] / 30_000 - 1 for seed in range(100)])
    assert abs(errors.mean()) < 0.0033  # four standard errors of the mean
    assert 0.004 < errors.std() < 0.012


@pytest.mark.parametrize("each", [200, 700, 5_000])
def test_eight_merged_sketches_count_each_person_once(each):
    people = random(each * 5, each)
    parts = [people[number * each // 2 : number * each // 2 + each] for number in range(9)]
    merged = merge([sketch(part) for part in parts])
    assert merged.counts()[3] == pytest.approx(np.unique(np.concatenate(parts)).size, rel=LIMIT)
    assert merge([merged, *(sketch(part) for part in parts)]).counts() == merged.counts()


PEOPLE = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 200)), max_size=300)
POOL = random(201, 5)


@given(st.lists(PEOPLE, min_size=1, max_size=6))
def test_sketches_by_key_agree_with_sets(parts):
    sketches, people = [], set()
    for part in parts:
        keys, numbers = np.array(part, np.int64).reshape(-1, 2).T
        sketches.append(Sketches.of(keys, POOL[numbers]))
        people.update(part)
    merged = merge(sketches)
    assert merged.counts() == {key: sum(one == key for one, _ in people) for key in {key for key, _ in people}}
    assert bool(merged) is bool(people)
    grouped = merged.mapped(lambda keys: np.where(keys == 5, -1, keys // 2))
    pairs = {(key // 2, person) for key, person in people if key != 5}
    assert grouped.counts() == {key: sum(one == key for one, _ in pairs) for key in {key for key, _ in pairs}}


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.one_of(st.integers(0, 300), st.sampled_from([2**20, MAX_KEY])), st.integers(0, 900)), max_size=9
    ),
    st.integers(0, 99),
)
def test_the_bytes_restore_the_sketches(sizes, seed):
    keys = np.repeat(np.array([key for key, _ in sizes], np.int64), [size for _, size in sizes])
    made = Sketches.of(keys, random(keys.size, seed))
    restored = decode(made.encode(ROW), ROW)
    assert restored.counts() == made.counts()
    assert restored.encode(ROW) == made.encode(ROW)


@given(arrays.arrays(np.uint64, st.integers(0, 50), elements=st.sampled_from([0, 1, 2**63, 2**64 - 1])))
def test_extreme_hashes_are_counted(hashes):
    restored = decode(sketch(hashes).encode(ROW), ROW)
    tops = np.unique(hashes >> np.uint64(36)).size
    assert restored.counts() == ({3: tops} if tops else {})


def test_a_large_sketch_merged_with_a_small_one_of_the_same_key_counts_both():
    large, small = random(5_000, 1), random(300, 2)
    merged = merge([sketch(large), sketch(small), sketch(random(40, 3), key=9)])
    assert merged.counts() == {3: merge([sketch(np.concatenate([large, small]))]).counts()[3], 9: 40}


def test_a_sketch_takes_at_most_four_bytes_for_a_person_and_eight_kilobytes_in_total():
    empty = len(Sketches.of(np.empty(0, np.int64), random(0)).encode(ROW))
    assert empty < 30
    for count in (1, 10, 60, SPARSE):
        assert len(sketch(random(count)).encode(ROW)) - empty <= 4 * count + 2
    for count in (SPARSE + 1, 20_000, 1_000_000):
        assert len(sketch(random(count)).encode(ROW)) < 8_000


def test_no_bytes_of_the_hashes_or_numbers_of_people_are_in_the_bytes():
    hashes = random(300, 7)
    data = sketch(hashes).encode(ROW)
    assert not any(int(one).to_bytes(8, order) in data for one in hashes for order in ("little", "big"))


@pytest.mark.parametrize("count", [0, 40, 2_000])
def test_every_damaged_byte_and_another_row_is_noticed(count):
    data = sketch(random(count)).encode(ROW)
    for at in range(0, len(data), max(len(data) // 60, 1)):
        damaged = data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
        with pytest.raises(SketchFormatError):
            decode(damaged, ROW)
    for wrong in (data[:-1], data + b"x", b"", data[:8], "text", None, 5):
        with pytest.raises(SketchFormatError):
            decode(wrong, ROW)
    for row in ((2, ROW[1]), (1, ROW[1] + 1), ("x", ROW[1]), (1, 2**70), (1, None)):
        with pytest.raises(SketchFormatError):
            decode(data, row)


def test_an_invalid_key_is_refused():
    for key in (-1, MAX_KEY + 1):
        with pytest.raises(ValueError, match="key"):
            sketch(random(1), key)
