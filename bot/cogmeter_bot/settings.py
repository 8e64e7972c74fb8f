"""The bot's own settings; the monitor has its own, named PERFORMANCE_*."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from dotenv import dotenv_values
from pydantic import SecretStr  # noqa: TC002 - pydantic reads the annotation when the class is made
from pydantic_settings import BaseSettings, SettingsConfigDict

if TYPE_CHECKING:
    from collections.abc import Mapping

ENV_FILE: Final = ".env"
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


class BotSettings(BaseSettings):
    """Read from the environment and, below it, from ``.env`` in the working directory, each time it is built."""

    model_config = SettingsConfigDict(env_file=ENV_FILE, extra="ignore", env_ignore_empty=True)

    discord_token: SecretStr | None = None

    def token(self) -> str | None:
        """The bot's token without the blanks that copying leaves around it; None if there is none."""
        text = self.discord_token.get_secret_value().strip() if self.discord_token else ""
        return text or None


def set_own_defaults() -> str:
    """Switch on in the environment what our own bot has on, unless it is set; gives what there is to say of it.

    In our image the web listens on every address, because a published port leads to no other, as soon as there is a
    token; without one it stays inside.
    """
    known = {name: value for name, value in {**dotenv_values(ENV_FILE), **os.environ}.items() if value}
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
