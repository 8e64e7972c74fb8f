"""Completes service and operation names while the user types, from what is stored."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from discord import app_commands

from cogmeter.likeness import near
from cogmeter.render.text import cut
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import discord

    from cogmeter.cog.desk import Desk

MOST = 25  # Discord's limit of choices
FRESH_S = 5.0  # a user who types asks several times a second


class Names:
    """The stored names, read again every few seconds at most."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._names: dict[str, list[str]] = {}
        self._read_at: float | None = None

    async def services(self, interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
        """Services like what is typed; none for a user whom the gate does not admit."""
        return choices(await self._stored(interaction), current)

    async def operations(self, interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
        """Operations, like what is typed, of the service that is already chosen."""
        names = await self._stored(interaction)
        return choices(names.get(str(interaction.namespace.service), []), current)

    async def _stored(self, interaction: discord.Interaction) -> dict[str, list[str]]:
        if not await self._desk.gate.admits(interaction):
            return {}
        now = time.perf_counter()
        if self._read_at is None or now - self._read_at > FRESH_S:
            try:
                self._names, self._read_at = await self._desk.monitor.query.names(), now
            except StorageError:
                return {}  # the command itself will say what is wrong
        return self._names


def choices(names: Iterable[str], typed: str) -> list[app_commands.Choice[str]]:
    """At most 25 choices: all names in order while nothing is typed, else the most alike."""
    chosen = near(typed, list(names), limit=MOST) if typed.strip() else list(names)[:MOST]
    return [app_commands.Choice(name=cut(name, 100), value=name) for name in chosen]
