"""The bot's own settings; the monitor has its own, named PERFORMANCE_*."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cogmeter.settings import SettingsError, read_env_file

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN: Final = "DISCORD_TOKEN"  # noqa: S105 - a setting's name
SYNC: Final = "PERFORMANCE_SYNC_COMMANDS"
HTTP_PORT: Final = "PERFORMANCE_HTTP_PORT"
HTTP_HOST: Final = "PERFORMANCE_HTTP_HOST"
HTTP_TOKEN: Final = "PERFORMANCE_HTTP_TOKEN"  # noqa: S105 - a setting's name
DASHBOARD: Final = "ENABLE_ANALYTICS_DASHBOARD"
# What our own bot has on, where a host decides for itself.
OWN: Final = {SYNC: "true", DASHBOARD: "true", HTTP_PORT: "3000"}
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
HOST_PORTS: Final = ("SERVER_PORT", "PORT")  # a bot host that names its port has the web there
IN_CONTAINER: Final = "COGMETER_IN_CONTAINER"  # set in our image
ONLY_INSIDE: Final = "The dashboard and the API are served inside this container alone: "
NO_TOKEN: Final = f"{ONLY_INSIDE}set {HTTP_TOKEN} to 32 or more random characters (openssl rand -hex 32)"


def discord_token() -> str | None:
    """Return the bot's token from the environment or, below it, ``.env``, without blanks around it; None without one.

    Raises:
        SettingsError: the file cannot be read, or the token cannot be one.
    """
    text = (os.environ.get(TOKEN) or read_env_file().get(TOKEN) or "").strip()
    if not (text.isascii() and text.isprintable()):
        raise SettingsError(f"{TOKEN}=(hidden): it contains characters that no token has; copy it again")
    return text or None


def set_own_defaults() -> str:
    """Switch on in the environment what our own bot has on, unless it is set; gives what there is to say of it.

    In our image the web listens on every address, because a published port leads to no other, as soon as there is a
    token; without one it stays inside.

    Raises:
        SettingsError: ``.env`` cannot be read.
    """
    known = {name: value for name, value in {**read_env_file(), **os.environ}.items() if value}
    for name, value in OWN.items():
        if name not in known and not (name == HTTP_PORT and any(port in known for port in HOST_PORTS)):
            os.environ[name] = value
    return _open_container(known) if IN_CONTAINER in known else ""


def _open_container(known: Mapping[str, str]) -> str:
    """Listen on every address of a container that has a token; what there is to say of one that is not reached."""
    if HTTP_TOKEN not in known:
        return NO_TOKEN
    host = known.get(HTTP_HOST)
    if host is None:
        os.environ[HTTP_HOST] = "0.0.0.0"  # noqa: S104 - there is a token
    elif host in LOOPBACK:
        return f"{ONLY_INSIDE}{HTTP_HOST}={host} leads to nowhere else; take it out of .env, or set 0.0.0.0"
    return ""
