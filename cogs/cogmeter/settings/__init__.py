"""The settings, defined in ``model``; ``reading`` reads them, never at import; ``overrides`` adds changes from chat."""

from __future__ import annotations

from cogmeter.settings.env_file import ENV_FILE, SettingsError, read_env_file
from cogmeter.settings.fields import LOCAL_NAMES, PREFIX
from cogmeter.settings.model import Settings
from cogmeter.settings.overrides import (
    MergedSettings,
    checked_setting,
    is_setting,
    merged,
    settable,
    setting_key,
    stored_text,
)
from cogmeter.settings.reading import buffer_setting, env_name, example, fault_of, load_settings

__all__ = [
    "ENV_FILE",
    "LOCAL_NAMES",
    "PREFIX",
    "MergedSettings",
    "Settings",
    "SettingsError",
    "buffer_setting",
    "checked_setting",
    "env_name",
    "example",
    "fault_of",
    "is_setting",
    "load_settings",
    "merged",
    "read_env_file",
    "settable",
    "setting_key",
    "stored_text",
]
