"""Helpers of operations."""

import pytest

from cogmeter.recording.operation import tenths_ms


@pytest.mark.parametrize(("duration_ns", "ms"), [(0, 0.0), (49_999, 0.0), (50_000, 0.1), (12_340_000, 12.3)])
def test_milliseconds_have_one_decimal_place(duration_ns, ms):
    assert tenths_ms(duration_ns) == ms
