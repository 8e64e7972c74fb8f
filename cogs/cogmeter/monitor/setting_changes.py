"""Settings that are changed while the bot runs: stored, audited, and put into effect."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from cogmeter.diagnosis import Finding
from cogmeter.query.query import now_us
from cogmeter.recording.background import detached
from cogmeter.redaction import redact
from cogmeter.render import formatting
from cogmeter.settings import Settings, SettingsError, checked_setting, env_name, merged, setting_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping

    from cogmeter.monitor.monitor import Monitor
    from cogmeter_storage.alerting import AuditEntry

READ_AT_USE: Final = frozenset(
    {
        "ops_role_ids",
        "alert_weekly_report",
        "deploy_checks",
        "digest",
        "digest_time",
        "time_zone",
        "export_format",
        "metrics_namespace",
        "dashboard_refresh_interval",
        "dashboard_url",
        "analytics_dashboard",
        "dashboard_port",
        "http_port",
    }
)
UNDONE_BY: Final = "cogmeter"  # the actor of a change that was undone, because it could not be put into effect

CHANNELS: Final = ("alert_channel_id",)  # settings with ids of channels
ROLES: Final = ("ops_role_ids",)

_logger = logging.getLogger("cogmeter.settings")


class SettingChanges:
    """The stored changes of one monitor's settings. ``monitor.settings`` is the configured object with them merged."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self.configured = monitor.settings  # by the environment and .env
        self.changed: Mapping[str, str] = {}  # the stored values, by field
        self.left_out: Mapping[str, str] = {}  # stored keys without effect in this version, and why
        self.listeners: list[Callable[[Collection[str]], Awaitable[None]]] = []  # called with the changed fields

    async def read(self) -> None:
        """Merge the stored changes over the configured settings.

        Raises:
            StorageError: the store cannot be read; nothing is changed.
        """
        result = merged(self.configured, await self._monitor.store.alerting.overrides())
        for key, why in result.left_out.items():
            if key not in self.left_out:
                _logger.warning("The changed setting %s has no effect: %s", key, why)
        self._monitor.settings, self.changed, self.left_out = result.settings, result.changed, result.left_out

    async def change(self, values: Mapping[str, str | None], actor: str) -> list[AuditEntry]:
        """Change settings by field (None: reset to the configured value): stored, audited, and in effect at the return.

        Return the real changes.

        Raises:
            SettingsError: a value is not valid, or cannot be put into effect; the text says why. Nothing is changed.
            StorageError: the changes cannot be stored. Nothing is changed.
        """
        checked = {
            setting_key(field): None if value is None else checked_setting(field, value)
            for field, value in values.items()
        }
        stored = self._monitor.store.alerting
        before = await stored.overrides()
        entries = await stored.override(checked, now_us=now_us(), actor=actor)
        if entries:
            try:
                await self._apply()
            except Exception as error:
                _logger.exception("A change of settings could not be put into effect; it is undone")
                undone = {key: before.get(key) for key in checked}
                await stored.override(undone, now_us=now_us(), actor=UNDONE_BY)
                await self._apply()
                names = ", ".join(env_name(field) for field in values)
                raise SettingsError(f"{names}: the change could not be put into effect; see the log") from error
        return entries

    async def follow(self) -> None:
        """Put into effect what was changed in another process.

        Raises:
            StorageError: the store cannot be read; nothing is changed.
        """
        await self._apply()

    def findings(self) -> list[Finding]:
        """Return the doctor's finding about changed settings; none if there are none."""
        changed = {field: named_value(self._monitor, field, value) for field, value in self.changed.items()}
        return list(changes_findings(changed, self.left_out, group=self._monitor.settings.command_group))

    async def _apply(self) -> None:
        before = self._monitor.settings
        await self.read()
        after = self._monitor.settings
        fields = {field for field in Settings.model_fields if getattr(before, field) != getattr(after, field)}
        if fields - READ_AT_USE:
            # Outside the caller's context and cancellation: a half-done change would leave the bot unwatched.
            await detached(self._monitor.reconfigure(), name="cogmeter-settings")
        for listener in self.listeners if fields else ():
            await listener(fields)


def changes_findings(changed: Mapping[str, str], left_out: Mapping[str, str], *, group: str) -> Iterator[Finding]:
    """Yield the finding about settings that are changed in chat, with their values; none if there are none.

    ``left_out`` are stored keys without effect, and why. A command of ``group`` resets both.
    """
    if not changed and not left_out:
        return
    values = ", ".join(f"{env_name(field)}={redact(value) or '(empty)'}" for field, value in sorted(changed.items()))
    text = f"{len(changed)} changed in chat" + (f": {values}" if values else "")
    if left_out:
        reasons = "; ".join(f"{key}: {why}" for key, why in left_out.items())
        text += f"; {len(left_out)} without effect: {formatting.cut(reasons, 300)}"
    yield Finding("settings", not left_out, text, f"Reset them with /{group} setup", listed=True)


def named_value(monitor: Monitor, field: str, value: str) -> str:
    """Return a setting's value with the names of its channels or roles, as far as they are known: ``#ops (123)``."""
    if field in CHANNELS:
        return _named(value, "#", monitor.bot.get_channel)
    if field in ROLES:
        roles = {role.id: role for guild in monitor.bot.guilds for role in guild.roles}
        return _named(value, "@", roles.get)
    return value


def _named(value: str, mark: str, find: Callable[[int], Any]) -> str:
    texts = []
    for part in value.split(","):
        found = find(int(part)) if part.isdecimal() else None
        name = getattr(found, "name", "")
        texts.append(f"{mark}{name.removeprefix(mark)} ({part})" if name else part)
    return ", ".join(texts)
