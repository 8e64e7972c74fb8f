"""The environment of a demo: without those settings of the user that point outside."""

from __future__ import annotations

import os
from contextlib import chdir, contextmanager
from typing import TYPE_CHECKING, Final

from cogmeter.settings import Settings, env_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# An incident of less than a minute raises its alert within seconds, and a quiet minute raises none.
DEFAULTS: Final = {
    "alert_check_interval": "5",
    "alert_window": "60",
    "alert_min_operations": "15",
    "alert_cooldown": "120",
    "alert_recovery": "15",
    "alert_threshold_cost": "25",
    "dashboard_refresh_interval": "5000",
}
# Settings of the user that the demo keeps. All others (a database, a webhook, a guild) belong to a real bot.
KEPT: Final = (
    *DEFAULTS,
    "log_level",
    "alert_threshold_error_rate",
    "alert_threshold_response_time",
    "alert_threshold_operations_per_minute",
    "alert_response_time_statistic",
)
_CHANNEL: Final = env_name("alert_channel_id")
# Dashboard and API share one port.
_PORTS: Final = ("dashboard_port", "http_port")


@contextmanager
def demo_environment(folder: Path, database_url: str, dashboard_port: int) -> Iterator[None]:
    """Work in ``folder``, without any ``.env``, with the demo's settings; restore everything at the end."""
    original = dict(os.environ)
    removed = {env_name(field) for field in Settings.model_fields if field not in KEPT}
    for name in removed.intersection(os.environ):
        del os.environ[name]
    for field, value in DEFAULTS.items():
        os.environ.setdefault(env_name(field), value)
    os.environ[env_name("database_url")] = database_url
    os.environ[env_name("analytics_dashboard")] = "true"
    os.environ[env_name("sync_commands")] = "true"  # else the monitor warns: the bot registers them after it loads
    for field in _PORTS:
        os.environ[env_name(field)] = str(dashboard_port)
    try:
        with chdir(folder):
            yield
    finally:
        os.environ.clear()
        os.environ.update(original)


def post_alerts_to(channel_id: int) -> None:
    """Set the channel for alerts, which is known only when the simulated guild exists."""
    os.environ[_CHANNEL] = str(channel_id)
