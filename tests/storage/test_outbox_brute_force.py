"""Compares the outbox with a plain list, across restarts and clean-ups."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cogmeter_storage import Retention
from cogmeter_storage.alerting import Alert, AlertChange, AlertState, Step
from cogmeter_storage.model import HOUR_US

NOON = 1_750_075_200_000_000
UIDS, TARGETS = ("a", "b"), ("log", "channel")

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("save"), st.lists(st.tuples(st.sampled_from(UIDS), st.sets(st.sampled_from(TARGETS))))),
        st.tuples(st.just("begin"), st.integers(0, 3)),
        st.tuples(st.sampled_from(["sent", "failed", "superseded"]), st.integers(0, 3)),
        st.tuples(st.just("retry"), st.tuples(st.integers(0, 3), st.integers(0, 50))),
        st.tuples(st.just("wait"), st.sampled_from([1, 20, HOUR_US])),
        st.tuples(st.sampled_from(["clean", "reopen"]), st.none()),
    ),
    max_size=25,
)


@dataclass
class Waiting:
    """A delivery that has not ended."""

    id: int
    alert: str
    target: str
    due_us: int
    attempts: int = 0
    begun_us: int | None = None


@dataclass
class Model:
    """The waiting deliveries in order, and the last receipt of every target."""

    now_us: int = NOON
    count: int = 0
    waiting: list[Waiting] = field(default_factory=list)
    receipts: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, alert, target):
        self.count += 1
        self.waiting.append(Waiting(self.count, alert, target, self.now_us))

    def heads(self, target):
        """Return the first delivery of each pair, as the store should return it."""
        seen = set()
        for one in self.waiting:
            pair = (one.alert, one.target)
            if pair not in seen and target in {None, one.target}:
                yield one, sum((other.alert, other.target) == pair for other in self.waiting) > 1
            seen.add(pair)

    def due(self, target):
        return [
            (one.id, one.alert, one.target, one.attempts, one.due_us, one.begun_us, more, self.receipts.get(key))
            for one, more in self.heads(target)
            if one.due_us <= self.now_us and (key := (one.alert, one.target))
        ]

    def next_due_us(self, target):
        return min((one.due_us for one, _ in self.heads(target)), default=None)


def step_of(uid, targets, at_us):
    measured = ("critical", "m", 0.2, 0.05, at_us)
    alert = Alert(uid, "slow", "s", "", AlertState.FIRING, "critical", "m", 0.05, 0.2, 0.2, *[at_us] * 4)
    return Step(alert, AlertChange(uid, "reminded", AlertState.FIRING, *measured), tuple(sorted(targets)))


async def take(alerting, model, step, value):
    if step == "save":
        await alerting.save([step_of(uid, targets, model.now_us) for uid, targets in value])
        for uid, targets in value:
            for target in sorted(targets):
                model.add(uid, target)
        return
    if step == "wait":
        model.now_us += value
        return
    place, delay = value if step == "retry" else (value, 0)
    heads = [one for one, _ in model.heads(None)]
    if place >= len(heads):
        return
    one = heads[place]
    if step == "begin":
        await alerting.begin(one.id, now_us=model.now_us)
        one.begun_us = model.now_us
        one.attempts += 1
    elif step == "retry":
        await alerting.end(one.id, outcome=step, now_us=model.now_us, due_us=model.now_us + delay)
        one.begun_us, one.due_us = None, model.now_us + delay
    else:
        receipt = f"message {one.id}" if step == "sent" else None
        await alerting.end(one.id, outcome=step, now_us=model.now_us, receipt=receipt)
        model.waiting.remove(one)
        if receipt:
            model.receipts[one.alert, one.target] = receipt


async def compare(alerting, model):
    for target in (None, *TARGETS):
        found = [
            (one.id, one.alert.uid, one.target, one.attempts, one.due_us, one.begun_us, one.superseded, one.receipt)
            for one in await alerting.due(model.now_us, target=target)
        ]
        assert found == model.due(target)
        assert await alerting.next_due_us(target) == model.next_due_us(target)


async def play(backend, steps):
    """Run the steps on the store and on the model, and compare after each."""
    model = Model()
    store = await backend.open()
    try:
        for step, value in steps:
            if step == "reopen":
                await store.close()
                store = await backend.open()
            elif step == "clean":
                await store.clean(Retention(raw_hours=0.5, hour_hours=1, day_hours=1), now_us=model.now_us)
            else:
                await take(store.alerting, model, step, value)
            await compare(store.alerting, model)
    finally:
        await store.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_the_outbox_agrees_with_a_list_of_what_waits(backend_class, steps):
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(backend_class(Path(folder)), steps))
