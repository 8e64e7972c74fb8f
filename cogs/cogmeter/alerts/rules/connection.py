"""What Discord makes of the bot: first responses, the connection, rate limits and invalid requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.alerts.model import BOT, CRITICAL, WARNING, Reading, Subject
from cogmeter.alerts.rules import values
from cogmeter.alerts.rules.message_format import against, duration, number, percent
from cogmeter.alerts.rules.rule import severity
from cogmeter.recording.service_names import ACKNOWLEDGEMENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cogmeter.alerts.measurement.snapshot import Snapshot
    from cogmeter.alerts.thresholds.limits import Limits

INVALID_CRITICAL: Final = 0.6  # of the invalid requests that Discord bans for
HEARTBEAT_S: Final = 41.25  # Discord asks for one so often
STALE_S: Final = 60.0  # since the last acknowledgement: the latency that was measured then is none of now
SCOPES_OF_ALL: Final = ("global", "proxy")  # limits that hold up everything, not one route


def acknowledgement(view: Snapshot, limits: Limits) -> Iterator[Reading]:
    """The share of first responses that were late or missing."""
    subject = Subject("acknowledgement", ACKNOWLEDGEMENT)
    limit = limits.of(subject)
    if not limit.threshold or ACKNOWLEDGEMENT not in view.services:
        return
    place = view.services.index(ACKNOWLEDGEMENT)
    operations, failures = view.by_service.operations[place], view.by_service.failures[place]
    share = float(values.late_shares(operations, failures, view.buckets[place]))
    if operations >= limit.min_operations and share > limit.recovery:
        breached = share > limit.threshold
        text = against(f"{percent(share)} late or missing first responses", breached, percent(limit.threshold))
        yield Reading(subject, share, limit.threshold, text, severity(limit, share), breached)


def gateway_latency(view: Snapshot, limits: Limits) -> Iterator[Reading]:
    """The latency of the worst shard; without an acknowledged heartbeat, how long one is missing."""
    subject = Subject("gateway_latency", BOT)
    limit = limits.of(subject)
    late = dict(view.gauges.named("gateway.latency_ms."))
    for shard, age_s in view.gauges.named("gateway.heartbeat_age_s."):
        if age_s > STALE_S:
            late[shard] = (age_s - HEARTBEAT_S) * 1000
    if not limit.threshold or not late:
        return
    shard, worst = max(late.items(), key=lambda item: item[1])
    if worst > limit.recovery:
        breached = worst > limit.threshold
        what = f"Gateway latency of {duration(worst)}"
        if len(late) > 1:
            what += f" on {shard.replace('_', ' ')}"
        text = against(what, breached, duration(limit.threshold))
        yield Reading(subject, worst, limit.threshold, text, severity(limit, worst), breached)


def disconnects(view: Snapshot, limits: Limits) -> Iterator[Reading]:
    """How often the connection was lost, and a loss that lasts."""
    subject = Subject("disconnects", BOT)
    limit = limits.of(subject)
    if not limit.threshold:
        return
    lost = _lost(view, limits.settings.alert_gateway_lost_after)
    times = view.gauges.disconnects()
    if lost is not None:
        text, worst = lost
        yield Reading(subject, times, limit.threshold, text, limit.severity or worst)
    elif times > limit.recovery:
        breached = times > limit.threshold
        text = against(f"{number(times)} lost connections in 10 min", breached, number(limit.threshold))
        yield Reading(subject, times, limit.threshold, text, severity(limit, times), breached)


def rate_limits(view: Snapshot, limits: Limits) -> Iterator[Reading]:
    """How often Discord limited a request; a limit on everything is critical."""
    subject = Subject("rate_limits", BOT)
    limit = limits.of(subject)
    by_scope = dict(view.gauges.named("rest.rate_limited."))
    times = sum(by_scope.values())
    if limit.threshold and times > limit.recovery:
        breached = times > limit.threshold
        worst = max(by_scope, key=lambda scope: by_scope[scope])
        what = f"{number(times)} rate limits in 10 min, most of them of scope {worst},"
        level = CRITICAL if any(by_scope.get(scope) for scope in SCOPES_OF_ALL) else severity(limit, times)
        text = against(what, breached, number(limit.threshold))
        yield Reading(subject, times, limit.threshold, text, limit.severity or level, breached)


def invalid_requests(view: Snapshot, limits: Limits) -> Iterator[Reading]:
    """The share of the invalid requests that is used up; Discord bans the address at 1."""
    subject = Subject("invalid_requests", BOT)
    limit = limits.of(subject)
    share = view.gauges.values.get("rest.invalid_share", 0.0)
    if limit.threshold and share > limit.recovery:
        breached = share > limit.threshold
        text = against(f"{percent(share)} of the invalid requests used up", breached, percent(limit.threshold))
        level = CRITICAL if share >= INVALID_CRITICAL else WARNING
        yield Reading(subject, share, limit.threshold, text, limit.severity or level, breached)


def _lost(view: Snapshot, after_s: float) -> tuple[str, str] | None:
    """What to say of a connection that is lost for longer than ``after_s``, and how bad that is."""
    lost_s, partly_s = view.gauges.lost_s()
    if not after_s or partly_s < after_s:
        return None
    if lost_s >= after_s:
        return f"No connection to Discord for {lost_s / 60:.0f} min", CRITICAL
    connected = view.gauges.values.get("gateway.shards_connected", 0.0)
    text = f"{number(connected)} of {number(view.gauges.most_connected)} shards connected for {partly_s / 60:.0f} min"
    return text, WARNING
