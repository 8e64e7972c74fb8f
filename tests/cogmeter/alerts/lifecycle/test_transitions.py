"""The lifecycle of alerts on a virtual clock: each check's readings go in, the changes come out.

A check every 30 s. In a timeline each letter is one check of one service: ``w`` and ``c`` are beyond the threshold as a
warning and as critical, ``i`` as info, ``h`` is between recovery and threshold, ``.`` is nothing measured.
"""

from dataclasses import replace

import pytest

from cogmeter.alerts.lifecycle.subject_state import Policy
from cogmeter.alerts.lifecycle.tracker import AlertTracker
from cogmeter.alerts.model import Limit, Reading, Subject
from cogmeter_storage.alerting import AlertState, Mute

START_US = 1_800_000_000_000_000
CHECK_S = 30
SEVERITIES = {"w": "warning", "c": "critical", "i": "info", "h": "warning"}


class Life:
    """A tracker that goes from check to check; nothing is stored."""

    def __init__(self, *, for_s=0, recovery_s=120, **policy):
        self.limit = Limit(threshold=5, recovery=4, for_s=for_s, recovery_s=recovery_s, min_operations=20)
        self.tracker = AlertTracker(lambda _: self.limit, Policy(**policy))
        self.now_us = START_US
        self.sent = []
        self.silent = []
        self.stored = 0

    def run(self, *timelines):
        """Run one timeline per service: a, b, c and so on."""
        for letters in zip(*timelines, strict=True):
            self.check({chr(97 + place): letter for place, letter in enumerate(letters) if letter != "."})
        return self

    def check(self, letters, current=10.0):
        self.measure([reading(*one, current) for one in letters.items()])
        self.now_us += CHECK_S * 1_000_000

    def measure(self, readings):
        *_, plan = self.tracker.check(readings, self.now_us)
        self.apply(plan)

    def apply(self, plan):
        at_s = (self.now_us - START_US) // 1_000_000
        stored = {}
        for transition in plan.values():
            if self.tracker.worth_storing(transition):
                stored[transition.after.alert.uid] = transition.after.alert
                self.stored += 1
            if transition.changes:
                alert = transition.after.alert
                (self.sent if transition.notify else self.silent).append((at_s, transition.kind, alert.service))
        self.tracker.apply(plan, stored)

    def mute(self, minutes, *, rule="", service="", since_s=0):
        since_us = self.now_us + since_s * 1_000_000
        self.tracker.mutes.append(Mute(service, rule, since_us, since_us + minutes * 60_000_000, "Ada", "known"))
        self.apply(self.tracker.follow_mutes(self.now_us))

    def acknowledge(self, service):
        [subject] = [
            one for one, track in self.tracker.states.items() if track.alert and track.alert.service == service
        ]
        self.apply(self.tracker.acknowledge(subject, "Ada", self.now_us))

    def alert(self, service="a"):
        return next(alert for alert in self.tracker.alerts if alert.service == service)


def reading(service, letter, current=10.0, rule="error_rate"):
    return Reading(Subject(rule, service), current, 5, f"Too much of {service}", SEVERITIES[letter], letter != "h")


@pytest.mark.parametrize(
    ("timeline", "options", "sent"),
    [
        pytest.param("w.....", {}, "0 fired, 120 resolved", id="fires at once and recovers after its delay"),
        pytest.param("w...w......", {}, "0 fired, 240 resolved", id="a breach within the delay goes on"),
        pytest.param("whhhhhhhh....", {}, "0 fired, 360 resolved", id="a value within the threshold does not recover"),
        pytest.param("hhhhhh", {}, "", id="a value within the threshold starts nothing"),
        pytest.param("..w", {"recovery_s": 0}, "60 fired", id="the first breach fires"),
        pytest.param("w.", {"recovery_s": 0}, "0 fired, 30 resolved", id="no recovery delay"),
        pytest.param("www......", {"for_s": 60}, "60 fired, 180 resolved", id="fires when it has lasted"),
        pytest.param("ww.ww.ww.", {"for_s": 60}, "", id="a short breach never fires"),
        pytest.param("whhw", {"for_s": 60}, "90 fired", id="within the threshold it waits, and fires only beyond it"),
        pytest.param(
            "w....wwwwwwww",
            {},
            "0 fired, 120 resolved, 300 fired",
            id="in the cooldown a breach waits, and fires then if it is still one",
        ),
        pytest.param(
            "w....ww......", {}, "0 fired, 120 resolved", id="a breach that ends before the cooldown never fires"
        ),
        pytest.param("w....wwww", {"cooldown_s": 0}, "0 fired, 120 resolved, 150 fired", id="no cooldown"),
        pytest.param("wwcc", {}, "0 fired, 60 worsened", id="it worsens"),
        pytest.param("wwhc", {}, "0 fired, 90 worsened", id="it worsens when it is beyond the threshold"),
        pytest.param("wcwcwcwc", {}, "0 fired, 30 worsened", id="up and down in severity worsens once"),
        pytest.param("c" + "w" * 12, {}, "0 fired, 300 eased", id="it eases after a cooldown"),
        pytest.param("w" * 250, {}, "0 fired, 3600 reminded, 7200 reminded", id="reminded of every hour"),
        pytest.param("w" * 250, {"reminder_s": 0}, "0 fired", id="reminders off"),
        pytest.param("i" * 250, {}, "0 fired", id="info sends no reminders"),
        pytest.param("c" * 40, {}, "0 fired, 900 escalated", id="critical escalates once"),
        pytest.param("c" * 40, {"escalate_after_s": 0}, "0 fired", id="escalation off"),
        pytest.param(
            "w" * 40 + "cc", {}, "0 fired, 1200 worsened, 1230 escalated", id="turned critical after the time"
        ),
        pytest.param("c" * 160, {}, "0 fired, 900 escalated, 4500 reminded", id="an escalation reminds too"),
        pytest.param("c" + "h" * 40, {}, "0 fired, 300 eased", id="within the threshold nothing escalates"),
        pytest.param(
            "w.........." * 3 + "w..........w" + "." * 30,
            {},
            "0 fired, 120 resolved, 330 fired, 450 resolved, 660 fired, 690 flapping, 1920 resolved",
            id="flapping is sent once, and stays open through the calm between breaches",
        ),
        pytest.param(
            "w.........." * 3 + "." * 30,
            {"recovery_s": 300},
            "0 fired, 300 resolved, 330 fired, 630 resolved, 660 fired, 690 flapping, 1560 resolved",
            id="flapping is calm after three recovery delays",
        ),
        pytest.param(
            ("w" + "." * 99) * 3,
            {},
            "0 fired, 120 resolved, 3000 fired, 3120 resolved, 6000 fired, 6120 resolved",
            id="now and then is not flapping",
        ),
    ],
)
def test_the_changes_follow_the_readings(timeline, options, sent):
    assert _text(Life(**options).run(timeline).sent) == sent


def _text(changes):
    return ", ".join(f"{at_s} {kind}" for at_s, kind, _ in changes)


def test_an_alert_keeps_its_worst_and_its_newest_figures():
    life = Life()
    for current in (10, 40, 20):
        life.check({"a": "w"}, current)
    life.check({"a": "h"}, 4.5)
    alert = life.alert()
    assert (alert.worst, alert.current, alert.threshold) == (40, 4.5, 5)
    assert alert.started_us == alert.fired_us == START_US
    assert alert.seen_us == START_US + 90_000_000


def test_a_value_within_the_threshold_is_never_the_worst():
    life = Life()
    life.check({"a": "w"}, 5.5)
    life.check({"a": "h"}, 4.1)
    assert life.alert().worst == 5.5


def test_a_value_of_too_few_operations_is_not_shown_beyond_the_worst():
    life = Life()
    life.check({"a": "w"}, 10)
    life.check({"a": "h"}, 60)
    assert (life.alert().current, life.alert().worst) == (10, 10)


def test_the_share_of_half_of_the_operations_is_the_value_and_may_be_the_worst():
    life = Life()
    life.check({"a": "w"}, 10)
    life.measure([replace(reading("a", "h", 60), operations=8, failures=5)])
    assert (life.alert().current, life.alert().worst) == (60, 60)
    assert life.alert().message == "Too much of a (5 of 8 failed)"


def test_an_alert_says_why_it_cannot_be_judged_until_it_can():
    life = Life(recovery_s=120)
    life.check({"a": "w"})
    subject = Subject("error_rate", "a")
    messages = []
    for why in ({subject: "too few operations"}, {subject: "no operations"}, {}):
        *_, plan = life.tracker.check([], life.now_us, why)
        life.apply(plan)
        messages.append(life.alert().message)
    ended = "(no breach now)"
    assert messages == [
        f"Too much of a (too few operations) {ended}",
        f"Too much of a (no operations) {ended}",
        f"Too much of a {ended}",
    ]


def test_an_alert_says_that_its_breach_has_ended_until_it_is_resolved_or_begins_again():
    life = Life(recovery_s=120)
    messages = []
    for letter in "w..w.":
        life.check({} if letter == "." else {"a": letter})
        messages.append(life.alert().message)
    ended = "Too much of a (no breach now)"
    assert messages == ["Too much of a", ended, ended, "Too much of a", ended]
    assert life.stored == 4


def test_the_worst_value_of_a_rule_with_a_lower_limit_is_the_lowest():
    life = Life()
    for current in (3, 1, 2):
        life.measure([reading("a", "w", current, rule="low_traffic")])
    assert life.alert().worst == 1


def test_figures_are_stored_at_each_check_that_changes_them_and_at_no_other():
    life = Life()
    for _ in range(60):
        life.check({"a": "w"}, 10)
    assert life.stored == 1
    for check in range(60):
        life.check({"a": "w"}, 20 + check / 100)
    assert life.stored == 61


def test_an_acknowledged_alert_sends_no_reminders_but_worsens_and_resolves():
    life = Life().run("ww")
    life.acknowledge("a")
    life.run("w" * 200 + "c" * 200 + "....")
    assert _text(life.sent) == "0 fired, 60 acknowledged, 6060 worsened, 12150 resolved"


def test_the_first_acknowledgement_is_kept():
    life = Life().run("w")
    life.acknowledge("a")
    assert life.tracker.acknowledge(Subject("error_rate", "a"), "Bob", life.now_us) == {}
    assert (life.alert().acknowledged_by, life.alert().state) == ("Ada", AlertState.ACKNOWLEDGED)


def test_a_muted_breach_is_neither_sent_nor_its_resolution():
    life = Life()
    life.mute(60)
    life.run("c" * 60 + "....")
    assert life.sent == []
    assert _text(life.silent) == "0 muted, 1890 resolved"


def test_a_breach_that_outlasts_its_mute_fires():
    life = Life()
    life.mute(10, rule="error_rate", service="a")
    life.run("w" * 30)
    assert _text(life.sent) == "600 fired"
    life = Life()
    life.mute(10, rule="error_rate", service="a")
    life.run("w" * 19 + "hhh" + "w")
    assert _text(life.sent) == "660 fired"


def test_a_fired_alert_shows_its_mute_and_fires_again_after_it():
    life = Life().run("cc")
    life.mute(30)
    assert life.alert().muted_until_us == life.now_us + 30 * 60_000_000
    life.run("c" * 62)
    assert _text(life.sent) == "0 fired, 60 muted, 1860 unmuted, 1890 escalated"
    assert (life.alert().state, life.alert().muted_until_us) == (AlertState.FIRING, None)


def test_the_resolution_of_a_fired_and_muted_alert_is_sent():
    life = Life().run("ww")
    life.mute(30)
    life.run("w....")
    assert _text(life.sent) == "0 fired, 60 muted, 180 resolved"


def test_a_muted_alert_that_worsens_is_stored_and_not_sent():
    life = Life().run("w")
    life.mute(30)
    life.run("wc")
    assert (_text(life.sent), _text(life.silent)) == ("0 fired, 30 muted", "60 worsened")


def test_an_acknowledged_alert_is_acknowledged_after_its_mute():
    life = Life().run("w")
    life.acknowledge("a")
    life.mute(1)
    life.run("www")
    assert (_text(life.sent), life.alert().state) == (
        "0 fired, 30 acknowledged, 30 muted, 90 unmuted",
        AlertState.ACKNOWLEDGED,
    )


def test_a_longer_mute_is_shown_and_a_shorter_one_changes_nothing():
    life = Life().run("w")
    life.mute(10)
    life.mute(20)
    life.mute(5)
    life.run("w" * 41)
    assert _text(life.sent) == "0 fired, 30 muted, 30 muted, 1230 unmuted"


def test_when_the_longer_of_two_mutes_ends_the_shorter_is_shown_and_nothing_sent():
    life = Life().run("w")
    life.mute(10)
    life.mute(20)
    shorter, _ = life.tracker.mutes
    life.tracker.mutes = [shorter]
    stored = life.stored
    life.run("w")
    assert (life.alert().muted_until_us, life.stored) == (shorter.until_us, stored + 1)
    assert _text(life.sent) == "0 fired, 30 muted, 30 muted"


def test_a_mute_of_another_rule_or_service_mutes_nothing():
    life = Life()
    life.mute(60, rule="response_time")
    life.mute(60, service="b")
    life.run("w")
    assert _text(life.sent) == "0 fired"


def test_many_simultaneous_alerts_are_sent_as_one():
    life = Life().run("w....", "w....", "c....", "w....")
    root = ("(bot)", "a", "b", "c", "d")
    assert {(at_s, kind) for at_s, kind, _ in life.sent} == {(0, "fired"), (120, "resolved")}
    assert sorted(service for at_s, _, service in life.sent if at_s == 0) == sorted(root)
    assert life.tracker.states.keys() == {Subject("error_rate", one) for one in "abcd"}  # what fired is remembered


def test_a_groups_message_counts_its_alerts_by_rule():
    life = Life()
    readings = [reading(one, "w") for one in "abc"] + [reading(one, "c", rule="response_time") for one in "cd"]
    life.measure(readings)
    root = life.alert("(bot)")
    assert root.message == "4 services have alerts: error rate (3), response time (2)"
    assert (root.rule, root.severity, root.current, root.threshold) == ("many_services", "critical", 5, 4)
    assert {alert.group for alert in life.tracker.alerts} == {"", root.uid}


def test_many_alerts_of_one_service_are_a_group_too():
    life = Life(group_from=2)
    life.measure([reading("a", "w"), reading("a", "w", rule="response_time")])
    assert life.alert("(bot)").message == "a has several alerts: error rate, response time"


def test_few_simultaneous_alerts_are_sent_one_by_one():
    life = Life().run("w", "w", "w")
    assert [service for _, _, service in life.sent] == ["a", "b", "c"]
    assert {alert.group for alert in life.tracker.alerts} == {""}


def test_an_alert_that_fires_soon_after_joins_and_a_late_one_does_not():
    life = Life().run("w" * 30, "w" * 30, "w" * 30, "w" * 30, ".." + "w" * 28, ".." + "w" * 28, "." * 25 + "w" * 5)
    of_root = [(at_s, kind) for at_s, kind, service in life.sent if service == "(bot)"]
    assert of_root == [(0, "fired"), (60, "joined")]
    root = life.alert("(bot)")
    assert root.current == 6
    assert [life.alert(one).group == root.uid for one in "efg"] == [True, True, False]


def test_the_worst_value_of_a_group_is_its_largest_number_of_alerts():
    life = Life().run(*["w" + "." * 11] * 4, ".." + "w" * 10, "..w" + "." * 9)
    assert life.alert("(bot)").current == 1
    assert life.alert("(bot)").worst == 6


def test_acknowledging_a_group_acknowledges_its_members_and_those_that_join():
    life = Life().run("c" * 4, "c" * 4, "c" * 4, "c" * 4, "....")
    life.acknowledge("(bot)")
    life.run(*["c" * 60] * 5)
    assert {alert.state for alert in life.tracker.alerts} == {AlertState.ACKNOWLEDGED}
    assert {alert.acknowledged_by for alert in life.tracker.alerts} == {"Ada"}
    assert not {"escalated", "reminded"} & {kind for _, kind, _ in life.sent}
    assert ("joined", "(bot)") in {(kind, service) for _, kind, service in life.sent}


def test_only_the_group_reminds_and_not_when_all_its_members_are_acknowledged():
    life = Life().run(*["c" * 40] * 4)
    assert [service for _, kind, service in life.sent if kind == "escalated"] == ["(bot)"]
    life = Life().run(*["c"] * 4)
    for one in "abcd":
        life.acknowledge(one)
    life.run(*["c" * 200] * 4)
    assert life.alert("(bot)").state is AlertState.FIRING
    assert not {"escalated", "reminded"} & {kind for _, kind, _ in life.sent}


def test_a_mute_of_the_group_mutes_its_members_and_those_that_join():
    life = Life().run(*["w"] * 4, ".")
    life.mute(10, rule="many_services", service="(bot)")
    assert {alert.state for alert in life.tracker.alerts} == {AlertState.MUTED}
    life.sent.clear()
    life.run(*["w" * 19] * 5)
    assert life.sent == []
    assert life.alert("e").state is AlertState.MUTED
    life.run(*["w" * 2] * 5)
    assert sorted(life.sent) == [(630, "fired", "e"), *((630, "unmuted", one) for one in ("(bot)", *"abcd"))]


def test_a_muted_group_is_not_sent_and_fires_when_the_mute_ends():
    life = Life()
    life.mute(10, rule="many_services")
    life.run(*["w" * 20] * 4)
    assert life.sent == []
    life.run(*["w"] * 4)
    assert sorted(life.sent) == [(600, "fired", one) for one in ("(bot)", *"abcd")]


def test_muting_members_one_by_one_leaves_the_group():
    life = Life().run(*["w"] * 4)
    life.mute(10, rule="error_rate")
    assert life.alert("(bot)").state is AlertState.FIRING
    assert life.alert("a").state is AlertState.MUTED


def test_a_group_that_worsens_is_sent_again():
    life = Life().run("wwc", "www", "www", "www")
    assert [one for one in life.sent if one[1] == "worsened"] == [(60, "worsened", "a"), (60, "worsened", "(bot)")]


def test_a_clock_that_is_set_back_restarts_the_waits():
    life = Life().run("w")
    life.now_us -= 3_600_000_000
    life.run("w....")
    assert [kind for _, kind, _ in life.sent] == ["fired", "resolved"]
    life.run("w" * 12)
    assert [kind for _, kind, _ in life.sent] == ["fired", "resolved", "fired"]


def test_a_reading_that_is_nan_is_ignored():
    life = Life()
    life.check({"a": "w"}, float("nan"))
    assert life.tracker.alerts == []


def test_a_subject_that_fired_long_ago_is_forgotten():
    life = Life().run("w" + "." * 119)
    assert life.tracker.states.keys() == {Subject("error_rate", "a")}
    life.run("..")
    assert life.tracker.states == {}
