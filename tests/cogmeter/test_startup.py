"""A part that fails at the start is logged in one line, counted, and shown; the parts after it start."""

import logging
from collections import Counter

import pytest

from cogmeter.settings import SettingsError
from cogmeter.startup import DamagedStateError, StartupGuard, parsing
from cogmeter_storage.base import StorageError


@pytest.mark.parametrize(
    ("error", "reason", "traceback"),
    [
        (StorageError("The disk is full.", permanent=False), "The disk is full", False),
        (DamagedStateError("2 of 3 cannot be read"), "2 of 3 cannot be read", False),
        (KeyError("rule"), "KeyError: 'rule'", True),
    ],
)
def test_a_failure_is_logged_in_one_line_counted_and_shown(caplog, error, reason, traceback):
    faults = Counter()
    parts = StartupGuard(faults)
    with parts.guard("baselines", "they are learned again"):
        raise error
    (line,) = caplog.records
    text = f"{reason}; they are learned again"
    assert line.getMessage() == f"The part 'baselines' failed at the start: {text}"
    assert (line.levelname, bool(line.exc_info)) == ("ERROR", traceback)
    assert faults == {"start: baselines": 1}
    (finding,) = parts.findings()
    assert (finding.name, finding.well, finding.text) == ("start: baselines", False, text)
    assert finding.advice


def test_the_same_failure_again_is_counted_and_logged_at_debug(caplog):
    caplog.set_level(logging.DEBUG, "cogmeter")
    faults = Counter()
    parts = StartupGuard(faults)
    for reason in ("locked", "locked", "full"):
        with parts.guard("alerts", "they start empty"):
            raise StorageError(reason, permanent=False)
    assert [one.levelname for one in caplog.records] == ["ERROR", "DEBUG", "ERROR"]
    assert faults.total() == 3
    assert len(parts.findings()) == 1


def test_a_bad_setting_fails_the_start():
    parts = StartupGuard(Counter())
    with pytest.raises(SettingsError), parts.guard("web", "it does not listen"):
        raise SettingsError("PERFORMANCE_HTTP_PORT=x is not a port")
    assert parts.findings() == []


@pytest.mark.parametrize(
    "error", [ValueError(), TypeError(), KeyError(), IndexError(), AttributeError(), OverflowError(), RecursionError()]
)
def test_whatever_parsing_raises_is_damage(error):
    with pytest.raises(DamagedStateError, match=type(error).__name__), parsing():
        raise error


def test_a_failing_store_is_no_damage():
    with pytest.raises(StorageError), parsing():
        raise StorageError("The disk is full", permanent=False)
