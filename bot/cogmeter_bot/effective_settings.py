"""The settings that hold, as people may see them, and where each comes from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic import SecretStr

from cogmeter.redaction import redact
from cogmeter.settings import Settings, env_name, load_settings, read_env_file

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN: Final = "DISCORD_TOKEN"  # noqa: S105 - a setting's name
HIDDEN: Final = "(set, hidden)"


class EffectiveSetting(NamedTuple):
    """One setting; its value is None where it is not set."""

    name: str
    value: str | None
    origin: str  # environment, .env, default


def effective() -> list[EffectiveSetting]:
    """All settings of the monitor, and the bot's token.

    Raises:
        SettingsError: one of them is wrong.
    """
    settings = load_settings()
    places = {"environment": _filled(os.environ), ".env": _filled(read_env_file())}
    names = [(env_name(field), _shown(getattr(settings, field))) for field in Settings.model_fields]
    token = HIDDEN if any(TOKEN in names for names in places.values()) else None
    return [EffectiveSetting(name, value, _origin(name, places)) for name, value in [(TOKEN, token), *names]]


def _filled(values: Mapping[str, str | None]) -> set[str]:
    """The names that have a value; an empty one counts as none, and small letters as large ones."""
    return {name.upper() for name, value in values.items() if value}


def _origin(name: str, places: Mapping[str, set[str]]) -> str:
    return next((place for place, names in places.items() if name in names), "default")


def _shown(value: object) -> str | None:
    """A value as it could stand in ``.env``; a secret only as set."""
    if value is None or value == frozenset():
        return None
    if isinstance(value, SecretStr):
        return HIDDEN
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, frozenset):
        return ",".join(sorted(str(one) for one in value))
    return redact(f"{value:g}" if isinstance(value, float) else str(value))
