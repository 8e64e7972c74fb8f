"""Receipts: remembered until nothing more can come of them, and named within bounds."""

from __future__ import annotations

import pytest

from cogmeter.recorder import OTHER
from cogmeter.watch import receipts as module
from cogmeter.watch.receipts import COMMAND, COMPONENT, MODAL, Receipts, label_of
from cogmeter_storage import Outcome


@pytest.fixture
def receipts(recorder):
    return Receipts(recorder, slow_ms=1000)


def payload(number, kind=COMMAND, **data):
    return {"id": str(number), "type": kind, "data": data or {"name": "ask"}}


def press(number, custom_id):
    return payload(number, COMPONENT, custom_id=custom_id)


@pytest.mark.parametrize("order", [("finish", "acknowledge"), ("acknowledge", "finish")])
def test_a_receipt_is_forgotten_when_it_is_both_finished_and_acknowledged(receipts, order):
    receipt = receipts.arrive(payload(1))
    steps = {
        "finish": lambda: receipts.finish(receipt, "discord.commands", "ask"),
        "acknowledge": lambda: receipts.acknowledge(receipt),
    }
    steps[order[0]]()
    assert receipts.get(1) is receipt
    steps[order[1]]()
    assert (receipts.get(1), len(receipts)) == (None, 0)


def test_one_of_our_own_is_not_recorded_but_forgotten_like_the_others(receipts, recorded):
    receipt = receipts.arrive(payload(1))
    receipt.own = True
    receipts.finish(receipt, "discord.commands", "perf", outcome=Outcome.ERROR, error="x")
    receipts.acknowledge(receipt)
    assert (recorded(), len(receipts), len(receipts.traces)) == ([], 0, 0)


def test_a_receipt_is_forgotten_when_its_token_is_dead(receipts, monkeypatch):
    receipts.arrive(payload(1))
    monkeypatch.setattr(module, "LIFE_NS", -1)
    receipts.arrive(payload(2))
    assert receipts.get(1) is None


def test_more_than_can_be_remembered_push_the_oldest_out(receipts, monkeypatch):
    monkeypatch.setattr(module, "MOST", 3)
    for number in range(1, 6):
        receipts.arrive(payload(number))
    assert [number for number in range(1, 6) if receipts.get(number)] == [3, 4, 5]


def test_what_no_view_claims_has_a_bounded_number_of_names(receipts, monkeypatch):
    monkeypatch.setattr(module, "MOST_TEMPLATES", 2)
    words = ["alpha", "beta", "gamma", "alpha"]
    found = [receipts.arrive(press(number, f"search:{word}")) for number, word in enumerate(words, 1)]
    assert [receipts.name_of(one) for one in found] == ["search:alpha", "search:beta", OTHER, "search:alpha"]
    found[2].owned, found[2].label = True, "Search.go"
    assert receipts.name_of(found[2]) == "Search.go"


def test_a_component_is_labelled_by_the_template_of_its_custom_id_from_its_arrival_on(receipts):
    assert receipts.arrive(press(1, "vote:81234:yes")).label == "vote:{}:yes"
    assert label_of(payload(2, MODAL, custom_id="form-9")) == "form-{}"


def test_commands_belong_to_the_bot_and_components_to_whoever_claims_them(receipts):
    assert receipts.arrive(payload(1)).owned
    assert not receipts.arrive(press(2, "x")).owned


def test_only_who_looks_after_acknowledgements_is_told_of_arrivals(receipts):
    receipts.arrive(payload(1))
    receipts.waiting = module.deque()
    second = receipts.arrive(payload(2))
    assert list(receipts.waiting) == [second]
