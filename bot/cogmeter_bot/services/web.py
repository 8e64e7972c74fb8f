"""The service ``web-crawling``: fetches a public web page and extracts title, text and links."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

import aiohttp

import cogmeter
from cogmeter_bot.errors import UserInputError

if TYPE_CHECKING:
    from aiohttp.abc import ResolveResult

MAX_BYTES: Final = 1024 * 1024
MAX_REDIRECTS: Final = 3
TIMEOUT_S: Final = 6.0
_INVISIBLE_TAGS: Final = frozenset({"script", "style", "template", "noscript", "svg", "head"})


@dataclass(frozen=True, slots=True)
class WebPage:
    """The title of a page, its text in one line, and its links."""

    title: str
    text: str
    links: tuple[str, ...]


class _PublicResolver(aiohttp.ThreadedResolver):
    """A resolver that rejects names in the bot's own network."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        results = await super().resolve(host, port, family)
        for result in results:
            _require_public(result["host"])
        return results


async def read(url: str, *, private: bool = False) -> WebPage:
    """Fetch and parse a page. ``private`` allows addresses that are not public.

    Raises:
        UserInputError: the address is not http(s), is not public, does not answer in time, or is not text.
    """
    resolver = aiohttp.ThreadedResolver() if private else _PublicResolver()
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    connector = aiohttp.TCPConnector(resolver=resolver)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        html, address = await fetch(session, url, private=private)
    return await asyncio.to_thread(extract, html, address)


async def fetch(session: aiohttp.ClientSession, url: str, *, private: bool) -> tuple[str, str]:
    """Return at most MAX_BYTES of the page, and its address after all redirects."""
    with cogmeter.operation("web-crawling", "fetch") as op:
        try:
            for _ in range(MAX_REDIRECTS + 1):
                _require_address(url, private=private)
                # Follow redirects here: each address is checked before it is requested.
                async with session.get(url, allow_redirects=False) as response:
                    if "Location" not in response.headers or response.status not in {301, 302, 303, 307, 308}:
                        op.annotate(status=response.status)
                        return await _text(response), url
                    url = urljoin(url, response.headers["Location"])
            raise UserInputError(f"The address redirects more than {MAX_REDIRECTS} times.")
        except UserInputError:
            op.outcome = "user"
            raise
        except (aiohttp.ClientError, TimeoutError) as error:
            op.fail(error, outcome="upstream")  # not our fault, but it counts in the error rate
            reason = "did not answer in time" if isinstance(error, TimeoutError) else "could not be read"
            raise UserInputError(f"{urlsplit(url).hostname} {reason}.") from error


@cogmeter.track("web-crawling", "extract")
def extract(html: str, address: str = "") -> WebPage:
    """Return the title, visible text and links of a page; links are absolute, resolved with its address."""
    parser = _Parser()
    parser.feed(html)
    parser.close()
    links = (urljoin(address, link) for link in parser.links)
    web = dict.fromkeys(link for link in links if urlsplit(link).scheme in {"http", "https"})
    return WebPage(_line(parser.title), _line(parser.text), tuple(web))


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.title: list[str] = []
        self.text: list[str] = []
        self.links: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _INVISIBLE_TAGS or tag == "title":
            self._open.append(tag)
        if tag == "a":
            self.links.extend(value for name, value in attrs if name == "href" and value)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            del self._open[self._open.index(tag) :]

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "title":
            self.title.append(data)
        elif not self._open:
            self.text.append(data)


async def _text(response: aiohttp.ClientResponse) -> str:
    if response.status >= 400:
        reason = response.reason or ""
        raise aiohttp.ClientResponseError(response.request_info, (), status=response.status, message=reason)
    if not response.content_type.startswith("text/"):
        raise UserInputError(f"The address returns {response.content_type}, not a page of text.")
    parts = bytearray()
    async for chunk in response.content.iter_any():
        parts += chunk
        if len(parts) >= MAX_BYTES:
            break
    try:
        return parts[:MAX_BYTES].decode(response.charset or "utf-8", errors="replace")
    except LookupError:  # the page names an encoding that does not exist
        return parts[:MAX_BYTES].decode(errors="replace")


def _require_address(url: str, *, private: bool) -> None:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise UserInputError("This is not a web address.") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UserInputError("This is not a web address. Use one that starts with http:// or https://.")
    if not private:
        _require_public(parts.hostname)


def _require_public(host: str) -> None:
    """Reject a numeric address that is not public: users of the bot must not reach the bot's own network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return  # a name; its addresses are checked when it is resolved
    if not address.is_global:
        raise UserInputError("The address is not on the public internet.")


def _line(parts: list[str]) -> str:
    return re.sub(r"\s+", " ", " ".join(parts)).strip()
