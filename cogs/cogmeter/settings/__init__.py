"""The settings: their definition (``model``) and how they are read (``env_file``, ``reading``), never at import."""

from __future__ import annotations

from cogmeter.settings.env_file import ENV_FILE, SettingsError, read_env_file
from cogmeter.settings.model import PREFIX, WITHOUT_EFFECT, Settings, buffer_setting, env_name
from cogmeter.settings.reading import example, fault_of, load_settings

__all__ = [
    "ENV_FILE",
    "PREFIX",
    "WITHOUT_EFFECT",
    "Settings",
    "SettingsError",
    "buffer_setting",
    "env_name",
    "example",
    "fault_of",
    "load_settings",
    "read_env_file",
]
