"""The example bot's own settings, and the effective value and origin of every setting."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic import SecretStr

from cogmeter.redaction import redact
from cogmeter.settings import Settings, SettingsError, env_name, read_env_file

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN: Final = "DISCORD_TOKEN"  # noqa: S105 - a setting's name
TOKEN_PAGE: Final = "https://discord.com/developers/applications"  # noqa: S105 - an address
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{18,40}\.[A-Za-z0-9_-]{5,10}\.[A-Za-z0-9_-]{25,80}")  # id, time, signature
SYNC: Final = "PERFORMANCE_SYNC_COMMANDS"
HTTP_PORT: Final = "PERFORMANCE_HTTP_PORT"
HTTP_HOST: Final = "PERFORMANCE_HTTP_HOST"
HTTP_TOKEN: Final = "PERFORMANCE_HTTP_TOKEN"  # noqa: S105 - a setting's name
DASHBOARD: Final = "ENABLE_ANALYTICS_DASHBOARD"
# Defaults of the example bot; in another bot its owner decides.
OWN_DEFAULTS: Final = {SYNC: "true", DASHBOARD: "true", HTTP_PORT: "3000"}
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
HOST_PORTS: Final = ("SERVER_PORT", "PORT")  # a bot host that sets one of these expects the web server there
IN_CONTAINER: Final = "COGMETER_IN_CONTAINER"  # set in our image
ONLY_INSIDE: Final = "The dashboard and the API are reachable only inside this container. "
NO_TOKEN: Final = f"{ONLY_INSIDE}Set {HTTP_TOKEN} to 32 or more random characters (openssl rand -hex 32)."
CHAT: Final = "chat"  # the origin of a setting that was changed with /perf setup
HIDDEN: Final = "(set, hidden)"


def discord_token() -> str | None:
    """Return the bot's token from the environment or ``.env``, stripped; None if it is not set.

    Raises:
        SettingsError: the file cannot be read, or the token contains impossible characters.
    """
    text = (os.environ.get(TOKEN) or read_env_file().get(TOKEN) or "").strip()
    if not (text.isascii() and text.isprintable()):
        raise SettingsError(f"{TOKEN}=(hidden): it contains characters that no token has; copy it again")
    return text or None


def token_fault(token: str) -> str:
    """Return what is wrong with the shape of a bot's token, and where to find it; empty if nothing is.

    The value is not part of the text. Only Discord knows whether a token of this shape is valid.
    """
    if _TOKEN.fullmatch(token):
        return ""
    length = f"{len(token)} characters, hidden"
    if token.isascii() and token.isdecimal():
        problem = f"is a number ({length}), such as the application's id"
    elif re.fullmatch(r"[0-9a-f]{64}", token):
        problem = f"has 64 hexadecimal digits ({length}), as the application's public key"
    elif re.fullmatch(r"[A-Za-z0-9_-]{32}", token):
        problem = f"is one word ({length}), as the client secret on the page OAuth2"
    elif token.startswith("Bot "):
        problem = f'starts with "Bot " ({length})'
    else:
        problem = f"is not three parts with dots between them, of letters, digits, - and _ ({length})"
    return f"The token {problem}. Copy the bot's token from {TOKEN_PAGE}: page Bot, button Reset Token."


def set_own_defaults() -> str:
    """Set the example bot's defaults in the environment where nothing is set; return a warning, or "".

    In our image the web server listens on every address if there is a token, because a published port reaches no
    other address. Without a token it stays on loopback.

    Raises:
        SettingsError: ``.env`` cannot be read.
    """
    configured = {name: value for name, value in {**read_env_file(), **os.environ}.items() if value}
    for name, value in OWN_DEFAULTS.items():
        if name not in configured and not (name == HTTP_PORT and any(port in configured for port in HOST_PORTS)):
            os.environ[name] = value
    return _open_container(configured) if IN_CONTAINER in configured else ""


def _open_container(configured: Mapping[str, str]) -> str:
    """Listen on every address of a container that has a token; return a warning if it stays unreachable."""
    if HTTP_TOKEN not in configured:
        return NO_TOKEN
    host = configured.get(HTTP_HOST)
    if host is None:
        os.environ[HTTP_HOST] = "0.0.0.0"  # noqa: S104 - there is a token
    elif host in LOOPBACK:
        return f"{ONLY_INSIDE}{HTTP_HOST}={host} is a loopback address. Remove it from .env, or set 0.0.0.0."
    return ""


class EffectiveSetting(NamedTuple):
    """A setting with its effective value, None if it is not set, and its origin."""

    name: str
    value: str | None
    origin: str  # chat, environment, .env, default


def effective_settings(settings: Settings, changed: Mapping[str, str]) -> list[EffectiveSetting]:
    """Return all settings of the monitor, and the bot's token; secrets only as ``(set, hidden)``.

    ``changed`` are the values that were changed in chat, by field.

    Raises:
        SettingsError: ``.env`` cannot be read.
    """
    names_by_origin = {"environment": _set_names(os.environ), ".env": _set_names(read_env_file())}
    token = HIDDEN if any(TOKEN in names for names in names_by_origin.values()) else None
    values = {TOKEN: token} | {
        env_name(field): _display_value(getattr(settings, field)) for field in Settings.model_fields
    }
    in_chat = {env_name(field): redact(value) or None for field, value in changed.items()}
    return [
        EffectiveSetting(name, in_chat[name], CHAT)
        if name in in_chat
        else EffectiveSetting(name, value, _origin(name, names_by_origin))
        for name, value in values.items()
    ]


def _set_names(variables: Mapping[str, str | None]) -> set[str]:
    """Return the names that have a value, in upper case; an empty value counts as none."""
    return {name.upper() for name, value in variables.items() if value}


def _origin(name: str, names_by_origin: Mapping[str, set[str]]) -> str:
    return next((origin for origin, names in names_by_origin.items() if name in names), "default")


def _display_value(value: object) -> str | None:
    """Return a value as it would be written in ``.env``."""
    if value is None or value == frozenset():
        return None
    if isinstance(value, SecretStr):
        return HIDDEN
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, frozenset):
        return ",".join(sorted(str(member) for member in value))
    return redact(f"{value:g}" if isinstance(value, float) else str(value))
