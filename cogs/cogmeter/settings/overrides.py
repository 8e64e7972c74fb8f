"""Settings that are changed in chat: stored under ``setting:<field>``, checked, and merged over the configured ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from cogmeter.redaction import quoted
from cogmeter.settings.env_file import SettingsError
from cogmeter.settings.model import Settings
from cogmeter.settings.reading import env_name, fault_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_settings import PydanticBaseSettingsSource

PREFIX: Final = "setting:"  # of a stored key; a threshold's key begins with a rule's name
THRESHOLDS: Final = ("alert_threshold_", "alert_slo_target", "alert_response_time_statistic")


@dataclass(frozen=True, slots=True)
class MergedSettings:
    """The configured settings with the stored changes over them."""

    settings: Settings
    changed: Mapping[str, str]  # the stored values, by field
    left_out: Mapping[str, str]  # stored keys without effect, and why: of another version, or not valid any more


def setting_key(field: str) -> str:
    """Return the stored key of a field."""
    return PREFIX + field


def is_setting(key: str) -> bool:
    """Return whether a stored key is of a setting, and not of a threshold."""
    return key.startswith(PREFIX)


def settable() -> Iterator[str]:
    """Yield the fields that can be changed in chat."""
    return (field for field in Settings.model_fields if not _refusal(field))


def checked_setting(field: str, text: str) -> str:
    """Check a value, and return it as it is stored.

    Raises:
        SettingsError: the setting does not exist or cannot be changed in chat, or the value is not valid; one line.
    """
    if refusal := _refusal(field):
        raise SettingsError(refusal)
    return stored_text(_value(field, text))


def stored_text(value: object) -> str:
    """Return a value of a setting as it is stored: as it would be written in ``.env``."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, frozenset):
        return ",".join(str(item) for item in sorted(value))
    return f"{value:.12g}" if isinstance(value, float) else "" if value is None else str(value)


def merged(configured: Settings, overrides: Mapping[str, str]) -> MergedSettings:
    """Return the settings in effect under the stored overrides; other keys among them are ignored."""
    values: dict[str, Any] = {}
    changed: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for key, text in overrides.items():
        if not is_setting(key):
            continue
        field = key.removeprefix(PREFIX)
        try:
            if refusal := _refusal(field):
                raise SettingsError(refusal)
            values[field] = _value(field, text)
        except SettingsError as error:
            left_out[key] = str(error)
        else:
            changed[field] = text
    return MergedSettings(configured.model_copy(update=values) if values else configured, changed, left_out)


@cache
def _without_environment() -> type[Settings]:
    """Return a class of settings that does not read the environment, to check a single value."""

    class WithoutEnvironment(Settings):
        @classmethod
        def settings_customise_sources(cls, *_: Any, **sources: Any) -> tuple[PydanticBaseSettingsSource, ...]:
            return (sources["init_settings"],)

    return WithoutEnvironment


def _value(field: str, text: str) -> Any:
    try:
        return getattr(_without_environment().model_validate({field: text}), field)
    except ValidationError:
        raise SettingsError(fault_of(field, text) or f"{env_name(field)}={quoted(text)} is not valid") from None


def _refusal(field: str) -> str:
    """Return why a field cannot be changed in chat; empty if it can."""
    info = Settings.model_fields.get(field)
    if info is None:
        return f"{quoted(field)} is not a setting of this version. Reset it, or use a name of docs/configuration.md"
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    if "Secret" in str(info.annotation):
        return f"{env_name(field)} is secret and cannot be changed in chat. Set it in .env and restart the bot"
    if not extra.get("in_chat", True):
        return f"{env_name(field)} cannot be changed in chat. Set it in .env and restart the bot"
    if field.startswith(THRESHOLDS):
        return f"{env_name(field)} is a threshold. Change it with the command `thresholds set`"
    return ""
