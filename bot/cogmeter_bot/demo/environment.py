"""The process's surroundings during a demo: nothing of the person's own settings that leads outside."""

from __future__ import annotations

import os
from contextlib import chdir, contextmanager
from typing import TYPE_CHECKING, Final

from cogmeter.settings import Settings, env_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# So that an incident of less than a minute raises its alert within seconds, and a quiet minute raises none.
DEFAULTS: Final = {
    "alert_check_interval": "5",
    "alert_window": "60",
    "alert_min_operations": "15",
    "alert_cooldown": "120",
    "alert_recovery": "15",
    "alert_threshold_cost": "25",
    "dashboard_refresh_interval": "5000",
}
# What a person may still set for the demo. Anything else (a database, a webhook, a guild) belongs to a real bot.
KEPT: Final = (
    *DEFAULTS,
    "log_level",
    "alert_threshold_error_rate",
    "alert_threshold_response_time",
    "alert_threshold_operations_per_minute",
    "alert_response_time_statistic",
)
_CHANNEL: Final = env_name("alert_channel_id")
# The dashboard with all else that is served, on one port of this machine.
_DASHBOARD: Final = ("dashboard_port", "http_port")


@contextmanager
def demo_surroundings(folder: Path, database_url: str, dashboard_port: int) -> Iterator[None]:
    """Work in ``folder``, away from any ``.env``, with the demo's settings; puts everything back in the end."""
    before = dict(os.environ)
    foreign = {env_name(field) for field in Settings.model_fields if field not in KEPT}
    for name in foreign.intersection(os.environ):
        del os.environ[name]
    for field, value in DEFAULTS.items():
        os.environ.setdefault(env_name(field), value)
    os.environ[env_name("database_url")] = database_url
    os.environ[env_name("analytics_dashboard")] = "true"
    for field in _DASHBOARD:
        os.environ[env_name(field)] = str(dashboard_port)
    try:
        with chdir(folder):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def alerts_to(channel_id: int) -> None:
    """Have the alerts posted in this channel of the simulated guild, which is known only once the guild exists."""
    os.environ[_CHANNEL] = str(channel_id)
