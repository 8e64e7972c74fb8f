"""The REST API of a running bot as a source."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

import aiohttp
from pydantic import BaseModel, ValidationError
from yarl import URL

from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.diagnosis import MOST, Verdict
from cogmeter.diagnostics.process_health import fleet_finding
from cogmeter.exporters.table import exporter
from cogmeter.recording.service_names import in_background
from cogmeter.redaction import quoted, shown
from cogmeter.schemas.alerts import AlertPage, Thresholds
from cogmeter.schemas.comparison import ComparisonAnswer
from cogmeter.schemas.costs import Costs
from cogmeter.schemas.errors import ErrorGroupDetail, ErrorGroupPage, Errors
from cogmeter.schemas.fleet import FleetAnswer
from cogmeter.schemas.health import CheckAnswer, HealthAnswer, ServicesHealthAnswer, VerdictAnswer
from cogmeter.schemas.operations import OperationPage, RunningPage, Slowest
from cogmeter.schemas.resources import ResourcesAnswer
from cogmeter.schemas.selection import SelectionAnswer
from cogmeter.schemas.slow import SlowAnswer
from cogmeter.schemas.state import BotStateAnswer
from cogmeter.schemas.statistics import Dashboard, Series, ServiceAnswer
from cogmeter.schemas.usage import UsageAnswer
from cogmeter.times import iso
from cogmeter_bot.errors import NoDataError, RequestError
from cogmeter_bot.sources.base import ExportStream
from cogmeter_bot.sources.diagnosis import (
    PASSING,
    Diagnosis,
    alert_checks,
    alerts_finding,
    background_finding,
    health_findings,
    past_lines,
)
from cogmeter_bot.sources.no_response import no_response_reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping

    from cogmeter.diagnosis import Finding
    from cogmeter.query.costs import CostGrouping
    from cogmeter.query.records import Range
    from cogmeter.schemas.alerts import AlertAnswer
    from cogmeter.schemas.errors import ErrorGroupSummary
    from cogmeter.settings import Settings

PER_REQUEST: Final = 200  # the API's maximum of alerts and of error groups
MAX_RESPONSE_BYTES: Final = 64 * 1024 * 1024  # of a response that is read into memory
RESPONSE_S: Final = 60.0  # time limit of a complete response, and of the start of an export
MIN_EXPORT_BYTES: Final = 1024  # bytes that an export must deliver within RESPONSE_S
TIMEOUT: Final = aiohttp.ClientTimeout(total=RESPONSE_S, sock_connect=10)
EXPORT_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=RESPONSE_S)
_API: Final = "/api/performance"
_CHUNK: Final = 64 * 1024
M = TypeVar("M", bound=BaseModel)


class ApiSource:
    """The API at ``<url>/api/performance`` and ``<url>/health``."""

    def __init__(self, url: str, token: str | None, settings: Settings, process: str | None = None) -> None:
        """Use ``open`` instead; this needs a running event loop."""
        self._process = process
        self.name = _without_password(url)
        self._url = url
        self._settings = settings
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._session = aiohttp.ClientSession(headers=headers)

    @classmethod
    async def open(cls, url: str, token: str | None, settings: Settings, process: str | None = None) -> ApiSource:
        """Return a source for this address, with or without a path before ``/api``. Sends no request yet.

        ``process`` is the one whose operations are read; None: all.

        Raises:
            RequestError: the address or the token is not valid.
        """
        base = url.strip().rstrip("/")
        if not _is_address(base):
            address = quoted(url, strict=True)
            raise RequestError(f"--url {address} is not a valid address. Use one like http://127.0.0.1:3000.")
        if token is not None and not (token.isascii() and token.isprintable()):
            raise RequestError(
                "The token contains characters that no token has. Copy the bot's PERFORMANCE_HTTP_TOKEN again."
            )
        return cls(base.removesuffix(_API), token, settings, process)

    async def dashboard(
        self, time_range: Range, services: Collection[str] | None, *, findings: int = MOST
    ) -> Dashboard:
        """Implement Source.dashboard."""
        names = {"services": _joined(services), "findings": None if findings == MOST else str(findings)}
        return await self._get(Dashboard, f"{_API}/dashboard", self._range(time_range), **names)

    async def service(self, service: str, operation: str | None, time_range: Range) -> ServiceAnswer:
        """Implement Source.service."""
        path = f"{_API}/services/{quote(service, safe='', errors='replace')}"
        return await self._get(ServiceAnswer, path, self._range(time_range), operation=operation)

    async def comparison(
        self, service: str | None, operation: str | None, *, before: str | None, after: str | None
    ) -> ComparisonAnswer:
        """Implement Source.comparison."""
        names = {"service": service, "operation": operation, "before": before, "after": after}
        return await self._get(ComparisonAnswer, f"{_API}/compare", {}, process=self._process, **names)

    async def series(self, service: str | None, time_range: Range, *, trim: bool = False) -> Series:
        """Implement Source.series."""
        query = {**self._range(time_range), **({"trim": "true"} if trim else {})}
        return await self._get(Series, f"{_API}/series", query, service=service)

    async def alerts(self, state: str, *, limit: int) -> list[AlertAnswer]:
        """Implement Source.alerts."""
        alerts: list[AlertAnswer] = []
        cursor: str | None = None
        while len(alerts) < limit:
            query = {"state": state, "limit": str(min(limit - len(alerts), PER_REQUEST))}
            page = await self._get(AlertPage, f"{_API}/alerts", query, cursor=cursor)
            alerts += page.alerts
            cursor = page.next
            if cursor is None:
                break
        return alerts

    async def errors(self, time_range: Range, service: str | None, operation: str | None, *, limit: int) -> Errors:
        """Implement Source.errors."""
        query = {**self._range(time_range), "limit": str(min(limit, PER_REQUEST))}
        return await self._get(Errors, f"{_API}/errors", query, service=service, operation=operation)

    async def error_groups(
        self, time_range: Range, services: Collection[str] | None, operation: str | None, *, limit: int
    ) -> ErrorGroupPage:
        """Implement Source.error_groups."""
        query = {**self._range(time_range), "resolved": "false"}
        names = {"services": _joined(services), "operation": operation}
        groups: list[ErrorGroupSummary] = []
        cursor: str | None = None
        while True:
            query["limit"] = str(min(limit - len(groups), PER_REQUEST))
            page = await self._get(ErrorGroupPage, f"{_API}/error-groups", query, **names, cursor=cursor)
            groups += page.groups
            cursor = page.next
            if cursor is None or len(groups) >= limit:
                return page.model_copy(update={"groups": groups, "next": None})

    async def error_group(self, number: int) -> ErrorGroupDetail:
        """Implement Source.error_group."""
        return await self._get(ErrorGroupDetail, f"{_API}/error-groups/{number}", {})

    async def failures(self, time_range: Range, service: str | None, *, limit: int) -> OperationPage:
        """Implement Source.failures."""
        query = {**self._range(time_range), "limit": str(limit), "outcome": "failed"}
        return await self._get(OperationPage, f"{_API}/operations", query, service=service)

    async def slowest(
        self, time_range: Range, services: Collection[str] | None, operation: str | None, *, limit: int
    ) -> Slowest:
        """Implement Source.slowest."""
        query = {**self._range(time_range), "limit": str(limit)}
        return await self._get(Slowest, f"{_API}/slowest", query, services=_joined(services), operation=operation)

    async def slow(self, time_range: Range, service: str | None, operation: str | None = None) -> SlowAnswer:
        """Implement Source.slow."""
        return await self._get(
            SlowAnswer, f"{_API}/slow", self._range(time_range), service=service, operation=operation
        )

    async def selection(self, time_range: Range, service: str | None) -> SelectionAnswer:
        """Implement Source.selection."""
        return await self._get(SelectionAnswer, f"{_API}/selection", self._range(time_range), service=service)

    async def stopped(self) -> str:
        """Implement Source.stopped; a bot that answers runs."""
        return ""

    async def running(self, *, limit: int) -> RunningPage:
        """Implement Source.running."""
        return await self._get(RunningPage, f"{_API}/running", {"limit": str(limit)})

    async def usage(self, time_range: Range) -> UsageAnswer:
        """Implement Source.usage."""
        return await self._get(UsageAnswer, f"{_API}/usage", self._range(time_range))

    async def state(self) -> BotStateAnswer:
        """Implement Source.state."""
        return await self._get(BotStateAnswer, f"{_API}/state", {})

    async def resources(self, time_range: Range) -> ResourcesAnswer:
        """Implement Source.resources."""
        return await self._get(ResourcesAnswer, f"{_API}/resources", self._range(time_range))

    async def fleet(self) -> FleetAnswer:
        """Implement Source.fleet."""
        return await self._get(FleetAnswer, f"{_API}/fleet", {})

    async def costs(self, time_range: Range, by: CostGrouping, service: str | None, *, limit: int) -> Costs:
        """Implement Source.costs."""
        query = {**self._range(time_range), "by": by, "limit": str(min(limit, PER_REQUEST))}
        return await self._get(Costs, f"{_API}/costs", query, service=service)

    async def service_names(self) -> list[str]:
        """Return the services that were active in the last day; see Source."""
        dashboard = await self._get(Dashboard, f"{_API}/dashboard", {})
        return sorted({**dashboard.service_stats, **dashboard.background})

    async def subjects(self) -> list[str]:
        """Return the commands and services that were active in the last day; see Source."""
        dashboard = await self._get(Dashboard, f"{_API}/dashboard", {})
        services = sorted({**dashboard.service_stats, **dashboard.background})
        return [*sorted(command.name for command in dashboard.commands), *services]

    async def require_services(self, services: Collection[str]) -> None:
        """Implement Source.require_services; the API rejects unknown services."""
        if services:
            await self._get(Dashboard, f"{_API}/dashboard", {}, services=_joined(services))

    async def health(self) -> list[Finding]:
        """Return the checks of the bot itself, of the address /health, which needs no token."""
        return list(health_findings((await self._get(HealthAnswer, "/health", {})).checks))

    async def diagnosis(self, time_range: Range, services: Collection[str] | None) -> Diagnosis:
        """Return the health checks of the bot itself; see Source."""
        bot = await self._get(HealthAnswer, "/health", {})
        monitor = await self._get(HealthAnswer, "/health/performance", {})
        service_health = await self._get(ServicesHealthAnswer, "/health/ai-services", {})
        view = await self.dashboard(time_range, services)
        # What runs in the background, such as stalls of the loop, is no service to an owner: all of it is one check.
        merged = {name: check for name, check in service_health.discord.items() if in_background(name)}
        others = {name: check for name, check in service_health.discord.items() if name not in merged}
        alerting = {name: CheckAnswer.of(one) for name, one in alert_checks(view.alerts).items() if name not in merged}
        fleet = await self.fleet()
        findings = [
            *fleet_finding(fleet.text, len(fleet.processes), well=fleet.alive == fleet.expected),
            *health_findings(bot.checks),
            *health_findings({key: one for key, one in monitor.checks.items() if key not in bot.checks}, "monitor: "),
            *health_findings(service_health.checks | others | alerting, "service "),
            background_finding(merged, services),
            alerts_finding(view.alerts),
        ]
        failing = {name for name, check in service_health.checks.items() if check.status not in PASSING}
        past = past_lines(view, await self.limits(), time_range, failing, await self.alerts("history", limit=200))
        verdict = bot.verdict or VerdictAnswer(status=bot.status, text="")  # null from an earlier version
        return Diagnosis.of(self.name, findings, services, Verdict(verdict.status, verdict.text), past)

    async def limits(self) -> Limits:
        """Return the bot's thresholds, which override the settings of this machine; see Source."""
        thresholds = await self._get(Thresholds, f"{_API}/thresholds", {})
        return Limits(self._settings, {rule.key: str(rule.value) for rule in (*thresholds.rules, *thresholds.others)})

    async def export(self, kind: str, time_range: Range, services: Collection[str] | None) -> ExportStream:
        """Implement Source.export."""
        query = _without_none({**self._range(time_range), "format": kind, "services": _joined(services)})
        return ExportStream(self._export_chunks(query, exporter(kind).media_type), None, lambda: 0)

    async def close(self) -> None:
        """Implement Source.close."""
        await self._session.close()

    async def _export_chunks(self, query: Mapping[str, str], media_type: str) -> AsyncIterator[bytes]:
        path = f"{_API}/export"
        async with self._request(path, query, streaming=True) as response:
            if response.content_type != media_type.partition(";")[0]:
                raise self._unexpected_response(path)
            async for chunk in _stream(response):
                yield chunk

    def _range(self, time_range: Range) -> dict[str, str]:
        values = {"since": iso(time_range.since_us), "until": iso(time_range.until_us), "process": self._process}
        return _without_none(values)

    async def _get(self, model: type[M], path: str, query: Mapping[str, str], **optional: str | None) -> M:
        async with self._request(path, {**query, **_without_none(optional)}) as response:
            body = await _body(response)
        try:
            return model.model_validate_json(body)
        except ValidationError:
            raise self._unexpected_response(path) from None

    def _unexpected_response(self, path: str) -> NoDataError:
        return NoDataError(
            f"{self.name}{path} did not return a cogmeter response. Check the address, and that both versions match."
        )

    @asynccontextmanager
    async def _request(
        self, path: str, query: Mapping[str, str], *, streaming: bool = False
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request and provide its response; one that is ``streaming`` may take any time to complete.

        Raises:
            SourceError: there is no response, or it is an error.
        """
        timeout = EXPORT_TIMEOUT if streaming else TIMEOUT
        try:
            url = URL(self._url + path, encoded=True).with_query(dict(query))
            async with asyncio.timeout(RESPONSE_S):  # EXPORT_TIMEOUT does not limit the time to the first byte
                response = await self._session.get(url, allow_redirects=False, timeout=timeout)
            async with response:
                if response.status != 200 and not (path.startswith("/health") and response.status == 503):
                    raise await self._error(response)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            reason, fix = no_response_reason(error, URL(self._url), RESPONSE_S)
            raise NoDataError(f"{self.name} does not answer: {reason}. {fix}") from error

    async def _error(self, response: aiohttp.ClientResponse) -> Exception:
        if response.status == 401:
            problem = "rejects the token" if "Authorization" in self._session.headers else "requires a token"
            return RequestError(
                f"{self.name} {problem}. Set COGMETER_TOKEN (or --token) to the bot's PERFORMANCE_HTTP_TOKEN."
            )
        detail = _problem_detail(await response.content.read(_CHUNK))
        if detail is not None:
            error_type = RequestError if response.status // 100 == 4 else NoDataError
            return error_type(f"{self.name}: {detail}")
        if response.status // 100 == 5:
            return NoDataError(f"{self.name} failed (status {response.status}). See the bot's log.")
        return NoDataError(f"{self.name} is not a cogmeter API (status {response.status}). Check the address.")


def _is_address(url: str) -> bool:
    try:
        parsed = URL(url)
        complete = parsed.scheme in {"http", "https"} and parsed.host and parsed.port is not None
        return bool(complete) and url.isprintable() and not set(url) & set(" ?#")
    except ValueError:
        return False


def _without_password(url: str) -> str:
    """Return the address for display, without user name and password."""
    return str(URL(url).with_user(None)) if "@" in url else url


async def _stream(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield the chunks of a long response.

    Raises:
        TimeoutError: it delivered fewer than MIN_EXPORT_BYTES in RESPONSE_S of waiting.
    """
    clock = asyncio.get_running_loop().time
    waited_s, received, since = 0.0, 0, clock()
    async for chunk in response.content.iter_chunked(_CHUNK):
        waited_s, received = waited_s + clock() - since, received + len(chunk)
        if received >= MIN_EXPORT_BYTES:
            waited_s, received = 0.0, 0
        if waited_s > RESPONSE_S:
            raise TimeoutError
        yield chunk
        since = clock()  # the time of the consumer does not count


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """Return the complete body.

    Raises:
        NoDataError: it exceeds MAX_RESPONSE_BYTES.
    """
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > MAX_RESPONSE_BYTES:
            size = f"{MAX_RESPONSE_BYTES:,} bytes"
            raise NoDataError(f"{response.url.origin()} sent more than {size} in one response. Check the address.")
    return bytes(body)


def _problem_detail(body: bytes) -> str | None:
    """Return the text of a problem document; None if the body is none."""
    try:
        document: Any = json.loads(body)
        return shown(" ".join(str(document["detail"]).split()), limit=500)
    except (ValueError, KeyError, TypeError):
        return None


def _joined(services: Collection[str] | None) -> str | None:
    return None if services is None else ",".join(services)


def _without_none(query: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in query.items() if value is not None}
