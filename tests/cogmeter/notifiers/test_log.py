"""The log: the guide's line for an alert, other changes in the same form, and no line twice."""

import logging

import pytest

from cogmeter.notifiers.base import guide_fields
from cogmeter.notifiers.log import LogNotifier
from cogmeter_storage.alerting import AlertState

RESOLVED = AlertState.RESOLVED
START_US = 1_755_426_600_000_000


async def test_an_alert_is_the_guides_line(make_notice, caplog):
    await LogNotifier().notify(make_notice())
    assert caplog.messages == ["[ALERT] ERROR_RATE: knowledge-graph error rate of 7.8% exceeds threshold of 5%"]


@pytest.mark.parametrize(
    ("kind", "fields", "line"),
    [
        (
            "resolved",
            {"state": RESOLVED, "message": "Error rate of 1%", "changed_us": START_US + 125_000_000},
            "[ALERT] RESOLVED ERROR_RATE: knowledge-graph error rate peaked at 7.8% (threshold 5%, lasted 2 min 5 s)",
        ),
        (
            "resolved",
            {"state": RESOLVED, "rule": "stall", "message": "Event-loop block of 2.3s", "changed_us": START_US + 10**7},
            "[ALERT] RESOLVED STALL: knowledge-graph longest block 78 µs (threshold 50 µs, the alert lasted 10 s)",
        ),
        (
            "acknowledged",
            {"message": "Error rate of 8%", "actor": "Ada\nLovelace"},
            "[ALERT] ACKNOWLEDGED ERROR_RATE: knowledge-graph error rate of 8% (by Ada Lovelace)",
        ),
        (
            "fired",
            {"operation": "query", "message": "Error rate of 8%\n[ALERT] forged"},
            "[ALERT] ERROR_RATE: knowledge-graph/query error rate of 8% [ALERT] forged",
        ),
        ("fired", {"message": "SLO burns"}, "[ALERT] ERROR_RATE: knowledge-graph SLO burns"),
        (
            "escalated",
            {"message": "Error rate of 8%", "note": "nobody answered"},
            "[ALERT] ESCALATED ERROR_RATE: knowledge-graph error rate of 8% (nobody answered)",
        ),
    ],
)
async def test_other_changes_have_the_same_form_on_one_line(make_notice, caplog, kind, fields, line):
    caplog.set_level(logging.INFO)
    await LogNotifier().notify(make_notice(kind, **fields))
    assert caplog.messages == [line]


@pytest.mark.parametrize(
    ("kind", "severity", "level"),
    [
        ("fired", "info", "INFO"),
        ("fired", "warning", "WARNING"),
        ("fired", "critical", "ERROR"),
        ("worsened", "critical", "ERROR"),
        ("reminded", "warning", "WARNING"),
        ("resolved", "critical", "INFO"),
        ("acknowledged", "critical", "INFO"),
        ("muted", "warning", "INFO"),
    ],
)
async def test_a_worse_change_has_the_level_of_its_severity_and_a_better_one_is_info(
    make_notice, caplog, kind, severity, level
):
    caplog.set_level(logging.INFO)
    await LogNotifier().notify(make_notice(kind, severity=severity))
    assert [record.levelname for record in caplog.records] == [level]


async def test_a_line_that_was_most_likely_written_is_not_written_again(make_notice, caplog):
    caplog.set_level(logging.INFO)
    await LogNotifier().notify(make_notice(uncertain=True))
    assert caplog.messages == []


async def test_a_groups_line_has_its_number_of_alerts_and_the_fields_are_at_debug(make_notice, caplog):
    caplog.set_level(logging.DEBUG, logger="cogmeter.alerts")
    await LogNotifier().notify(make_notice(members=[make_notice(uid="a").alert, make_notice(uid="b").alert]))
    line, fields = caplog.messages
    assert line.endswith("(2 alerts)")
    assert '"type": "error_rate"' in fields


def test_the_fields_are_the_guides(make_notice):
    assert guide_fields(make_notice()) == {
        "type": "error_rate",
        "service": "knowledge-graph",
        "message": "Error rate of 7.8% exceeds threshold of 5%",
        "threshold": 0.05,
        "current": 0.078,
        "timestamp": "2025-08-17T10:30:00Z",
        "severity": "warning",
    }
