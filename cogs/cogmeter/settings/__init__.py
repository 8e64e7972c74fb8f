"""The settings, defined in ``model`` and ``fields``; ``env_file`` and ``reading`` read them, never at import."""

from __future__ import annotations

from cogmeter.settings.env_file import ENV_FILE, SettingsError, read_env_file
from cogmeter.settings.fields import PREFIX
from cogmeter.settings.model import WITHOUT_EFFECT, Settings
from cogmeter.settings.reading import buffer_setting, env_name, example, fault_of, load_settings

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
