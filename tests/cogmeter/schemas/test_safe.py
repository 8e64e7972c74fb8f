"""What leaves as text: no id of Discord, nothing that JSON cannot say."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.schemas import safe
from cogmeter.schemas.base import measured, ms, rate


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Unknown channel 123456789012345678", "Unknown channel [id]"),
        ("<@1234567890123456789>: no", "<@[id]>: no"),
        ("12345678901234567", "[id]"),
        ("12345678901234567890", "[id]"),
        ("123456789012345678901", "123456789012345678901"),  # longer than any id
        ("op 1234567890123456, line 12", "op 1234567890123456, line 12"),
        ("half \ud800", "half ?"),
    ],
)
def test_ids_in_texts_are_hidden(text, shown):
    assert safe.text(text) == shown


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ),
    )
)
def test_metadata_of_any_kind_becomes_json_without_ids(values):
    made = safe.metadata(values)
    json.dumps(made, allow_nan=False, ensure_ascii=False).encode()
    assert safe.metadata(made) == made


def test_metadata_that_is_deep_or_wide_is_cut():
    deep = {}
    for _ in range(100):
        deep = {"in": deep}
    assert json.dumps(safe.metadata(deep)).count("in") == safe.DEEPEST
    assert len(safe.metadata({"all": list(range(1000))})["all"]) == safe.WIDEST


def test_flags_and_small_numbers_stay_what_they_are():
    kept = {"flag": True, "none": None, "tokens": 512, "cost": 0.25, "big": 10**15}
    assert safe.metadata(kept) == kept
    assert safe.metadata({"user": 123456789012345678}) == {"user": safe.HIDDEN}


def test_durations_keep_their_microseconds_and_whole_ones_no_point():
    assert [repr(ms(one)) for one in (145_000, 1_234_567, 267.4, 0)] == ["145", "1234.567", "0.267", "0"]


def test_what_alerts_measured_is_rounded_as_in_the_guide():
    assert measured("error_rate", 0.0782, threshold=False) == 0.078
    assert repr(measured("response_time", 8234.4)) == "8234"
    assert measured("response_time", 1234.56, threshold=True) == 1234.6
    assert measured("cost", math.nan) is None
    assert rate(35 / 1247) == 0.028
