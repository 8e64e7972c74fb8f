"""OpenTelemetry: turns the spans of its instrumentations into operations. Needs the extra ``cogmeter[otel]``."""

try:
    import opentelemetry.sdk.trace as _sdk
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "cogmeter.otel needs the OpenTelemetry SDK. Install it: pip install 'cogmeter[otel]'.", name=error.name
    ) from error

from cogmeter.otel.processor import SpanProcessor

__all__ = ["SpanProcessor"]

del _sdk
