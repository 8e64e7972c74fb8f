"""The REST API of a bot elsewhere as a source."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import aiohttp
from pydantic import BaseModel, ValidationError

from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.exporters.table import exporter
from cogmeter.redaction import quoted, shown
from cogmeter.schemas.alerts import AlertPage
from cogmeter.schemas.changes import Thresholds
from cogmeter.schemas.dashboard import Dashboard
from cogmeter.schemas.errors import Errors
from cogmeter.schemas.health import HealthAnswer, ServicesHealthAnswer
from cogmeter.schemas.operations import OperationPage
from cogmeter.schemas.series import Series
from cogmeter.schemas.service import ServiceAnswer
from cogmeter.schemas.slowest import Slowest
from cogmeter.times import iso
from cogmeter_bot.sources.base import Exporting, NoDataError, RequestError
from cogmeter_bot.sources.diagnosis import Diagnosis, named, of_checks, of_view

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping

    from cogmeter.query.records import Range
    from cogmeter.schemas.alerts import AlertAnswer
    from cogmeter.settings import Settings

PAGE: Final = 200  # alerts that are asked for at once
LARGEST: Final = 64 * 1024 * 1024  # bytes of an answer that is held as a whole
ANSWER_S: Final = 60.0  # for all of an answer, and for the beginning of an export
EXPORT_LEAST: Final = 1024  # bytes of an export that have to arrive while ANSWER_S is waited for them
TIMES: Final = aiohttp.ClientTimeout(total=ANSWER_S, sock_connect=10)
EXPORT_TIMES: Final = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=ANSWER_S)
_API: Final = "/api/performance"
_PIECE: Final = 64 * 1024

M = TypeVar("M", bound=BaseModel)


class ApiSource:
    """Answers from ``<url>/api/performance`` and ``<url>/health``."""

    def __init__(self, url: str, token: str | None, settings: Settings) -> None:
        """Made inside a running loop, by ``open``."""
        self.name = _without_password(url)
        self._url = url
        self._settings = settings
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._session = aiohttp.ClientSession(headers=headers)

    @classmethod
    async def open(cls, url: str, token: str | None, settings: Settings) -> ApiSource:
        """A source for this address, with or without a path in front of ``/api``; nothing is asked yet.

        Raises:
            AskedError: it is no address, or the token cannot be one.
        """
        plain = url.strip().rstrip("/")
        if not _is_address(plain):
            raise RequestError(f"--url {quoted(url, strict=True)} is no address; write it like http://127.0.0.1:3000.")
        if token is not None and not (token.isascii() and token.isprintable()):
            raise RequestError("The token holds characters that none has; copy the bot's PERFORMANCE_HTTP_TOKEN again.")
        return cls(plain.removesuffix(_API), token, settings)

    async def dashboard(self, span: Range, services: Collection[str] | None) -> Dashboard:
        """See Source."""
        return await self._get(Dashboard, f"{_API}/dashboard", _span(span), services=_listed(services))

    async def service(self, service: str, operation: str | None, span: Range) -> ServiceAnswer:
        """See Source."""
        from urllib.parse import quote

        path = f"{_API}/services/{quote(service, safe='', errors='replace')}"
        return await self._get(ServiceAnswer, path, _span(span), operation=operation)

    async def series(self, service: str | None, span: Range, *, trim: bool = False) -> Series:
        """See Source."""
        return await self._get(Series, f"{_API}/series", _span(span), service=service, trim="true" if trim else None)

    async def alerts(self, state: str, *, limit: int) -> list[AlertAnswer]:
        """See Source."""
        found: list[AlertAnswer] = []
        cursor: str | None = None
        while len(found) < limit:
            asked = {"state": state, "limit": str(min(limit - len(found), PAGE))}
            page = await self._get(AlertPage, f"{_API}/alerts", asked, cursor=cursor)
            found += page.alerts
            cursor = page.next
            if cursor is None:
                break
        return found

    async def errors(self, span: Range, service: str | None, operation: str | None, *, limit: int) -> Errors:
        """See Source."""
        asked = {**_span(span), "limit": str(limit)}
        return await self._get(Errors, f"{_API}/errors", asked, service=service, operation=operation)

    async def failures(self, span: Range, service: str | None, *, limit: int) -> OperationPage:
        """See Source."""
        asked = {**_span(span), "limit": str(limit), "outcome": "failed"}
        return await self._get(OperationPage, f"{_API}/operations", asked, service=service)

    async def slowest(
        self, span: Range, services: Collection[str] | None, operation: str | None, *, limit: int
    ) -> Slowest:
        """See Source."""
        asked = {**_span(span), "limit": str(limit)}
        return await self._get(Slowest, f"{_API}/slowest", asked, services=_listed(services), operation=operation)

    async def names(self) -> list[str]:
        """See Source; those that did something within the last day."""
        view = await self._get(Dashboard, f"{_API}/dashboard", {})
        return sorted({**view.service_stats, **view.background})

    async def known(self, services: Collection[str]) -> None:
        """See Source; the API refuses what it does not know."""
        if services:
            await self._get(Dashboard, f"{_API}/dashboard", {}, services=_listed(services))

    async def diagnosis(self, span: Range, services: Collection[str] | None) -> Diagnosis:
        """See Source; what the bot itself says, and its figures."""
        vital = await self._get(HealthAnswer, "/health", {})
        own = await self._get(HealthAnswer, "/health/performance", {})
        each = await self._get(ServicesHealthAnswer, "/health/ai-services", {})
        view = await self.dashboard(span, services)
        found = [
            *of_checks(vital.checks),
            *of_checks({name: one for name, one in own.checks.items() if name not in vital.checks}, "monitor: "),
            *of_checks({**each.checks, **each.discord}, "service "),
            *(one for one in of_view(view, await self.limits()) if one.name == "alerts"),
        ]
        return Diagnosis.of(self.name, named(found, services))

    async def limits(self) -> Limits:
        """See Source; every threshold that the bot names is in effect there, whatever this machine's settings say."""
        thresholds = await self._get(Thresholds, f"{_API}/thresholds", {})
        return Limits(self._settings, {one.key: str(one.value) for one in (*thresholds.rules, *thresholds.others)})

    async def export(self, kind: str, span: Range, services: Collection[str] | None) -> Exporting:
        """See Source."""
        asked = _known({**_span(span), "format": kind, "services": _listed(services)})
        return Exporting(self._pieces(asked, exporter(kind).media_type), None, lambda: 0)

    async def close(self) -> None:
        """See Source."""
        await self._session.close()

    async def _pieces(self, asked: Mapping[str, str], media_type: str) -> AsyncIterator[bytes]:
        path = f"{_API}/export"
        async with self._asked(path, asked, flowing=True) as response:
            if response.content_type != media_type.partition(";")[0]:
                raise self._stranger(path)
            async for piece in _flowing(response):
                yield piece

    async def _get(self, model: type[M], path: str, asked: Mapping[str, str], **more: str | None) -> M:
        async with self._asked(path, {**asked, **_known(more)}) as response:
            body = await _held(response)
        try:
            return model.model_validate_json(body)
        except ValidationError:
            raise self._stranger(path) from None

    def _stranger(self, path: str) -> NoDataError:
        return NoDataError(
            f"{self.name}{path} does not answer as cogmeter does; check the address, and that both versions fit."
        )

    @asynccontextmanager
    async def _asked(
        self, path: str, asked: Mapping[str, str], *, flowing: bool = False
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer, as long as the block runs; one that is ``flowing`` has no end that it has to reach in time.

        Raises:
            SourceError: nobody answers, or what they say is no answer.
        """
        from yarl import URL

        try:
            times = EXPORT_TIMES if flowing else TIMES
            address = URL(self._url + path, encoded=True).with_query(dict(asked))
            async with asyncio.timeout(ANSWER_S):  # an export has no end of its own, its beginning has
                response = await self._session.get(address, allow_redirects=False, timeout=times)
            async with response:
                if response.status != 200 and not (path.startswith("/health") and response.status == 503):
                    raise await self._refusal(response)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            slow = f"no whole answer within {ANSWER_S:g} s" if isinstance(error, TimeoutError) else ""
            reason = str(error) or slow or type(error).__name__
            said = f"{self.name} does not answer ({reason}); check the address, and that the bot runs and serves HTTP."
            raise NoDataError(said) from error

    async def _refusal(self, response: aiohttp.ClientResponse) -> Exception:
        if response.status == 401:
            held = "Authorization" in self._session.headers
            what = "refuses the token" if held else "wants a token"
            mend = "set COGMETER_TOKEN (or --token) to the PERFORMANCE_HTTP_TOKEN of the bot"
            return RequestError(f"{self.name} {what}; {mend}.")
        detail = _detail(await response.content.read(_PIECE))
        if detail is not None:
            kind = RequestError if response.status // 100 == 4 else NoDataError
            return kind(f"{self.name}: {detail}")
        if response.status // 100 == 5:
            return NoDataError(f"{self.name} cannot answer (status {response.status}); see the bot's log.")
        return NoDataError(f"{self.name} serves no cogmeter there (status {response.status}); check the address.")


def _is_address(url: str) -> bool:
    from yarl import URL

    try:
        made = URL(url)
        wanted = made.scheme in {"http", "https"} and made.host and made.port is not None
        return bool(wanted) and url.isprintable() and not set(url) & set(" ?#")
    except ValueError:
        return False


def _without_password(url: str) -> str:
    """The address for people; a user's name and password for a server in front of the bot are theirs alone."""
    from yarl import URL

    return str(URL(url).with_user(None)) if "@" in url else url


async def _flowing(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The pieces of an answer that may take long, as long as they do not drip.

    Raises:
        TimeoutError: fewer than EXPORT_LEAST bytes have arrived while ANSWER_S was waited for them.
    """
    clock = asyncio.get_running_loop().time
    waited_s, arrived, since = 0.0, 0, clock()
    async for piece in response.content.iter_chunked(_PIECE):
        waited_s, arrived = waited_s + clock() - since, arrived + len(piece)
        if arrived >= EXPORT_LEAST:
            waited_s, arrived = 0.0, 0
        if waited_s > ANSWER_S:
            raise TimeoutError
        yield piece
        since = clock()  # the time that the reader takes is its own


async def _held(response: aiohttp.ClientResponse) -> bytes:
    """All of an answer.

    Raises:
        NoDataError: it is larger than any of ours.
    """
    body = bytearray()
    async for piece in response.content.iter_chunked(_PIECE):
        body += piece
        if len(body) > LARGEST:
            raise NoDataError(f"{response.url.origin()} answers without an end; check the address.")
    return bytes(body)


def _detail(body: bytes) -> str | None:
    """What a problem document says."""
    try:
        said: Any = json.loads(body)
        return shown(" ".join(str(said["detail"]).split()), limit=500)
    except (ValueError, KeyError, TypeError):
        return None


def _span(span: Range) -> dict[str, str]:
    return {"since": iso(span.since_us), "until": iso(span.until_us)}


def _listed(services: Collection[str] | None) -> str | None:
    return None if services is None else ",".join(services)


def _known(asked: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in asked.items() if value is not None}
