"""OTLP over HTTP: metrics, traces of slow and failed interactions, and alerts and markers as log records.

Names follow OpenTelemetry's semantic conventions where there are any (``process.*``); all others begin with
``cogmeter.``. Durations are exponential histograms of scale 5: their buckets are 2.2% wide, ours 2.0%, so a quantile
differs by at most one bucket. Source: OpenTelemetry metrics data model, "ExponentialHistogram".
"""

from __future__ import annotations

import gzip
import hashlib
import time
from functools import cache
from math import ceil, log2
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from cogmeter import __version__
from cogmeter.exporters.gauge_names import COUNTER, metric_of
from cogmeter.notifiers.http import Http, Timeouts
from cogmeter.push.base import PushTarget, Rejection, Request, posted, sample_batch
from cogmeter.push.otlp_variables import read_otlp_variables
from cogmeter_storage.alerting import AlertState
from cogmeter_storage.histogram import value_of
from cogmeter_storage.model import DAY_US, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cogmeter.push.base import Origin, PushBatch, SeriesCounts
    from cogmeter.push.otlp_variables import OtlpVariables
    from cogmeter.settings import Settings
    from cogmeter_storage.alerting import Alert, AlertChange
    from cogmeter_storage.model import Marker, TraceRecord

SCALE: Final = 5
PIECE: Final = 25  # series that are encoded before other threads may run
OPERATIONS: Final = "cogmeter.operations"
DURATION: Final = "cogmeter.operation.duration"
CONTENT: Final = "application/x-protobuf"
SEVERITIES: Final = {
    "info": SeverityNumber.SEVERITY_NUMBER_INFO,
    "warning": SeverityNumber.SEVERITY_NUMBER_WARN,
    "critical": SeverityNumber.SEVERITY_NUMBER_ERROR,
}
RESPONSES: Final[Mapping[str, tuple[Any, str]]] = {
    "metrics": (ExportMetricsServiceResponse, "rejected_data_points"),
    "traces": (ExportTraceServiceResponse, "rejected_spans"),
    "logs": (ExportLogsServiceResponse, "rejected_log_records"),
}


def build(settings: Settings, origin: Origin) -> OtlpTarget:
    """Return the target of the standard variables; see ``read_otlp_variables`` for errors."""
    return OtlpTarget(read_otlp_variables(settings.otel_variables), origin)


class OtlpTarget(PushTarget):
    """An endpoint of OTLP over HTTP with protobuf. Cumulative points begin again at each start, as in any SDK."""

    name = "otlp"
    label = "the OTLP endpoint"
    oldest_us = DAY_US

    def __init__(self, variables: OtlpVariables, origin: Origin) -> None:
        self._endpoints = variables.endpoints
        self._https = {
            signal: Http(
                endpoint.variable, redirects=0, timeouts=Timeouts(answer_s=endpoint.timeout_s), tls=endpoint.tls
            )
            for signal, endpoint in variables.endpoints.items()
        }
        self._delta = variables.delta
        self._origin = origin
        self._resource = _attributes(
            {
                "service.name": origin.name,
                "service.instance.id": origin.instance,
                "service.version": origin.version,
                "host.name": origin.host,
            }
            | dict(variables.attributes)
        )
        self._sums: dict[tuple[str, str], SeriesCounts] = {}  # of all minutes since the start
        self._begin_us: int | None = None  # of the sums: the start of the first minute

    def encode(self, batch: PushBatch) -> list[Request]:
        """Return one request for each signal that the batch has and that is not switched off."""
        requests, records, wanted = [], batch.records, self._endpoints.keys()
        if (batch.series or batch.gauges) and "metrics" in wanted:
            requests.append(self._metrics(batch))
        if records.traces and "traces" in wanted:
            requests.append(self._traces(records.traces))
        if (records.changes or records.markers) and "logs" in wanted:
            requests.append(self._logs(records.changes, records.markers))
        return requests

    async def send(self, request: Request) -> Rejection | None:
        """Send one request; return what the endpoint's partial success says that it rejected."""
        response = await posted(self._https[request.kind], request)
        kind, field = RESPONSES[request.kind]
        try:
            partial = kind.FromString(response.body).partial_success
        except DecodeError:
            return None  # JSON, or a page: it accepted the request
        rejected = getattr(partial, field)
        return Rejection(rejected, partial.error_message) if rejected else None

    def accepted(self, batch: PushBatch) -> None:
        """Add the batch to the sums."""
        if self._delta or not batch.series:
            return
        if self._begin_us is None:
            self._begin_us = batch.minute_us
        for one in batch.series:
            self._sums[one.service, one.operation] = self._since_start(one)

    async def check(self) -> str:
        """Send one gauge, and return where it was sent."""
        if "metrics" not in self._endpoints:
            return "OTEL_METRICS_EXPORTER=none: a sample would be a metric, so none was sent"
        (request,) = self.encode(sample_batch())
        rejection = await self.send(request)
        http = self._https["metrics"]
        place = f"{http.setting} ({http.parsed(request.url).host})"  # the rest of an address may be secret
        if rejection is not None:
            return f"{place} accepts requests, but rejected {rejection.points} of 1 points: {rejection.reason}"
        return f"{place} accepted one sample of process.thread.count"

    def _metrics(self, batch: PushBatch) -> Request:
        message = ExportMetricsServiceRequest()
        metrics = self._scope(message.resource_metrics.add(), "scope_metrics").metrics
        if batch.series:
            begin_us = batch.minute_us if self._delta or self._begin_us is None else self._begin_us
            times = {"start_time_unix_nano": begin_us * 1000, "time_unix_nano": batch.until_us * 1000}
            self._count(metrics, self._points(batch), times)
        for gauge, value in batch.gauges.items():
            _add_gauge(metrics, gauge, value, batch.gauges_us)
        return self._request("metrics", message)

    def _points(self, batch: PushBatch) -> Iterator[SeriesCounts]:
        """Yield the counts of each series to be sent: those of the minute or of all minutes so far."""
        for one in batch.series:
            yield one if self._delta else self._since_start(one)
        if not batch.newest or self._delta:
            return
        # A series without operations is repeated, as an SDK does: Prometheus forgets one that is silent for 5 minutes.
        sent = {(one.service, one.operation) for one in batch.series}
        yield from (counts for series, counts in self._sums.items() if series not in sent)

    def _since_start(self, one: SeriesCounts) -> SeriesCounts:
        known = self._sums.get((one.service, one.operation))
        return one if known is None else known.plus(one)

    def _count(self, metrics: Any, points: Iterable[SeriesCounts], times: Mapping[str, int]) -> None:
        """Add the counts and the durations of these series to the metrics of a request."""
        counter, durations = metrics.add(), metrics.add()
        kind = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
        if self._delta:
            kind = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
        counter.name, counter.unit, counter.description = OPERATIONS, "{operation}", "Finished operations"
        counter.sum.aggregation_temporality, counter.sum.is_monotonic = kind, True
        durations.name, durations.unit, durations.description = DURATION, "s", "Durations of operations"
        durations.exponential_histogram.aggregation_temporality = kind
        for turn, one in enumerate(points):
            if turn % PIECE == 0:
                time.sleep(0)  # on a thread: lets the event loop have the GIL
            named = {"cogmeter.service": one.service, "cogmeter.operation": one.operation}
            for outcome, count in zip(Outcome, one.outcomes, strict=True):
                if count:
                    attributes = _attributes(named | {"cogmeter.outcome": outcome.label})
                    counter.sum.data_points.add(attributes=attributes, as_int=count, **times)
            point = durations.exponential_histogram.data_points.add(attributes=_attributes(named), scale=SCALE, **times)
            point.count, point.sum, point.max = one.count, one.sum_us / 1e6, one.max_us / 1e6
            _add_buckets(point, one.buckets)

    def _traces(self, traces: Iterable[TraceRecord]) -> Request:
        message = ExportTraceServiceRequest()
        spans = self._scope(message.resource_spans.add(), "scope_spans").spans
        for trace in traces:
            spans.extend(self._spans(trace))
        return self._request("traces", message)

    def _spans(self, trace: TraceRecord) -> Iterator[Span]:
        """Yield the span of the interaction and those inside it. Their ids are the same when they are sent again."""
        seed = f"{self._origin.instance} {trace.id} {trace.at_us}"
        trace_id = hashlib.sha256(seed.encode()).digest()[:16]

        def span_id(number: int) -> bytes:
            return hashlib.sha256(f"{seed} {number}".encode()).digest()[:8]

        root = _span(trace.service, trace.operation, trace.at_us, trace.duration_us, trace.outcome)
        root.trace_id, root.span_id, root.kind = trace_id, span_id(0), Span.SPAN_KIND_SERVER
        if trace.error is not None:
            root.status.message = trace.error
        yield root
        for one in trace.spans:
            span = _span(one.service, one.operation, trace.at_us + one.start_us, one.duration_us, one.outcome)
            span.trace_id, span.span_id, span.parent_span_id = trace_id, span_id(one.id), span_id(one.parent)
            yield span

    def _logs(self, changes: Iterable[tuple[AlertChange, Alert]], markers: Iterable[Marker]) -> Request:
        message = ExportLogsServiceRequest()
        records = self._scope(message.resource_logs.add(), "scope_logs").log_records
        records.extend(_alert_record(change, alert) for change, alert in changes)
        records.extend(_marker_record(marker) for marker in markers)
        return self._request("logs", message)

    def _scope(self, resource: Any, field: str) -> Any:
        """Set a resource's attributes; return its scope, to which the data is added."""
        resource.resource.attributes.extend(self._resource)
        scope = getattr(resource, field).add()
        scope.scope.name, scope.scope.version = "cogmeter", __version__
        return scope

    def _request(self, signal: str, message: Any) -> Request:
        endpoint = self._endpoints[signal]
        body, headers = message.SerializeToString(), {"Content-Type": CONTENT} | dict(endpoint.headers)
        if endpoint.gzip:
            body, headers["Content-Encoding"] = gzip.compress(body, 5), "gzip"
        return Request(endpoint.url, body, headers, signal)


def _attributes(values: Mapping[str, str | float]) -> list[KeyValue]:
    """Return the attributes that are not empty."""
    found = []
    for name, value in values.items():
        attribute = KeyValue(key=name)
        if isinstance(value, str):
            if not value:
                continue
            attribute.value.string_value = value
        else:
            attribute.value.double_value = value
        found.append(attribute)
    return found


@cache
def _indices() -> list[int]:
    """Return the index of the exponential bucket that contains the value of each of our buckets from 1 on, in seconds.

    The bucket with index k contains (base**k, base**(k+1)], where base is 2**(2**-SCALE).
    """
    return [0, *(ceil(log2(value / 1e6) * 2**SCALE) - 1 for value in value_of(range(1, 1536)).tolist())]


def _add_buckets(point: Any, buckets: Iterable[tuple[int, int]]) -> None:
    """Set the buckets of a point; several of ours may be one of its own."""
    indices = _indices()
    counts: dict[int, int] = {}
    for bucket, count in buckets:
        if bucket:
            counts[indices[bucket]] = counts.get(indices[bucket], 0) + count
        else:
            point.zero_count = count
    if counts:
        point.positive.offset = min(counts)
        point.positive.bucket_counts.extend(counts.get(index, 0) for index in range(min(counts), max(counts) + 1))


def _add_gauge(metrics: Any, gauge: str, value: float, at_us: int) -> None:
    found = metric_of(gauge)
    if found is None:
        return
    named, labels = found
    metric = metrics.add(name=named.semantic_name, unit=named.unit, description=named.help)
    points = metric.gauge.data_points
    if named.kind == COUNTER or named.adds:
        metric.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
        metric.sum.is_monotonic = named.kind == COUNTER
        points = metric.sum.data_points
    attributes = _attributes({f"cogmeter.{label}": text for label, text in labels.items()})
    points.add(attributes=attributes, as_double=value * named.scale, time_unix_nano=at_us * 1000)


def _span(service: str, operation: str, at_us: int, duration_us: int, outcome: Outcome) -> Span:
    span = Span(
        name=operation,
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=at_us * 1000,
        end_time_unix_nano=(at_us + duration_us) * 1000,
        attributes=_attributes({"cogmeter.service": service, "cogmeter.outcome": outcome.label}),
    )
    if outcome.failed:
        span.status.code = Status.STATUS_CODE_ERROR
    return span


def _alert_record(change: AlertChange, alert: Alert) -> LogRecord:
    over = change.state is AlertState.RESOLVED
    severity = SeverityNumber.SEVERITY_NUMBER_INFO if over else SEVERITIES[change.severity]
    return _record(
        change.at_us,
        severity,
        f"{alert.service} {alert.operation}".rstrip() + f": {change.kind}: {change.message}",
        event="cogmeter.alert",
        attributes={
            "cogmeter.alert.id": alert.uid,
            "cogmeter.alert.rule": alert.rule,
            "cogmeter.alert.change": change.kind,
            "cogmeter.alert.state": change.state,
            "cogmeter.alert.severity": change.severity,
            "cogmeter.alert.value": float(change.current),
            "cogmeter.alert.threshold": float(change.threshold),
            "cogmeter.service": alert.service,
            "cogmeter.operation": alert.operation,
        },
    )


def _marker_record(marker: Marker) -> LogRecord:
    info = SeverityNumber.SEVERITY_NUMBER_INFO
    return _record(
        marker.at_us, info, marker.name, event="cogmeter.marker", attributes={"cogmeter.marker": marker.kind}
    )


def _record(at_us: int, severity: Any, body: str, *, event: str, attributes: Mapping[str, str | float]) -> LogRecord:
    record = LogRecord(
        time_unix_nano=at_us * 1000,
        observed_time_unix_nano=at_us * 1000,
        severity_number=severity,
        severity_text=SeverityNumber.Name(severity).removeprefix("SEVERITY_NUMBER_"),
        event_name=event,
        attributes=_attributes(attributes),
    )
    record.body.string_value = body
    return record
