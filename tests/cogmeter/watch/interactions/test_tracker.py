"""Pending interactions: remembered until nothing more can happen to them, and named within bounds."""

from __future__ import annotations

import time

import discord
import pytest

from cogmeter.recording.operation import now_ns
from cogmeter.recording.recorder import OTHER
from cogmeter.recording.tracing import MAX_SPANS, Span
from cogmeter.watch.interactions import tracker as module
from cogmeter.watch.interactions.tracker import (
    AUTOCOMPLETE,
    COMMAND,
    COMPONENT,
    MODAL,
    InteractionTracker,
    PendingInteraction,
    label_of,
)
from cogmeter_storage import Outcome


@pytest.fixture
def tracker(recorder):
    return InteractionTracker(recorder, slow_ms=1000)


def payload(number, kind=COMMAND, **data):
    return {"id": str(number), "type": kind, "data": data or {"name": "ask"}}


def press(number, custom_id):
    return payload(number, COMPONENT, custom_id=custom_id)


@pytest.mark.parametrize("order", [("finish", "acknowledge"), ("acknowledge", "finish")])
def test_a_receipt_is_forgotten_when_it_is_both_finished_and_acknowledged(tracker, order):
    pending = tracker.arrive(payload(1))
    steps = {
        "finish": lambda: tracker.finish(pending, "discord.commands", "ask"),
        "acknowledge": lambda: tracker.acknowledge(pending),
    }
    steps[order[0]]()
    assert tracker.get(1) is pending
    steps[order[1]]()
    assert (tracker.get(1), len(tracker)) == (None, 0)


def test_one_of_our_own_is_not_recorded_but_forgotten_like_the_others(tracker, recorded):
    pending = tracker.arrive(payload(1))
    pending.own = True
    tracker.finish(pending, "discord.commands", "perf", outcome=Outcome.ERROR, error="x")
    tracker.acknowledge(pending)
    assert (recorded(), len(tracker), len(tracker.traces)) == ([], 0, 0)


def test_a_receipt_is_forgotten_when_its_token_is_dead(tracker, monkeypatch):
    tracker.arrive(payload(1))
    monkeypatch.setattr(module, "LIFE_NS", -1)
    tracker.arrive(payload(2))
    assert tracker.get(1) is None


def test_more_than_can_be_remembered_push_the_oldest_out(tracker, monkeypatch):
    monkeypatch.setattr(module, "MOST", 3)
    for number in range(1, 6):
        tracker.arrive(payload(number))
    assert [number for number in range(1, 6) if tracker.get(number)] == [3, 4, 5]


def test_what_no_view_claims_has_a_bounded_number_of_names(tracker, monkeypatch):
    monkeypatch.setattr(module, "MOST_TEMPLATES", 2)
    words = ["alpha", "beta", "gamma", "alpha"]
    found = [tracker.arrive(press(number, f"search:{word}")) for number, word in enumerate(words, 1)]
    assert [tracker.name_of(one) for one in found] == ["search:alpha", "search:beta", OTHER, "search:alpha"]
    found[2].owned, found[2].label = True, "Search.go"
    assert tracker.name_of(found[2]) == "Search.go"


def test_a_component_is_labelled_by_the_template_of_its_custom_id_from_its_arrival_on(tracker):
    assert tracker.arrive(press(1, "vote:81234:yes")).label == "vote:{}:yes"
    assert label_of(payload(2, MODAL, custom_id="form-9")) == "form-{}"


def test_commands_belong_to_the_bot_and_components_to_whoever_claims_them(tracker):
    assert tracker.arrive(payload(1)).owned
    assert not tracker.arrive(press(2, "x")).owned


def test_arrivals_are_queued_only_while_acknowledgements_are_watched(tracker):
    tracker.arrive(payload(1))
    tracker.waiting = module.deque()
    second = tracker.arrive(payload(2))
    assert list(tracker.waiting) == [second]


class Interaction:
    """The attributes of discord.py's interaction that a pending interaction is made of."""

    def __init__(self, number):
        self.id = number
        self.type = discord.InteractionType.application_command
        self.data = {"name": "ask"}
        self.user = discord.Object(80351110224678912)
        self.guild_id, self.channel_id = 197038439483310086, 381887213238583306
        self.locale, self.context = discord.Locale.german, discord.app_commands.AppCommandContext(guild=True)

    def is_user_integration(self):
        return True

    def is_guild_integration(self):
        return False


def test_an_interaction_whose_arrival_was_not_seen_arrives_when_it_is_requested(tracker):
    pending = tracker.of(Interaction(1))
    assert (pending.id, pending.kind, pending.label) == (1, COMMAND, "ask")
    assert (pending.who.context, pending.who.locale) == ("user_install", "de")
    assert tracker.of(Interaction(1)) is tracker.get(1) is pending


def options(kind, name, *inside, **more):
    return {"type": kind, "name": name, "options": list(inside), **more}


def test_a_command_is_labelled_by_its_qualified_name_and_an_autocomplete_by_its_option_too(tracker):
    word = {"type": 3, "name": "word", "value": "a", "focused": True}
    other = {"type": 3, "name": "other", "value": "a"}
    data = {"name": "tags", "options": [options(2, "mine", options(1, "find", other, word))]}
    assert label_of({"type": COMMAND, "data": data}) == "tags mine find"
    assert label_of({"type": AUTOCOMPLETE, "data": data}) == "tags mine find word"
    assert label_of({"type": COMMAND, "data": {"name": "x" * 200}}) == "x" * 99 + "…"
    assert label_of({"type": COMMAND, "data": {"name": "who\nis"}}) == "who?is"


def test_a_receipt_that_is_made_late_still_says_when_it_arrived():
    pending = PendingInteraction(0, 0, "ask", now_ns() - 5_000_000_000)
    assert 5_000_000 <= time.time_ns() // 1000 - pending.arrived_wall_us < 60_000_000


@pytest.mark.parametrize(
    ("error", "outcome", "text"),
    [
        (None, Outcome.OK, None),
        (KeyError("x"), Outcome.ERROR, "KeyError: 'x'"),
        (discord.app_commands.CheckFailure("no"), Outcome.USER, "CheckFailure: no"),
    ],
    ids=["fine", "error", "user"],
)
def test_it_ends_by_the_exception_that_ended_it_and_only_once(tracker, recorded, error, outcome, text):
    pending = tracker.arrive(payload(1))
    tracker.end(pending, "discord.commands", "ask", error)
    tracker.end(pending, "discord.commands", "ask", ValueError("later"))
    assert [(one.operation, one.outcome, one.error) for one in recorded()] == [("ask", outcome, text)]


def test_the_age_is_that_of_the_first_response_once_one_was_sent(tracker):
    pending = tracker.arrive(payload(1))
    assert pending.sent_age_ns >= 0
    pending.sent_ns = pending.start_ns + 7
    assert pending.sent_age_ns == 7


def test_slow_and_failed_ones_keep_their_tree_and_quick_refused_and_typed_ones_do_not(recorder):
    tracker = InteractionTracker(recorder, slow_ms=1000)
    slow, failed, quick, refused = (tracker.arrive(payload(number)) for number in range(1, 5))
    typed = tracker.arrive(payload(5, AUTOCOMPLETE))
    slow.start_ns -= 1_000_000_000
    for number in range(MAX_SPANS + 3):
        slow.close(Span(slow.open(), 0, "search", "find", 2_000 * number, 1_500, Outcome.OK))
    for pending, error in ((slow, None), (failed, KeyError("x")), (quick, None), (typed, KeyError("x"))):
        tracker.end(pending, "discord.commands", "ask", error)
    tracker.finish(refused, "discord.commands", "ask", outcome=Outcome.USER)
    one, other = tracker.traces
    assert (one.outcome, one.error, len(one.spans), one.left_out) == (Outcome.OK, None, MAX_SPANS, 3)
    assert (one.spans[2].start_us, one.spans[2].duration_us, one.spans[2].id) == (4, 1, 3)
    assert (other.operation, other.outcome, other.error) == ("ask", Outcome.ERROR, "KeyError: 'x'")
