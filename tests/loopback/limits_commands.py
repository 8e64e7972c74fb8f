"""Discord's documented limits for application commands and autocomplete (interactions/application-commands)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any

from loopback.payloads import JSON
from loopback.problems import Problems

CHAT_INPUT = 1
SUBCOMMAND, GROUP, STRING = 1, 2, 3
CHARACTERS_PER_COMMAND = 8000
MOST_PER_KIND = {1: 100, 2: 15, 3: 15, 4: 1}
COMMAND_KEYS = frozenset(
    [
        "id",
        "application_id",
        "guild_id",
        "version",
        "type",
        "name",
        "name_localizations",
        "description",
        "description_localizations",
        "options",
        "default_member_permissions",
        "dm_permission",
        "default_permission",
        "integration_types",
        "contexts",
        "nsfw",
        "handler",
    ]
)
OPTION_KEYS = frozenset(
    [
        "type",
        "name",
        "name_localizations",
        "description",
        "description_localizations",
        "required",
        "choices",
        "options",
        "channel_types",
        "min_value",
        "max_value",
        "min_length",
        "max_length",
        "autocomplete",
    ]
)


def check_commands(problems: Problems, commands: list[JSON]) -> None:
    """Checks a bulk overwrite of commands; paths begin with the command's index."""
    names: set[tuple[int, Any]] = set()
    kinds: dict[int, int] = {}
    for number, command in enumerate(commands):
        kind = command.get("type", CHAT_INPUT)
        kinds[kind] = kinds.get(kind, 0) + 1
        if (kind, command.get("name")) in names:
            problems.add(f"{number}", "APPLICATION_COMMANDS_DUPLICATE_NAME", "Application command names must be unique")
        names.add((kind, command.get("name")))
        _check_command(problems, command, str(number), kind)
    for kind, count in kinds.items():
        if count > MOST_PER_KIND.get(kind, 0):
            problems.add(
                "", "APPLICATION_COMMANDS_MAX", f"{count} commands of type {kind}; {MOST_PER_KIND.get(kind)} allowed"
            )


def check_choices(problems: Problems, choices: list[JSON], path: str) -> None:
    """Checks the choices of an option or of an autocomplete answer: at most 25, name 1 to 100 characters."""
    if len(choices) > 25:
        problems.add(path, "BASE_TYPE_BAD_LENGTH", "Must be between 0 and 25 in length.")
    for number, choice in enumerate(choices):
        problems.text(choice, f"{path}.{number}", "name", 100, least=1, required=True)
        if isinstance(choice.get("value"), str):
            problems.text(choice, f"{path}.{number}", "value", 100, least=1)


def _check_command(problems: Problems, command: JSON, path: str, kind: int) -> None:
    problems.keys(command, path, COMMAND_KEYS)
    if kind != CHAT_INPUT:
        problems.text(command, path, "name", 32, least=1, required=True)
        if command.get("description"):
            problems.add(f"{path}.description", "APPLICATION_COMMAND_CONTEXT_MENU_DESCRIPTION", "Must be empty")
        return
    _check_named(problems, command, path)
    _check_options(problems, command, path)
    if sum(len(text) for text in _texts(command)) > CHARACTERS_PER_COMMAND:
        problems.add(path, "APPLICATION_COMMAND_TOO_LARGE", f"Command exceeds maximum size ({CHARACTERS_PER_COMMAND})")


def _check_options(problems: Problems, holder: JSON, path: str) -> None:
    optional_seen = False
    for number, option in enumerate(problems.count(holder, path, "options", 25)):
        where = f"{path}.options.{number}"
        problems.keys(option, where, OPTION_KEYS)
        problems.number(option, where, "type", 1, 11)
        _check_named(problems, option, where)
        check_choices(problems, option.get("choices") or [], f"{where}.choices")
        if option.get("choices") and option.get("autocomplete"):
            problems.add(where, "APPLICATION_COMMAND_OPTIONS_AUTOCOMPLETE_CHOICES", "Choices exclude autocomplete")
        if option.get("type") in {SUBCOMMAND, GROUP}:
            _check_options(problems, option, where)
        elif option.get("required") and optional_seen:
            problems.add(
                where,
                "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
                "Required options must be placed before non-required options",
            )
        else:
            optional_seen = optional_seen or not option.get("required")


def _check_named(problems: Problems, named: JSON, path: str) -> None:
    problems.text(named, path, "name", 32, least=1, required=True)
    problems.text(named, path, "description", 100, least=1, required=True)
    name = named.get("name")
    if isinstance(name, str) and not all(map(_allowed, name)):
        problems.add(f"{path}.name", "APPLICATION_COMMAND_INVALID_NAME", f"Command name is invalid: {name!r}")


def _allowed(character: str) -> bool:
    """Whether a character fits ^[-_'\\p{L}\\p{N}]{1,32}$ in lower case (marks for Devanagari and Thai)."""
    return character in "-_'" or (unicodedata.category(character)[0] in "LNM" and character == character.lower())


def _texts(node: JSON) -> Iterator[str]:
    yield from (node.get("name", ""), node.get("description", ""))
    for key in ("name_localizations", "description_localizations"):
        yield from (node.get(key) or {}).values()
    for choice in node.get("choices") or []:
        yield from (choice.get("name", ""), str(choice.get("value", "")))
    for option in node.get("options") or []:
        yield from _texts(option)
