"""The known reasons why a run is slow: each pattern with its title, its advice, and the function that finds it.

A pattern is found where it explains a considerable part of the run; the limits are constants above its function.
``{what}``, ``{time}`` and ``{count}`` in a cause are filled in by ``render.slow_text``, which formats the values.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from cogmeter.query.time_parts import TimePart, covered_us, first_response, part_of
from cogmeter.recording.service_names import COMMANDS, COMPONENTS, RATE_LIMITS, REST, STALLS, is_dependency
from cogmeter.recording.stall_places import stall_advice
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from cogmeter_storage.model import SpanRecord, TraceRecord

MOST: Final = 3  # patterns of one run
SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class TracedRun:
    """A trace and what is known around it."""

    trace: TraceRecord
    spans: tuple[SpanRecord, ...]  # of the trace, and stalls of the loop that other code caused during it
    typical_us: float | None = None  # p50 of the same command in the period; None if it ran too rarely
    usual_us: Mapping[str, float] = field(default_factory=dict)  # p50 of the dependencies, by service
    # The operations that were run before it since the bot started; None if the command was, or the start is long ago.
    warm: frozenset[tuple[str, str]] | None = None

    def share(self, us: float) -> float:
        """Return a time as a share of the run."""
        return us / self.trace.duration_us if self.trace.duration_us else 0.0

    def calls(self) -> list[SpanRecord]:
        """Return the requests to Discord, to other hosts and to databases that succeeded, in the order of their start.

        Attempts that failed are left out: repeated ones are retries.
        """
        called = (one for one in self.spans if one.service == REST or is_dependency(one.service))
        return sorted((one for one in called if one.outcome is Outcome.OK), key=lambda one: (one.start_us, one.id))


class Evidence(NamedTuple):
    """The part of a run in which a pattern was found."""

    what: str  # the line, the route, the host or the call
    cost_us: float  # the time that the pattern costs, at most the duration
    calls: int = 1
    usual_us: float | None = None  # p50 of the dependency in the period


@dataclass(frozen=True, slots=True)
class PatternMatch:
    """A pattern in one run."""

    pattern: SlowPattern
    evidence: Evidence

    @property
    def advice(self) -> str:
        """What to do about it, as a sentence."""
        return f"{stall_advice(self.evidence.what)}." if self.pattern.by_place else self.pattern.advice


@dataclass(frozen=True, slots=True)
class SlowPattern:
    """A known reason for a slow run; ``find`` returns the evidence in a run, or None."""

    key: str
    title: str
    cause: str  # a sentence with {what}, {time} and {count}
    advice: str
    find: Callable[[TracedRun], Evidence | None]
    by_place: bool = False  # the advice depends on what blocked the event loop


def matches(run: TracedRun) -> tuple[PatternMatch, ...]:
    """Return the patterns of a run, the most expensive first, at most three."""
    found = ((pattern, pattern.find(run)) for pattern in PATTERNS.values())
    hits = [PatternMatch(pattern, evidence) for pattern, evidence in found if evidence is not None]
    return tuple(sorted(hits, key=lambda hit: -hit.evidence.cost_us)[:MOST])


# Blocking call: the loop was blocked for so long, and for this share of the run.
BLOCKED_US, BLOCKED_SHARE = 100_000, 0.1


def _blocking(run: TracedRun) -> Evidence | None:
    stalls = [span for span in run.spans if span.service == STALLS]
    blocked_us = covered_us(run.trace.duration_us, stalls)
    if blocked_us < BLOCKED_US or run.share(blocked_us) < BLOCKED_SHARE:
        return None
    return Evidence(max(stalls, key=lambda span: span.duration_us).operation, blocked_us, len(stalls))


# Missing defer: the first response was sent so late, the blocked time not counted. Discord waits three seconds.
LATE_US = 2 * SECOND_US


def _missing_defer(run: TracedRun) -> Evidence | None:
    trace = run.trace
    response = first_response(trace) if trace.service in {COMMANDS, COMPONENTS} else None
    if response is None:
        return None
    before = [span for span in run.spans if span.service == STALLS]
    waited_us = response.start_us - covered_us(max(response.start_us, 0), before)
    return Evidence(trace.operation, waited_us) if waited_us >= LATE_US else None


# Sequential requests: at least so many, each so long, with so little between them, that gathering saves so much.
CHAIN, CALL_US, GAP_US, SAVED_US, SAVED_SHARE = 3, 50_000, 30_000, 300_000, 0.2


def _sequential(run: TracedRun) -> Evidence | None:
    """Find the chain of reading requests that would save most; a database's calls may depend on their order."""
    best: Evidence | None = None
    for chain in _chains(one for one in run.calls() if _reads(one) and one.duration_us >= CALL_US):
        saved_us = sum(one.duration_us for one in chain) - max(one.duration_us for one in chain)
        same = len({(one.service, one.operation) for one in chain}) == 1 and len(chain) >= REPEATED
        enough = len(chain) >= CHAIN and saved_us >= SAVED_US and run.share(saved_us) >= SAVED_SHARE
        if enough and not same and (best is None or saved_us > best.cost_us):
            names = list(dict.fromkeys(call_name(one.service, one.operation) for one in chain))
            more = f" and {len(names) - 2} more" if len(names) > 2 else ""
            best = Evidence(", ".join(names[:2]) + more, saved_us, len(chain))
    return best


def _reads(span: SpanRecord) -> bool:
    """Return whether a request can run together with others: messages have an order, and so do a database's calls."""
    part = part_of(span.service)
    return part is TimePart.HOST or (part is TimePart.REST and span.operation.startswith("GET "))


def _chains(calls: Iterable[SpanRecord]) -> list[list[SpanRecord]]:
    """Return the calls of each parent in chains: each call begins shortly after the one before has ended."""
    by_parent: defaultdict[int, list[SpanRecord]] = defaultdict(list)
    for call in calls:
        by_parent[call.parent].append(call)
    chains: list[list[SpanRecord]] = []
    for siblings in by_parent.values():
        chains.append(siblings[:1])
        for before, after in pairwise(siblings):
            gap_us = after.start_us - before.start_us - before.duration_us
            if 0 <= gap_us <= GAP_US:
                chains[-1].append(after)
            else:
                chains.append([after])
    return chains


# N+1: the same call so often inside one step, together so long, and for this share of the run.
REPEATED, REPEATED_US, REPEATED_SHARE = 5, 100_000, 0.2
_EDITS = ("PATCH ", "POST /channels/{channel_id}/typing")  # a streamed reply edits its message often, by design


def _repeated(run: TracedRun) -> Evidence | None:
    groups: defaultdict[tuple[int, str, str], list[SpanRecord]] = defaultdict(list)
    for one in run.calls():
        if not one.operation.startswith(_EDITS):
            groups[one.parent, one.service, one.operation].append(one)
    best: Evidence | None = None
    for (_, service, operation), calls in groups.items():
        took_us = covered_us(run.trace.duration_us, calls)
        enough = len(calls) >= REPEATED and took_us >= REPEATED_US and run.share(took_us) >= REPEATED_SHARE
        if enough and (best is None or took_us > best.cost_us):
            best = Evidence(call_name(service, operation), took_us, len(calls))
    return best


# Rate limit: waits of so long together, and for this share of the run.
LIMITED_US, LIMITED_SHARE = 250_000, 0.1


def _rate_limit(run: TracedRun) -> Evidence | None:
    waits = [span for span in run.spans if span.service == RATE_LIMITS]
    waited_us = covered_us(run.trace.duration_us, waits)
    if waited_us < LIMITED_US or run.share(waited_us) < LIMITED_SHARE:
        return None
    return Evidence(max(waits, key=lambda span: span.duration_us).operation, waited_us, len(waits))


# Slow upstream: one host, database or Discord itself took so long, and this share of the run, in so few calls.
UPSTREAM_US, UPSTREAM_SHARE, FEW = SECOND_US, 0.5, 4


def _upstream(run: TracedRun) -> Evidence | None:
    by_service: defaultdict[str, list[SpanRecord]] = defaultdict(list)
    for one in run.spans:
        if one.service == REST or is_dependency(one.service):
            by_service[one.service].append(one)
    best: Evidence | None = None
    for service, calls in by_service.items():
        longest = max(calls, key=lambda one: one.duration_us)
        took_us = covered_us(run.trace.duration_us, calls)
        enough = len(calls) <= FEW and longest.duration_us >= UPSTREAM_US and run.share(took_us) >= UPSTREAM_SHARE
        if enough and (best is None or took_us > best.cost_us):
            usual_us = run.usual_us.get(service)
            best = Evidence(call_name(service, longest.operation), took_us, len(calls), usual_us)
    return best


# Cold start: the first run since the start took so many times the typical time, and so much longer. The time of steps
# that were run before, outside of the command, is not counted: they are slow for another reason.
COLD_RATIO, COLD_US = 2.0, 300_000


def _cold(run: TracedRun) -> Evidence | None:
    duration_us, typical_us = run.trace.duration_us, run.typical_us
    if run.warm is None or typical_us is None:
        return None
    warm_us = covered_us(duration_us, [span for span in run.spans if (span.service, span.operation) in run.warm])
    cold_us = min(duration_us - typical_us, duration_us - warm_us)
    if cold_us < COLD_US or cold_us < (COLD_RATIO - 1) * typical_us:
        return None
    return Evidence(run.trace.operation, cold_us)


def call_name(service: str, operation: str) -> str:
    """Return a call as a reader knows it: ``GET api.example.com``, ``db.postgresql SELECT users``, a route."""
    if service == REST:
        return operation
    host = service.removeprefix("http.")
    return f"{operation} {host}" if host != service else f"{service} {operation}"


PATTERNS: Final[dict[str, SlowPattern]] = {
    pattern.key: pattern
    for pattern in (
        SlowPattern(
            "blocking",
            "Blocking call",
            "{what} blocked the event loop for {time}{total}.",
            f"{stall_advice()}.",
            _blocking,
            by_place=True,
        ),
        SlowPattern(
            "missing_defer",
            "Missing defer",
            "The first response was sent after {time}; Discord waits 3 s.",
            "Call await interaction.response.defer() first, and answer with interaction.followup.send(...).",
            _missing_defer,
        ),
        SlowPattern(
            "sequential",
            "Sequential requests",
            "{count} requests ran one after the other ({what}); together they would save {time}.",
            "If none needs the result of another, run them with await asyncio.gather(...).",
            _sequential,
        ),
        SlowPattern(
            "n_plus_one",
            "Repeated call",
            "{what} ran {count} times and took {time}.",
            "Fetch everything with one call: a query for all rows, an endpoint for many ids, or a cache.",
            _repeated,
        ),
        SlowPattern(
            "rate_limit",
            "Rate limit",
            "{what} waited {time} for Discord's rate limit.",
            "Send fewer requests: combine messages and edits, or spread them over time.",
            _rate_limit,
        ),
        SlowPattern(
            "slow_upstream",
            "Slow upstream",
            "{what} took {time}.",
            "Set a timeout, cache its answers, or show the user something before you wait for it.",
            _upstream,
        ),
        SlowPattern(
            "cold_start",
            "Cold start",
            "The first run since the start took {time} longer than usual.",
            "Load models, caches and connections in setup_hook, before the first command.",
            _cold,
        ),
    )
}


def listed(found: Sequence[PatternMatch]) -> str:
    """Return the titles of patterns in one line, without a title twice."""
    return ", ".join(dict.fromkeys(match.pattern.title for match in found))
