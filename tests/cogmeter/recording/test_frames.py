"""The calling line of the host's code, and the frames of another thread."""

import gc
import sys
import threading

import pytest

from cogmeter.recording.frames import (
    all_thread_frames,
    calling_instruction,
    line_text,
    outer_frames,
    place_of,
    thread_frames,
)


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


@pytest.fixture
def sleeper():
    """A thread that waits in ``waits``; its identifier."""
    end, begun = threading.Event(), threading.Event()

    def waits():
        begun.set()
        end.wait()

    thread = threading.Thread(target=waits)
    thread.start()
    begun.wait()
    yield thread.ident
    end.set()
    thread.join()


def test_the_frames_of_a_thread_are_read_innermost_first(sleeper):
    names = [frame.f_code.co_name for frame in thread_frames(sleeper)]
    assert names.index("wait") < names.index("waits") < names.index("run")
    assert [frame.f_code for frame in all_thread_frames()[sleeper]] == [
        frame.f_code for frame in thread_frames(sleeper)
    ]
    assert thread_frames(-1) == []


@pytest.mark.parametrize("enabled", [True, False])
def test_no_garbage_is_collected_while_the_frames_of_a_thread_are_read(sleeper, enabled):
    """A collection runs callbacks, and in them other threads: CPython 3.11 crashes if the frames end in between."""
    collected, threshold = [], gc.get_threshold()

    def note(phase, _info):
        collected.append((phase, sys._getframe(1).f_code))

    gc.callbacks.append(note)
    gc.set_threshold(1)
    if not enabled:
        gc.disable()
    try:
        for _ in range(50):
            thread_frames(sleeper)
            all_thread_frames()
        still = gc.isenabled()
    finally:
        gc.enable()
        gc.set_threshold(*threshold)
        gc.callbacks.remove(note)
    assert still is enabled
    assert outer_frames.__code__ not in {code for _, code in collected}
