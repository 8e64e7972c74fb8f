"""Totals and metrics as a prometheus_client collector, and its text in the format that the asker wants.

Import it in a thread: prometheus_client takes some fifty milliseconds.
"""

from __future__ import annotations

import gzip
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from prometheus_client.core import CounterMetricFamily, Exemplar, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from cogmeter.exporters.prometheus import BOUNDS_S
from cogmeter.recording.recorder import OTHER
from cogmeter.web.metrics.counters import BOUNDS, SUM
from cogmeter.web.metrics.family import COUNTER
from cogmeter.web.server.negotiation import accepted, takes_gzip, weight_of
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from prometheus_client.metrics_core import Metric

    from cogmeter.web.metrics.counters import CounterReading
    from cogmeter.web.metrics.family import Family
    from cogmeter_storage.model import OperationRecord

HISTOGRAMS: Final = 1000  # series with one of their own; those beyond share one
STEP: Final = 64  # samples that are written in one go, about half a millisecond
PAUSE_S: Final = 2e-4
COMPRESSION: Final = 1  # a fifth of the size for a fifth of the time that the usual one takes

_LES: Final = tuple(str(bound) for bound in (*BOUNDS_S, "+Inf"))
_PLAIN: Final = "text/plain"
_OPENMETRICS: Final = "application/openmetrics-text"
_VERSION: Final = re.compile(r"version\s*=\s*([^;,\s]*)", re.IGNORECASE)
_VERSIONS: Final = frozenset({"0.0.1", "0.0.4", "1.0.0"})
_OUTCOMES: Final = tuple(outcome.label for outcome in Outcome)


@dataclass(frozen=True, slots=True)
class Scraped:
    """All that one scrape tells."""

    namespace: str
    reading: CounterReading
    families: Sequence[Family]
    slow: Sequence[OperationRecord] = ()  # recent ones that serve as examples, the most telling first
    failed: Sequence[OperationRecord] = ()


@dataclass(frozen=True, slots=True)
class MetricsPage:
    """The bytes of an answer, and the headers that say what they are."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class TotalsCollector(Collector):
    """A collector, as one could register it with prometheus_client; its samples are made while they are written."""

    def __init__(self, scraped: Scraped) -> None:
        self._scraped = scraped
        self._used = np.flatnonzero(scraped.reading.values[:, :SUM].any(axis=1)).tolist()

    def collect(self) -> Iterator[Metric]:
        """Every metric."""
        name = f"{self._scraped.namespace}_operations"
        yield _metric(CounterMetricFamily(name, "Total number of operations"), self._counted(f"{name}_total"))
        name = f"{self._scraped.namespace}_operation_duration_seconds"
        yield _metric(HistogramMetricFamily(name, "Operation duration"), self._timed(name))
        for family in self._scraped.families:
            yield _family(f"{self._scraped.namespace}_{family.name}", family)

    def _counted(self, name: str) -> Iterator[Sample]:
        examples: dict[tuple[str, str, str], Exemplar] = {}
        for one in self._scraped.failed:
            examples.setdefault((one.service, one.operation, one.outcome.label), _exemplar(one, 1.0))
        values = self._scraped.reading.values[:, :SUM].tolist()
        for row in self._used:
            service, operation = self._scraped.reading.names[row]
            for outcome, count in zip(_OUTCOMES, values[row], strict=True):
                labels = {"service": service, "operation": operation, "outcome": outcome}
                yield Sample(name, labels, count, None, examples.get((service, operation, outcome)))

    def _timed(self, name: str) -> Iterator[Sample]:
        values, names = self._scraped.reading.values, self._scraped.reading.names
        examples = _examples(self._scraped.slow)
        own = [row for row in self._used if 0 < row <= HISTOGRAMS]
        shared = [row for row in self._used if not 0 < row <= HISTOGRAMS]
        for row in own:
            yield from _histogram(name, *names[row], values[row], examples)
        if shared:
            yield from _histogram(name, OTHER, OTHER, values[shared].sum(axis=0), examples)


def page(scraped: Scraped, accept: str, accept_encoding: str) -> MetricsPage:
    """The text in the format that is asked for by Accept, compressed where that is taken. Slow: call it in a thread."""
    encoder, content_type = _encoder(accept)
    body = encoder(TotalsCollector(scraped))
    headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
    if takes_gzip(accept_encoding):
        return MetricsPage(gzip.compress(body, COMPRESSION), headers | {"Content-Encoding": "gzip"})
    return MetricsPage(body, headers)


def wants_exemplars(accept: str) -> bool:
    """Whether the format that is asked for knows exemplars."""
    return not _encoder(accept)[1].startswith(_PLAIN)


def _encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    # What asks for another version is left out: prometheus_client would stumble over it, or promise what it is not.
    # It does not look at weights either: OpenMetrics is left out where it is refused, or plain text is preferred.
    members = [one for one in accepted(accept) if all(found in _VERSIONS for found in _VERSION.findall(one.text))]
    known = ",".join(one.text for one in members)
    wanted = weight_of(known, _OPENMETRICS, ranges=False)
    plain = not wanted or wanted < weight_of(known, _PLAIN, ranges=False)
    return choose_encoder(",".join(one.text for one in members if not (plain and one.name == _OPENMETRICS)))


class _Paced:
    """Samples that are made while they are written, with pauses in which the bot's loop gets the interpreter."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = samples

    def __iter__(self) -> Iterator[Sample]:
        for number, sample in enumerate(self._samples):
            if number % STEP == STEP - 1:
                time.sleep(PAUSE_S)
            yield sample


def _metric(metric: Metric, samples: Iterable[Sample]) -> Metric:
    # Writing walks over the samples once, so they need not be a list.
    metric.samples = _Paced(samples)  # type: ignore[assignment]  # see above
    return metric


def _family(name: str, family: Family) -> Metric:
    kind: Any = CounterMetricFamily if family.kind == COUNTER else GaugeMetricFamily
    metric: Metric = kind(name, family.help)
    return _metric(metric, (Sample(name, dict(labels), value) for labels, value in family.samples))


def _histogram(
    name: str, service: str, operation: str, row: NDArray[np.int64], examples: Mapping[tuple[str, str, str], Exemplar]
) -> Iterator[Sample]:
    values = row.tolist()
    labels = {"service": service, "operation": operation}
    count = sum(values[:SUM])
    for le, below in zip(_LES, (*values[BOUNDS:], count), strict=True):
        yield Sample(f"{name}_bucket", {**labels, "le": le}, below, None, examples.get((service, operation, le)))
    yield Sample(f"{name}_count", labels, count)
    yield Sample(f"{name}_sum", labels, values[SUM] / 1e6)


def _examples(operations: Sequence[OperationRecord]) -> dict[tuple[str, str, str], Exemplar]:
    """An example for each bucket that has one: it lies in that bucket, as the format wants it."""
    found: dict[tuple[str, str, str], Exemplar] = {}
    for one in operations:
        took_s = one.duration_us / 1e6
        le = next((le for bound, le in zip(BOUNDS_S, _LES, strict=False) if took_s <= bound), _LES[-1])
        found.setdefault((one.service, one.operation, le), _exemplar(one, took_s))
    return found


def _exemplar(operation: OperationRecord, value: float) -> Exemplar:
    return Exemplar({"operation_id": f"op_{operation.id}"}, value, operation.end_us / 1e6)
