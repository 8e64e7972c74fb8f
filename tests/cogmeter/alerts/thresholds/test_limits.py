"""Limits: settings below, changes above, the more exact word first; bad ones are refused with the range."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.alerts.model import Subject
from cogmeter.alerts.thresholds.keys import FIELDS, LimitError, OverrideKey, key_of
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.settings import Settings

WEB, FETCH = Subject("error_rate", "web"), Subject("error_rate", "web", "fetch")


def limits(overrides=None, **settings):
    return Limits(Settings(_env_file=None, **settings), overrides or {})


def test_without_an_override_the_settings_are_in_effect():
    limit = limits(alert_threshold_error_rate=0.1, alert_for=30, alert_recovery=60, alert_min_operations=7).of(WEB)
    assert (limit.threshold, limit.for_s, limit.recovery_s, limit.min_operations, limit.severity) == (
        0.1,
        30,
        60,
        7,
        "",
    )
    assert limit.recovery == pytest.approx(0.08)


def test_the_more_exact_word_wins():
    held = limits({"error_rate": "0.2", "error_rate@web": "0.3", "error_rate@web/fetch": "0.4"})
    assert [held.of(one).threshold for one in (FETCH, WEB, Subject("error_rate", "other"))] == [0.4, 0.3, 0.2]
    assert held.of(Subject("error_rate", "web", "parse")).threshold == 0.3


def test_fields_are_found_each_by_itself():
    held = limits(
        {"error_rate.for": "90", "error_rate@web.severity": "info", "error_rate@web/fetch.min_operations": "5"}
    )
    limit = held.of(FETCH)
    assert (limit.threshold, limit.for_s, limit.severity, limit.min_operations) == (0.05, 90, "info", 5)


def test_a_recovery_threshold_ends_with_the_threshold_that_it_was_set_for():
    held = limits({"error_rate.recovery": "0.01", "error_rate@web": "0.5"})
    assert held.of(Subject("error_rate", "other")).recovery == 0.01
    assert held.of(WEB).recovery == pytest.approx(0.4)
    held.override({"error_rate@web": "0.5", "error_rate@web.recovery": "0.2"})
    assert held.of(FETCH).recovery == 0.2


def test_a_change_takes_effect_at_once_and_a_reset_too():
    held = limits()
    assert held.bounds("error_rate", ["web"]).threshold.tolist() == [0.05]
    held.override({"error_rate@web": "0.5"})
    assert held.bounds("error_rate", ["web", "other"]).threshold.tolist() == [0.5, 0.05]
    held.override({})
    assert held.of(WEB).threshold == 0.05


def test_operations_have_their_services_bounds_unless_they_have_a_word_of_their_own():
    held = limits({"error_rate@web": "0.2", "error_rate@web/fetch": "0.3"})
    series = [("web", "fetch"), ("web", "parse"), ("other", "x")]
    assert held.bounds_by_series("error_rate", ["other", "web"], series).threshold.tolist() == [0.3, 0.2, 0.05]


def test_what_is_off_is_never_beyond():
    held = limits({"error_rate@web": "0"})
    bounds = held.bounds("error_rate", ["web", "other"])
    assert (bounds.recovery < 1e9).tolist() == [False, True]


def test_what_runs_in_the_background_alerts_by_its_error_rate_unless_it_is_named():
    held = limits({"response_time@discord.rest": "900"})
    assert held.of(Subject("error_rate", "discord.tasks")).threshold == 0.05
    assert held.of(Subject("response_time", "discord.tasks")).threshold == 0
    assert held.of(Subject("response_time", "discord.rest")).threshold == 900


def test_dots_and_slashes_in_names_do_no_harm():
    held = limits({"error_rate@discord.rest/GET /channels/{id}": "0.9", "error_rate@discord.rest.severity": "info"})
    limit = held.of(Subject("error_rate", "discord.rest", "GET /channels/{id}"))
    assert (limit.threshold, limit.severity) == (0.9, "info")


def test_a_service_with_a_slash_in_its_name_has_limits_of_its_own():
    subject = Subject("error_rate", "openai/gpt-4 at 100%")
    assert key_of(subject) == "error_rate@openai%2Fgpt-4 at 100%25"
    held = limits({key_of(subject): "0.9"})
    assert held.of(subject).threshold == 0.9
    assert held.of(Subject("error_rate", "openai", "gpt-4 at 100%")).threshold == 0.05


@given(
    st.text("ab/%2F5.@", min_size=1),
    st.text("ab/%2F5.@") | st.sampled_from(["job.for", ".for"]),
    st.sampled_from(FIELDS),
)
def test_a_key_is_read_as_it_was_written_whatever_the_names_are(service, operation, field):
    subject = Subject("response_time", service, operation)
    assert OverrideKey.parse(key_of(subject, field)) == OverrideKey(subject, field)


@pytest.mark.parametrize(
    ("key", "value", "stored"),
    [
        ("error_rate", "0.050", "0.05"),
        ("error_rate", "5%", "0.05"),
        ("response_time", "8s", "8000"),
        ("response_time@web.for", "2m", "120"),
        ("throughput@web.min_operations", "30", "30"),
        ("error_rate.severity", "Critical", "critical"),
        ("response_time@web.statistic", "p95", "p95"),
        ("error_rate@web", "0", "0"),
    ],
)
def test_values_are_stored_in_one_form(key, value, stored):
    assert Limits.check(key, value) == stored
    assert Limits.check(key, stored) == stored


SHARE = "Use a share from 0 to 1 or a percentage, e.g. 5%."
MILLISECONDS = (
    "response_time@web=-1 is out of range. Use a number from 0 to 86400000 (milliseconds), e.g. 1900, 1900ms or 1.9s."
)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("error_rate", "1.5", f"error_rate=1.5 is out of range. {SHARE}"),
        ("error_rate", "many", f"error_rate=many is not valid. {SHARE}"),
        ("response_time@web", "-1", MILLISECONDS),
        (
            "error_rate.min_operations",
            "0",
            "error_rate.min_operations=0 is out of range. Use a number from 1 to 1000000 (operations).",
        ),
        ("error_rate.min_operations", "2.5", "error_rate.min_operations=2.5 is not a whole number."),
        ("error_rate.severity", "loud", "error_rate.severity=loud is not valid. Use one of info, warning, critical."),
        ("error_rate.statistic", "p95", "error_rate.statistic: only response_time has a statistic."),
        ("eror_rate", "1", "eror_rate: 'eror_rate' is not a rule. Did you mean error_rate or burn_rate?"),
        ("error_rate@", "1", "error_rate@: a name is missing. Use rule, rule@service or rule@service/operation."),
        (
            "error_rate",
            "9" * 4_000,
            f"error_rate={'9' * 60}... is not valid. Use a share from 0 to 1 or a percentage, e.g. 5%.",
        ),
        ("error_rate", "nan", f"error_rate=nan is not valid. {SHARE}"),
    ],
)
def test_bad_ones_are_refused_with_what_can_be(key, value, text):
    with pytest.raises(LimitError) as refused:
        Limits.check(key, value)
    assert str(refused.value) == text


def test_a_stored_override_that_this_version_does_not_know_has_no_effect_and_is_named():
    held = limits({"gone_rule": "1", "error_rate": "0.3", "error_rate.hue": "red", "stall": "-1"})
    assert held.of(WEB).threshold == 0.3
    assert held.left_out.keys() == {"gone_rule", "error_rate.hue", "stall"}
    assert "gone_rule" in held.left_out["gone_rule"]
    held.override({"error_rate": "0.2"})
    assert held.left_out == {}
