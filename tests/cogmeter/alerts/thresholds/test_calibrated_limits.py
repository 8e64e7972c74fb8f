"""Calibrated thresholds are in effect where no person has set one, in whatever order they are set and learned."""

import itertools

import numpy as np
import pytest

from cogmeter.alerts.model import CALIBRATED, INFO, NO_HISTORY, PROVISIONAL, Subject
from cogmeter.alerts.thresholds.effective import EffectiveLimits
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.query.records import Calibrated
from cogmeter.render.rule_text import limit_text, origin_text
from cogmeter.settings import Settings
from cogmeter_storage.model import DAY_US

ASK, PING = (Subject("response_time", "discord.commands", name) for name in ("ask", "ping"))
COMMANDS, CHAT = (Subject("response_time", service) for service in ("discord.commands", "chat"))
RATE = Subject("throughput", "discord.commands")


def calibrated(value, *, settled=True, **values):
    thresholds = {"average": value, "p50": value, "p95": value * 2, "p99": value * 3, **values}
    return Calibrated(thresholds, 1_240, 0, 3 * DAY_US, settled)


KNOWN = {
    ASK: calibrated(17_000.0),
    PING: calibrated(5_000.0),
    COMMANDS: calibrated(12_000.0, settled=False),
    RATE: calibrated(1_200.0),
}


def limits(overrides=None, calibration=KNOWN, **settings):
    return Limits(Settings(_env_file=None, **settings), overrides or {}, calibration)


def found(held, *subjects):
    return [(held.of(one).threshold, held.of(one).basis) for one in subjects]


def test_each_operation_of_the_commands_has_its_own_and_other_operations_have_their_services():
    held = limits({}, {**KNOWN, CHAT: calibrated(8_000.0)})
    assert found(held, ASK, PING, COMMANDS, RATE) == [
        (17_000, CALIBRATED),
        (5_000, ""),  # the guide's, confirmed
        (12_000, PROVISIONAL),
        (1_200, CALIBRATED),
    ]
    assert found(held, Subject("response_time", "chat", "stream")) == [(8_000, CALIBRATED)]
    assert held.of(ASK).recovery == pytest.approx(0.8 * 17_000)


def test_without_a_history_the_guides_threshold_informs_at_most():
    held = limits()
    new = Subject("response_time", "discord.commands", "new")
    assert found(held, new, CHAT) == [(5_000, NO_HISTORY)] * 2
    assert (held.of(new).severity, held.of(ASK).severity) == (INFO, "")
    assert limits({"response_time.severity": "critical"}).of(new).severity == "critical"


def test_nothing_is_calibrated_where_that_is_switched_off():
    assert found(limits(calibration=None), ASK, CHAT) == [(5_000, "")] * 2
    assert limits(calibration=None).of(CHAT).severity == ""


def test_other_rules_and_background_services_are_as_before():
    held = limits()
    assert found(held, Subject("error_rate", "chat"), Subject("response_time", "discord.tasks")) == [
        (0.05, ""),
        (0, ""),
    ]
    assert held.of(Subject("response_time", "")).basis == ""


@pytest.mark.parametrize("value", [5_000, 0, 9_000])
def test_a_threshold_from_the_environment_is_never_replaced_not_even_one_like_the_default(value):
    held = limits(alert_threshold_response_time=value)
    assert found(held, ASK, COMMANDS, CHAT) == [(value, "")] * 3
    assert found(held, RATE) == [(1_200, CALIBRATED)]


@pytest.mark.parametrize(
    ("key", "touched"),
    [
        ("response_time", (ASK, PING, COMMANDS, CHAT)),
        ("response_time@discord.commands", (ASK, PING, COMMANDS)),
        ("response_time@discord.commands/ask", (ASK,)),
    ],
)
def test_an_override_is_never_replaced(key, touched):
    held = limits({key: "5000"})
    for one in (ASK, PING, COMMANDS, CHAT):
        assert held.of(one).basis == ("" if one in touched else limits().of(one).basis)
        if one in touched:
            assert held.of(one).threshold == 5_000
    assert held.calibrates("response_time") is (key != "response_time")


def test_a_recovery_threshold_that_a_person_has_set_keeps_the_threshold_that_it_was_set_for():
    held = limits({"response_time@discord.commands/ask.recovery": "4000"})
    assert found(held, ASK, PING) == [(5_000, ""), (5_000, "")]
    assert held.of(ASK).recovery == 4_000


def test_other_fields_that_a_person_has_set_go_with_what_was_learned():
    held = limits(
        {
            "response_time.for": "90",
            "response_time@discord.commands.min_operations": "7",
            "response_time@discord.commands/ask.severity": "critical",
        }
    )
    limit = held.of(ASK)
    assert (limit.threshold, limit.for_s, limit.min_operations, limit.severity) == (17_000, 90, 7, "critical")


def test_the_threshold_is_that_of_the_statistic_in_effect():
    assert limits(alert_response_time_statistic="p95").of(ASK).threshold == 34_000
    assert limits({"response_time@discord.commands/ask.statistic": "p99"}).of(ASK).threshold == 51_000
    assert limits({"response_time.statistic": "p50"}).of(ASK).threshold == 17_000


OVERRIDES = {"response_time@discord.commands": "9000", "throughput": "50", "response_time@discord.commands/ask": "7000"}


@pytest.mark.parametrize("order", list(itertools.permutations(["override", "calibrate", "read"])))
def test_the_order_of_overrides_and_learning_makes_no_difference(order):
    held = limits(calibration={})
    services, series = ["discord.commands", "chat"], [("discord.commands", "ask"), ("discord.commands", "ping")]
    steps = {
        "override": lambda: held.override(OVERRIDES),
        "calibrate": lambda: held.calibrate(KNOWN),
        "read": lambda: [held.bounds_by_series(rule, services, series) for rule in ("response_time", "throughput")],
    }
    for step in order:
        steps[step]()
    fresh = limits(OVERRIDES)
    for rule in ("response_time", "throughput"):
        for one, other in (
            (held.bounds(rule, services), fresh.bounds(rule, services)),
            (held.bounds_by_series(rule, services, series), fresh.bounds_by_series(rule, services, series)),
        ):
            assert one.threshold.tolist() == other.threshold.tolist()
            assert one.recovery.tolist() == other.recovery.tolist()
        assert held.own_operations(rule, series).tolist() == fresh.own_operations(rule, series).tolist()
    assert fresh.bounds("response_time", services).threshold.tolist() == [9_000, 5_000]
    assert fresh.bounds_by_series("response_time", services, series).threshold.tolist() == [7_000, 9_000]
    held.override({})
    assert found(held, ASK) == [(17_000, CALIBRATED)]


def test_bounds_are_those_of_each_subject():
    held = limits({"response_time@chat": "300"})
    services = ["chat", "discord.commands", "discord.tasks", "new"]
    series = [(service, name) for service in services for name in ("ask", "ping", "other")]
    by_service, by_series = (
        held.bounds("response_time", services),
        held.bounds_by_series("response_time", services, series),
    )
    wanted = [held.of(Subject("response_time", service)).threshold or np.inf for service in services]
    assert by_service.threshold.tolist() == wanted
    own = {("discord.commands", "ask"): 17_000, ("discord.commands", "ping"): 5_000}
    services_of = dict(zip(services, wanted, strict=True))
    assert by_series.threshold.tolist() == [own.get(names, services_of[names[0]]) for names in series]
    assert [series[place] for place in held.own_operations("response_time", series)] == list(own)
    assert held.own_operations("throughput", series).size == 0


def effective(overrides=None, **settings):
    return EffectiveLimits(Settings(_env_file=None, **settings), overrides or {}, calibration=KNOWN)


def test_a_calibrated_limit_names_its_origin_and_what_it_was_learned_from():
    ask, commands = effective().of(ASK), effective().of(COMMANDS)
    assert (limit_text(ask), origin_text(ask)) == ("17 s", "calibrated from 3 d (1,240 operations)")
    assert origin_text(commands) == "calibrated from 3 d (1,240 operations), provisional"
    assert effective().of(ASK, "recovery").origin == "calibrated"
    assert effective().of(ASK, "for").origin == "default"
    assert origin_text(effective().of(PING)) == origin_text(effective().of(CHAT)) == "default"
    assert effective({"response_time": "9"}).of(ASK).origin == "changed"
    assert effective(alert_threshold_response_time=9).of(ASK).origin == ".env"


async def test_calibrated_limits_are_listed_with_the_changed_ones_each_once():
    everything = effective({"throughput@chat": "7"})
    assert [one.key for one in await everything.others(None)] == [
        "throughput@chat",
        "response_time@discord.commands",
        "response_time@discord.commands/ask",
        "throughput@discord.commands",
    ]
    assert [one.key for one in await everything.others("discord.commands")] == ["response_time@discord.commands/ask"]
    rules = {one.rule: one for one in everything.rules("discord.commands")}
    assert (rules["response_time"].origin, rules["response_time"].value) == ("calibrated", 12_000)
    assert {one.rule: one.origin for one in everything.rules(None)}["response_time"] == "default"
