"""The engine: compares readings with the stored alert states, stores each transition, then triggers delivery."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cogmeter.alerts.leadership import Term
from cogmeter.alerts.lifecycle.subject_state import DROPPED
from cogmeter.alerts.lifecycle.tracker import MANY, SLICE, AlertTracker
from cogmeter.alerts.rules import RULES
from cogmeter.recording.background import detached
from cogmeter.startup import StartupGuard
from cogmeter_storage.alerting import ACTIVE, AlertChange, AlertState, Step
from cogmeter_storage.base import StorageError
from cogmeter_storage.lease import ChangedAlertError, LostLeadError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence

    from cogmeter.alerts.lifecycle.subject_state import Policy, Transition
    from cogmeter.alerts.lifecycle.tracker import Plan
    from cogmeter.alerts.model import Limit, Reading, Subject
    from cogmeter_storage.alerting import Alert, Mute
    from cogmeter_storage.base import Store

T = TypeVar("T")

PAGE: Final = 1_000  # alerts per query
SAME_MUTE_US: Final = 60_000_000  # a repeated request for a mute ends at most this, or a tenth of its length, later
ATTEMPTS: Final = 5  # at an acknowledgement, while other processes change the same alert
MUTES, ALERTS = "mutes", "alerts"  # the parts that are restored at the start

_logger = logging.getLogger("cogmeter.alerts")


class UnknownAlertError(LookupError):
    """There is no such alert; the text is for users."""


class ClosedAlertError(ValueError):
    """The alert is already resolved; the text is for users."""


class UnevaluatedAlertError(ClosedAlertError):
    """The alert is stored as active, but this version does not evaluate it; the text is for users."""


class AlertEngine:
    """The lifecycle of all alerts; ``transitions.py`` has that of one alert, ``tracker.py`` the groups.

    All transitions of a check are stored in one transaction, with their deliveries; ``wake`` is called afterwards. A
    transition that cannot be stored has not happened, and is due again at the next check. Calls run one at a time, and
    finish even if their caller is cancelled, so that memory and store never differ.
    """

    def __init__(
        self,
        store: Store,
        limit_of: Callable[[Subject], Limit],
        policy: Policy,
        *,
        targets: Callable[[Alert], tuple[str, ...]],
        wake: Callable[[], None],
        term: Term | None = None,
    ) -> None:
        """``targets`` returns the notifiers that receive an alert; ``wake`` is called when a delivery is due.

        Only in a ``term`` in which the process leads (None: always) does a check change alerts.
        """
        self.store = store  # replaced with a corrupt database
        self.checks = 0
        self.unknown_rules: Counter[str] = Counter()  # active alerts of rules that this version does not know
        self._limit_of = limit_of
        self._policy = policy
        self._targets = targets
        self._wake = wake
        self._term = Term() if term is None else term
        self._tracker = AlertTracker(limit_of, policy)
        self._unread = {MUTES, ALERTS}  # the parts that ``restore`` still has to read
        self._undropped: set[str] = set()  # uids that never fired, to be dropped from the store
        self._lock = asyncio.Lock()

    @property
    def active(self) -> tuple[Alert, ...]:
        """The active alerts with their newest figures, the oldest first; also pending ones."""
        return tuple(self._tracker.alerts)

    @property
    def restored(self) -> bool:
        """True if ``restore`` has read everything from the store."""
        return not self._unread

    async def restore(self, now_us: int, parts: StartupGuard | None = None) -> None:
        """Continue the alerts and mutes of the last run. A part that fails starts empty, and is reported to ``parts``.

        If the store fails, ``restored`` stays False, and the next call reads the rest. Alerts of rules that this
        version does not know stay unchanged in the store.
        """
        parts = StartupGuard(Counter()) if parts is None else parts
        async with self._lock:
            if MUTES in self._unread:
                with self._restoring(parts, MUTES, "alerts that were muted are sent"):
                    self._tracker.mutes = await self.store.alerting.mutes(now_us)
            if ALERTS in self._unread:
                with self._restoring(parts, ALERTS, "active alerts may be sent a second time"):
                    self._tracker = await self._restored(now_us)
        _logger.debug("Restored %d alerts and %d mutes", len(self._tracker.alerts), len(self._tracker.mutes))

    async def step(
        self, readings: Sequence[Reading], now_us: int, not_judged: Mapping[Subject, str] = MappingProxyType({})
    ) -> list[Alert]:
        """Process the readings of one check. Return the alerts that changed. A failing store raises nothing here.

        ``not_judged`` says why a subject without a reading cannot be compared now, see ``Evaluator.not_judged``.
        """
        return await self._exclusive(self._step(readings, now_us, not_judged))

    async def acknowledge(self, uid: str, actor: str, now_us: int) -> Alert:
        """Acknowledge an alert, and its members if it is a group's root. The first acknowledgement is kept.

        Raises:
            UnknownAlertError: there is none.
            ClosedAlertError: it is already resolved.
            StorageError: it cannot be stored, and nothing has changed.
        """
        return await self._exclusive(self._acknowledge(uid, actor, now_us))

    async def mute(self, mute: Mute, now_us: int) -> Mute:
        """Store a mute and mute the alerts that it covers. Return it with its id.

        If an active mute of the same service and rule ends no earlier, return that one and change nothing: a button may
        be pressed twice, and a request repeated.

        Raises:
            StorageError: it cannot be stored, and nothing has changed.
        """
        return await self._exclusive(self._mute(mute, now_us))

    async def unmute(self, ids: Collection[int], actor: str, now_us: int) -> list[Mute]:
        """End mutes. Return those that were active. Alerts that have not fired may fire at the next check.

        Raises:
            StorageError: it cannot be stored, and nothing has changed.
        """
        return await self._exclusive(self._unmute(ids, actor, now_us))

    async def follow(self, now_us: int) -> None:
        """Follow what other processes have stored: mutes and acknowledgements; a follower reads all alerts.

        Raises:
            StorageError: it cannot be read, and nothing has changed.
        """
        await self._exclusive(self._follow(now_us))

    async def stepped(self, step_us: int, now_us: int) -> None:
        """Follow a step of the clock to ``now_us``: waits, mutes and retries continue as before.

        Raises:
            StorageError: mutes and deliveries keep their times in the store.
        """
        await self._exclusive(self._shift(step_us, now_us))

    async def move(self, store: Store, now_us: int) -> None:
        """Continue with another store: add the active alerts and mutes that it lacks, and use those that only it has.

        Raises:
            StorageError: not all could be stored; what is missing is stored with its next change.
        """
        await self._exclusive(self._move(store, now_us))

    async def rest(self) -> None:
        """Wait until the running call is finished, even if its caller was cancelled."""
        async with self._lock:
            return

    async def _step(self, readings: Sequence[Reading], now_us: int, not_judged: Mapping[Subject, str]) -> list[Alert]:
        if not self._term.leads:
            return []
        self.checks += 1
        plan: Plan = {}
        for growing in self._tracker.check(readings, now_us, not_judged):
            plan = growing
            await asyncio.sleep(0)  # with many alerts, the host's own work can run in between
        self._log_plan(plan, len(readings))
        self._undropped.update(
            transition.before.alert.uid
            for transition in plan.values()
            if _is_stored_and_dropped(transition) and transition.before.alert
        )
        changed = await self._try_to_commit(plan, now_us, token=self._term.token)
        await self._drop()
        return changed

    async def _acknowledge(self, uid: str, actor: str, now_us: int) -> Alert:
        for left in reversed(range(ATTEMPTS)):
            if self.store.shared:
                await self._follow(now_us)
            subject = self._tracker.find(uid)
            if subject is None:
                raise await self._missing(uid)
            try:
                await self._commit(self._tracker.acknowledge(subject, actor, now_us), now_us)
            except ChangedAlertError:
                if not left:
                    raise
            else:
                alert = self._tracker.states[subject].alert
                assert alert is not None, "an acknowledged alert stays"
                return alert
        raise AssertionError("unreachable")

    async def _follow(self, now_us: int) -> None:
        stored = self.store.alerting
        mutes = await stored.mutes(now_us)
        if not self._term.leads:
            tracker = await self._restored(now_us)
            tracker.mutes, self._tracker = mutes, tracker
            return
        changed = self._tracker.adopt(filter(_known, await self._read(ACTIVE, 0)))
        if {mute.id for mute in mutes} != {mute.id for mute in self._tracker.mutes if mute.until_us > now_us}:
            self._tracker.mutes = mutes
            await self._try_to_commit(self._tracker.follow_mutes(now_us), now_us)
        if changed:
            self._wake()  # the change may be waiting for its delivery

    @contextmanager
    def _restoring(self, parts: StartupGuard, part: str, effect: str) -> Iterator[None]:
        self._unread.discard(part)
        with parts.guard(part, effect):
            try:
                yield
            except StorageError:
                self._unread.add(part)
                raise

    async def _restored(self, now_us: int) -> AlertTracker:
        """Return a tracker with the present mutes and the stored alerts of known rules."""
        tracker = AlertTracker(self._limit_of, self._policy, self._tracker.mutes)
        active = self._known_only(await self._read(ACTIVE, 0))
        resolved = await self._read((AlertState.RESOLVED,), max(0, now_us - self._policy.memory_us))
        tracker.restore(active, now_us)
        tracker.restore(filter(_known, resolved), now_us)
        return tracker

    def _known_only(self, active: Sequence[Alert]) -> list[Alert]:
        """Return the alerts that this version can evaluate; count and log the others."""
        before, self.unknown_rules = self.unknown_rules, Counter(alert.rule for alert in active if not _known(alert))
        for rule, count in self.unknown_rules.items() - before.items():
            _logger.warning("Kept %d active alerts of the rule %r, which this version does not know", count, rule)
        return [alert for alert in active if _known(alert)]

    async def _missing(self, uid: str) -> Exception:
        alert = await self.store.alerting.alert(uid)
        if alert is None:
            return UnknownAlertError("There is no such alert; it may be older than the retention")
        if alert.state.active:
            why = "it could not be restored at the start" if _known(alert) else f"the rule {alert.rule!r} is not known"
            return UnevaluatedAlertError(f"Alert {alert.id} is not evaluated: {why}")
        return ClosedAlertError(f"Alert {alert.id} is already resolved")

    async def _mute(self, mute: Mute, now_us: int) -> Mute:
        same = self._tracker.mute_of(mute.service, mute.rule, now_us)
        if same is not None and mute.until_us - same.until_us < min(
            SAME_MUTE_US, (mute.until_us - mute.since_us) // 10
        ):
            return same
        stored = await self.store.alerting.add_mute(mute)
        self._tracker.mutes.append(stored)
        await self._try_to_commit(self._tracker.follow_mutes(now_us), now_us)
        return stored

    async def _unmute(self, ids: Collection[int], actor: str, now_us: int) -> list[Mute]:
        ended = await self.store.alerting.end_mutes(ids, now_us=now_us, actor=actor)
        self._tracker.mutes = [mute for mute in self._tracker.mutes if mute.id not in ids]
        await self._try_to_commit(self._tracker.follow_mutes(now_us, actor), now_us)
        return ended

    async def _try_to_commit(self, plan: Plan, now_us: int, *, token: int | None = None) -> list[Alert]:
        """Store and apply the plan. If the store fails, apply the figures only; the next check plans the rest again."""
        try:
            return await self._commit(plan, now_us, token=token)
        except ChangedAlertError as error:
            self._tracker.apply_figures(plan)
            _logger.debug("The next check follows first: %s", error)
            return []
        except LostLeadError as error:
            self._term.end()
            _logger.warning("This process leads no more: %s", error)
            return []
        except StorageError as error:
            self._tracker.apply_figures(plan)
            _logger.error("Alert changes could not be stored; retrying at the next check: %s", error)  # noqa: TRY400 - the text says it all
            return []

    async def _commit(self, plan: Plan, now_us: int, *, token: int | None = None) -> list[Alert]:
        subjects = sorted(plan, key=lambda subject: subject.rule != MANY)  # a group before its members
        to_store = [plan[subject] for subject in subjects if self._tracker.worth_storing(plan[subject])]
        steps: list[Step] = []
        for part in _slices(to_store):
            await asyncio.sleep(0)
            steps += [self._step_of(transition, now_us) for transition in part]
        saved = await self.store.alerting.save(steps, token=token, exact=self.store.shared) if steps else []
        stored = {alert.uid: alert for alert in saved}
        for entries in _slices(list(plan.items())):
            await asyncio.sleep(0)
            self._tracker.apply(dict(entries), stored)
        if any(step.targets for step in steps):
            self._wake()
        return [stored[step.alert.uid] for step in steps if step.change is not None]

    def _step_of(self, transition: Transition, now_us: int) -> Step:
        alert = transition.after.alert
        assert alert is not None, "what is stored is there"
        if not transition.changes:
            return Step(alert)
        change = AlertChange.of(alert, transition.kind, now_us, actor=transition.actor, note=transition.note)
        return Step(alert, change, self._targets(alert) if transition.notify else ())

    async def _move(self, store: Store, now_us: int) -> None:
        self.store = store
        self._undropped.clear()
        self._unread.clear()  # the new store's alerts are read below
        others = {_scope(mute): mute for mute in await store.alerting.mutes(now_us)}
        for number, mute in enumerate(self._tracker.mutes):
            scope = _scope(mute)
            self._tracker.mutes[number] = others.pop(scope) if scope in others else await store.alerting.add_mute(mute)
        self._tracker.mutes += others.values()
        self._tracker.replace_stored(await store.alerting.save([Step(alert) for alert in self._tracker.alerts]))
        tracked = {alert.uid for alert in self._tracker.alerts}
        active = self._known_only(await self._read(ACTIVE, 0))
        self._tracker.restore([alert for alert in active if alert.uid not in tracked], now_us)

    async def _shift(self, step_us: int, now_us: int) -> None:
        self._tracker.shift(step_us)
        await self.store.alerting.shift_times(step_us, now_us=now_us)

    async def _drop(self) -> None:
        if not self._undropped:
            return
        try:
            await self.store.alerting.delete_unfired(tuple(self._undropped), token=self._term.token)
        except StorageError as error:
            _logger.warning("Alerts that never fired could not be deleted; retrying at the next check: %s", error)
        else:
            self._undropped.clear()

    async def _read(self, states: Collection[AlertState], since_us: int) -> list[Alert]:
        alerts: list[Alert] = []
        while True:
            page = await self.store.alerting.alerts(states, since_us=since_us, limit=PAGE, offset=len(alerts))
            alerts += page
            if len(page) < PAGE:
                return alerts

    async def _exclusive(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.shield(detached(self._locked(work), name="cogmeter-alerts"))

    async def _locked(self, work: Coroutine[Any, Any, T]) -> T:
        async with self._lock:
            return await work

    def _log_plan(self, plan: Plan, readings: int) -> None:
        if not _logger.isEnabledFor(logging.DEBUG):
            return
        _logger.debug("Check %d: %d readings", self.checks, readings)
        for subject, transition in plan.items():
            alert = transition.after.alert or transition.before.alert
            if alert is not None:
                _logger.debug(
                    "%s: %s: %s", subject.service, alert.message, transition.kind or transition.note or alert.state
                )


def _slices(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Return the items in slices, between which the host's own work can run."""
    return (items[start : start + SLICE] for start in range(0, len(items), SLICE))


def _known(alert: Alert) -> bool:
    """Return True if this version can evaluate the alert; its rule may be of a later version, or renamed."""
    return alert.rule == MANY or alert.rule in RULES


def _is_stored_and_dropped(transition: Transition) -> bool:
    return transition.kind == DROPPED and transition.before.stored is not None


def _scope(mute: Mute) -> tuple[str, str, int, int]:
    """Return the scope and times of a mute, which are the same in every store."""
    return mute.service, mute.rule, mute.since_us, mute.until_us
