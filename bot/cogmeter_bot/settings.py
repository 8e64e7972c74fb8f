"""The bot's own settings; the monitor has its own, named PERFORMANCE_*."""

from __future__ import annotations

import os
from typing import Final

from dotenv import dotenv_values
from pydantic import SecretStr  # noqa: TC002 - pydantic reads the annotation when the class is made
from pydantic_settings import BaseSettings, SettingsConfigDict

ENV_FILE: Final = ".env"
SYNC: Final = "PERFORMANCE_SYNC_COMMANDS"


class BotSettings(BaseSettings):
    """Read from the environment and, below it, from ``.env`` in the working directory, each time it is built."""

    model_config = SettingsConfigDict(env_file=ENV_FILE, extra="ignore", env_ignore_empty=True)

    discord_token: SecretStr | None = None

    def token(self) -> str | None:
        """The bot's token without the blanks that copying leaves around it; None if there is none."""
        text = self.discord_token.get_secret_value().strip() if self.discord_token else ""
        return text or None


def register_commands_by_default() -> None:
    """Have the monitor register its commands, unless that is set: a host decides for itself, our own bot does it."""
    if SYNC not in os.environ and SYNC not in dotenv_values(ENV_FILE):
        os.environ[SYNC] = "true"
