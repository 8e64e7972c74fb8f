"""Which servers there are to be, on which ports, by the settings and by what a bot host gives."""

from __future__ import annotations

import ipaddress
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.settings import Settings, env_name

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST_PORTS: Final = ("SERVER_PORT", "PORT")  # how bot hosts name the one port that is reached from outside

_logger = logging.getLogger("cogmeter.web")


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """One server: its port, the setting that the port comes from, and whether it serves the dashboard's pages."""

    port: int
    setting: str
    pages: bool

    @property
    def serves(self) -> str:
        """What is to be found there, in words."""
        return "dashboard, API, health and metrics" if self.pages else "API, health and metrics"


def plans(settings: Settings, environ: Mapping[str, str]) -> list[ServerPlan]:
    """The servers that are wanted; none unless PERFORMANCE_HTTP_PORT or the dashboard's switch is set.

    The dashboard's server serves the API as well, so that pages ask their own origin. A bot host's SERVER_PORT or PORT
    stands in for ours where the dashboard is wanted and PERFORMANCE_HTTP_PORT is not set; and for the dashboard's, too,
    where that is left at its default: such a host lets no other port through.
    """
    dashboard = settings.dashboard_port if settings.analytics_dashboard else None
    http, named = settings.http_port, env_name("http_port")
    if dashboard is not None and http is None:
        http, named = _given(environ)
        if http is not None and dashboard == Settings.model_fields["dashboard_port"].default:
            dashboard = http
    found = [] if http is None else [ServerPlan(http, named, pages=http == dashboard)]
    if dashboard is not None and dashboard != http:
        found.append(ServerPlan(dashboard, env_name("dashboard_port"), pages=True))
    return found


def _given(environ: Mapping[str, str]) -> tuple[int | None, str]:
    for name in HOST_PORTS:
        text = environ.get(name, "").strip()
        if text.isascii() and text.isdigit() and 1 <= int(text) <= 65_535:
            return int(text), name
        if text:
            _logger.warning("%s=%s is no port; it is passed over", name, text)
    return None, ""


def is_loopback(host: str) -> bool:
    """Whether this machine alone can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name, which may lead anywhere


def shown(host: str) -> str:
    """The host as it stands in an address that is opened on this machine."""
    if host in {"0.0.0.0", "127.0.0.1"}:  # noqa: S104 - compared, not bound
        return "localhost"
    if host == "::":  # it takes IPv6 alone, and localhost may be the other one
        return "[::1]"
    return f"[{host}]" if ":" in host else host
