"""The service ``web-crawling``: fetches a public web page and finds its title, text and links."""

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
_UNSEEN: Final = frozenset({"script", "style", "template", "noscript", "svg", "head"})


@dataclass(frozen=True, slots=True)
class WebPage:
    """What a page says: its title, its text in one line, and the addresses it links to."""

    title: str
    text: str
    links: tuple[str, ...]


class _PublicResolver(aiohttp.ThreadedResolver):
    """Looks names up, and refuses those that lead into the bot's own network."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        for one in found:
            _require_public(one["host"])
        return found


async def read(url: str, *, private: bool = False) -> WebPage:
    """Fetch a page and extract what it says. ``private`` lets it ask addresses that are not public.

    Raises:
        UserInputError: the address is no http(s) one, is not public, does not answer in time, or gives no text.
    """
    resolver = aiohttp.ThreadedResolver() if private else _PublicResolver()
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    connector = aiohttp.TCPConnector(resolver=resolver)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        html, address = await fetch(session, url, private=private)
    return await asyncio.to_thread(extract, html, address)


async def fetch(session: aiohttp.ClientSession, url: str, *, private: bool) -> tuple[str, str]:
    """The page's text, up to MAX_BYTES of it, and the address that it came from in the end."""
    with cogmeter.operation("web-crawling", "fetch") as op:
        try:
            for _ in range(MAX_REDIRECTS + 1):
                _require_address(url, private=private)
                # Redirects are followed by hand: each address is looked at before it is asked.
                async with session.get(url, allow_redirects=False) as response:
                    if "Location" not in response.headers or response.status not in {301, 302, 303, 307, 308}:
                        op.annotate(status=response.status)
                        return await _text(response), url
                    url = urljoin(url, response.headers["Location"])
            raise UserInputError(f"The address leads on more than {MAX_REDIRECTS} times.")
        except UserInputError:
            op.outcome = "user"
            raise
        except (aiohttp.ClientError, TimeoutError) as error:
            op.fail(error, outcome="upstream")  # not ours, but it counts in the error rate
            reason = "did not answer in time" if isinstance(error, TimeoutError) else "could not be read"
            raise UserInputError(f"{urlsplit(url).hostname} {reason}.") from error


@cogmeter.track("web-crawling", "extract")
def extract(html: str, address: str = "") -> WebPage:
    """The title, the visible text and the links of a page; links are made absolute with its address."""
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
        if tag in _UNSEEN or tag == "title":
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
        raise UserInputError(f"The address gives {response.content_type}, not a page to read.")
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
        raise UserInputError("That is no web address.") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UserInputError("A web address begins with http:// or https:// and names a host.")
    if not private:
        _require_public(parts.hostname)


def _require_public(host: str) -> None:
    """Refuse a numeric address that is not public: a bot must not open its own network to whoever may talk to it."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return  # a name; its addresses are looked at when it is resolved
    if not address.is_global:
        raise UserInputError("That address is not on the public internet.")


def _line(parts: list[str]) -> str:
    return re.sub(r"\s+", " ", " ".join(parts)).strip()
