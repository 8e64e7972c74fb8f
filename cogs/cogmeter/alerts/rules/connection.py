"""Rules about Discord: first responses, the connection, rate limits and invalid requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.alerts.measurement import values
from cogmeter.alerts.model import CRITICAL, WARNING, Reading
from cogmeter.alerts.rules.rule import WHOLE_BOT, GaugeCurve, Replay, Rule, duration, number, percent
from cogmeter.diagnosis import STALE_S
from cogmeter.recording.service_names import ACKNOWLEDGEMENT, REST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cogmeter.alerts.measurement.snapshot import Snapshot
    from cogmeter.alerts.rules.rule import RuleLimits

INVALID_CRITICAL: Final = 0.6  # share of Discord's limit of invalid requests that is critical
HEARTBEAT_S: Final = 41.25  # the interval that Discord requires
SCOPES_OF_ALL: Final = ("global", "proxy")  # rate limits of all requests, not of one route


def acknowledgement(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Compare the share of first responses that were late or missing."""
    subject = FIRST_RESPONSES.subject(ACKNOWLEDGEMENT)
    limit = limits.of(subject)
    if not limit.threshold or ACKNOWLEDGEMENT not in snapshot.services:
        return
    place = snapshot.services.index(ACKNOWLEDGEMENT)
    operations, failures = snapshot.by_service.operations[place], snapshot.by_service.failures[place]
    share = float(values.late_shares(operations, failures, snapshot.buckets[place]))
    if operations >= limit.min_operations and FIRST_RESPONSES.beyond_recovery(share, limit):
        yield FIRST_RESPONSES.reading(subject, share, limit, f"{percent(share)} late or missing first responses")


def gateway_latency(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Compare the latency of the slowest shard; without an acknowledged heartbeat, how long one is missing."""
    subject = GATEWAY_LATENCY.subject()
    limit = limits.of(subject)
    late = dict(snapshot.gauges.named("gateway.latency_ms."))
    for shard, age_s in snapshot.gauges.named("gateway.heartbeat_age_s."):
        if age_s > STALE_S:
            late[shard] = (age_s - HEARTBEAT_S) * 1000
    if not late:
        return
    shard, worst = max(late.items(), key=lambda item: item[1])
    if GATEWAY_LATENCY.beyond_recovery(worst, limit):
        where = f" on {shard.replace('_', ' ')}" if len(late) > 1 else ""
        yield GATEWAY_LATENCY.reading(subject, worst, limit, f"Gateway latency of {duration(worst)}{where}")


def disconnects(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Compare how often the connection was lost; a connection that stays lost is a breach by itself."""
    subject = DISCONNECTS.subject()
    limit = limits.of(subject)
    if not limit.threshold:
        return
    lost = _lost(snapshot, limits.settings.alert_gateway_lost_after)
    times = snapshot.gauges.disconnects()
    if lost is not None:
        text, level = lost
        yield Reading(subject, times, limit.threshold, text, limit.severity or level)
    elif DISCONNECTS.beyond_recovery(times, limit):
        yield DISCONNECTS.reading(subject, times, limit, f"{number(times)} lost connections in 10 min")


def rate_limits(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Compare how often Discord limited a request; a limit on all requests is critical."""
    subject = RATE_LIMITS.subject()
    limit = limits.of(subject)
    by_scope = dict(snapshot.gauges.named("rest.rate_limited."))
    times = sum(by_scope.values())
    if RATE_LIMITS.beyond_recovery(times, limit):
        worst = max(by_scope, key=lambda scope: by_scope[scope])
        what = f"{number(times)} rate limits in 10 min, most of them of scope {worst},"
        level = CRITICAL if any(by_scope.get(scope) for scope in SCOPES_OF_ALL) else ""
        yield RATE_LIMITS.reading(subject, times, limit, what, level=level)


def invalid_requests(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Compare the share of the invalid requests that is used up; at 1, Discord bans the address."""
    subject = INVALID_REQUESTS.subject()
    limit = limits.of(subject)
    share = snapshot.gauges.values.get("rest.invalid_share", 0.0)
    if INVALID_REQUESTS.beyond_recovery(share, limit):
        level = CRITICAL if share >= INVALID_CRITICAL else WARNING
        what = f"{percent(share)} of the invalid requests used up"
        yield INVALID_REQUESTS.reading(subject, share, limit, what, level=level)


def _lost(snapshot: Snapshot, after_s: float) -> tuple[str, str] | None:
    """Return message and severity of a connection that is lost for longer than ``after_s``; None if none is."""
    lost_s, partly_s = snapshot.gauges.lost_s()
    if not after_s or partly_s < after_s:
        return None
    if lost_s >= after_s:
        return f"No connection to Discord for {lost_s / 60:.0f} min", CRITICAL
    connected, most = snapshot.gauges.values.get("gateway.shards_connected", 0.0), snapshot.gauges.most_connected
    return f"{number(connected)} of {number(most)} shards connected for {partly_s / 60:.0f} min", WARNING


FIRST_RESPONSES: Final = Rule(
    name="acknowledgement",
    title="Late first responses",
    unit="share",
    setting="alert_threshold_acknowledgement",
    find=acknowledgement,
    about=ACKNOWLEDGEMENT,
    next_step="Call interaction.response.defer() before slow work",
    leads_to="stats",
    chart="timeline",
    replay=Replay(lambda counts: values.late_shares(counts.operations, counts.failures, counts.buckets), buckets=True),
    degrades=True,
)
GATEWAY_LATENCY: Final = Rule(
    name="gateway_latency",
    title="Gateway latency",
    unit="ms",
    setting="alert_threshold_gateway_latency",
    find=gateway_latency,
    about=WHOLE_BOT,
    next_step="Check the network and the CPU load of the host",
    leads_to="doctor",
    page="discord#connection",
    harms_everyone=True,
    chart=GaugeCurve("gateway latency", "duration", "gateway.latency_ms.", factor=1000, threshold_factor=1000),
    replay=None,
    for_s=60,
    min_operations=0,
    degrades=True,
    own_process=True,
)
DISCONNECTS: Final = Rule(
    name="disconnects",
    title="Lost connections",
    unit="times",
    threshold_unit="times in 10 min",
    setting="alert_threshold_disconnects",
    find=disconnects,
    about=WHOLE_BOT,
    next_step="Check the network of the host, and Discord's status page",
    leads_to="doctor",
    page="discord#connection",
    harms_everyone=True,
    chart="timeline",
    replay=None,
    min_operations=0,
    degrades=True,
    own_process=True,
)
RATE_LIMITS: Final = Rule(
    name="rate_limits",
    title="Rate limits",
    unit="times",
    threshold_unit="times in 10 min",
    setting="alert_threshold_rate_limits",
    find=rate_limits,
    about=WHOLE_BOT,
    next_step="Send fewer requests: edit less often, and cache what is fetched",
    leads_to="stats",
    page="discord#limits",
    chart=GaugeCurve("rate limits in 10 min", "count", "rest.rate_limited.", total=True),
    replay=None,
    min_operations=0,
    source=REST,
    counted="request",
    degrades=True,
    own_process=True,
)
INVALID_REQUESTS: Final = Rule(
    name="invalid_requests",
    title="Invalid requests",
    unit="share",
    setting="alert_threshold_invalid_requests",
    find=invalid_requests,
    about=WHOLE_BOT,
    next_step="Stop the requests that Discord answers with 401, 403 or 404",
    leads_to="stats",
    page="discord#limits",
    harms_everyone=True,
    chart=GaugeCurve("invalid requests used up", "share", "rest.invalid_share"),
    replay=None,
    min_operations=0,
    source=REST,
    counted="request",
    own_process=True,
)
