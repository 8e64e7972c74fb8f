"""A prometheus_client collector of totals and gauges, and its text in the requested format.

Import it in a thread: importing prometheus_client takes about fifty milliseconds.
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

from cogmeter.exporters.gauge_names import COUNTER
from cogmeter.exporters.prometheus import BOUNDS_S
from cogmeter.recording.recorder import OTHER
from cogmeter.web.metrics.counters import BOUNDS, SUM
from cogmeter.web.server.negotiation import accepted, accepts_gzip, weight_of
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from prometheus_client.metrics_core import Metric

    from cogmeter.web.metrics.counters import CounterReading
    from cogmeter.web.metrics.families import Family
    from cogmeter_storage.model import OperationRecord

HISTOGRAMS: Final = 1000  # series with their own histogram; the others share one
STEP: Final = 64  # samples written without a pause, about half a millisecond
PAUSE_S: Final = 2e-4
COMPRESSION: Final = 1  # a fifth of the size, in a fifth of the default level's time

_BOUND_LABELS: Final = tuple(str(bound) for bound in (*BOUNDS_S, "+Inf"))
_PLAIN: Final = "text/plain"
_OPENMETRICS: Final = "application/openmetrics-text"
_VERSION: Final = re.compile(r"version\s*=\s*([^;,\s]*)", re.IGNORECASE)
_VERSIONS: Final = frozenset({"0.0.1", "0.0.4", "1.0.0"})
_OUTCOMES: Final = tuple(outcome.label for outcome in Outcome)


@dataclass(frozen=True, slots=True)
class Scraped:
    """The data of one scrape."""

    namespace: str
    reading: CounterReading
    families: Sequence[Family]
    slow: Sequence[OperationRecord] = ()  # exemplars for the histograms: failed operations, then the slowest
    failed: Sequence[OperationRecord] = ()


@dataclass(frozen=True, slots=True)
class MetricsPage:
    """The body and headers of a response."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class TotalsCollector(Collector):
    """A collector for a prometheus_client registry; its samples are created while they are written."""

    def __init__(self, scraped: Scraped) -> None:
        self._scraped = scraped
        self._used = np.flatnonzero(scraped.reading.values[:, :SUM].any(axis=1)).tolist()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        name = f"{self._scraped.namespace}_operations"
        yield _metric(CounterMetricFamily(name, "Total number of operations"), self._counted(f"{name}_total"))
        name = f"{self._scraped.namespace}_operation_duration_seconds"
        yield _metric(HistogramMetricFamily(name, "Operation duration"), self._timed(name))
        for family in self._scraped.families:
            yield _family(f"{self._scraped.namespace}_{family.name}", family)

    def _counted(self, name: str) -> Iterator[Sample]:
        exemplars: dict[tuple[str, str, str], Exemplar] = {}
        for failure in self._scraped.failed:
            exemplars.setdefault((failure.service, failure.operation, failure.outcome.label), _exemplar(failure, 1.0))
        values = self._scraped.reading.values[:, :SUM].tolist()
        for row in self._used:
            service, operation = self._scraped.reading.names[row]
            for outcome, count in zip(_OUTCOMES, values[row], strict=True):
                labels = {"service": service, "operation": operation, "outcome": outcome}
                yield Sample(name, labels, count, None, exemplars.get((service, operation, outcome)))

    def _timed(self, name: str) -> Iterator[Sample]:
        values, names = self._scraped.reading.values, self._scraped.reading.names
        exemplars = _exemplars(self._scraped.slow)
        own = [row for row in self._used if 0 < row <= HISTOGRAMS]
        shared = [row for row in self._used if not 0 < row <= HISTOGRAMS]
        for row in own:
            yield from _histogram(name, *names[row], values[row], exemplars)
        if shared:
            yield from _histogram(name, OTHER, OTHER, values[shared].sum(axis=0), exemplars)


def page(scraped: Scraped, accept: str, accept_encoding: str) -> MetricsPage:
    """Return the text in the format of Accept, compressed if accepted. Slow: call it in a thread."""
    encoder, content_type = _encoder(accept)
    body = encoder(TotalsCollector(scraped))
    headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
    if accepts_gzip(accept_encoding):
        return MetricsPage(gzip.compress(body, COMPRESSION), headers | {"Content-Encoding": "gzip"})
    return MetricsPage(body, headers)


def wants_exemplars(accept: str) -> bool:
    """Return True if the requested format has exemplars."""
    return not _encoder(accept)[1].startswith(_PLAIN)


def _encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    # Other versions are removed: prometheus_client would fail on them, or declare a wrong content type.
    # It ignores weights too: OpenMetrics is removed if it is refused, or if plain text is preferred.
    members = [
        member for member in accepted(accept) if all(version in _VERSIONS for version in _VERSION.findall(member.text))
    ]
    known = ",".join(member.text for member in members)
    weight = weight_of(known, _OPENMETRICS, ranges=False)
    plain = not weight or weight < weight_of(known, _PLAIN, ranges=False)
    return choose_encoder(",".join(member.text for member in members if not (plain and member.name == _OPENMETRICS)))


class _Paced:
    """Samples that are created while they are written, with pauses that release the interpreter's lock."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = samples

    def __iter__(self) -> Iterator[Sample]:
        for number, sample in enumerate(self._samples):
            if number % STEP == STEP - 1:
                time.sleep(PAUSE_S)
            yield sample


def _metric(metric: Metric, samples: Iterable[Sample]) -> Metric:
    # The encoder iterates over the samples once, so they need not be a list.
    metric.samples = _Paced(samples)  # type: ignore[assignment]  # see above
    return metric


def _family(name: str, family: Family) -> Metric:
    kind: Any = CounterMetricFamily if family.kind == COUNTER else GaugeMetricFamily
    metric: Metric = kind(name, family.help)
    return _metric(metric, (Sample(name, dict(labels), value) for labels, value in family.samples))


def _histogram(
    name: str, service: str, operation: str, row: NDArray[np.int64], exemplars: Mapping[tuple[str, str, str], Exemplar]
) -> Iterator[Sample]:
    values = row.tolist()
    labels = {"service": service, "operation": operation}
    count = sum(values[:SUM])
    for le, below in zip(_BOUND_LABELS, (*values[BOUNDS:], count), strict=True):
        yield Sample(f"{name}_bucket", {**labels, "le": le}, below, None, exemplars.get((service, operation, le)))
    yield Sample(f"{name}_count", labels, count)
    yield Sample(f"{name}_sum", labels, values[SUM] / 1e6)


def _exemplars(operations: Sequence[OperationRecord]) -> dict[tuple[str, str, str], Exemplar]:
    """Return at most one exemplar for each bucket; its value lies in that bucket, as OpenMetrics requires."""
    exemplars: dict[tuple[str, str, str], Exemplar] = {}
    for operation in operations:
        duration_s = operation.duration_us / 1e6
        le = next(
            (le for bound, le in zip(BOUNDS_S, _BOUND_LABELS, strict=False) if duration_s <= bound), _BOUND_LABELS[-1]
        )
        exemplars.setdefault((operation.service, operation.operation, le), _exemplar(operation, duration_s))
    return exemplars


def _exemplar(operation: OperationRecord, value: float) -> Exemplar:
    return Exemplar({"operation_id": f"op_{operation.id}"}, value, operation.end_us / 1e6)
