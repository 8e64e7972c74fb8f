"""Which addresses a redirect may lead to: public ones, checked where the connection is made."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Final

from aiohttp.abc import AbstractResolver

if TYPE_CHECKING:
    from aiohttp.abc import ResolveResult

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last four bytes are an IPv4 address


class PrivateAddressError(OSError):
    """The name or address is not one of the public internet."""


class PublicResolver(AbstractResolver):
    """Resolves names to public addresses only.

    The connection is made to the very addresses that were looked at: a name that changes in between gains nothing.
    """

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """What ``inner`` finds, if all of it is public; raises PrivateAddressError otherwise."""
        found = await self._inner.resolve(host, port, family)
        if not all(is_public(one["host"]) for one in found):
            raise PrivateAddressError
        return found

    async def close(self) -> None:
        """Close ``inner``."""
        await self._inner.close()


def is_address(host: str) -> bool:
    """Whether a URL's host is taken for an address, so that no resolver is asked: what looks like a number is, too."""
    return ":" in host or host.replace(".", "").isdigit()


def is_public(host: str) -> bool:
    """Whether an address in its common form is one of the public internet. What it embeds has to be public as well."""
    try:
        address: _Address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return all(one.is_global and not one.is_multicast for one in _within(address))


def _within(address: _Address) -> list[_Address]:
    """The address itself, and the IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    inner: list[_Address] = [address]
    if address.sixtofour is not None:
        inner.append(address.sixtofour)
    if address.teredo is not None:
        inner.extend(address.teredo)
    if address in _NAT64:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return inner
