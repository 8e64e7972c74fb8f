"""Links from Discord, webhooks and the terminal to the dashboard, at a service and a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode, urlsplit

from cogmeter.recording.service_names import BOT
from cogmeter.settings import LOCAL_NAMES
from cogmeter.times import SECOND_US, iso, us_of

if TYPE_CHECKING:
    from cogmeter.query.records import ServiceStats
    from cogmeter.schemas.alerts import AlertAnswer
    from cogmeter.settings import Settings
    from cogmeter_storage.alerting import Alert

HOME: Final = "/performance"
LONGEST: Final = 2048  # characters of a link that Discord accepts


def public_url(settings: Settings) -> str | None:
    """Return PERFORMANCE_DASHBOARD_URL if it can be reached: without a token, only this machine's names are served."""
    url = settings.dashboard_url
    return url if url and (settings.http_token is not None or urlsplit(url).hostname in LOCAL_NAMES) else None


def alert_link(settings: Settings, alert: Alert, until_us: int | None = None) -> str | None:
    """Return the link to what an alert is about, from the start of its window on; None without a public dashboard.

    The range ends when the alert was resolved, else at ``until_us`` or when it was last measured.
    """
    since_us = alert.started_us - int(settings.alert_window * SECOND_US)
    end_us = alert.resolved_us if until_us is None else until_us
    return _link(settings, alert.service, alert.operation, since_us, alert.seen_us if end_us is None else end_us)


def alert_answer_link(settings: Settings, alert: AlertAnswer) -> str | None:
    """Return the link of ``alert_link`` for an alert of the API."""
    since_us = us_of(alert.started_at) - int(settings.alert_window * SECOND_US)
    return _link(settings, alert.service, alert.operation or "", since_us, us_of(alert.resolved_at or alert.seen_at))


def stats_link(settings: Settings, stats: ServiceStats) -> str | None:
    """Return the link to the statistics of a service or operation; None without a public dashboard."""
    return _link(settings, stats.service, stats.operation or "", stats.range.since_us, stats.range.until_us)


def comparison_link(
    settings: Settings, service: str | None, operation: str | None, before: str | None, after: str | None
) -> str | None:
    """Return the link to a comparison; None without a public dashboard, or if it is too long for Discord."""
    base = public_url(settings) if settings.analytics_dashboard else None
    link = None if base is None else f"{base}{comparison_path(service, operation, before, after)}"
    return link if link is not None and len(link) <= LONGEST else None


def comparison_path(
    service: str | None, operation: str | None = None, before: str | None = None, after: str | None = None
) -> str:
    """Return the path and query of a comparison's page."""
    values = {"service": service, "operation": operation, "before": before, "after": after}
    present = {name: value for name, value in values.items() if value}
    return f"{HOME}/compare" + (f"?{_query(present)}" if present else "")


def service_path(service: str) -> str:
    """Return the path of a service's page."""
    return f"{HOME}/services/{quote(service, safe='')}"


def _link(settings: Settings, service: str, operation: str, since_us: int, until_us: int) -> str | None:
    base = public_url(settings) if settings.analytics_dashboard else None
    if base is None:
        return None
    # Whole seconds, so that a link is short: a range is never shorter than it was.
    since_us, until_us = since_us // SECOND_US * SECOND_US, -(-until_us // SECOND_US) * SECOND_US
    times = {"from": iso(since_us), "to": iso(max(until_us, since_us + SECOND_US))}
    if service == BOT:  # event loop, connection and memory
        return f"{base}{HOME}/discord?{_query(times)}"
    page = f"{base}{service_path(service)}"
    link = f"{page}?{_query({'operation': operation, **times} if operation else times)}"
    return link if len(link) <= LONGEST else f"{page}?{_query(times)}"


def _query(values: dict[str, str]) -> str:
    return urlencode(values, quote_via=quote, safe=":")
