"""Texts about alerts and their rules."""

from __future__ import annotations

import pytest
from factories import make_alert

from cogmeter.alerts.model import (
    NO_OPERATIONS,
    TOO_FEW_FAILURES,
    TOO_FEW_OPERATIONS,
    WITH_SERVICE,
    Limit,
    calm,
    is_calm,
    not_judged,
    split_counts,
    with_counts,
)
from cogmeter.alerts.rules.process import STALL
from cogmeter.alerts.rules.rule import duration
from cogmeter.render.embeds.alert import alert_embed_data
from cogmeter.render.embeds.alert_lists import alert_list_embed
from cogmeter.render.rule_text import (
    alert_text,
    message_text,
    past_text,
    present_text,
    status_reason,
    value_text,
    worded,
    worded_detail,
)
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


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (NO_OPERATIONS, "no operations now"),
        (TOO_FEW_OPERATIONS, "too few operations to judge now"),
        (TOO_FEW_FAILURES, "too few failures to judge now"),
        (WITH_SERVICE, "judged with its service now"),
    ],
)
def test_an_alert_that_cannot_be_judged_now_is_on_no_surface_back_within_its_threshold(reason, words):
    began_us = 1_700_000_000_000_000
    message = calm(with_counts(MESSAGE, 78, 1_000), reason)
    assert (is_calm(message), not_judged(message), split_counts(message)) == (True, reason, (MESSAGE, None))
    assert calm(message, reason) == message
    assert not_judged(calm(message)) == ""
    alert = make_alert(began_us, message=message, current=0.078, threshold=0.05, worst=0.4)
    expected = f"Error rate: {words} (was 7.8%)"
    answer = AlertAnswer.of(alert)
    assert (answer.breached, answer.not_judged) == (False, reason)
    assert alert_text(alert) == worded(answer).message == worded(worded(answer)).message == expected
    assert status_reason(alert) == expected  # and not: recovering
    assert words in listed(alert).description
    assert alert_embed_data(alert, None, chart=False, now_us=began_us)["fields"][0]["name"].lower() == words
    assert present_text("error_rate", message, 0.078, None) == f"{MESSAGE}; {words}"


def test_an_answer_of_an_earlier_version_says_nothing_of_why():
    old = AlertAnswer.of(make_alert(1_700_000_000_000_000, message=calm(MESSAGE))).model_dump(by_alias=True)
    del old["notJudged"]
    assert worded(AlertAnswer.model_validate(old)).message.startswith("Error rate back within its threshold")


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
    assert text == "Blocked event loop: none above the threshold of 2 s now (the last block took 3.9 s)"


def listed(alert):
    return alert_list_embed([alert], state="active", service=None, page=0, more=False, now_us=2)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            "Average response time of 15.3s exceeds threshold of 5s",
            "Average response time of 15 s exceeds threshold of 5 s",
        ),
        (
            "Event-loop block of 12.4s at a.py:1 exceeds threshold of 12s",
            "Event-loop block of just over 12 s at a.py:1 exceeds threshold of 12 s",
        ),
        (
            "Running for just over 75s exceeds threshold of 75s",
            "Running for just over 1 min 15 s exceeds threshold of 1 min 15 s",
        ),
        (
            "Event-loop block of 2s at a.py:1 is still near threshold of 2s",
            "Event-loop block of 2 s at a.py:1 is still near threshold of 2 s",
        ),
        ("120.4 operations/minute exceeds threshold of 100", "120/min exceeds threshold of 100"),
        (
            "Gateway latency of 145ms exceeds threshold of 100ms",
            "Gateway latency of 145 ms exceeds threshold of 100 ms",
        ),
    ],
)
def test_a_value_in_a_message_has_the_same_digits_as_in_the_fields(message, text):
    assert message_text(message) == text


@pytest.mark.parametrize("milliseconds", [145.2, 2_001.0, 2_049.0, 9_960.0, 15_460.0, 59_499.0, 61_400.0, 754_000.0])
def test_a_value_has_the_words_of_the_message_of_its_reading(milliseconds):
    threshold = min(2_000.0, milliseconds - 1)
    limit = Limit(threshold=threshold, recovery=threshold, for_s=0, recovery_s=0, min_operations=0)
    reading = STALL.reading(
        STALL.subject(), milliseconds, limit, f"Event-loop block of {duration(milliseconds)} at a.py:1"
    )
    value = value_text("stall", milliseconds, threshold)
    text = present_text("stall", reading.message, milliseconds, threshold)
    assert text.startswith(f"Event-loop block of {value} at a.py:1 exceeds threshold of ")
    alert = make_alert(
        1, rule="stall", message=reading.message, current=milliseconds, worst=milliseconds, threshold=threshold
    )
    now = next(field["value"] for field in alert_embed_data(alert, None, chart=False, now_us=2)["fields"])
    assert now.startswith(f"**{value}**")
    assert f"**{value}** (threshold " in listed(alert).description


def test_an_operation_that_hangs_for_minutes_has_its_seconds_in_the_message_too():
    message = "Running for 13 min at a.py:1 exceeds threshold of 10 min"
    text = present_text("hung", message, 754, 600)
    assert text == f"Running for {value_text('hung', 754, 600)} at a.py:1 exceeds threshold of 10 min"
    assert present_text("hung", "Running for 4 min exceeds threshold of just 2 min", 250, 125.0).startswith(
        "Running for 4 min 10 s"
    )


def test_a_block_that_is_over_has_the_same_words_on_every_list():
    facts = {
        "rule": "stall",
        "message": calm("Event-loop block of 3.9s"),
        "current": 3_900,
        "worst": 3_900,
        "threshold": 2_000,
    }
    alert = make_alert(1, **facts)
    words = "none above the threshold of 2 s now (the last block took {}3.9 s{})"
    assert alert_text(alert) == f"Blocked event loop: {words.format('', '')}"
    assert words.format("**", "**") in listed(alert).description
    ended = make_alert(1, **facts, state=AlertState.RESOLVED, resolved_us=90_000_000)
    assert "longest block **3.9 s** (threshold was 2 s)" in listed(ended).description
    assert "back within" not in str(alert_embed_data(alert, None, chart=False, now_us=2)).lower()
