"""Reads pushed OTLP requests with OpenTelemetry's own classes, and checks what its data model demands of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from http_receiver import Seen
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
KINDS = {
    "/v1/metrics": ExportMetricsServiceRequest,
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
}


@dataclass
class Decoded:
    """What an endpoint knows. Points with the same attributes and times are one, however often they came."""

    counts: dict[tuple[str, ...], dict[tuple[int, int], int]] = field(default_factory=lambda: defaultdict(dict))
    durations: dict[tuple[str, ...], dict[tuple[int, int], Any]] = field(default_factory=lambda: defaultdict(dict))
    gauges: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    spans: dict[tuple[bytes, bytes], Any] = field(default_factory=dict)
    logs: list[Any] = field(default_factory=list)
    resources: list[dict[str, str]] = field(default_factory=list)
    delta: bool = False
    repeated: int = 0  # points that came again with the same value

    @classmethod
    def of(cls, requests: Iterable[Seen]) -> Decoded:
        decoded = cls()
        for seen in requests:
            assert seen.headers["Content-Type"] == "application/x-protobuf"
            message = KINDS[seen.path].FromString(seen.body)  # aiohttp has decompressed it
            assert message.ByteSize() == len(seen.body)  # no unknown fields
            getattr(decoded, f"_{seen.path.removeprefix('/v1/')}")(message)
        return decoded

    def _metrics(self, message: Any) -> None:
        for resource in message.resource_metrics:
            self.resources.append(attributes_of(resource.resource))
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                self._metric(metric)

    def _metric(self, metric: Any) -> None:
        data = getattr(metric, metric.WhichOneof("data"))
        assert data.data_points, metric.name
        for point in data.data_points:
            named = attributes_of(point)
            assert len(named) == len(point.attributes)
            times = (point.start_time_unix_nano // 1000, point.time_unix_nano // 1000)
            if metric.name == "cogmeter.operations":
                self.delta = data.aggregation_temporality == DELTA
                assert data.is_monotonic
                assert metric.unit == "{operation}"
                self._keep(self.counts[tuple(named.values())], times, point.as_int)
            elif metric.name == "cogmeter.operation.duration":
                assert metric.unit == "s"
                assert point.count == point.zero_count + sum(point.positive.bucket_counts)
                self._keep(self.durations[tuple(named.values())], times, point)
            else:
                self.gauges[metric.name].append((named, point.as_double, metric))

    def _keep(self, points: dict[tuple[int, int], Any], times: tuple[int, int], value: Any) -> None:
        assert times[0] < times[1]
        if times in points:
            assert points[times] == value, "the same point came with another value"
            self.repeated += 1
        points[times] = value

    def _traces(self, message: Any) -> None:
        for resource in message.resource_spans:
            self.resources.append(attributes_of(resource.resource))
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                assert (len(span.trace_id), len(span.span_id)) == (16, 8)
                assert span.start_time_unix_nano <= span.end_time_unix_nano
                self.spans[span.trace_id, span.span_id] = span

    def _logs(self, message: Any) -> None:
        for resource in message.resource_logs:
            self.resources.append(attributes_of(resource.resource))
            self.logs += [record for scope in resource.scope_logs for record in scope.log_records]

    def total(self, series: tuple[str, ...], since_us: int = 0, until_us: int = 2**62) -> int:
        """The operations of one (service, operation, outcome) in a range, as a monitoring system computes them."""
        points = self.counts.get(series, {})
        if self.delta:
            return sum(count for (begin, end), count in points.items() if since_us <= begin and end <= until_us)
        increases = 0
        for begin in {begin for begin, _ in points}:  # of each run of the bot
            values = sorted((end, count) for (start, end), count in points.items() if start == begin)
            before = max((count for end, count in values if end <= since_us), default=0)
            increases += max((count for end, count in values if end <= until_us), default=before) - before
        return increases

    def quantile_s(self, series: tuple[str, str], share: float) -> float:
        """A quantile of all delta points of one (service, operation): the geometric middle of its bucket."""
        buckets: dict[int, int] = defaultdict(int)
        for point in self.durations[series].values():
            for place, count in enumerate(point.positive.bucket_counts):
                buckets[point.positive.offset + place] += count
        scale = point.scale
        rank, seen = share * sum(buckets.values()), 0
        for index in sorted(buckets):
            seen += buckets[index]
            if seen >= rank:
                return 2 ** ((index + 0.5) / 2**scale)
        raise AssertionError("no operations")


def attributes_of(holder: Any) -> dict[str, Any]:
    """Return the attributes of a resource, a point, a span or a log record."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in holder.attributes}
