"""The calling line of the host's code."""

import sys

from cogmeter.recording.frames import calling_instruction, line_text, place_of


def _begin(depth):
    return calling_instruction(depth)


def test_a_call_in_a_long_statement_has_its_own_line():
    lines = [
        None,
        _begin(1),
    ]
    line = sys._getframe().f_code.co_firstlineno + 3
    file = place_of(__file__)[0]
    assert line_text(*lines[1]) == f"{file}:{line} in test_a_call_in_a_long_statement_has_its_own_line"
