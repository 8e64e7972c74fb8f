"""Sends one HTTP request with bounded time, size and redirects. No error text contains an address."""

from __future__ import annotations

import asyncio
import contextlib
import html
import ipaddress
import json
import math
import os
import re
import socket
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from cogmeter import __version__
from cogmeter.notifiers.base import NotifyError
from cogmeter.redaction import MARK, redact
from cogmeter.settings import env_name

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection, Mapping

    from aiohttp.abc import ResolveResult

MAX_REDIRECTS: Final = 3  # in a row
BODY: Final = 65_536  # bytes of a response that are read: Discord's responses repeat the message
KEEPING: Final = frozenset({307, 308})  # redirects that keep method and body (RFC 9110, 15.4)
REDIRECTS: Final = frozenset({301, 302, 303}) | KEEPING
GONE: Final = frozenset({401, 404, 410})
RETRIED: Final = frozenset({408, 425, 429})  # statuses below 500 that are retried
MAX_REASON: Final = 200  # characters of the endpoint's own text
MIN_SECRET: Final = 4  # characters; masking shorter parts of an address would hide nothing
_MESSAGES: Final = ("message", "msg", "detail", "error", "reason", "title", "description")  # JSON fields with a text
_TITLE: Final = re.compile(r"<title[^>]{0,200}>([^<]{1,400})", re.IGNORECASE)
_URL: Final = re.compile(r"\b\w{1,10}://\S+")
_USER_AGENT: Final = f"cogmeter/{__version__}"
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last four bytes are an IPv4 address

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """The receiver's response. ``body`` is cut after BODY bytes, and where it arrives too slowly."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    reason: str = ""  # the text in the body, see ``reason_of``; without the address


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a request may take, in seconds."""

    connect_s: float = 5.0
    answer_s: float = 15.0  # for everything but the response's body
    body_s: float = 3.0


class PrivateAddressError(OSError):
    """The name or address is not part of the public internet."""


class PublicResolver(AbstractResolver):
    """Resolves names to public addresses only.

    The connection uses the addresses that were checked, so a name that changes in between has no effect.
    """

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses that ``inner`` finds. Raise PrivateAddressError unless all are public."""
        results = await self._inner.resolve(host, port, family)
        if not all(is_public(result["host"]) for result in results):
            raise PrivateAddressError
        return results

    async def close(self) -> None:
        """Close ``inner``."""
        await self._inner.close()


def is_address(host: str) -> bool:
    """Return True if a URL host has the form of an address, so that no resolver is used. Numbers count as addresses."""
    return ":" in host or host.replace(".", "").isdigit()


def is_public(host: str) -> bool:
    """Return True if an address, and each address embedded in it, is part of the public internet."""
    try:
        address: _Address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return all(part.is_global and not part.is_multicast for part in _with_embedded(address))


def _with_embedded(address: _Address) -> list[_Address]:
    """Return the address, and the IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    parts: list[_Address] = [address]
    if address.sixtofour is not None:
        parts.append(address.sixtofour)
    if address.teredo is not None:
        parts.extend(address.teredo)
    if address in _NAT64:
        parts.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return parts


class Http:
    """Sends requests for one setting. Each has its own connection: alerts are rare, and nothing has to be closed."""

    def __init__(
        self,
        setting: str,
        *,
        private_redirects: bool = False,
        redirects: int = MAX_REDIRECTS,
        resolver: AbstractResolver | None = None,
        timeouts: Timeouts | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``setting`` is the environment variable with the URL, for error texts. ``resolver`` replaces the system's.

        With ``redirects=0`` none is followed: headers with a secret must not reach another host.
        """
        self.setting = setting
        self._redirects = redirects
        self._tls = tls
        self._private_redirects = private_redirects
        self._resolver = resolver
        self._timeouts = timeouts or Timeouts()

    async def send(
        self, method: str, url: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> HttpResponse:
        """Return the receiver's response, whatever its status. Redirects are followed.

        Raises:
            NotifyError: there was no response, or a redirect led where alerts must not go.
        """
        address, sent = self.parsed(url), {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", **(headers or {})}
        for redirects in range(self._redirects + 1):
            response = await self._once(method, address, body, sent, redirected=redirects > 0)
            if response.status not in REDIRECTS:
                return response
            if self._redirects:
                address = self._next(address, response)
        many = (
            f"more than {self._redirects} redirects in a row"
            if self._redirects
            else "a redirect, which is not followed"
        )
        raise NotifyError(f"{self.setting}: {many}", permanent=True)

    def parsed(self, url: str) -> URL:
        """Return the URL.

        Raises:
            NotifyError: it is not a URL; yarl's own error would show it.
        """
        with contextlib.suppress(ValueError):
            return URL(url)
        raise NotifyError(f"{self.setting} is not a URL", permanent=True, gone=True)

    async def _once(
        self, method: str, address: URL, body: bytes | None, headers: Mapping[str, str], *, redirected: bool
    ) -> HttpResponse:
        timeouts = self._timeouts
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect_s)
        try:
            async with aiohttp.ClientSession(
                connector=self._connector(guarded=redirected and not self._private_redirects),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=timeout,
                auto_decompress=False,
            ) as session:
                request = session.request(method, address, data=body, headers=headers, allow_redirects=False)
                response = await asyncio.wait_for(request, timeouts.answer_s)
                async with response:
                    read = await self._body(response)
                    return HttpResponse(response.status, response.headers, read, reason_of(read, address))
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
            failure = self._failure(error)
        # Raised outside the handler: aiohttp's error contains the address and would stay attached as the context.
        raise failure

    def _connector(self, *, guarded: bool) -> aiohttp.TCPConnector:
        resolver = self._resolver or aiohttp.ThreadedResolver()
        return aiohttp.TCPConnector(
            resolver=PublicResolver(resolver) if guarded else resolver,
            use_dns_cache=False,
            force_close=True,
            ssl=self._tls or True,
        )

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        """Return the start of the body. The status decides, so a body that is slow or breaks off changes nothing."""
        start = bytearray()

        async def read() -> None:
            while len(start) < BODY and (part := await response.content.read(BODY - len(start))):
                start.extend(part)

        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            await asyncio.wait_for(read(), self._timeouts.body_s)
        return bytes(start)

    def _next(self, source: URL, response: HttpResponse) -> URL:
        """Return the target of a redirect. Raise NotifyError if alerts must not go there."""
        objection = ""
        with contextlib.suppress(ValueError):
            target = source.join(URL(response.headers.get("Location", "")))
            objection = self._objection(source, target, response)
            if not objection:
                return target.with_user(None)
        raise NotifyError(
            f"{self.setting} answers with a redirect ({response.status}) {objection or 'without a valid target'}",
            permanent=True,
        )

    def _objection(self, source: URL, target: URL, response: HttpResponse) -> str:
        """Return why a redirect is not followed; empty if it is."""
        if response.status not in KEEPING:
            return "that drops the request body; set the final address, or answer 307 or 308"
        if not response.headers.get("Location") or target.scheme not in {"http", "https"} or not target.host:
            return "without a valid target"
        if source.scheme == "https" and target.scheme == "http":
            return "from https to http, which is not followed"
        if not self._private_redirects and is_address(target.host) and not is_public(target.host):
            return self._private()
        return ""

    def _private(self) -> str:
        return f"to a private address, which is followed only with {env_name('alert_webhook_private_redirects')}=true"

    def _failure(self, error: Exception) -> NotifyError:
        """Return the error in our own words: aiohttp's text may contain the address."""
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        if isinstance(cause, PrivateAddressError):
            return NotifyError(f"{self.setting} answers with a redirect {self._private()}", permanent=True)
        if isinstance(error, aiohttp.InvalidURL):
            return NotifyError(f"{self.setting}, or a redirect of it, is not a valid URL", permanent=True)
        return NotifyError(f"{self.setting}: {_described(error)}", permanent=False)


def _described(error: Exception) -> str:
    """Return what went wrong, without names and addresses."""
    if isinstance(error, TimeoutError):
        return "no response in time"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the host name could not be resolved"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return "the certificate or the TLS connection was not accepted"
    if isinstance(error, aiohttp.ClientConnectorError):
        # OSError's own text for the connection contains the address; the system's text for the number does not.
        return f"no connection ({os.strerror(error.errno) if error.errno else 'refused'})"
    if isinstance(error, aiohttp.ServerDisconnectedError | OSError):
        return "the connection was closed before a response"
    return f"the response is not HTTP ({type(error).__name__})"


def refusal(
    response: HttpResponse,
    setting: str,
    *,
    what: str = "this alert",
    gone: Collection[int] = GONE,
    now_s: float | None = None,
) -> NotifyError | None:
    """Return the error that a response's status means for the delivery of ``what``; None if it was accepted."""
    status = response.status
    if 200 <= status < 300:
        return None
    own = f' Its response: "{response.reason}".' if response.reason else ""
    if status in gone:
        text = f"{setting} answered {status}: the endpoint does not exist, or the address or secret is wrong.{own}"
        return NotifyError(f"{text} Copy the address again", permanent=True, gone=True)
    if status >= 500 or status in RETRIED:
        pause_s = retry_after_s(response.headers.get("Retry-After"), time.time() if now_s is None else now_s)
        return NotifyError(f"{setting} answered {status}.{own}", permanent=False, retry_after_s=pause_s)
    text = f"{setting} answered {status}: it does not accept {what}.{own}{_fix(status)}"
    return NotifyError(text, permanent=True)


def _fix(status: int) -> str:
    """Return what the owner can do about a status of 400 to 499; empty where only the endpoint knows."""
    return {
        403: " Allow this bot's address there",
        405: " Set the address that receives such requests, not a page for people",
        413: " Raise its limit for the size of a request to 64 kB",
        415: " Let it accept application/json",
    }.get(status, "")


def reason_of(body: bytes, address: URL) -> str:
    """Return the text in an endpoint's body: one line of at most 200 printable characters.

    In JSON it is the field with a message; in HTML the title. The address and its parts, which may be secret, are
    masked: many servers repeat the path ("Cannot POST /hooks/KEY").
    """
    text = _message(body.decode("utf-8", "replace"))
    for secret in _parts(address):
        text = text.replace(secret, MARK)
    text = "".join(char if char.isprintable() else " " for char in redact(_URL.sub("(URL)", text)))
    text = " ".join(text.split())
    return text if len(text) <= MAX_REASON else f"{text[: MAX_REASON - 1]}\N{HORIZONTAL ELLIPSIS}"


def _message(text: str) -> str:
    """Return the sentence in a body, cut to a few hundred characters."""
    with contextlib.suppress(ValueError, RecursionError):
        parsed = json.loads(text)
        if isinstance(parsed, str):
            return parsed[: 4 * MAX_REASON]
        if isinstance(parsed, dict):
            inner = parsed.get("error")
            parsed = {**inner, **parsed} if isinstance(inner, dict) else parsed
            errors = parsed.get("errors")  # a list of texts
            values = (*map(parsed.get, _MESSAGES), *(errors if isinstance(errors, list) else ()))
            return next((value for value in values if isinstance(value, str) and value), "")[: 4 * MAX_REASON]
        return ""
    if title := _TITLE.search(text):
        return html.unescape(title[1])[: 4 * MAX_REASON]
    return "" if text.lstrip().startswith("<") else text[: 4 * MAX_REASON]


def _parts(address: URL) -> list[str]:
    """Return the parts of an address that may be secret, the longest first."""
    queries = [part for value in address.query.values() for part in (value, quote(value, safe=""))]
    parts = [str(address), address.path_qs, address.raw_path_qs, address.user, address.password, *queries]
    parts += [*address.parts, *address.raw_parts, address.path, address.raw_path]
    return sorted({part for part in parts if part and len(part) >= MIN_SECRET}, key=len, reverse=True)


def retry_after_s(value: str | None, now_s: float) -> float | None:
    """Return the header ``Retry-After`` (RFC 9110, 10.2.3) in seconds from now: it is a number of them, or a date."""
    if value is None:
        return None
    with contextlib.suppress(ValueError, OverflowError):
        pause_s = float(value)
        return pause_s if 0 <= pause_s < math.inf else None
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(parsedate_to_datetime(value).timestamp() - now_s, 0.0)
    return None
