"""Reads the settings from the environment and ``.env``, and says in one line each what is wrong with them."""

from __future__ import annotations

import difflib
import logging
import os
from pathlib import Path

from dotenv import dotenv_values
from pydantic import ValidationError

from cogmeter.settings.model import PREFIX, WITHOUT_EFFECT, Settings, env_name, example

ENV_FILE = ".env"

_logger = logging.getLogger("cogmeter.settings")


class SettingsError(ValueError):
    """One line for each bad setting: its name, its value, and the mend."""


def load_settings(env_file: str | Path | None = ENV_FILE) -> Settings:
    """Read the settings from the environment and, below it, from ``env_file`` in the working directory.

    An unknown name with our prefix is an error in the file, which is the bot's own, and a warning in the environment.

    Raises:
        SettingsError: one line for each setting that is wrong.
    """
    written = _written(env_file)
    wrong = [f"{name} in {env_file} is no setting{_near(name)}" for name in written if _unknown(name)]
    for name in filter(_unknown, os.environ):
        _logger.warning("%s in the environment is no setting%s", name, _near(name))
    settings, faults = _validated(env_file)
    wrong += faults
    if settings is None or wrong:
        raise SettingsError("\n".join(wrong))
    for field in WITHOUT_EFFECT:
        if getattr(settings, field) == Settings.model_fields[field].default:
            continue
        _logger.warning("%s is set, and has no effect in this version", env_name(field))
    return settings


def fault_of(field: str, value: str) -> str:
    """What is wrong with a value of one setting, in one line; empty if the setting takes it."""
    try:
        Settings.model_validate({field: value})
    except ValidationError as error:
        fault = error.errors()[0]
        return _line(fault["loc"], fault["msg"], fault["input"])
    return ""


def _validated(env_file: str | Path | None) -> tuple[Settings | None, list[str]]:
    """The settings, or a line for each that is wrong. pydantic's own text has twenty, and could show a secret."""
    try:
        # pydantic-settings takes the file as an argument that type checkers cannot see.
        return Settings(_env_file=env_file), []  # pyright: ignore[reportCallIssue]
    except ValidationError as error:
        return None, [_line(fault["loc"], fault["msg"], fault["input"]) for fault in error.errors()]


def _written(env_file: str | Path | None) -> list[str]:
    """The names in the file; none if there is no such file."""
    if env_file is None or not Path(env_file).is_file():
        return []
    return list(dotenv_values(env_file, interpolate=False))


def _unknown(name: str) -> bool:
    return name.upper().startswith(PREFIX) and name.upper() not in _names()


def _names() -> set[str]:
    return {env_name(field) for field in Settings.model_fields}


def _near(name: str) -> str:
    near = difflib.get_close_matches(name.upper(), _names(), n=1, cutoff=0.75)
    return f"; did you mean {near[0]}?" if near else "; remove it"


def _line(place: tuple[int | str, ...], message: str, value: object) -> str:
    """One line for one fault. Places are field names, or the environment's names where a field has its own."""
    field = next((one for one in Settings.model_fields if place[0] in {one, env_name(one)}), str(place[0]))
    info = Settings.model_fields[field]
    unit = (info.json_schema_extra or {}).get("unit", "") if isinstance(info.json_schema_extra, dict) else ""
    shown = repr(value)
    if "Secret" in str(info.annotation):
        shown, message = "(hidden)", message.replace("items after validation", "characters")
    # In this order: a "Value error, ..." is one of our own sentences.
    reason = message.removeprefix("Input ").removeprefix("String ").removeprefix("Value error, ").removeprefix("Value ")
    mend = f"for example {env_name(field)}={example(field)}"
    return f"{env_name(field)}={shown}: it {reason[:1].lower()}{reason[1:]} ({unit}); {mend}"
