"""Datadog's API: counts and gauges of each minute, and events for alerts and markers.

Percentiles are gauges, and not Datadog's distributions: these take each raw value (API, "Submit distribution points":
"tuples with timestamp and a list of values"), which at 1,000 operations a second would be 60,000 numbers a minute. Each
percentile is that of one series and minute, within 1%; an average of several is no percentile. Failures are the counts
with the tags ``outcome:error`` and ``outcome:upstream``: a metric of their own would be paid twice.

The requests are built here: Datadog's client takes 95 MB for what is one POST. Its models check them in tests.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from yarl import URL

from cogmeter.notifiers.http import Http, reason_of, retry_after_s
from cogmeter.push.base import REFUSED, PushError, PushTarget, Rejection, Request, failure, posted
from cogmeter.push.tagged import OLDEST_US, TaggedPoint, TaggedPoints, tag
from cogmeter.redaction import MARK
from cogmeter.render.formatting import cut
from cogmeter.settings import SettingsError, env_name
from cogmeter_storage.alerting import AlertState
from cogmeter_storage.clock import clock
from cogmeter_storage.model import HOUR_US, MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import SecretStr

    from cogmeter.notifiers.http import HttpResponse
    from cogmeter.push.base import Origin, PushBatch
    from cogmeter.settings import Settings
    from cogmeter_storage.alerting import Alert, AlertChange
    from cogmeter_storage.model import Marker

COMPRESSED: Final = 512_000  # bytes of one request (API, "Submit metrics")
DECOMPRESSED: Final = 5_242_880
COUNT: Final = 1  # types of series
GAUGE: Final = 3
OLDEST_EVENT_US: Final = 18 * HOUR_US - 10 * MINUTE_US  # "no older than 18 hours" (API, "Post an event")
TITLE: Final = 100  # characters
TEXT: Final = 4000
ALERT_TYPES: Final = {"info": "info", "warning": "warning", "critical": "error"}  # by severity
RESET: Final = "X-RateLimit-Reset"  # seconds until the next period (API, "Rate limits")

_logger = logging.getLogger("cogmeter.push")


def build(settings: Settings, origin: Origin) -> DatadogTarget:
    """Return the target of the settings.

    Raises:
        SettingsError: a key is missing or cannot be one.
    """
    api_key = _key(settings.datadog_api_key, "datadog_api_key")
    if not api_key:
        raise SettingsError(
            f"{env_name('datadog_api_key')} is not set, and {env_name('export_datadog')}=true needs it: copy the key "
            "from Organization Settings > API Keys in Datadog"
        )
    app_key = _key(settings.datadog_app_key, "datadog_app_key")
    return DatadogTarget(settings.datadog_site, api_key, origin, app_key=app_key)


def _key(value: SecretStr | None, field: str) -> str:
    key = value.get_secret_value().strip() if value is not None else ""
    if key and not re.fullmatch(r"[!-~]+", key):
        raise SettingsError(f"{env_name(field)} has a character that no key has: copy it again")
    return key


class DatadogTarget(PushTarget):
    """One account of Datadog."""

    name = "datadog"
    label = "Datadog"
    oldest_us = OLDEST_US

    def __init__(self, site: str, api_key: str, origin: Origin, *, app_key: str = "") -> None:
        """``site`` is a host name such as datadoghq.eu, or a URL that is used as it is."""
        self._url = site.rstrip("/") if "://" in site else f"https://api.{site}"
        self._http = Http(env_name("datadog_site"), redirects=0)
        self._api_key = api_key
        self._app_key = app_key
        self._host = origin.host
        self._points = TaggedPoints(origin)

    def encode(self, batch: PushBatch) -> list[Request]:
        """Return the requests with the series of a batch, and one for each event: the API takes one at a time."""
        series = [self._series(point) for point in self._points.of(batch)]
        requests = list(self._packed(series)) if series else []
        oldest_us = clock.now_us() - OLDEST_EVENT_US
        events = [(change.at_us, self._alert(change, alert)) for change, alert in batch.records.changes]
        events += [(marker.at_us, self._marker(marker)) for marker in batch.records.markers]
        if late := sum(at_us < oldest_us for at_us, _ in events):
            _logger.warning(
                "Events that are not pushed to Datadog, because it accepts none older than 18 hours: %d", late
            )
        requests += [self._request("/api/v1/events", event, "events") for at_us, event in events if at_us >= oldest_us]
        return requests

    async def send(self, request: Request) -> Rejection | None:
        """Send one request; return what the errors of an accepted one say."""
        response = await posted(self._http, self._signed(request), failing=self._failure)
        errors: Any = None
        with contextlib.suppress(ValueError, AttributeError):
            errors = json.loads(self._masked(response.body)).get("errors")
        if not isinstance(errors, list) or not errors:
            return None
        return Rejection(len(errors), cut("; ".join(map(str, errors)), 200))

    def accepted(self, batch: PushBatch) -> None:
        """Note that the batch is not sent again."""
        self._points.accepted(batch)

    async def check(self) -> str:
        """Ask whether the keys are valid; nothing is stored there."""
        api_name, app_name = env_name("datadog_api_key"), env_name("datadog_app_key")
        await self._asked("/api/v1/validate")
        text = f"{self._url} accepts {api_name}"
        if not self._app_key:
            return f"{text}. {app_name} is not set, and pushing needs none"
        try:
            await self._asked("/api/v2/validate_keys", {"DD-APPLICATION-KEY": self._app_key})
        except PushError as error:
            if not error.refused:
                raise
            return f"{text}, but not {app_name}: correct it or remove it; pushing needs none"
        return f"{text} and {app_name}"

    async def _asked(self, path: str, headers: dict[str, str] | None = None) -> None:
        request = Request(self._url + path, b"", headers or {})
        await posted(self._http, self._signed(request), "GET", failing=self._failure)

    def _series(self, point: TaggedPoint) -> bytes:
        """Return a series with one point as JSON; see Datadog's API, "Submit metrics" (version 2)."""
        series: dict[str, Any] = {
            "metric": point.metric,
            "type": COUNT if point.counts else GAUGE,
            "points": [{"timestamp": point.at_s, "value": point.value}],
            "resources": [{"type": "host", "name": self._host}],
            "tags": point.tags,
        }
        if point.counts:
            series["interval"] = MINUTE_US // 1_000_000
        if point.unit:
            series["unit"] = point.unit
        return json.dumps(series, separators=(",", ":")).encode()

    def _packed(self, series: Sequence[bytes]) -> Iterator[Request]:
        """Yield requests with the series that are within both limits of size."""
        body = b'{"series":[' + b",".join(series) + b"]}"
        packed = gzip.compress(body, 5)
        if len(series) == 1 or (len(body) < DECOMPRESSED and len(packed) <= COMPRESSED):
            headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
            yield Request(f"{self._url}/api/v2/series", packed, headers)
            return
        middle = len(series) // 2
        yield from self._packed(series[:middle])
        yield from self._packed(series[middle:])

    def _alert(self, change: AlertChange, alert: Alert) -> dict[str, Any]:
        kind = "success" if change.state is AlertState.RESOLVED else "info"
        if change.state is AlertState.FIRING:
            kind = ALERT_TYPES[change.severity]
        of = {"service": alert.service, "operation": alert.operation, "rule": alert.rule}
        tags = of | {"severity": change.severity, "state": change.state, "change": change.kind}
        title = f"{alert.service} {alert.operation}".rstrip() + f": {change.kind}: {alert.rule}"
        return self._event(change.at_us, title, change.message, kind, tags) | {"aggregation_key": alert.uid[:100]}

    def _marker(self, marker: Marker) -> dict[str, Any]:
        return self._event(marker.at_us, marker.name, f"{marker.kind}: {marker.name}", "info", {"marker": marker.kind})

    def _event(self, at_us: int, title: str, text: str, kind: str, tags: dict[str, str]) -> dict[str, Any]:
        return {
            "title": cut(_quiet(title), TITLE) or "cogmeter",
            "text": cut(_quiet(text), TEXT),
            "alert_type": kind,
            "date_happened": at_us // 1_000_000,
            "host": self._host,
            "tags": [*self._points.own, *(tag(name, value) for name, value in tags.items() if value)],
        }

    def _request(self, path: str, content: dict[str, Any], kind: str) -> Request:
        body = json.dumps(content).encode()
        return Request(self._url + path, body, {"Content-Type": "application/json"}, kind)

    def _signed(self, request: Request) -> Request:
        """Return the request with the key, which requests that wait do not have."""
        return replace(request, headers={**request.headers, "DD-API-KEY": self._api_key})

    def _failure(self, response: HttpResponse, setting: str) -> PushError:
        """Return the error that a response's status means; a proxy's page may repeat the headers of the request."""
        response = replace(response, reason=reason_of(self._masked(response.body), URL(self._url)))
        if response.status in REFUSED:
            own = f': "{response.reason}"' if response.reason else ""
            keys = f"{env_name('datadog_api_key')} was refused ({response.status}{own})"
            return PushError(
                f"{keys}. Correct it, or {setting}: a key is valid at its own site; then reload", refused=True
            )
        error = failure(response, setting)
        if error.retry_after_s is None:
            error.retry_after_s = retry_after_s(response.headers.get(RESET), clock.now_ns() / 1e9)
        return error

    def _masked(self, body: bytes) -> bytes:
        for key in filter(None, (self._api_key, self._app_key)):
            body = body.replace(key.encode(), MARK.encode())
        return body


def _quiet(text: str) -> str:
    """Return a text without mentions: Datadog notifies each person who is named with an @."""
    return text.replace("@", "@\N{ZERO WIDTH SPACE}")
