"""From atoms to rows: order, times, metadata that cannot become JSON."""

import json
import logging
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.recording.buffer import FIELDS
from cogmeter.recording.recorder import Recorder
from cogmeter.recording.rows import MAX_METADATA, SLICE, Batch, metadata_json
from cogmeter_storage.model import Outcome

ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(object()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), ANY_VALUE) | ANY_VALUE)
def test_any_metadata_becomes_json_of_bounded_length(metadata):
    text = metadata_json(metadata)
    assert isinstance(json.loads(text), dict)
    assert len(text) <= MAX_METADATA + 200
    text.encode()


@given(
    st.dictionaries(
        st.sampled_from(["status", "first_ms", 'a"b', "a b", "größe", "ﬁ", "", "class"]) | st.text(max_size=5),
        st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False),
        max_size=7,
    )
)
def test_numbers_are_written_as_the_encoder_writes_them(metadata):
    assert metadata_json(metadata) == json.dumps(metadata)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_have_becomes_a_text(value):
    assert isinstance(json.loads(metadata_json({"score": value}))["score"], str)


def test_only_a_value_that_json_cannot_express_is_kept_as_its_repr():
    kept = json.loads(metadata_json({"model": "gpt-4o", "shape": {1, 2}, "score": math.nan, "tags": ["a"]}))
    assert kept == {"model": "gpt-4o", "shape": "{1, 2}", "score": "nan", "tags": ["a"]}


def test_metadata_that_refers_to_itself_is_kept():
    metadata = {"a": 1}
    metadata["me"] = metadata
    assert json.loads(metadata_json(metadata))["a"] == 1


def test_metadata_that_is_too_long_says_what_is_missing():
    kept = json.loads(metadata_json({f"key{number}": "x" * 400 for number in range(50)}))
    assert "key0" in kept
    assert kept["(cut)"].endswith("more values")


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**6,
        ["x" * 10**6],
        [{"role": "user", "content": "x" * 10**6}],
        list(range(10**5)),
        [[number, [number]] for number in range(10**4)],
        {number: number for number in range(10**4)},
        set(range(10**4)),
    ],
)
def test_a_value_that_is_far_too_long_is_not_converted_as_a_whole(value, monkeypatch):
    lengths = []
    dumps = json.dumps

    def counted(*args, **kwargs):
        lengths.append(len(dumps(*args, **kwargs)))
        return dumps(*args, **kwargs)

    monkeypatch.setattr("cogmeter.recording.rows.json.dumps", counted)
    kept = json.loads(metadata_json({"tokens": 512, "prompt": value}))
    assert kept["tokens"] == 512
    assert 0 < len(kept["prompt"]) <= 500
    assert max(lengths) <= MAX_METADATA


def test_tokens_do_not_get_into_metadata():
    address = "https://discord.com/api/webhooks/123456789012345678/very-secret_Token"
    assert "very-secret" not in metadata_json({"url": address})


def test_operations_that_overtook_each_other_are_put_in_order():
    batch = Batch([1, 30, 5, 0, None, 2, 10, 6, 0, None, 3, 20, 7, 1, ("e", None)], wall_minus_perf_ns=0)
    batch.sort()
    assert batch.atoms[0::FIELDS] == [2, 3, 1]
    assert batch.atoms[4::FIELDS] == [None, ("e", None), None]


def test_rows_carry_wall_time_microseconds_and_the_stores_ids():
    recorder = Recorder()
    batch = Batch([0, 2_000_000, 3_000, 2, ("boom", {"a": 1}), 1, 2_000_999, 1.5, None, None], wall_minus_perf_ns=7_000)
    assert list(batch.slices([70, 71], recorder)) == [
        [(70, 2_007, 3, 2, "boom", '{"a": 1}'), (71, 2_007, 1_500, 0, None, None)]
    ]


def test_a_batch_is_converted_in_slices_that_block_the_loop_only_briefly():
    atoms = [0, 1, 1, 0, None] * (2 * SLICE + 1)
    lengths = [len(rows) for rows in Batch(atoms, wall_minus_perf_ns=0).slices([5], Recorder())]
    assert lengths == [SLICE, SLICE, 1]


@pytest.mark.parametrize(("level", "lines"), [(logging.INFO, 0), (logging.DEBUG, 1)])
def test_each_operation_is_traced_at_debug(caplog, level, lines):
    recorder = Recorder()
    recorder.series("knowledge-graph", "query")
    with caplog.at_level(level, logger="cogmeter.operations"):
        list(
            Batch([1, 5, 2_000_000, int(Outcome.ERROR), ("boom", None)], wall_minus_perf_ns=0).slices([8, 9], recorder)
        )
    assert caplog.messages == ["knowledge-graph/query error in 2.000 ms: boom"] * lines


def test_a_batch_follows_a_step_of_the_clock_once_whether_it_was_taken_before_or_after_it():
    step_ns, distance_ns = -3_600_000_000_000, 1_700_000_000_000_000_000
    before = Batch([], wall_minus_perf_ns=distance_ns)
    after = Batch([], wall_minus_perf_ns=distance_ns + step_ns + 1_000)
    for batch in (before, after):
        batch.follow(step_ns, distance_ns + step_ns)
        assert abs(batch._wall_minus_perf_ns - distance_ns - step_ns) <= 1_000
