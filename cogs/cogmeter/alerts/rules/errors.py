"""The rules about errors that fail no operation, or that are new: logged errors, unhandled errors, new groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.alerts.measurement.errors import QUIET_US
from cogmeter.alerts.model import CRITICAL, INFO, WARNING, Reading
from cogmeter.alerts.rules.failures import FEWEST, Failures, beyond, readings
from cogmeter.alerts.rules.rule import AT_LEAST, OPERATION, SERVICE, WHOLE_BOT, Rule, duration, percent
from cogmeter.recording.service_names import UNHANDLED
from cogmeter_storage.errors import ErrorKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cogmeter.alerts.measurement.snapshot import Snapshot
    from cogmeter.alerts.rules.rule import RuleLimits

CRITICAL_FROM: Final = 10  # times the threshold: unhandled errors
USUAL: Final = 0.05  # share of operations with logged errors that any service may have, also one without a history


def logged_errors(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Compare the share of a service's operations that logged errors, as ``error_rate`` does with failures."""
    if not snapshot.errors.logged:
        return
    (operations, logged), *_ = snapshot.errors.logged
    if not logged.any():
        return
    bounds = limits.bounds(LOGGED_ERRORS.name, snapshot.services)
    places = beyond(operations, logged, bounds)
    *spans, days = [(ran[places], erred[places]) for ran, erred in snapshot.errors.logged]
    listed: list[int] = places.tolist()
    subjects = [LOGGED_ERRORS.subject(snapshot.services[place]) for place in listed]
    failures = Failures(spans, days)
    yield from readings(
        LOGGED_ERRORS, _share, subjects, failures, bounds.at(places), fewest=FEWEST, limits=limits, least=USUAL
    )


def unhandled_errors(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Count the unhandled errors in the window; they are breached if their number reaches the threshold."""
    subject = UNHANDLED_ERRORS.subject()
    limit, count = limits.of(subject), snapshot.errors.unhandled
    if count and UNHANDLED_ERRORS.beyond_recovery(count, limit):
        errors = "1 unhandled error" if count == 1 else f"{count:,} unhandled errors"
        span = _minutes(limits.settings.alert_window)
        text = f"{errors} in {span}, most recently {snapshot.errors.newest_unhandled}"
        level = limit.severity or (CRITICAL if count >= CRITICAL_FROM * limit.threshold else WARNING)
        yield Reading(subject, float(count), limit.threshold, text, level, count >= limit.threshold)


def new_error(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Find groups of errors that are new, or came back after they had been resolved."""
    # One unhandled error alone raises an alert of that rule: its group needs no other.
    unhandled = 0 < limits.of(UNHANDLED_ERRORS.subject()).threshold <= 1
    for new in snapshot.errors.new:
        if new.kind is ErrorKind.UNHANDLED and unhandled:
            continue
        subject = NEW_ERROR.subject(new.service, new.name)
        limit = limits.of(subject)
        if limit.threshold and new.count >= limit.threshold:
            what = "Resolved error came back" if new.reopened else "New error"
            times = "once" if new.count == 1 else f"{new.count:,} times"
            text = f"{what}: {new.text}, {times}"
            yield Reading(subject, float(new.count), limit.threshold, text, limit.severity or INFO)


def _share(share: float) -> str:
    return f"Logged errors in {percent(share)} of operations"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds % 60 == 0 else duration(seconds * 1000)


LOGGED_ERRORS: Final = Rule(
    name="logged_errors",
    title="Logged errors",
    unit="share",
    setting="alert_threshold_logged_errors",
    find=logged_errors,
    about=SERVICE,
    next_step="Open its most common error",
    leads_to="errors",
    chart="timeline",
    replay=None,
    explained_by=("error_rate",),
    error_kind=ErrorKind.LOGGED,
    own_process=True,
)
UNHANDLED_ERRORS: Final = Rule(
    name="unhandled_errors",
    title="Unhandled errors",
    unit="errors",
    compares=AT_LEAST,
    setting="alert_threshold_unhandled_errors",
    find=unhandled_errors,
    about=WHOLE_BOT,
    next_step="Await the task, or handle errors inside of it",
    leads_to="errors",
    chart="timeline",
    replay=None,
    min_operations=0,
    source=UNHANDLED,
    counted="error",
    error_kind=ErrorKind.UNHANDLED,
    own_process=True,
)
NEW_ERROR: Final = Rule(
    name="new_error",
    title="New error",
    unit="times",
    compares=AT_LEAST,
    setting="alert_threshold_new_error",
    find=new_error,
    about=OPERATION,
    next_step="Open the error",
    leads_to="errors",
    chart="timeline",
    replay=None,
    min_operations=0,
    explained_by=("error_rate", "logged_errors"),
    explained_for_s=lambda _: QUIET_US / 1e6,
    one_error=True,
    own_process=True,
)
