"""Every rule has all its facts, and each surface can use them; a reading compares a value with its limit."""

import math

import numpy as np
import pytest

from cogmeter.alerts.model import BOT, SEVERITIES, Limit, Subject
from cogmeter.alerts.rules import KINDS, RULES
from cogmeter.alerts.rules.process import STALL
from cogmeter.alerts.rules.rule import ANY_RULE, DEPENDENCY_SERVICE, LOOP, GaugeCurve, WindowCounts, beyond
from cogmeter.alerts.rules.traffic import LOW_TRAFFIC
from cogmeter.alerts.thresholds.effective import EffectiveLimits, misplaced
from cogmeter.alerts.thresholds.keys import FIELDS, OverrideKey, span_of
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.recording.service_names import ACKNOWLEDGEMENT, BACKGROUND, UNHANDLED
from cogmeter.render.charts.curve import UNITS
from cogmeter.render.rule_text import FIELD_LABELS, limit_text, measured, rule_title
from cogmeter.schemas.base import measured as json_number
from cogmeter.settings import Settings
from cogmeter_storage.histogram import BUCKETS

LIMIT = Limit(threshold=2_000, recovery=1_600, for_s=0, recovery_s=0, min_operations=0)
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def test_titles_are_unique():
    titles = [kind.title for kind in KINDS.values()]
    assert len(set(titles)) == len(titles)
    assert [name for name, kind in KINDS.items() if name != kind.name] == []


@every_rule
def test_a_rule_has_a_title_and_a_unit_that_texts_write(rule):
    assert rule_title(rule.name) == rule.title
    for value in (0.0, 0.25, 1.0, 1_500.0):
        text = measured(rule.name, value)
        assert any(letter.isdigit() for letter in text)
        assert json_number(rule.name, value, threshold=True) is not None
    # A unit without a format is a plural noun: it is counted.
    assert measured(rule.name, 3.0) != f"{3.0:g}", rule.unit


@every_rule
def test_a_rules_threshold_has_a_setting_with_a_range_and_a_default(rule):
    assert rule.setting.startswith("alert_")
    span = span_of(OverrideKey.parse(rule.name))
    default = Settings.model_fields[rule.setting].default
    assert default in span
    assert 0 in span  # off
    threshold = default or span.least + (min(span.most, 1.0) - span.least) / 2
    recovery = rule.recovery(threshold)
    # A target of success recovers at a higher target, as less may fail.
    upward = rule.falling or rule.threshold_unit == "share of success"
    assert recovery > threshold if upward else recovery < threshold


@every_rule
def test_a_rules_limits_are_listed_and_written(rule):
    limits = EffectiveLimits(Settings(_env_file=None), {rule.name: "0.5"})
    (one,) = (one for one in limits.rules(None) if one.rule == rule.name)
    assert limit_text(one) not in {"", "off"}
    places = {"": True, "web": not rule.only_service and rule.about not in {LOOP, DEPENDENCY_SERVICE}}
    places |= {"http.example.com": not rule.only_service and rule.about != LOOP}
    for service, judged in places.items():
        assert rule.judges(service) is judged
        assert (rule.name in {one.rule for one in limits.rules(service or None)}) is judged
    assert bool(misplaced(rule.subject("web"))) is bool(rule.only_service or rule.about == DEPENDENCY_SERVICE)
    assert bool(misplaced(rule.subject("web", "fetch"))) is not rule.by_operation


@every_rule
def test_a_rules_chart_can_be_drawn(rule):
    if isinstance(rule.chart, GaugeCurve):
        assert rule.chart.unit in UNITS
        assert rule.chart.name
        assert "." in rule.chart.prefix
    else:
        assert rule.chart in {
            "response time", "throughput", "error rate", "error rate without threshold", "timeline",
        }  # fmt: skip


@every_rule
def test_a_rules_replay_has_a_value_for_each_window(rule):
    if rule.replay is None:
        return
    limits = Limits(Settings(_env_file=None))
    counts = np.array([10, 0])
    histogram = np.zeros((2, BUCKETS), dtype=np.int64)
    statistic = limits.statistic_of(rule.subject(""))
    found = rule.replay.values(WindowCounts(counts, counts // 2, counts * 1_000, histogram, 300.0, statistic))
    assert found.shape == (2,)
    assert np.isfinite(found).all()


@every_rule
def test_what_explains_a_rule_is_a_rule(rule):
    assert {*rule.explained_by, *rule.explained_by_bot} <= {*RULES, ANY_RULE}
    assert rule.name not in rule.explained_by
    for other in rule.explained_by_bot:
        assert "bot" in RULES[other].about


@every_rule
def test_a_rule_names_only_services_and_settings_that_exist(rule):
    assert rule.source in {"", *BACKGROUND, UNHANDLED}
    assert not rule.source or rule.only_service == BOT
    assert not rule.statistic_setting or rule.statistic_setting in Settings.model_fields
    assert rule.about in {
        "service",
        "service, operation",
        "bot",
        "bot, service",
        "loop",
        "dependency",
        ACKNOWLEDGEMENT,
    }
    assert rule.digits >= 0


def test_a_reading_is_in_breach_beyond_the_threshold_and_near_it_above_recovery():
    subject = STALL.subject()
    assert subject == Subject("stall", BOT)
    assert not STALL.beyond_recovery(1_600, LIMIT)
    near, beyond = (STALL.reading(subject, value, LIMIT, "Event loop blocked") for value in (1_700, 2_001))
    assert (near.breached, near.message) == (False, "Event loop blocked is still near threshold of 2s")
    assert (beyond.breached, beyond.message) == (True, "Event loop blocked exceeds threshold of 2s")


def test_a_breach_that_rounds_to_its_threshold_is_just_over_or_under_it():
    what = "Event-loop block of 2s"
    readings = [STALL.reading(STALL.subject(), value, LIMIT, what) for value in (1_999, 2_001, 2_049)]
    assert [reading.message.removeprefix("Event-loop block of ") for reading in readings] == [
        "2s is still near threshold of 2s",
        "just over 2s exceeds threshold of 2s",
        "just over 2s exceeds threshold of 2s",
    ]
    assert beyond("5%", "5%", falling=True) == "just under 5%"
    assert beyond("4.9%", "5%", falling=True) == "4.9%"


def test_a_rule_that_watches_for_low_values_reads_them_the_other_way_round():
    limit = Limit(threshold=0.1, recovery=0.2, for_s=0, recovery_s=0, min_operations=0)
    assert LOW_TRAFFIC.beyond_recovery(0.15, limit)
    assert not LOW_TRAFFIC.beyond_recovery(0.2, limit)
    found = LOW_TRAFFIC.reading(LOW_TRAFFIC.subject("web"), 0.05, limit, "1 of 20", level="warning")
    assert (found.breached, found.message) == (True, "1 of 20 is below threshold of 10%")


def test_a_rule_that_is_off_is_beyond_nothing():
    off = Limit(threshold=0, recovery=0, for_s=0, recovery_s=0, min_operations=0)
    assert not STALL.beyond_recovery(math.inf, off)


@pytest.mark.parametrize(
    ("own", "level", "value", "severity"),
    [
        ("", "", 2_001, "warning"),
        ("", "", 3_200, "critical"),
        ("", "info", 3_200, "info"),
        ("critical", "info", 2_001, "critical"),
    ],
)
def test_a_limits_own_severity_wins_over_the_rules_and_that_over_the_distance(own, level, value, severity):
    limit = Limit(threshold=2_000, recovery=1_600, for_s=0, recovery_s=0, min_operations=0, severity=own)
    assert severity in SEVERITIES
    assert STALL.reading(STALL.subject(), value, limit, "Blocked", level=level).severity == severity


def test_every_field_of_a_rule_has_a_label():
    assert tuple(FIELD_LABELS) == FIELDS
