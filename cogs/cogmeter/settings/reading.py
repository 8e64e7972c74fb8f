"""Reads the settings from the environment and ``.env``; describes each invalid one in one line, with an example."""

from __future__ import annotations

import difflib
import logging
import os
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from cogmeter.redaction import quoted
from cogmeter.settings.env_file import ENV_FILE, SettingsError, read_env_file
from cogmeter.settings.fields import PREFIX
from cogmeter.settings.model import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

MOST_LINES: Final = 20  # unknown names that are listed

_NAME = re.compile(r"\w{0,60}", re.ASCII)
_logger = logging.getLogger("cogmeter.settings")


def load_settings(env_file: str | Path | None = ENV_FILE) -> Settings:
    """Read the settings from the environment and, below it, from ``env_file`` in the working directory.

    An unknown name with the prefix PERFORMANCE_ is an error in the file, which belongs to the bot, and a warning in the
    environment.

    Raises:
        SettingsError: one line for each invalid setting, or one for a file that cannot be read.
    """
    values = read_env_file(env_file)
    settings, wrong = _validated(values)
    wrong += _unknown(values, f"in {env_file}")
    for line in _unknown(os.environ, "in the environment"):
        _logger.warning("%s", line)
    if settings is None or wrong:
        raise SettingsError("\n".join(wrong))
    settings.read_otel(values)
    return settings


def fault_of(field: str, value: str) -> str:
    """Return what is wrong with a value of a setting in one line; an empty text if the value is valid."""
    try:
        Settings.model_validate({field: value})
    except ValidationError as error:
        # The environment is validated, too, and another setting in it may be invalid.
        lines = (_line(fault["loc"], fault["msg"], fault["input"]) for fault in error.errors())
        return next((line for line in lines if line.startswith(f"{env_name(field)}=")), "")
    return ""


def example(field: str) -> str:
    """Return a valid value as it is written in ``.env``: the default, or an example where the default is empty."""
    default = Settings.model_fields[field].default
    if isinstance(default, bool):
        return str(default).lower()
    if default is None or default == frozenset():
        extra = Settings.model_fields[field].json_schema_extra
        return str(extra.get("example", "")) if isinstance(extra, dict) else ""
    return str(default)


def _validated(values: Mapping[str, str | None]) -> tuple[Settings | None, list[str]]:
    """Return the settings, or a line for each invalid one. pydantic's own text is longer, and could show a secret."""
    file, environment = _filled(values), _filled(os.environ)
    from_file = {field: file[name] for field, name in _fields() if name in file and name not in environment}
    used = {}  # the other names that are in effect, by field
    for field, other in _other_names().items():
        for source, taken in ((environment, env_name(field) in environment), (file, field in from_file)):
            if taken:
                break
            if other in source:
                from_file[field], used[field] = source[other], other
                break
    try:
        return Settings.model_validate(from_file), []
    except ValidationError as error:
        return None, [_line(fault["loc"], fault["msg"], fault["input"], used) for fault in error.errors()]


def _fields() -> list[tuple[str, str]]:
    return [(field, env_name(field)) for field in Settings.model_fields]


def _other_names() -> dict[str, str]:
    """Return the second environment variable of the fields that have one."""
    extras = {field: info.json_schema_extra for field, info in Settings.model_fields.items()}
    names = {field: extra.get("other_name") for field, extra in extras.items() if isinstance(extra, dict)}
    return {field: str(name) for field, name in names.items() if name}


def _filled(values: Mapping[str, str | None]) -> dict[str, str]:
    """Return the non-empty values by upper-case name, because names are not case-sensitive."""
    return {name.upper(): value for name, value in values.items() if value}


def _unknown(names: Iterable[str], place: str) -> list[str]:
    """Return a line for each name with the prefix that is not a setting."""
    known = {name for _, name in _fields()}.union(_other_names().values())
    unknown = [name for name in names if name.upper().startswith(PREFIX) and name.upper() not in known]
    lines = [f"{_plain(name)} {place} is not a setting{_near(_start(name), known)}" for name in unknown[:MOST_LINES]]
    more = len(unknown) - len(lines)
    return [*lines, f"and {more:,} more"] if more else lines


def _start(name: str) -> str:
    """Return the part of a name that is valid."""
    match = _NAME.match(name)
    return match[0] if match else ""


def _plain(name: str) -> str:
    """Return a name for a message, without the rest of a line such as ``NAME: value``, which may be a secret."""
    start = _start(name)
    return start if start == name else f"{start}..."


def _near(name: str, known: Iterable[str]) -> str:
    names = {known_name.removeprefix(PREFIX): known_name for known_name in known}  # the prefix is no resemblance
    near = difflib.get_close_matches(name.upper().removeprefix(PREFIX), names, n=1)
    return f"; did you mean {names[near[0]]}?" if near else "; remove it"


def _line(
    place: tuple[int | str, ...], message: str, value: object, used: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return the line of an invalid setting. pydantic names the field, or its alias if it has one.

    ``used`` has the other name of a field if its value was read from that.
    """
    field = next((name for name in Settings.model_fields if place[0] in {name, env_name(name)}), str(place[0]))
    info = Settings.model_fields[field]
    unit = (info.json_schema_extra or {}).get("unit", "") if isinstance(info.json_schema_extra, dict) else ""
    text = quoted(value, strict=True)
    if "Secret" in str(info.annotation):
        text, message = "(hidden)", message.replace("items after validation", "characters")
    # In this order: "Value error, ..." comes from the validators of Settings.
    reason = message.removeprefix("Input ").removeprefix("String ").removeprefix("Value error, ").removeprefix("Value ")
    name = used.get(field, env_name(field))
    fix = f"for example {name}={example(field)}"
    return f"{name}={text}: it {reason[:1].lower()}{reason[1:]} ({unit}); {fix}"


def env_name(field: str) -> str:
    """Return the environment variable of a field."""
    alias = Settings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else PREFIX + field.upper()


def buffer_setting(*, by_memory: bool) -> str:
    """Return the environment variable that bounds the buffer."""
    return env_name("max_buffer_mb" if by_memory else "max_operations_in_memory")
