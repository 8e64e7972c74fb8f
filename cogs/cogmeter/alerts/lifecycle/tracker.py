"""The states of all subjects, and the transitions of one check. No I/O: a plan changes nothing until it is applied.

Many alerts that fire at the same time become a group. The group's own alert, its root, is the only one that is sent. It
follows the same rules as any alert, on a reading made of its members: it is breached while a member is active, has no
delay, and is resolved with the last member.
"""

from __future__ import annotations

import math
import uuid
from collections import Counter
from collections.abc import Generator
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from cogmeter.alerts.lifecycle import transitions
from cogmeter.alerts.lifecycle.subject_state import (
    DROPPED,
    DUE,
    NOTHING,
    EvaluationContext,
    SubjectState,
    Transition,
    rank,
    shifted,
    worth_storing,
)
from cogmeter.alerts.model import BOT, Limit, Reading, Subject
from cogmeter_storage.alerting import AlertState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cogmeter.alerts.lifecycle.subject_state import Policy
    from cogmeter_storage.alerting import Alert, Mute

T = TypeVar("T")
Plan: TypeAlias = dict[Subject, Transition]
Growing: TypeAlias = Generator[Plan, None, T]  # yields the plan whenever the caller may let other work run

MANY: Final = "many_services"
ROOT: Final = Subject(MANY, BOT)
NAMED: Final = 5  # services or rules in a message; of more, only the number
SLICE: Final = 25  # subjects; about 0.5 ms


class AlertTracker:
    """The states by subject, and the mutes. A root's subject has its uid as operation: several may be open."""

    def __init__(self, limit_of: Callable[[Subject], Limit], policy: Policy, mutes: Iterable[Mute] = ()) -> None:
        self.states: dict[Subject, SubjectState] = {}
        self.mutes = list(mutes)
        self._limit_of = limit_of
        self._policy = policy

    @property
    def alerts(self) -> list[Alert]:
        """The active alerts, with the newest figures, the oldest first."""
        active = (state.alert for state in self.states.values() if state.alert is not None)
        return sorted(active, key=lambda alert: (alert.started_us, alert.id))

    def restore(self, alerts: Iterable[Alert], now_us: int) -> None:
        """Add the alerts that an earlier run stored, the last changed first.

        The windows are empty after a start, so a missing reading does not resolve an alert within one recovery delay;
        only then the alert's own recovery delay begins.
        """
        for alert in alerts:
            subject = subject_of(alert)
            state = self.states.get(subject, SubjectState())
            if alert.fired_us is not None:
                state = replace(state, fires=tuple(sorted((*state.fires, alert.fired_us))))
            if alert.state.active and state.alert is not None:
                # A second alert of its subject, left by a store that failed: it ends like one without readings.
                self.states[subject] = state
                subject, state = replace(subject, operation=alert.uid), SubjectState()
            if alert.state.active:
                ready_us = now_us + round(self._limit(subject).recovery_s * 1e6)
                state = replace(state, alert=alert, stored=alert, severe_us=now_us, ready_us=ready_us)
            self._keep(subject, state)

    def shift(self, step_us: int) -> None:
        """Follow a step of the clock: alerts and mutes are as old as before."""
        self.states = {subject: shifted(state, step_us) for subject, state in self.states.items()}
        self.mutes = [
            replace(mute, since_us=mute.since_us + step_us, until_us=mute.until_us + step_us) for mute in self.mutes
        ]

    def find(self, uid: str) -> Subject | None:
        """Return the subject of an active alert."""
        matching = (subject for subject, state in self.states.items() if state.alert and state.alert.uid == uid)
        return next(matching, None)

    def check(
        self, readings: Iterable[Reading], now_us: int, not_judged: Mapping[Subject, str] = MappingProxyType({})
    ) -> Growing[None]:
        """Yield the plan of a check with these readings, as it grows; the last one is complete.

        ``not_judged`` says why a subject without a reading cannot be compared now.
        """
        self._forget(now_us)
        measured = {
            reading.subject: reading
            for reading in readings
            if not math.isnan(reading.current) and not math.isnan(reading.threshold)
        }
        roots = self._roots()
        plan: Plan = {}
        for count, subject in enumerate(dict.fromkeys((*self.states, *measured)), 1):
            state = self.states.get(subject, SubjectState())
            if subject.rule != MANY and (state.alert is not None or subject in measured):
                context = self._context(subject, state, roots, now_us)
                if subject in not_judged:
                    context = replace(context, not_judged=not_judged[subject])
                plan[subject] = transitions.advance(state, measured.get(subject), context)
            if count % SLICE == 0:
                yield plan
        joined = yield from self._fire(plan, roots, now_us)
        yield from self._update_roots(plan, joined, now_us)
        yield plan

    def acknowledge(self, subject: Subject, actor: str, now_us: int) -> Plan:
        """Return the plan that acknowledges an alert and its group's members; empty if it is acknowledged already."""
        state = self.states[subject]
        first = transitions.acknowledge(state, actor, now_us)
        if first is None or state.alert is None:
            return {}
        plan = {subject: first}
        for member_subject, member in self._members(state.alert.uid).items():
            transition = transitions.acknowledge(member, actor, now_us)
            if transition is not None:
                plan[member_subject] = transition
        return plan

    def mute_of(self, service: str, rule: str, now_us: int) -> Mute | None:
        """Return the active mute of exactly this service and rule that ends last; None if there is none."""
        active = (mute for mute in self.mutes if mute.since_us <= now_us < mute.until_us)
        same = (mute for mute in active if (mute.service, mute.rule) == (service, rule))
        return max(same, key=_until, default=None)

    def follow_mutes(self, now_us: int, actor: str = "") -> Plan:
        """Return the plan for the alerts that have fired, after mutes have changed."""
        roots = self._roots()
        changed = {
            subject: transitions.follow_mutes(state, self._context(subject, state, roots, now_us, actor))
            for subject, state in self.states.items()
        }
        return {subject: transition for subject, transition in changed.items() if transition is not None}

    def worth_storing(self, transition: Transition) -> bool:
        """Return True if a transition has to be stored, for its change or for its figures."""
        return transition.changes or worth_storing(transition.after)

    def apply(self, plan: Plan, stored: Mapping[str, Alert]) -> None:
        """Apply a plan; ``stored`` are the alerts by uid as the store returned them."""
        for subject, transition in plan.items():
            state = transition.after
            alert = None if state.alert is None else stored.get(state.alert.uid)
            if alert is not None:
                state = replace(state, alert=alert if alert.state.active else None, stored=alert)
            self._keep(subject, state)

    def adopt(self, alerts: Iterable[Alert]) -> bool:
        """Follow what another process has changed in active alerts; return True if there was anything."""
        known = {state.alert.uid: subject for subject, state in self.states.items() if state.alert is not None}
        changed = False
        for alert in alerts:
            subject = known.get(alert.uid)
            tracked = None if subject is None else self.states[subject].alert
            if subject is not None and tracked is not None and tracked.version != alert.version:
                self.states[subject] = replace(self.states[subject], alert=alert, stored=alert)
                changed = True
        return changed

    def replace_stored(self, stored: Iterable[Alert]) -> None:
        """Replace active alerts by those that another store returned."""
        for alert in stored:
            subject = self.find(alert.uid)
            if subject is not None:
                self.states[subject] = replace(self.states[subject], alert=alert, stored=alert)

    def apply_figures(self, plan: Plan) -> None:
        """Apply the figures of a plan that could not be stored, without its changes."""
        for subject, transition in plan.items():
            if subject.rule == MANY and subject not in self.states:
                continue  # a group that was not stored
            self._keep(subject, transition.after if transition.kind in {NOTHING, DROPPED} else transition.before)

    def _keep(self, subject: Subject, state: SubjectState) -> None:
        if state.alert is None and (subject.rule == MANY or not state.fires):
            self.states.pop(subject, None)
        else:
            self.states[subject] = state

    def _forget(self, now_us: int) -> None:
        """Remove mutes that have ended, and subjects that fired longer ago than the policy's memory."""
        self.mutes = [mute for mute in self.mutes if mute.until_us > now_us]
        memory_us = self._policy.memory_us
        idle = [subject for subject, state in self.states.items() if state.alert is None]
        for subject in idle:
            if now_us - max(self.states[subject].fires) >= memory_us:
                del self.states[subject]

    def _fire(self, plan: Plan, roots: dict[str, Alert], now_us: int) -> Growing[dict[Subject, list[Alert]]]:
        """Fire what is due: alone, in the open group, or in a new group. Return the alerts that joined, by root."""
        alone = []
        for count, (subject, transition) in enumerate(plan.items(), 1):
            if count % SLICE == 0:
                yield plan
            if transition.kind != DUE or transition.after.alert is None:
                continue
            context = self._context(subject, transition.after, roots, now_us)
            root = roots.get(transition.after.alert.group)
            if context.mute is not None:
                plan[subject] = transitions.mute_pending(transition.before, context.mute, context)
            elif root is not None:
                plan[subject] = transitions.fire(transition.before, context, root)
            else:
                alone.append(subject)
        root = self._open_root(roots, now_us)
        if root is None and len(alone) < self._policy.group_from:
            for subject in alone:
                plan[subject] = transitions.fire(
                    plan[subject].before, self._context(subject, SubjectState(), {}, now_us)
                )
            return {}
        return (yield from self._fire_together(plan, alone, root, now_us)) if alone else {}

    def _fire_together(
        self, plan: Plan, alone: Sequence[Subject], root: Alert | None, now_us: int
    ) -> Growing[dict[Subject, list[Alert]]]:
        members = [alert for subject in alone if (alert := plan[subject].before.alert) is not None]
        if root is None:
            root = self._new_root(plan, members, now_us)
            joined = {}
        else:
            joined = {subject_of(root): members}
        mute = self._mute_over(ROOT, now_us)
        for count, subject in enumerate(alone, 1):
            context, before = self._context(subject, SubjectState(), {}, now_us), plan[subject].before
            muted = None if mute is None else transitions.mute_pending(before, mute, context, root)
            plan[subject] = muted or transitions.fire(before, context, root)
            if count % SLICE == 0:
                yield plan
        return joined

    def _new_root(self, plan: Plan, members: Sequence[Alert], now_us: int) -> Alert:
        reading = _group_reading(members, self._policy)
        context = self._context(ROOT, SubjectState(), {}, now_us)
        # Its members do not fire yet, and it is not measured again in this check.
        due = transitions.advance(SubjectState(), reading and replace(reading, breached=True), context)
        transition = (
            transitions.fire(due.before, context)
            if context.mute is None
            else transitions.mute_pending(due.before, context.mute, context)
        )
        root = transition.after.alert
        assert root is not None, "it fires or is muted"
        plan[subject_of(root)] = transition
        return root

    def _update_roots(self, plan: Plan, joined: Mapping[Subject, list[Alert]], now_us: int) -> Growing[None]:
        """Add the transitions of the roots, which depend on their members."""
        for subject, state in self.states.items():
            if subject.rule != MANY or state.alert is None:
                continue
            yield plan
            planned = (transition.after.alert for transition in plan.values())
            grouped = (alert for alert in planned if alert is not None and alert.group == state.alert.uid)
            members = [alert for alert in grouped if alert.state.active]
            reading = _group_reading(members, self._policy)
            context = self._context(subject, state, {}, now_us)
            if subject in joined and reading is not None:
                plan[subject] = transitions.join(state, reading, context, _joiners(joined[subject]))
                continue
            transition = transitions.advance(state, reading, context)
            plan[subject] = transitions.fire(transition.before, context) if transition.kind == DUE else transition

    def _open_root(self, roots: Mapping[str, Alert], now_us: int) -> Alert | None:
        """Return the root of the newest group that still accepts members."""
        join_us = self._policy.join_s * 1e6
        young = [root for root in roots.values() if now_us - root.started_us < join_us]
        return max(young, key=lambda root: root.started_us, default=None)

    def _roots(self) -> dict[str, Alert]:
        states = (state for subject, state in self.states.items() if subject.rule == MANY)
        return {state.alert.uid: state.alert for state in states if state.alert is not None}

    def _members(self, uid: str) -> dict[Subject, SubjectState]:
        return {
            subject: state
            for subject, state in self.states.items()
            if state.alert is not None and state.alert.group == uid
        }

    def _context(
        self, subject: Subject, state: SubjectState, roots: Mapping[str, Alert], now_us: int, actor: str = ""
    ) -> EvaluationContext:
        in_group = state.alert is not None and state.alert.group in roots
        mute = self._mute_over(subject, now_us)
        if in_group:  # a mute of the group mutes its members
            group_mute = self._mute_over(ROOT, now_us)
            mute = max((active for active in (mute, group_mute) if active), key=_until, default=None)
        return EvaluationContext(now_us, self._limit(subject), self._policy, _new_uid, mute, in_group, actor)

    def _limit(self, subject: Subject) -> Limit:
        return _root_limit(self._policy) if subject.rule == MANY else self._limit_of(subject)

    def _mute_over(self, subject: Subject, now_us: int) -> Mute | None:
        covering = (mute for mute in self.mutes if mute.covers(subject.rule, subject.service, now_us))
        return max(covering, key=_until, default=None)


def subject_of(alert: Alert) -> Subject:
    """Return the subject under which the tracker keeps an alert."""
    return Subject(alert.rule, alert.service, alert.uid if alert.rule == MANY else alert.operation)


def _until(mute: Mute) -> int:
    return mute.until_us


def _new_uid() -> str:
    return uuid.uuid4().hex


def _root_limit(policy: Policy) -> Limit:
    """Return the limit of a root: its members have waited already."""
    return Limit(threshold=policy.group_from, recovery=0, for_s=0, recovery_s=0, min_operations=0)


def _group_reading(members: Sequence[Alert], policy: Policy) -> Reading | None:
    """Return a group's reading: the number of its active members; None when all are resolved.

    It is breached while a member fires: there is no reminder when every member is acknowledged or muted.
    """
    if not members:
        return None
    return Reading(
        subject=ROOT,
        current=len(members),
        threshold=policy.group_from,
        message=_group_message(members),
        severity=max((member.severity for member in members), key=rank),
        breached=any(member.state is AlertState.FIRING for member in members),
    )


def _group_message(members: Sequence[Alert]) -> str:
    """Return "12 services have alerts: error rate (7), response time (5)"."""
    services = _services(members)
    rules = Counter(member.rule.replace("_", " ") for member in members)
    if len(services) == 1:
        return f"{services[0]} has several alerts: {_listed(list(rules))}"
    parts = [f"{rule} ({count})" for rule, count in rules.most_common()]
    return f"{len(services)} services have alerts: {_listed(parts)}"


def _services(alerts: Iterable[Alert]) -> list[str]:
    """Return the services of the alerts, each once, in their order."""
    return list(dict.fromkeys(alert.service for alert in alerts))


def _joiners(alerts: Sequence[Alert]) -> str:
    """Return the note of a change: the services that joined."""
    return _listed(_services(alerts))


def _listed(words: Sequence[str]) -> str:
    more = len(words) - NAMED
    return ", ".join(words[:NAMED]) + (f" and {more} more" if more > 0 else "")
