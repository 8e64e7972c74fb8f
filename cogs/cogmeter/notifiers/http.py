"""Sends one HTTP request with bounded time, size and redirects. No address ever stands in an error's text."""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
import math
import os
import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import aiohttp
from yarl import URL

from cogmeter import __version__
from cogmeter.notifiers.addresses import PrivateAddressError, PublicResolver, is_address, is_public
from cogmeter.notifiers.base import NotifyError
from cogmeter.redaction import MARK, redact
from cogmeter.settings import env_name

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from aiohttp.abc import AbstractResolver

HOPS: Final = 3  # redirects in a row
BODY: Final = 65_536  # bytes of an answer that are looked at: Discord's repeat the message
KEEPING: Final = frozenset({307, 308})  # redirects that keep method and body (RFC 9110, 15.4)
REDIRECTS: Final = frozenset({301, 302, 303}) | KEEPING
GONE: Final = frozenset({401, 404, 410})
AGAIN: Final = frozenset({408, 425, 429})  # of those below 500
MAX_REASON: Final = 200  # characters of the endpoint's own words
MIN_SECRET: Final = 4  # characters; shorter parts of an address hide nothing
_MESSAGES: Final = (
    "message",
    "msg",
    "detail",
    "error",
    "reason",
    "title",
    "description",
)  # names of a JSON body's text
_TITLE: Final = re.compile(r"<title[^>]{0,200}>([^<]{1,400})", re.IGNORECASE)
_URL: Final = re.compile(r"\b\w{1,10}://\S+")
_USER_AGENT: Final = f"cogmeter/{__version__}"


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What the receiver said. ``body`` is cut after BODY bytes, and where it came too slowly."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    reason: str = ""  # what the body says in words, see ``reason_of``; free of the address


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a request may take, in seconds."""

    connect_s: float = 5.0
    answer_s: float = 15.0  # for all of it but the answer's body
    body_s: float = 3.0


class Http:
    """Sends requests for one setting. Each has its own connection: alerts are rare, and nothing has to be closed."""

    def __init__(
        self,
        field: str,
        *,
        private_redirects: bool = False,
        resolver: AbstractResolver | None = None,
        patience: Patience | None = None,
    ) -> None:
        """``field`` is the setting that holds the URL, for error texts. ``resolver`` stands in for the system's."""
        self.setting = env_name(field)
        self._private_redirects = private_redirects
        self._resolver = resolver
        self._patience = patience or Patience()

    async def send(
        self, method: str, url: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> HttpResponse:
        """The receiver's answer, whatever its status but a redirect, which is followed.

        Raises:
            NotifyError: there was none, or it led where alerts do not go.
        """
        address, sent = self.parsed(url), {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", **(headers or {})}
        for hop in range(HOPS + 1):
            answer = await self._once(method, address, body, sent, redirected=hop > 0)
            if answer.status not in REDIRECTS:
                return answer
            address = self._next(address, answer)
        raise NotifyError(f"{self.setting}: more than {HOPS} redirects in a row", permanent=True)

    def parsed(self, url: str) -> URL:
        """The address.

        Raises:
            NotifyError: it is none; yarl's own error would show it.
        """
        with contextlib.suppress(ValueError):
            return URL(url)
        raise NotifyError(f"{self.setting} is no URL", permanent=True, gone=True)

    async def _once(
        self, method: str, address: URL, body: bytes | None, headers: Mapping[str, str], *, redirected: bool
    ) -> HttpResponse:
        patience = self._patience
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=patience.connect_s)
        try:
            async with aiohttp.ClientSession(
                connector=self._connector(guarded=redirected and not self._private_redirects),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=timeout,
                auto_decompress=False,
            ) as session:
                answering = session.request(method, address, data=body, headers=headers, allow_redirects=False)
                response = await asyncio.wait_for(answering, patience.answer_s)
                async with response:
                    read = await self._body(response)
                    return HttpResponse(response.status, response.headers, read, reason_of(read, address))
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
            trouble = self._trouble(error)
        # Raised outside of the handler: what aiohttp raises holds the address, and would hang on as the context.
        raise trouble

    def _connector(self, *, guarded: bool) -> aiohttp.TCPConnector:
        resolver = self._resolver or aiohttp.ThreadedResolver()
        return aiohttp.TCPConnector(
            resolver=PublicResolver(resolver) if guarded else resolver, use_dns_cache=False, force_close=True
        )

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        """The body's beginning. The status has said it all: a body that is slow or breaks off changes nothing."""
        kept = bytearray()

        async def read() -> None:
            while len(kept) < BODY and (part := await response.content.read(BODY - len(kept))):
                kept.extend(part)

        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            await asyncio.wait_for(read(), self._patience.body_s)
        return bytes(kept)

    def _next(self, here: URL, answer: HttpResponse) -> URL:
        """Where a redirect leads, if alerts may go there."""
        trouble = ""
        with contextlib.suppress(ValueError):
            there = here.join(URL(answer.headers.get("Location", "")))
            trouble = self._against(here, there, answer)
            if not trouble:
                return there.with_user(None)
        raise NotifyError(
            f"{self.setting} answers with a redirect ({answer.status}) {trouble or 'that leads nowhere'}",
            permanent=True,
        )

    def _against(self, here: URL, there: URL, answer: HttpResponse) -> str:
        """What speaks against following; empty if nothing does."""
        if answer.status not in KEEPING:
            return "that drops what is posted; set the final address, or answer 307 or 308"
        if not answer.headers.get("Location") or there.scheme not in {"http", "https"} or not there.host:
            return "that leads nowhere"
        if here.scheme == "https" and there.scheme == "http":
            return "from https to http, which is not followed"
        if not self._private_redirects and is_address(there.host) and not is_public(there.host):
            return self._private()
        return ""

    def _private(self) -> str:
        return f"to a private address, which is followed only with {env_name('alert_webhook_private_redirects')}=true"

    def _trouble(self, error: Exception) -> NotifyError:
        """In our own words: those of the error may hold the address."""
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        if isinstance(cause, PrivateAddressError):
            return NotifyError(f"{self.setting} answers with a redirect {self._private()}", permanent=True)
        if isinstance(error, aiohttp.InvalidURL):
            return NotifyError(f"{self.setting}, or a redirect of it, is no URL that can be asked", permanent=True)
        return NotifyError(f"{self.setting}: {_words(error)}", permanent=False)


def _words(error: Exception) -> str:
    """What went wrong, without names and addresses."""
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the name of its host could not be resolved"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return "its certificate or its TLS was not accepted"
    if isinstance(error, aiohttp.ClientConnectorError):
        # OSError's own text for the connection holds the address; the system's for the number does not.
        return f"no connection ({os.strerror(error.errno) if error.errno else 'refused'})"
    if isinstance(error, aiohttp.ServerDisconnectedError | OSError):
        return "the connection was closed before it answered"
    return f"it answered what is no HTTP ({type(error).__name__})"


def refusal(
    answer: HttpResponse,
    setting: str,
    *,
    what: str = "this alert",
    gone: Collection[int] = GONE,
    now_s: float | None = None,
) -> NotifyError | None:
    """What a status means for the delivery of ``what``; None: it was taken."""
    status = answer.status
    if 200 <= status < 300:
        return None
    own = f' It says: "{answer.reason}".' if answer.reason else ""
    if status in gone:
        text = f"{setting} answered {status}: the endpoint does not exist, or the address or secret is wrong.{own}"
        return NotifyError(f"{text} Copy the address again", permanent=True, gone=True)
    if status >= 500 or status in AGAIN:
        wish_s = retry_after_s(answer.headers.get("Retry-After"), time.time() if now_s is None else now_s)
        return NotifyError(f"{setting} answered {status}.{own}", permanent=False, retry_after_s=wish_s)
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
    """Return what an endpoint says of itself in its body: one line of at most 200 printable characters.

    From JSON it is the field that holds a message; from HTML the title. The address and its parts, which may be secret,
    are masked: many servers repeat the path ("Cannot POST /hooks/KEY").
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
        said = json.loads(text)
        if isinstance(said, str):
            return said[: 4 * MAX_REASON]
        if isinstance(said, dict):
            inner = said.get("error")
            said = {**inner, **said} if isinstance(inner, dict) else said
            found = (said.get(name) for name in _MESSAGES)
            return next((one for one in found if isinstance(one, str) and one), "")[: 4 * MAX_REASON]
        return ""
    if title := _TITLE.search(text):
        return html.unescape(title[1])[: 4 * MAX_REASON]
    return "" if text.lstrip().startswith("<") else text[: 4 * MAX_REASON]


def _parts(address: URL) -> list[str]:
    """Return the pieces of an address that may be secret, the longest first."""
    queries = [one for value in address.query.values() for one in (value, quote(value, safe=""))]
    pieces = [str(address), address.path_qs, address.raw_path_qs, address.user, address.password, *queries]
    pieces += [*address.parts, *address.raw_parts, address.path, address.raw_path]
    return sorted({one for one in pieces if one and len(one) >= MIN_SECRET}, key=len, reverse=True)


def retry_after_s(value: str | None, now_s: float) -> float | None:
    """The header ``Retry-After`` (RFC 9110, 10.2.3) as seconds from now: a number of them, or a date."""
    if value is None:
        return None
    with contextlib.suppress(ValueError, OverflowError):
        wish_s = float(value)
        return wish_s if 0 <= wish_s < math.inf else None
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(parsedate_to_datetime(value).timestamp() - now_s, 0.0)
    return None
