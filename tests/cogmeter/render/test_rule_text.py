"""Texts about alerts and their rules."""

from __future__ import annotations

import pytest
from factories import make_alert

from cogmeter.alerts.model import calm, is_calm, split_counts, with_counts
from cogmeter.render.rule_text import past_text, present_text, status_reason, worded, worded_detail
from cogmeter.schemas.alerts import AlertAnswer, AlertDetail, ChangeAnswer
from cogmeter_storage.alerting import AlertChange, AlertState

MESSAGE = "Error rate of 7.8% exceeds threshold of 5%"


def test_an_active_alert_says_what_is_exceeded_and_by_how_many():
    message = with_counts(MESSAGE, 78, 1_000)
    assert present_text("error_rate", message, 0.078, 0.05) == f"{MESSAGE} (78 of 1,000 failed)"


def test_an_alert_without_a_breach_now_shows_its_last_value_in_the_past_tense():
    message = calm(with_counts(MESSAGE, 78, 1_000))
    assert is_calm(message)
    assert split_counts(message) == (MESSAGE, None)
    assert calm(message) == message
    text = present_text("error_rate", message, 0.078, 0.05)
    assert text == "Error rate back within its threshold of 5% (was 7.8%)"
    text = present_text("low_traffic", calm(MESSAGE), 0.03, 0.1)
    assert text == "Low traffic back within its threshold of 10% of usual (was 3% of usual)"


@pytest.mark.parametrize("rule", ["of_tomorrow", "error_rate"])
def test_without_a_threshold_the_message_stays(rule):
    assert present_text(rule, calm(MESSAGE), 0.078, None) == f"{MESSAGE}; this is over for now"


def test_a_resolved_alert_has_its_peak_and_duration():
    text = past_text("error_rate", MESSAGE, 0.667, 0.05, 34 * 60_000_000)
    assert text == "Error rate peaked at 66.7% (threshold 5%), lasted 34 min"
    text = past_text("response_time", MESSAGE, 5_020, 5_000, 34 * 60_000_000)
    assert text == "Response time peaked at just over 5 s (threshold 5 s), lasted 34 min"


def test_an_alert_of_the_api_is_worded_in_the_tense_of_its_state_and_only_once():
    began_us, minute_us = 1_700_000_000_000_000, 60_000_000
    message = with_counts(MESSAGE, 78, 1_000)
    facts = {"message": message, "current": 0.078, "threshold": 0.05, "worst": 0.4}
    firing = AlertAnswer.of(make_alert(began_us, **facts))
    assert worded(firing).message == MESSAGE
    calmed = AlertAnswer.of(make_alert(began_us, **facts | {"message": calm(message)}))
    over = {"state": AlertState.RESOLVED, "resolved_us": began_us + 34 * minute_us}
    ended = AlertAnswer.of(make_alert(began_us, **facts, **over))
    texts = {
        worded(calmed).message: "Error rate back within its threshold of 5% (was 7.8%)",
        worded(ended).message: "Error rate peaked at 40% (threshold 5%), lasted 34 min",
    }
    assert list(texts) == list(texts.values())
    unknown = ended.model_copy(update={"threshold": None})
    for one in (calmed, ended, unknown):
        assert worded(worded(one)) == worded(one)
    change = AlertChange(ended.id, "resolved", AlertState.RESOLVED, "warning", MESSAGE, 0.078, 0.05, began_us)
    event = ChangeAnswer.of(change, "error_rate")
    detail = AlertDetail(
        alert=ended, changes=[event, event.model_copy(update={"kind": "fired"})], attempts=[], members=[]
    )
    assert [one.message for one in worded_detail(detail).changes] == [worded(ended).message, MESSAGE]


def test_a_service_whose_alert_is_about_to_resolve_is_recovering():
    firing = make_alert(1_700_000_000_000_000)
    assert status_reason(firing) == MESSAGE
    calmed = make_alert(1_700_000_000_000_000, message=calm(MESSAGE))
    assert status_reason(calmed) == "recovering: Error rate back within its threshold of 5% (was 7.8%)"


def test_a_block_of_the_loop_has_a_length_and_its_alert_another():
    text = past_text("stall", "Event loop blocked for 3.9s", 3_900, 2_000, 80_000_000)
    assert text == "Longest block 3.9 s (threshold 2 s), the alert lasted 1 min 20 s"
    text = present_text("stall", calm("Event loop blocked for 3.9s exceeds threshold of 2s"), 3_900, 2_000)
    assert text == "Blocked event loop: none above the threshold of 2 s now (the last one 3.9 s)"
