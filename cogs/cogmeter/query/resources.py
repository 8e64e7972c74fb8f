"""The resources of the bot's process over a range: CPU, memory, lag, GC, network, files, and their growth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from cogmeter_storage.model import DAY_US, HOUR_US

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cogmeter.query.query import Query
    from cogmeter.query.records import Range
    from cogmeter_storage.base import Store
    from cogmeter_storage.model import Marker, SampleStep

START: Final = "start"  # the kind of a marker
LEAST_POINTS: Final = 8  # of a growth
LEAST_US: Final = 2 * HOUR_US  # of a growth
SAMPLED_US: Final = 2 * DAY_US  # samples of counters over a longer time are read in bins
SAMPLE_US: Final = 1_000_000  # samples are further apart
BIN_US: Final = HOUR_US // 4  # divides the time since 1970, so that a later range has the same bins
NEWEST_US: Final = HOUR_US // 6  # before the newest sample, in which the one before it is searched
STEADY: Final = 0.5  # Kendall's tau from which a resource counts as growing
LEAST_GROWTH: Final = 0.01  # per day, as a share of the median: less is not named


@dataclass(frozen=True, slots=True)
class Resource:
    """The facts about one resource; ``factor`` converts the gauge into the unit."""

    key: str
    title: str
    gauge: str
    unit: str  # percent, bytes, duration (microseconds), bytes/s, count
    factor: float = 1.0
    counter: bool = False  # the gauge counts from a start; its increase per second is shown
    peak: bool = False  # the highest value of a step is shown, not the mean


RESOURCES: Final = (
    Resource("cpu", "CPU", "resources.cpu_percent", "percent"),
    Resource("memory", "Memory", "resources.memory_bytes", "bytes"),
    Resource("lag", "Event-loop lag (p99)", "loop.lag_p99_ms", "duration", 1_000.0),
    Resource("gc", "Longest GC pause", "resources.gc_pause_ms_max", "duration", 1_000.0, peak=True),
    Resource("sent", "Network sent", "resources.machine_network_bytes_sent", "bytes/s", counter=True),
    Resource("received", "Network received", "resources.machine_network_bytes_received", "bytes/s", counter=True),
    Resource("files", "Open files", "resources.open_files", "count"),
    Resource("threads", "Threads", "resources.threads", "count"),
)


@dataclass(frozen=True, slots=True)
class ResourceLine:
    """One resource over the steps of a range, in its unit; None where nothing was sampled."""

    resource: Resource
    values: tuple[float | None, ...]  # the mean, or the highest, of each step
    lowest: tuple[float | None, ...]
    highest: tuple[float | None, ...]
    growth_per_day: float | None  # see ``growth``; None if it is not known
    steady: bool = False  # it grows, and not by chance
    latest: float | None = None  # the newest sample; of a counter, its increase per second since the one before
    mean: float | None = None  # of all samples; of a counter, its increase per second

    @property
    def peak(self) -> float | None:
        """The highest sample; of a counter, its highest increase per second, see ``ResourceUse.rate_us``."""
        return max((value for value in self.highest if value is not None), default=None)


class Increase(NamedTuple):
    """The increase of a counter between two samples."""

    step: int  # of the range, in which the later sample is
    amount: float
    seconds: float

    @property
    def rate(self) -> float:
        """The increase per second."""
        return self.amount / self.seconds


@dataclass(frozen=True, slots=True)
class ResourceUse:
    """All resources over a range, from the first sample on."""

    range: Range
    step_us: int
    edges_us: tuple[int, ...]  # the start of each step
    lines: tuple[ResourceLine, ...]  # without those that were never sampled
    longest_run: tuple[int, int] | None  # growth is measured over it: the longest time without a start of the bot
    markers: tuple[Marker, ...]
    rate_us: int | None = None  # the time over which increases of counters are means; None: between two samples

    @property
    def growing(self) -> list[ResourceLine]:
        """The resources that grow steadily."""
        return [line for line in self.lines if line.steady]


async def resources(query: Query, span: Range) -> ResourceUse:
    """Return the resources over a range. The store aggregates the samples.

    Raises:
        StorageError: the store cannot be read.
    """
    names = [resource.gauge for resource in RESOURCES]
    steps = await query.store.sample_steps(names, span.since_us, span.until_us, step_us=span.step_us)
    markers = tuple(await query.store.markers(span.since_us, span.until_us))
    sampled = [number for found in steps.values() for number in found]
    every = [step for found in steps.values() for step in found.values()]
    counted = [step for one in RESOURCES if one.counter for step in steps[one.gauge].values()]
    since_us = min((step.first_us for step in counted), default=span.until_us)
    bin_us = SAMPLE_US if span.until_us - since_us <= SAMPLED_US else BIN_US
    rates = await _rates(query.store, span, since_us, bin_us)
    if not sampled:
        return ResourceUse(span, span.step_us, (), (), None, markers)
    first, last = min(sampled), max(sampled)
    edges = tuple(span.since_us + number * span.step_us for number in range(first, last + 1))
    run = _longest_run(edges, span, markers)
    shown_run = max(run[0], min(step.first_us for step in every)), run[1]  # a step begins before its first sample
    numbers = range(first, last + 1)
    found = [(resource, steps[resource.gauge]) for resource in RESOURCES if steps[resource.gauge]]
    newest_us = max(step.last_us for step in every)
    newest = await query.store.samples(names, newest_us - NEWEST_US, newest_us + 1)
    lines = tuple(
        _rate_line(resource, rates[resource.gauge], numbers)
        if resource.counter
        else _line(resource, its_steps, numbers, edges, run)
        for resource, its_steps in found
    )
    shown = tuple(replace(line, latest=_latest(line, newest[line.resource.gauge])) for line in lines)
    return ResourceUse(span, span.step_us, edges, shown, shown_run, markers, bin_us if bin_us > SAMPLE_US else None)


def _latest(line: ResourceLine, samples: Sequence[tuple[int, float]]) -> float | None:
    """Return the newest value; that of the newest step if its samples are older or too far apart."""
    resource = line.resource
    if len(samples) > resource.counter:
        at_us, value = samples[-1]
        if not resource.counter:
            return value * resource.factor
        before_us, before = samples[-2]
        return (value - before if value >= before else value) / max((at_us - before_us) / 1e6, 1e-6)
    return next((value for value in reversed(line.values) if value is not None), None)


def _longest_run(edges: Sequence[int], span: Range, markers: Sequence[Marker]) -> tuple[int, int]:
    """Return the longest time without a start of the bot: a start takes memory back, and is no growth."""
    starts = [marker.at_us for marker in markers if marker.kind == START and marker.at_us > edges[0]]
    runs = pairwise([edges[0], *starts, span.until_us])
    return max(runs, key=lambda run: run[1] - run[0])


def _line(
    resource: Resource, steps: Mapping[int, SampleStep], numbers: range, edges: Sequence[int], run: tuple[int, int]
) -> ResourceLine:
    known = [steps.get(number) for number in numbers]
    lowest, mean, highest = (
        tuple(None if step is None else getattr(step, name) * resource.factor for step in known)
        for name in ("lowest", "mean", "highest")
    )
    values = highest if resource.peak else mean
    pairs = [pair for pair in zip(edges, values, strict=True) if pair[1] is not None and run[0] <= pair[0] < run[1]]
    grown = [value for _, value in pairs if value is not None]
    slope, tau = growth([at_us for at_us, _ in pairs], grown)
    typical = float(np.median(grown)) if grown else 0.0
    steady = slope is not None and tau >= STEADY and slope > LEAST_GROWTH * typical
    whole = sum(step.mean * step.samples for step in known if step is not None) * resource.factor
    samples = sum(step.samples for step in known if step is not None)
    return ResourceLine(resource, values, lowest, highest, slope, steady, mean=whole / samples if samples else None)


async def _rates(store: Store, span: Range, since_us: int, bin_us: int) -> dict[str, list[Increase]]:
    """Return the increases of each counter between neighbouring bins of samples since a time, in order of time.

    They do not depend on the steps of the range, so the highest one stays the highest while the range moves on. A
    counter that fell was reset, and began at 0. Over a gap of more than two steps nothing is known.
    """
    names = [resource.gauge for resource in RESOURCES if resource.counter]
    since_us = since_us // bin_us * bin_us
    found = await store.sample_steps(names, since_us, span.until_us, step_us=bin_us)
    rates: dict[str, list[Increase]] = {}
    for name in names:
        bins = sorted(found[name].items())
        rates[name] = [
            Increase(
                max(later.last_us - span.since_us, 0) // span.step_us,
                later.highest - earlier.highest if later.highest >= earlier.highest else later.highest,
                (later.last_us - earlier.last_us) / 1e6,
            )
            for (_, earlier), (_, later) in pairwise(bins)
            if later.last_us - earlier.last_us < 2 * span.step_us
        ]
    return rates


def _rate_line(resource: Resource, increases: Sequence[Increase], numbers: range) -> ResourceLine:
    """Return the mean increase per second in each step, with the lowest and the highest between two samples."""
    by_step: dict[int, list[Increase]] = {}
    for increase in increases:
        by_step.setdefault(increase.step, []).append(increase)
    known = [by_step.get(number) for number in numbers]
    return ResourceLine(
        resource,
        tuple(None if each is None else _mean_rate(each) for each in known),
        tuple(None if each is None else min(one.rate for one in each) for each in known),
        tuple(None if each is None else max(one.rate for one in each) for each in known),
        None,
        mean=_mean_rate(increases) if increases else None,
    )


def _mean_rate(increases: Sequence[Increase]) -> float:
    return sum(one.amount for one in increases) / sum(one.seconds for one in increases)


def growth(times_us: Sequence[int], values: Sequence[float]) -> tuple[float | None, float]:
    """Return the growth per day, None if too little is known, and how steady it is: Kendall's tau, -1 to 1.

    The growth is the median of the slopes between all pairs of points (Theil 1950, Sen 1968): a peak, such as a full
    garbage collection or a chart, does not change it. Two hours and eight points are the least.
    """
    if len(values) < LEAST_POINTS or times_us[-1] - times_us[0] < LEAST_US:
        return None, 0.0
    later, earlier = np.tril_indices(len(values), -1)
    at, value = np.array(times_us, dtype=float) / DAY_US, np.array(values, dtype=float)
    differences = value[later] - value[earlier]
    slopes = differences / (at[later] - at[earlier])
    return float(np.median(slopes)), float(np.sign(differences).mean())
