"""All that the engine knows, and what one check makes of it. No I/O: a plan changes nothing until it is entered."""

from __future__ import annotations

import math
import uuid
from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from cogmeter.alerts.lifecycle import grouping, transitions
from cogmeter.alerts.lifecycle.grouping import MANY, ROOT
from cogmeter.alerts.lifecycle.subject_state import (
    DROPPED,
    DUE,
    NOTHING,
    EvaluationContext,
    SubjectState,
    Transition,
    shifted,
    worth_storing,
)
from cogmeter.alerts.model import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cogmeter.alerts.lifecycle.policy import Policy
    from cogmeter.alerts.model import Limit, Reading
    from cogmeter_storage.alerting import Alert, Mute

T = TypeVar("T")
Plan: TypeAlias = dict[Subject, Transition]
Growing: TypeAlias = Generator[Plan, None, T]  # yields the plan whenever the caller may give way to others

SLICE: Final = 25  # subjects; some 0.5 ms


class AlertTracker:
    """Tracks by subject, and the mutes. A root's subject bears its uid as operation: several may be open at once."""

    def __init__(self, limit_of: Callable[[Subject], Limit], policy: Policy, mutes: Iterable[Mute] = ()) -> None:
        self.tracks: dict[Subject, SubjectState] = {}
        self.mutes = list(mutes)
        self._limit_of = limit_of
        self._policy = policy

    @property
    def alerts(self) -> list[Alert]:
        """Those that are not resolved, with the newest figures, the oldest first."""
        found = [track.alert for track in self.tracks.values() if track.alert is not None]
        return sorted(found, key=lambda alert: (alert.started_us, alert.id))

    def recall(self, alerts: Iterable[Alert], now_us: int) -> None:
        """Take in what a run before has stored, the last changed first.

        The windows are empty after a start, so that for one recovery delay the absence of a subject that is not
        measured says nothing; only then its own recovery delay begins.
        """
        for alert in alerts:
            subject = subject_of(alert)
            track = self.tracks.get(subject, SubjectState())
            if alert.fired_us is not None:
                track = replace(track, fires=tuple(sorted((*track.fires, alert.fired_us))))
            if alert.state.active and track.alert is not None:
                # Another one of its subject, left by a store that failed: it ends like any that is not measured.
                self.tracks[subject] = track
                subject, track = replace(subject, operation=alert.uid), SubjectState()
            if alert.state.active:
                ready_us = now_us + round(self._limit(subject).recovery_s * 1e6)
                track = replace(track, alert=alert, stored=alert, stored_us=now_us, severe_us=now_us, ready_us=ready_us)
            self._keep(subject, track)

    def shift(self, step_us: int) -> None:
        """Follow a step of the clock: what is active, and what waits, is as old as it was before."""
        self.tracks = {subject: shifted(track, step_us) for subject, track in self.tracks.items()}
        self.mutes = [
            replace(mute, since_us=mute.since_us + step_us, until_us=mute.until_us + step_us) for mute in self.mutes
        ]

    def find(self, uid: str) -> Subject | None:
        """The subject of an active alert."""
        return next((one for one, track in self.tracks.items() if track.alert and track.alert.uid == uid), None)

    def check(self, readings: Iterable[Reading], now_us: int) -> Growing[None]:
        """What becomes of everything, when these readings are all that there are.

        Yields the plan as it grows, so that the caller can give way to others; the last one is whole.
        """
        self._forget(now_us)
        found = {one.subject: one for one in readings if not math.isnan(one.current) and not math.isnan(one.threshold)}
        roots = self._roots()
        plan: Plan = {}
        for count, subject in enumerate((*self.tracks, *(one for one in found if one not in self.tracks)), 1):
            track = self.tracks.get(subject, SubjectState())
            if subject.rule != MANY and (track.alert is not None or subject in found):
                at = self._moment(subject, track, roots, now_us)
                plan[subject] = transitions.advance(track, found.get(subject), at)
            if count % SLICE == 0:
                yield plan
        joined = yield from self._fire(plan, roots, now_us)
        yield from self._lead(plan, joined, now_us)
        yield plan

    def acknowledge(self, subject: Subject, actor: str, now_us: int) -> Plan:
        """What becomes of an alert, and of those that it speaks for, when it is taken up; nothing the next time."""
        track = self.tracks[subject]
        first = transitions.acknowledge(track, actor, now_us)
        if first is None or track.alert is None:
            return {}
        members = self._members(track.alert.uid)
        moves = {one: transitions.acknowledge(member, actor, now_us) for one, member in members.items()}
        return {subject: first} | {one: move for one, move in moves.items() if move is not None}

    def mute_of(self, service: str, rule: str, now_us: int) -> Mute | None:
        """Return the active mute of exactly this service and rule that ends last; None if there is none."""
        active = (one for one in self.mutes if one.since_us <= now_us < one.until_us)
        same = (one for one in active if (one.service, one.rule) == (service, rule))
        return max(same, key=lambda one: one.until_us, default=None)

    def follow_mutes(self, now_us: int, actor: str = "") -> Plan:
        """What becomes of the alerts that were told, after mutes have changed."""
        roots = self._roots()
        moves = {
            subject: transitions.follow_mutes(track, self._moment(subject, track, roots, now_us, actor))
            for subject, track in self.tracks.items()
        }
        return {subject: move for subject, move in moves.items() if move is not None}

    def worth_storing(self, move: Transition, now_us: int) -> bool:
        """Whether a move is to be stored: for its change, or for its figures."""
        return move.changes or worth_storing(move.after, self._policy, now_us)

    def enter(self, plan: Plan, stored: Mapping[str, Alert], now_us: int) -> None:
        """Let the plan hold; ``stored`` are the alerts by uid as the store has given them back."""
        for subject, move in plan.items():
            track = move.after
            alert = None if track.alert is None else stored.get(track.alert.uid)
            if alert is not None:
                track = replace(track, alert=alert if alert.state.active else None, stored=alert, stored_us=now_us)
            self._keep(subject, track)

    def take(self, stored: Iterable[Alert], now_us: int) -> None:
        """Let active alerts be as another store has given them back."""
        for alert in stored:
            subject = self.find(alert.uid)
            if subject is not None:
                self.tracks[subject] = replace(self.tracks[subject], alert=alert, stored=alert, stored_us=now_us)

    def enter_figures(self, plan: Plan) -> None:
        """Let only what was measured hold: nothing could be stored, and so nothing has happened."""
        for subject, move in plan.items():
            if subject.rule == MANY and subject not in self.tracks:
                continue  # a group that was never formed
            self._keep(subject, move.after if move.kind in {NOTHING, DROPPED} else move.before)

    def _keep(self, subject: Subject, track: SubjectState) -> None:
        if track.alert is None and (subject.rule == MANY or not track.fires):
            self.tracks.pop(subject, None)
        else:
            self.tracks[subject] = track

    def _forget(self, now_us: int) -> None:
        """Let go of mutes that are over and of subjects that fired too long ago to matter."""
        self.mutes = [mute for mute in self.mutes if mute.until_us > now_us]
        memory_us = self._policy.memory_us
        idle = [one for one, track in self.tracks.items() if track.alert is None]
        for subject in idle:
            if now_us - max(self.tracks[subject].fires) >= memory_us:
                del self.tracks[subject]

    def _fire(self, plan: Plan, roots: dict[str, Alert], now_us: int) -> Growing[dict[Subject, list[Alert]]]:
        """Fire what is due: alone, with the group that is open, or as a new group. Returns who joined which root."""
        alone = []
        for count, (subject, move) in enumerate(plan.items(), 1):
            if count % SLICE == 0:
                yield plan
            if move.kind != DUE or move.after.alert is None:
                continue
            at = self._moment(subject, move.after, roots, now_us)
            root = roots.get(move.after.alert.group)
            if at.mute is not None:
                plan[subject] = transitions.muffle(move.before, at.mute, at)
            elif root is not None:
                plan[subject] = transitions.fire(move.before, at, root)
            else:
                alone.append(subject)
        root = self._open_root(roots, now_us)
        if root is None and len(alone) < self._policy.group_from:
            for subject in alone:
                plan[subject] = transitions.fire(
                    plan[subject].before, self._moment(subject, SubjectState(), {}, now_us)
                )
            return {}
        return (yield from self._fire_together(plan, alone, root, now_us)) if alone else {}

    def _fire_together(
        self, plan: Plan, alone: Sequence[Subject], root: Alert | None, now_us: int
    ) -> Growing[dict[Subject, list[Alert]]]:
        members = [alert for one in alone if (alert := plan[one].before.alert) is not None]
        if root is None:
            root = self._new_root(plan, members, now_us)
            joined = {}
        else:
            joined = {subject_of(root): members}
        mute = self._mute_over(ROOT, now_us)
        for count, subject in enumerate(alone, 1):
            at, before = self._moment(subject, SubjectState(), {}, now_us), plan[subject].before
            quiet = None if mute is None else transitions.muffle(before, mute, at, root)
            plan[subject] = quiet or transitions.fire(before, at, root)
            if count % SLICE == 0:
                yield plan
        return joined

    def _new_root(self, plan: Plan, members: Sequence[Alert], now_us: int) -> Alert:
        reading = grouping.reading_of(members, self._policy)
        at = self._moment(ROOT, SubjectState(), {}, now_us)
        # Its members are due and not firing yet, and it is not measured again in this check.
        due = transitions.advance(SubjectState(), reading and replace(reading, breached=True), at)
        move = transitions.fire(due.before, at) if at.mute is None else transitions.muffle(due.before, at.mute, at)
        root = move.after.alert
        assert root is not None, "it has fired or is muted"
        plan[subject_of(root)] = move
        return root

    def _lead(self, plan: Plan, joined: Mapping[Subject, list[Alert]], now_us: int) -> Growing[None]:
        """Move the roots after their members."""
        for subject, track in self.tracks.items():
            if subject.rule != MANY or track.alert is None:
                continue
            yield plan
            tracks = (move.after for move in plan.values())
            uid = track.alert.uid
            members = [one for to in tracks if (one := to.alert) is not None and one.group == uid and one.state.active]
            reading = grouping.reading_of(members, self._policy)
            at = self._moment(subject, track, {}, now_us)
            if subject in joined and reading is not None:
                plan[subject] = transitions.join(track, reading, at, grouping.joiners(joined[subject]))
                continue
            move = transitions.advance(track, reading, at)
            plan[subject] = transitions.fire(move.before, at) if move.kind == DUE else move

    def _open_root(self, roots: Mapping[str, Alert], now_us: int) -> Alert | None:
        """The youngest group that still takes members."""
        join_us = self._policy.join_s * 1e6
        young = [root for root in roots.values() if now_us - root.started_us < join_us]
        return max(young, key=lambda root: root.started_us, default=None)

    def _roots(self) -> dict[str, Alert]:
        tracks = (track for subject, track in self.tracks.items() if subject.rule == MANY)
        return {track.alert.uid: track.alert for track in tracks if track.alert is not None}

    def _members(self, uid: str) -> dict[Subject, SubjectState]:
        return {
            one: track for one, track in self.tracks.items() if track.alert is not None and track.alert.group == uid
        }

    def _moment(
        self, subject: Subject, track: SubjectState, roots: Mapping[str, Alert], now_us: int, actor: str = ""
    ) -> EvaluationContext:
        spoken_for = track.alert is not None and track.alert.group in roots
        mute = self._mute_over(subject, now_us)
        if spoken_for:  # what mutes a group mutes its members
            mute = max((one for one in (mute, self._mute_over(ROOT, now_us)) if one), key=_until, default=None)
        return EvaluationContext(now_us, self._limit(subject), self._policy, _new_uid, mute, spoken_for, actor)

    def _limit(self, subject: Subject) -> Limit:
        return grouping.root_limit(self._policy) if subject.rule == MANY else self._limit_of(subject)

    def _mute_over(self, subject: Subject, now_us: int) -> Mute | None:
        covering = (mute for mute in self.mutes if mute.covers(subject.rule, subject.service, now_us))
        return max(covering, key=_until, default=None)


def subject_of(alert: Alert) -> Subject:
    """What the book knows an alert by."""
    return Subject(alert.rule, alert.service, alert.uid if alert.rule == MANY else alert.operation)


def _until(mute: Mute) -> int:
    return mute.until_us


def _new_uid() -> str:
    return uuid.uuid4().hex
