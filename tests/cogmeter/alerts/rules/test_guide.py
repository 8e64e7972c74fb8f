"""The guide's three rules find what is beyond a threshold, and say it in the guide's words."""

import math

import numpy as np
import pytest

from cogmeter.alerts.measurement.values import excess
from cogmeter.alerts.rules.guide import RESPONSE_TIME, THROUGHPUT
from cogmeter.query.records import Calibrated


@pytest.mark.parametrize(
    ("seen", "rule", "message", "severity"),
    [
        ({"count": 360, "failures": 28}, "error_rate", "Error rate of 7.8% exceeds threshold of 5%", "warning"),
        (
            {"count": 400, "duration_ms": 8234},
            "response_time",
            "Average response time of 8.2s exceeds threshold of 5s",
            "critical",
        ),
        ({"count": 600}, "throughput", "120 operations/minute exceeds threshold of 100", "warning"),
    ],
)
async def test_the_guides_examples_come_out_as_the_guide_has_them(measured, seen, rule, message, severity):
    one = await measured().see("knowledge-graph", count=0)
    one.after(299)
    await one.see("knowledge-graph", **seen)
    one.after(1)
    (reading,) = await one.readings()
    assert (reading.subject.rule, reading.message, reading.severity) == (rule, message, severity)
    assert reading.breached


async def test_nothing_is_found_where_nothing_is_wrong(measured):
    one = await measured().see("web", count=70)
    assert await one.readings() == []


async def test_a_value_on_the_threshold_is_no_breach_and_keeps_one_that_is_there(measured):
    one = await measured(alert_threshold_operations_per_minute=0).see("web", count=100, failures=5, duration_ms=5_000)
    readings = await one.readings()
    assert [(reading.subject.rule, reading.breached) for reading in readings] == [
        ("error_rate", False),
        ("response_time", False),
    ]
    assert readings[0].message == "Error rate of 5% is still near threshold of 5%"


async def test_below_its_recovery_threshold_nothing_is_read(measured):
    one = await measured(alert_threshold_operations_per_minute=0).see("web", count=100, failures=4)
    assert await one.readings() == []


async def test_severity_is_critical_from_one_point_six_times_the_threshold_on_unless_it_is_set(measured):
    one = measured(alert_threshold_error_rate=0.5)
    await one.see("a", count=50, failures=39)
    await one.see("b", count=50, failures=40)
    assert [reading.severity for reading in await one.readings()] == ["warning", "critical"]
    one.limits.override({"error_rate@b.severity": "info"})
    assert [reading.severity for reading in await one.readings()] == ["warning", "info"]


@pytest.mark.parametrize(("failures", "fires"), [(2, False), (3, True)])
async def test_two_failures_of_twenty_are_chance(measured, failures, fires):
    one = await measured().see("web", count=20, failures=failures)
    assert bool(await one.breached()) is fires


async def test_who_asks_for_single_operations_hears_of_single_failures(measured):
    one = await measured(alert_min_operations=1).see("web", count=1, failures=1)
    (reading,) = await one.readings()
    assert reading.subject.rule == "error_rate"


@pytest.mark.parametrize(
    ("count", "failures", "held"), [(10, 2, True), (9, 9, False), (20, 2, True), (20, 1, False), (30, 15, None)]
)
async def test_half_of_what_raises_an_alert_keeps_it(measured, count, failures, held):
    """One whose operations are just as many as it takes would else come and go with them."""
    one = await measured().see("web", count=count, failures=failures)
    expected = [] if held is False else [held is None]
    assert [reading.breached for reading in await one.readings("error_rate")] == expected


async def lived(one, hours, share, *, service="web", count=20):
    """Some hours in which the same share of each minute's operations fails, as nearly as whole ones can."""
    owed = 0.0
    for _ in range(int(hours * 60)):
        one.after(60)
        owed += share * count
        await one.see(service, count=count, failures=int(owed))
        owed -= int(owed)


QUIET = {"alert_threshold_operations_per_minute": 0, "alert_threshold_deviation": 0}


@pytest.mark.parametrize(
    ("usual", "failures", "breached"),
    [(0.02, 6, False), (0.02, 10, False), (0.02, 16, True), (0.0, 6, True), (0.001, 6, True), (0.08, 8, True)],
)
async def test_what_usually_fails_explains_some_failures_and_not_many(measured, usual, failures, breached):
    one = measured(**QUIET)
    await lived(one, 5, usual)
    one.after(301)
    await one.see("web", count=100, failures=failures)
    (reading,) = await one.readings("error_rate")
    assert (reading.breached, reading.message) == (breached, f"Error rate of {failures}% exceeds threshold of 5%")


async def test_a_little_too_much_for_long_is_no_chance(measured):
    one = measured(**QUIET)
    await lived(one, 24, 0.02)
    told_min = None
    for minute in range(60):
        await lived(one, 1 / 60, 0.1 if minute % 2 else 0.05)
        if await one.breached("error_rate"):
            told_min = told_min or minute
    assert 5 < told_min < 30


async def test_a_trouble_that_is_over_makes_no_alert_of_chance(measured):
    one = measured(**QUIET)
    await lived(one, 24, 0.02)
    await lived(one, 0.5, 0.2)
    assert await one.breached("error_rate")
    await lived(one, 0.15, 0.02)
    for _ in range(4):
        one.after(301)
        await one.see("web", count=100, failures=6)
        assert [reading.breached for reading in await one.readings("error_rate")] == [False]


async def test_an_operation_fails_as_usual_when_its_service_does(measured):
    one = measured(**QUIET)
    await lived(one, 5, 0.03, count=40)
    one.after(301)
    await one.see("web", "other", count=2_000)
    await one.see("web", "query", count=100, failures=8)
    assert [(one.subject.operation, one.breached) for one in await one.readings("error_rate")] == [("query", False)]
    await one.see("web", "query", count=100, failures=40)
    assert ("error_rate", "web", "query") in await one.breached()


async def test_who_asks_for_single_operations_hears_of_usual_failures_too(measured):
    one = measured(alert_min_operations=1, **QUIET)
    await lived(one, 5, 0.02)
    one.after(301)
    await one.see("web", count=1, failures=1)
    assert await one.breached("error_rate") == [("error_rate", "web", "")]


@pytest.mark.parametrize(("operations", "usual"), [(20, 0.01), (100, 0.02), (500, 0.04)])
def test_the_bound_of_an_excess_is_above_the_probability_and_not_far(operations, usual):
    for failures in range(int(operations * usual) + 1, min(operations, 100), 7):
        exact = math.log(
            sum(
                math.comb(operations, many) * usual**many * (1 - usual) ** (operations - many)
                for many in range(failures, operations + 1)
            )
        )
        (bound,) = excess(np.array([operations]), np.array([failures]), np.array([usual])).tolist()
        assert exact - 1e-9 <= bound <= exact + 4.0


def test_no_more_failures_than_usual_are_no_excess_and_any_are_one_where_none_is_usual():
    found = excess(np.array([0, 10, 10, 10]), np.array([0, 0, 1, 1]), np.array([0.0, 0.0, 0.2, 0.0]))
    assert found.tolist() == [0, 0, 0, -math.inf]


async def test_too_few_operations_raise_nothing(measured):
    one = await measured().see("web", count=19, failures=19, duration_ms=60_000)
    assert await one.breached() == []
    await one.see("web", count=1)
    assert len(await one.breached()) == 2


async def test_a_threshold_of_zero_switches_its_rule_off(measured):
    off = dict.fromkeys(("error_rate", "response_time", "operations_per_minute"), 0)
    one = measured(**{f"alert_threshold_{name}": value for name, value in off.items()}, alert_slo_target=0)
    await one.see("web", count=10_000, failures=10_000, duration_ms=60_000)
    assert await one.readings() == []


@pytest.mark.parametrize(
    ("statistic", "words"), [("p50", "Median"), ("p95", "95th percentile"), ("p99", "99th percentile")]
)
async def test_other_statistics_are_named(measured, statistic, words):
    one = measured(alert_threshold_response_time=800, alert_response_time_statistic=statistic)
    await one.see("web", count=50, duration_ms=902)
    (reading,) = await one.readings("response_time")
    assert reading.message.startswith(f"{words} response time of 90")
    assert reading.message.endswith("ms exceeds threshold of 800ms")


@pytest.mark.parametrize(("slow", "breached"), [(5, False), (6, True)])
async def test_a_quantile_is_above_when_more_than_its_rest_is(measured, slow, breached):
    one = measured(alert_threshold_response_time=800, alert_response_time_statistic="p95")
    await one.see("web", count=100 - slow, duration_ms=10)
    await one.see("web", count=slow, duration_ms=2_000)
    assert bool(await one.breached("response_time")) is breached


async def test_quantiles_agree_with_a_computation_over_all_durations(measured):
    random = np.random.default_rng(1)
    one = measured(alert_threshold_response_time=300, alert_response_time_statistic="p95")
    wanted = {}
    for number in range(40):
        durations = random.lognormal(np.log(120), random.uniform(0.1, 1.0), 60)
        for duration in durations:
            await one.see(f"s{number}", count=1, duration_ms=duration)
        wanted[f"s{number}"] = float(np.percentile(durations, 95, method="inverted_cdf"))
    found = {reading.subject.service: reading.current for reading in await one.readings("response_time")}
    clearly = {name for name, value in wanted.items() if value > 300 * 0.8 * 1.02}
    assert clearly <= found.keys()
    assert all(wanted[name] == pytest.approx(value, rel=0.011) for name, value in found.items())


async def test_a_service_may_have_its_own_statistic_and_threshold(measured):
    one = measured({"response_time@web": "500", "response_time@web.statistic": "p50"})
    await one.see("web", count=30, duration_ms=600)
    await one.see("web", count=20, duration_ms=1)
    await one.see("other", count=50, duration_ms=600)
    (reading,) = await one.readings("response_time")
    assert reading.subject.service == "web"
    assert reading.message.startswith("Median response time of 596ms")


async def test_the_first_minute_is_not_blown_up_to_a_rate(measured):
    one = await measured().see("web", count=70)
    one.after(5)
    assert await one.readings() == []
    await one.see("web", count=40)
    assert await one.breached() == [("throughput", "web", "")]


async def test_what_runs_in_the_background_alerts_by_its_error_rate_alone(measured):
    one = measured()
    for service in ("discord.listeners", "discord.commands"):
        await one.see(service, count=600, failures=600, duration_ms=60_000)
    assert [(rule, service) for rule, service, _ in await one.breached()] == [
        ("error_rate", "discord.listeners"),
        ("error_rate", "discord.commands"),
        ("response_time", "discord.commands"),
        ("throughput", "discord.commands"),
    ]


async def test_replies_alert_by_error_rate_and_response_time_like_commands(measured):
    found = {}
    for service in ("discord.replies", "discord.commands"):
        one = measured(alert_threshold_operations_per_minute=0)
        await one.see(service, "on_message Chat.on_message", count=100, failures=50, duration_ms=10_000)
        found[service] = [(rule, operation) for rule, named, operation in await one.breached() if named == service]
    assert found["discord.replies"] == found["discord.commands"] == [("error_rate", ""), ("response_time", "")]


async def test_one_listener_whose_replies_fail_is_found_next_to_another(measured):
    one = measured(alert_threshold_operations_per_minute=0)
    await one.see("discord.replies", "on_message Chat.on_message", count=2_000)
    await one.see("discord.replies", "on_message Quiz.on_message", count=30, failures=20)
    await one.see("discord.replies", "on_message Slow.on_message", count=30, duration_ms=60_000)
    assert await one.breached() == [("error_rate", "discord.replies", "on_message Quiz.on_message")]
    one = measured({"response_time@discord.replies/on_message Slow.on_message": "5000"})
    await one.see("discord.replies", "on_message Chat.on_message", count=2_000)
    await one.see("discord.replies", "on_message Slow.on_message", count=30, duration_ms=60_000)
    (reading,) = await one.readings("response_time")
    assert (reading.subject.operation, reading.breached) == ("on_message Slow.on_message", True)


async def test_one_bad_operation_inside_a_busy_service_is_found(measured):
    one = measured(alert_threshold_operations_per_minute=0)
    await one.see("web", "fetch", count=2_000, failures=2)
    await one.see("web", "parse", count=30, failures=10)
    (reading,) = await one.readings()
    assert (reading.subject.service, reading.subject.operation, reading.breached) == ("web", "parse", True)
    assert reading.message == "Error rate of 33.3% exceeds threshold of 5%"


async def test_an_operation_that_is_all_its_service_does_is_judged_once(measured):
    one = measured(alert_threshold_operations_per_minute=0)
    await one.see("web", "fetch", count=100, failures=50)
    assert await one.breached("error_rate") == [("error_rate", "web", "")]


async def test_an_operation_may_have_a_limit_of_its_own(measured):
    one = measured(
        {
            "response_time@web/fetch": "100",
            "throughput@web/fetch": "10",
            "throughput@web": "0",
            "error_rate@web/fetch": "0.9",
        }
    )
    await one.see("web", "fetch", count=60, failures=40, duration_ms=200)
    await one.see("web", "parse", count=2_000, duration_ms=200)
    assert ("response_time", "web", "fetch") in await one.breached()
    assert ("throughput", "web", "fetch") in await one.breached()
    assert ("error_rate", "web", "fetch") not in await one.breached()
    one.limits.override({"response_time@web/fetch": "100", "response_time@web.statistic": "p95"})
    (reading,) = await one.readings("response_time")
    assert reading.message.startswith("95th percentile response time of")


def learned(value, *, settled=True):
    return Calibrated({"average": value, "p95": 2 * value}, 1_000, 0, 1, settled)


async def test_a_slow_and_a_fast_command_are_each_judged_by_what_was_learned(measured):
    one = measured({"throughput": "0"})
    one.limits.calibrate(
        {
            RESPONSE_TIME.subject("discord.commands"): learned(17_000),
            RESPONSE_TIME.subject("discord.commands", "ask"): learned(17_000),
            RESPONSE_TIME.subject("discord.commands", "ping"): learned(5_000),
        }
    )
    await one.see("discord.commands", "ask", count=30, duration_ms=16_000)
    await one.see("discord.commands", "ping", count=30, duration_ms=10)
    assert await one.breached() == []
    await one.see("discord.commands", "ping", count=60, duration_ms=9_000)
    (reading,) = [reading for reading in await one.readings() if reading.breached]
    assert (reading.subject.operation, reading.severity) == ("ping", "warning")
    assert reading.message == "Average response time of 6s exceeds threshold of 5s"
    await one.see("discord.commands", "ask", count=30, duration_ms=20_000)
    messages = {reading.subject.operation: reading.message for reading in await one.readings()}
    assert messages["ask"] == "Average response time of 18s exceeds calibrated threshold of 17s"


async def test_the_quantile_of_an_operation_is_compared_with_that_which_was_learned(measured):
    one = measured({"throughput": "0", "response_time.statistic": "p95"})
    one.limits.calibrate({RESPONSE_TIME.subject("discord.commands", "ask"): learned(10_000, settled=False)})
    await one.see("discord.commands", "ask", count=90, duration_ms=1_000)
    await one.see("discord.commands", "ask", count=10, duration_ms=24_000)
    (reading,) = [reading for reading in await one.readings() if reading.subject.operation]
    assert reading.message.startswith("95th percentile response time of 24")
    assert reading.message.endswith("exceeds provisional threshold of 20s")


async def test_without_a_history_a_breach_is_information(measured):
    one = measured()
    one.limits.calibrate({})
    await one.see("discord.commands", "ask", count=600, duration_ms=60_000)
    assert [(reading.severity, reading.message) for reading in await one.readings()] == [
        ("info", "Average response time of 60s exceeds threshold of 5s; no history yet"),
        ("info", "600 operations/minute exceeds threshold of 100; no history yet"),
    ]


async def test_a_throughput_that_was_learned_is_no_breach(measured):
    one = measured()
    one.limits.calibrate(
        {
            THROUGHPUT.subject(*names): learned(1_200)
            for names in (("discord.commands", ""), ("discord.commands", "play"))
        }
    )
    await one.see("discord.commands", "play", count=0)
    one.after(299)
    await one.see("discord.commands", "play", count=2_000)
    one.after(1)
    assert await one.breached() == []
    await one.see("discord.commands", "play", count=5_000)
    assert await one.breached() == [("throughput", "discord.commands", "")]  # it explains that of its operation


async def test_quantiles_are_those_of_each_service_where_thresholds_differ(measured):
    one = measured(
        {f"response_time@s{number}": str(100 * number + 100) for number in range(9)}
        | {"response_time.statistic": "p95"}
    )
    for number in range(10):
        await one.see(f"s{number}", count=30, duration_ms=550)
    assert [service for _, service, _ in await one.breached("response_time")] == ["s0", "s1", "s2", "s3", "s4"]


async def test_a_changed_threshold_takes_effect_at_the_next_check(measured):
    one = await measured().see("web", count=100, failures=3)
    assert await one.breached() == []
    one.limits.override({"error_rate@web": "0.02"})
    assert await one.breached() == [("error_rate", "web", "")]
    one.limits.override({"response_time": "0.5", "response_time.statistic": "p99"})
    assert await one.breached() == [("response_time", "web", "")]
