"""The table of push targets: which module has each, and which setting switches it on."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogmeter.push.base import Origin, PushTarget
    from cogmeter.settings import Settings

# By name: the module, which has a function ``build(settings, origin)``, and the setting that switches the target on.
TARGETS: Final = {
    "otlp": ("otlp", "export_otlp"),
    "datadog": ("datadog", "export_datadog"),
    "statsd": ("statsd", "export_statsd"),
}


def build(name: str, settings: Settings, origin: Origin) -> PushTarget:
    """Return the target of this name. Call it on a thread: it imports libraries.

    Raises:
        SettingsError: it lacks a setting or its extra, or a setting is invalid; the text names it and the fix.
    """
    module, field = TARGETS[name]
    try:
        builder: Callable[[Settings, Origin], PushTarget] = import_module(f"cogmeter.push.{module}").build
    except ImportError as error:
        if (error.name or "cogmeter").partition(".")[0] == "cogmeter":  # not a library
            raise
        missing = error.name
    else:
        return builder(settings, origin)
    from cogmeter.settings import SettingsError, env_name  # not for the table alone: help pages show it

    raise SettingsError(f"{env_name(field)}: a library is missing ({missing}). Run pip install 'cogmeter[{name}]'")


def switched_on(settings: Settings) -> list[str]:
    """Return the names of the targets that the settings switch on."""
    return [name for name, (_, field) in TARGETS.items() if getattr(settings, field)]
