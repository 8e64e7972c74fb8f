"""Reads the settings from the environment and ``.env``, and says in one line each what is wrong with them."""

from __future__ import annotations

import difflib
import logging
import os
import re
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from cogmeter.redaction import quoted
from cogmeter.settings.env_file import ENV_FILE, SettingsError, read_env_file
from cogmeter.settings.model import PREFIX, WITHOUT_EFFECT, Settings, env_name, example

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

MOST_LINES: Final = 20  # unknown names that are listed

_NAME = re.compile(r"\w{0,60}", re.ASCII)
_logger = logging.getLogger("cogmeter.settings")


def load_settings(env_file: str | Path | None = ENV_FILE) -> Settings:
    """Read the settings from the environment and, below it, from ``env_file`` in the working directory.

    An unknown name with our prefix is an error in the file, which is the bot's own, and a warning in the environment.

    Raises:
        SettingsError: one line for each setting that is wrong, or one for a file that cannot be read.
    """
    written = read_env_file(env_file)
    settings, wrong = _validated(written)
    wrong += _strangers(written, f"in {env_file}")
    for line in _strangers(os.environ, "in the environment"):
        _logger.warning("%s", line)
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
        # The environment is read, too, and another setting in it may be wrong.
        lines = (_line(fault["loc"], fault["msg"], fault["input"]) for fault in error.errors())
        return next((line for line in lines if line.startswith(f"{env_name(field)}=")), "")
    return ""


def _validated(written: Mapping[str, str | None]) -> tuple[Settings | None, list[str]]:
    """The settings, or a line for each that is wrong. pydantic's own text has twenty, and could show a secret."""
    in_file, above = _filled(written), _filled(os.environ)
    below = {field: in_file[name] for field, name in _fields() if name in in_file and name not in above}
    try:
        return Settings.model_validate(below), []
    except ValidationError as error:
        return None, [_line(fault["loc"], fault["msg"], fault["input"]) for fault in error.errors()]


def _fields() -> list[tuple[str, str]]:
    return [(field, env_name(field)) for field in Settings.model_fields]


def _filled(values: Mapping[str, str | None]) -> dict[str, str]:
    """Those that have a value, by their names in capitals; case does not matter, and an empty value is none."""
    return {name.upper(): value for name, value in values.items() if value}


def _strangers(given: Iterable[str], place: str) -> list[str]:
    """A line for each name with our prefix that is no setting."""
    known = {name for _, name in _fields()}
    unknown = [name for name in given if name.upper().startswith(PREFIX) and name.upper() not in known]
    lines = [f"{_plain(name)} {place} is no setting{_near(_start(name), known)}" for name in unknown[:MOST_LINES]]
    more = len(unknown) - len(lines)
    return [*lines, f"and {more:,} more"] if more else lines


def _start(name: str) -> str:
    """The part of a name that can be one."""
    found = _NAME.match(name)
    return found[0] if found else ""


def _plain(name: str) -> str:
    """A name as it is shown: in ``NAME: value`` what follows its start may be a secret."""
    start = _start(name)
    return start if start == name else f"{start}..."


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.75)
    return f"; did you mean {near[0]}?" if near else "; remove it"


def _line(place: tuple[int | str, ...], message: str, value: object) -> str:
    """One line for one fault. Places are field names, or the environment's names where a field has its own."""
    field = next((one for one in Settings.model_fields if place[0] in {one, env_name(one)}), str(place[0]))
    info = Settings.model_fields[field]
    unit = (info.json_schema_extra or {}).get("unit", "") if isinstance(info.json_schema_extra, dict) else ""
    text = quoted(value, strict=True)
    if "Secret" in str(info.annotation):
        text, message = "(hidden)", message.replace("items after validation", "characters")
    # In this order: a "Value error, ..." is one of our own sentences.
    reason = message.removeprefix("Input ").removeprefix("String ").removeprefix("Value error, ").removeprefix("Value ")
    mend = f"for example {env_name(field)}={example(field)}"
    return f"{env_name(field)}={text}: it {reason[:1].lower()}{reason[1:]} ({unit}); {mend}"
