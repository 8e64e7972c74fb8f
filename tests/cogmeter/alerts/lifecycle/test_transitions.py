"""The life of alerts on a virtual clock: what is measured at each check goes in, what happens comes out.

A check every 30 s. In a timeline each letter is one check of one service: ``w`` and ``c`` are beyond the threshold as a
warning and as critical, ``i`` as info, ``h`` is held between recovery and threshold, ``.`` is nothing measured.
"""

import pytest

from cogmeter.alerts.lifecycle.policy import Policy
from cogmeter.alerts.lifecycle.tracker import AlertTracker
from cogmeter.alerts.model import Limit, Reading, Subject
from cogmeter_storage.alerting import AlertState, Mute

START_US = 1_800_000_000_000_000
CHECK_S = 30
SEVERITIES = {"w": "warning", "c": "critical", "i": "info", "h": "warning"}


class Life:
    """A book that is led from check to check; nothing is stored."""

    def __init__(self, *, for_s=0, recovery_s=120, **policy):
        self.limit = Limit(threshold=5, recovery=4, for_s=for_s, recovery_s=recovery_s, min_operations=20)
        self.book = AlertTracker(lambda _: self.limit, Policy(**policy))
        self.now_us = START_US
        self.told = []
        self.silent = []
        self.stored = 0

    def run(self, *timelines):
        """Each timeline is one service's: a, b, c and so on."""
        for letters in zip(*timelines, strict=True):
            self.check({chr(97 + place): letter for place, letter in enumerate(letters) if letter != "."})
        return self

    def check(self, letters, current=10.0):
        self.measure([reading(*one, current) for one in letters.items()])
        self.now_us += CHECK_S * 1_000_000

    def measure(self, readings):
        *_, plan = self.book.check(readings, self.now_us)
        self.enter(plan)

    def enter(self, plan):
        at_s = (self.now_us - START_US) // 1_000_000
        stored = {}
        for move in plan.values():
            if self.book.worth_storing(move, self.now_us):
                stored[move.after.alert.uid] = move.after.alert
                self.stored += 1
            if move.changes:
                alert = move.after.alert
                (self.told if move.told else self.silent).append((at_s, move.kind, alert.service))
        self.book.enter(plan, stored, self.now_us)

    def mute(self, minutes, *, rule="", service="", since_s=0):
        since_us = self.now_us + since_s * 1_000_000
        self.book.mutes.append(Mute(service, rule, since_us, since_us + minutes * 60_000_000, "Ada", "known"))
        self.enter(self.book.follow_mutes(self.now_us))

    def acknowledge(self, service):
        [subject] = [one for one, track in self.book.tracks.items() if track.alert and track.alert.service == service]
        self.enter(self.book.acknowledge(subject, "Ada", self.now_us))

    def alert(self, service="a"):
        return next(alert for alert in self.book.alerts if alert.service == service)


def reading(service, letter, current=10.0, rule="error_rate"):
    return Reading(Subject(rule, service), current, 5, f"Too much of {service}", SEVERITIES[letter], letter != "h")


@pytest.mark.parametrize(
    ("timeline", "options", "told"),
    [
        pytest.param("w.....", {}, "0 fired, 120 resolved", id="fires at once and recovers after its delay"),
        pytest.param("w...w......", {}, "0 fired, 240 resolved", id="a breach within the delay goes on"),
        pytest.param("whhhhhhhh....", {}, "0 fired, 360 resolved", id="what is held does not recover"),
        pytest.param("hhhhhh", {}, "", id="what is held starts nothing"),
        pytest.param("..w", {"recovery_s": 0}, "60 fired", id="the first breach fires"),
        pytest.param("w.", {"recovery_s": 0}, "0 fired, 30 resolved", id="no recovery delay"),
        pytest.param("www......", {"for_s": 60}, "60 fired, 180 resolved", id="fires when it has lasted"),
        pytest.param("ww.ww.ww.", {"for_s": 60}, "", id="what does not last is never told"),
        pytest.param("whhw", {"for_s": 60}, "90 fired", id="what is held goes on waiting, and fires beyond alone"),
        pytest.param(
            "w....wwwwwwww",
            {},
            "0 fired, 120 resolved, 300 fired",
            id="in the cooldown a breach waits, and fires then if it is still one",
        ),
        pytest.param("w....ww......", {}, "0 fired, 120 resolved", id="what is over before the cooldown is never told"),
        pytest.param("w....wwww", {"cooldown_s": 0}, "0 fired, 120 resolved, 150 fired", id="no cooldown"),
        pytest.param("wwcc", {}, "0 fired, 60 worsened", id="worse is said"),
        pytest.param("wwhc", {}, "0 fired, 90 worsened", id="worse is said when it is beyond the threshold"),
        pytest.param("wcwcwcwc", {}, "0 fired, 30 worsened", id="up and down in severity worsens once"),
        pytest.param("c" + "w" * 12, {}, "0 fired, 300 eased", id="milder for a cooldown is said"),
        pytest.param("w" * 250, {}, "0 fired, 3600 reminded, 7200 reminded", id="reminded of every hour"),
        pytest.param("w" * 250, {"reminder_s": 0}, "0 fired", id="reminders off"),
        pytest.param("i" * 250, {}, "0 fired", id="of what is info nobody is reminded"),
        pytest.param("c" * 40, {}, "0 fired, 900 escalated", id="what is critical escalates once"),
        pytest.param("c" * 40, {"escalate_after_s": 0}, "0 fired", id="escalation off"),
        pytest.param(
            "w" * 40 + "cc", {}, "0 fired, 1200 worsened, 1230 escalated", id="turned critical after the time"
        ),
        pytest.param("c" * 160, {}, "0 fired, 900 escalated, 4500 reminded", id="an escalation reminds too"),
        pytest.param("c" + "h" * 40, {}, "0 fired, 300 eased", id="what is held presses nobody"),
        pytest.param(
            "w.........." * 3 + "w..........w" + "." * 30,
            {},
            "0 fired, 120 resolved, 330 fired, 450 resolved, 660 fired, 690 flapping, 1920 resolved",
            id="flapping is said once, and stays open through the calm between breaches",
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
def test_what_is_told_follows_what_is_measured(timeline, options, told):
    assert _said(Life(**options).run(timeline).told) == told


def _said(changes):
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


def test_what_is_held_is_never_the_worst():
    life = Life()
    life.check({"a": "w"}, 5.5)
    life.check({"a": "h"}, 4.1)
    assert life.alert().worst == 5.5


def test_of_a_rule_that_breaks_below_the_worst_is_the_lowest():
    life = Life()
    for current in (3, 1, 2):
        life.check({"a": "w"}, current)
    assert life.alert().worst == 1


def test_figures_are_stored_when_they_moved_and_at_most_once_a_minute():
    life = Life()
    for _ in range(60):
        life.check({"a": "w"}, 10)
    assert life.stored == 1
    for check in range(60):
        life.check({"a": "w"}, 20 * 1.1**check)
    assert life.stored == 31


def test_an_acknowledged_alert_is_not_pressed_but_is_told_when_it_worsens_and_ends():
    life = Life().run("ww")
    life.acknowledge("a")
    life.run("w" * 200 + "c" * 200 + "....")
    assert _said(life.told) == "0 fired, 60 acknowledged, 6060 worsened, 12150 resolved"


def test_the_first_to_acknowledge_stays():
    life = Life().run("w")
    life.acknowledge("a")
    assert life.book.acknowledge(Subject("error_rate", "a"), "Bob", life.now_us) == {}
    assert (life.alert().acknowledged_by, life.alert().state) == ("Ada", AlertState.ACKNOWLEDGED)


def test_a_breach_that_is_muted_is_not_told_and_ends_in_silence():
    life = Life()
    life.mute(60)
    life.run("c" * 60 + "....")
    assert life.told == []
    assert _said(life.silent) == "0 muted, 1890 resolved"


def test_a_muted_breach_fires_when_the_mute_ends_and_it_is_still_one():
    life = Life()
    life.mute(10, rule="error_rate", service="a")
    life.run("w" * 30)
    assert _said(life.told) == "600 fired"
    life = Life()
    life.mute(10, rule="error_rate", service="a")
    life.run("w" * 19 + "hhh" + "w")
    assert _said(life.told) == "660 fired"


def test_an_alert_that_is_muted_is_shown_so_and_comes_back():
    life = Life().run("cc")
    life.mute(30)
    assert life.alert().muted_until_us == life.now_us + 30 * 60_000_000
    life.run("c" * 62)
    assert _said(life.told) == "0 fired, 60 muted, 1860 unmuted, 1890 escalated"
    assert (life.alert().state, life.alert().muted_until_us) == (AlertState.FIRING, None)


def test_an_alert_that_was_told_and_muted_is_told_to_be_over():
    life = Life().run("ww")
    life.mute(30)
    life.run("w....")
    assert _said(life.told) == "0 fired, 60 muted, 180 resolved"


def test_what_worsens_while_muted_is_kept_and_not_told():
    life = Life().run("w")
    life.mute(30)
    life.run("wc")
    assert (_said(life.told), _said(life.silent)) == ("0 fired, 30 muted", "60 worsened")


def test_an_acknowledged_alert_comes_back_from_a_mute_as_acknowledged():
    life = Life().run("w")
    life.acknowledge("a")
    life.mute(1)
    life.run("www")
    assert (_said(life.told), life.alert().state) == (
        "0 fired, 30 acknowledged, 30 muted, 90 unmuted",
        AlertState.ACKNOWLEDGED,
    )


def test_a_longer_mute_is_shown_and_a_shorter_one_changes_nothing():
    life = Life().run("w")
    life.mute(10)
    life.mute(20)
    life.mute(5)
    life.run("w" * 41)
    assert _said(life.told) == "0 fired, 30 muted, 30 muted, 1230 unmuted"


def test_when_the_longer_of_two_mutes_ends_the_shorter_is_shown_and_nobody_told():
    life = Life().run("w")
    life.mute(10)
    life.mute(20)
    shorter, _ = life.book.mutes
    life.book.mutes = [shorter]
    stored = life.stored
    life.run("w")
    assert (life.alert().muted_until_us, life.stored) == (shorter.until_us, stored + 1)
    assert _said(life.told) == "0 fired, 30 muted, 30 muted"


def test_a_mute_of_another_rule_or_service_mutes_nothing():
    life = Life()
    life.mute(60, rule="response_time")
    life.mute(60, service="b")
    life.run("w")
    assert _said(life.told) == "0 fired"


def test_many_at_once_are_told_as_one():
    life = Life().run("w....", "w....", "c....", "w....")
    root = ("(bot)", "a", "b", "c", "d")
    assert {(at_s, kind) for at_s, kind, _ in life.told} == {(0, "fired"), (120, "resolved")}
    assert sorted(service for at_s, _, service in life.told if at_s == 0) == sorted(root)
    assert life.book.tracks.keys() == {Subject("error_rate", one) for one in "abcd"}  # what fired is remembered


def test_a_groups_alert_says_how_many_are_in_breach_of_what():
    life = Life()
    readings = [reading(one, "w") for one in "abc"] + [reading(one, "c", rule="response_time") for one in "cd"]
    life.measure(readings)
    root = life.alert("(bot)")
    assert root.message == "4 services are in breach: error rate of 3, response time of 2"
    assert (root.rule, root.severity, root.current, root.threshold) == ("many_services", "critical", 5, 4)
    assert {alert.group for alert in life.book.alerts} == {"", root.uid}


def test_many_alerts_of_one_service_are_one_too():
    life = Life(group_from=2)
    life.measure([reading("a", "w"), reading("a", "w", rule="response_time")])
    assert life.alert("(bot)").message == "a is in breach of several rules: error rate, response time"


def test_fewer_than_many_are_told_one_by_one():
    life = Life().run("w", "w", "w")
    assert [service for _, _, service in life.told] == ["a", "b", "c"]
    assert {alert.group for alert in life.book.alerts} == {""}


def test_who_fires_soon_after_joins_and_who_fires_late_does_not():
    life = Life().run("w" * 30, "w" * 30, "w" * 30, "w" * 30, ".." + "w" * 28, ".." + "w" * 28, "." * 25 + "w" * 5)
    of_root = [(at_s, kind) for at_s, kind, service in life.told if service == "(bot)"]
    assert of_root == [(0, "fired"), (60, "joined")]
    root = life.alert("(bot)")
    assert root.current == 6
    assert [life.alert(one).group == root.uid for one in "efg"] == [True, True, False]


def test_who_is_acknowledged_through_the_group_is_pressed_no_more_and_joiners_are_taken_up_too():
    life = Life().run("c" * 4, "c" * 4, "c" * 4, "c" * 4, "....")
    life.acknowledge("(bot)")
    life.run(*["c" * 60] * 5)
    assert {alert.state for alert in life.book.alerts} == {AlertState.ACKNOWLEDGED}
    assert {alert.acknowledged_by for alert in life.book.alerts} == {"Ada"}
    assert not {"escalated", "reminded"} & {kind for _, kind, _ in life.told}
    assert ("joined", "(bot)") in {(kind, service) for _, kind, service in life.told}


def test_only_the_group_presses_and_not_when_all_its_members_are_taken_up():
    life = Life().run(*["c" * 40] * 4)
    assert [service for _, kind, service in life.told if kind == "escalated"] == ["(bot)"]
    life = Life().run(*["c"] * 4)
    for one in "abcd":
        life.acknowledge(one)
    life.run(*["c" * 200] * 4)
    assert life.alert("(bot)").state is AlertState.FIRING
    assert not {"escalated", "reminded"} & {kind for _, kind, _ in life.told}


def test_a_mute_of_the_group_mutes_its_members_and_those_who_join():
    life = Life().run(*["w"] * 4, ".")
    life.mute(10, rule="many_services", service="(bot)")
    assert {alert.state for alert in life.book.alerts} == {AlertState.MUTED}
    life.told.clear()
    life.run(*["w" * 19] * 5)
    assert life.told == []
    assert life.alert("e").state is AlertState.MUTED
    life.run(*["w" * 2] * 5)
    assert sorted(life.told) == [(630, "fired", "e"), *((630, "unmuted", one) for one in ("(bot)", *"abcd"))]


def test_a_muted_group_is_formed_in_silence_and_fires_when_the_mute_ends():
    life = Life()
    life.mute(10, rule="many_services")
    life.run(*["w" * 20] * 4)
    assert life.told == []
    life.run(*["w"] * 4)
    assert sorted(life.told) == [(600, "fired", one) for one in ("(bot)", *"abcd")]


def test_muting_members_one_by_one_leaves_the_group():
    life = Life().run(*["w"] * 4)
    life.mute(10, rule="error_rate")
    assert life.alert("(bot)").state is AlertState.FIRING
    assert life.alert("a").state is AlertState.MUTED


def test_a_group_that_grows_worse_says_so():
    life = Life().run("wwc", "www", "www", "www")
    assert [one for one in life.told if one[1] == "worsened"] == [(60, "worsened", "a"), (60, "worsened", "(bot)")]


def test_a_clock_that_is_set_back_raises_nothing_and_starts_the_waits_anew():
    life = Life().run("w")
    life.now_us -= 3_600_000_000
    life.run("w....")
    assert [kind for _, kind, _ in life.told] == ["fired", "resolved"]
    life.run("w" * 12)
    assert [kind for _, kind, _ in life.told] == ["fired", "resolved", "fired"]


def test_what_is_no_number_is_not_measured():
    life = Life()
    life.check({"a": "w"}, float("nan"))
    assert life.book.alerts == []


def test_what_fired_long_ago_is_forgotten():
    life = Life().run("w" + "." * 119)
    assert life.book.tracks.keys() == {Subject("error_rate", "a")}
    life.run("..")
    assert life.book.tracks == {}
