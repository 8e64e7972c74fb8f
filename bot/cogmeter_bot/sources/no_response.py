"""Why an API did not answer, and what to do about it."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import TYPE_CHECKING, Final

import aiohttp

if TYPE_CHECKING:
    from yarl import URL

_CLOSED: Final = ("the connection was closed before the response", "The bot may be restarting: try again, see its log.")
_UNREACHABLE: Final = ("{host} cannot be reached from this machine", "Check the address and the network.")
_REASONS: Final = {  # and the next step, by the number of the system's error
    errno.ECONNREFUSED: (
        "nothing listens on port {port}",
        "Start the bot, and compare the port with its PERFORMANCE_HTTP_PORT or PERFORMANCE_DASHBOARD_PORT.",
    ),
    errno.ECONNRESET: _CLOSED,
    errno.EPIPE: _CLOSED,
    errno.EHOSTUNREACH: _UNREACHABLE,
    errno.ENETUNREACH: _UNREACHABLE,
}


def no_response_reason(error: Exception, url: URL, response_s: float) -> tuple[str, str]:
    """Return in words why there is no response, and the next step, for a time limit in seconds."""
    system = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    number = getattr(system, "errno", None)
    if isinstance(error, aiohttp.ClientConnectorDNSError) or isinstance(system, socket.gaierror):
        return f"the name {url.host} is unknown", "Check the address for a typing error, and the network."
    if isinstance(error, (aiohttp.ClientSSLError, ssl.SSLError)):
        return f"the encrypted connection failed ({error})", "Use http:// if the bot is not behind a proxy with TLS."
    if isinstance(error, TimeoutError):
        text = f"no connection or no complete response within {response_s:g} s"
        return text, "Check the address, the firewall, and that the bot is not hung."
    if isinstance(error, aiohttp.ServerDisconnectedError):
        number = errno.ECONNRESET
    if number in _REASONS:
        reason, fix = _REASONS[number]
        return reason.format(host=url.host, port=url.port), fix
    words = system.strerror if isinstance(system, OSError) and system.strerror else str(error) or type(error).__name__
    return words, "Check the address, and that the bot runs and serves HTTP."
