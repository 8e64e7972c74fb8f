"""Completes the names of services, operations and rules while the user types."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from discord import app_commands

from cogmeter.alerts.review.muting import check_service
from cogmeter.alerts.rules import RULES
from cogmeter.cog.responder import UserError
from cogmeter.query.name_matching import suggest
from cogmeter.query.records import UnknownNameError
from cogmeter.redaction import shown
from cogmeter.render.escape import code
from cogmeter.render.formatting import cut
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import discord

    from cogmeter.cog.responder import Responder

MOST = 25  # Discord's limit of choices
FRESH_S = 5.0  # a user who types asks several times a second


class Autocomplete:
    """The stored names, read again every few seconds at most."""

    def __init__(self, desk: Responder) -> None:
        self._desk = desk
        self._names: dict[str, list[str]] = {}
        self._read_at: float | None = None

    async def services(self, interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
        """Services like what is typed; none for a user whom the gate does not admit."""
        return await choices(await self._stored(interaction), current)

    async def operations(self, interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
        """Operations, like what is typed, of the service that is already chosen."""
        names = await self._stored(interaction)
        return await choices(names.get(str(interaction.namespace.service), []), current)

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


async def known_service(desk: Responder, service: str) -> None:
    """Make sure that a service has operations or alerts: what is asked of another one is asked of nothing.

    Raises:
        UserError: it has neither; the text names some like it.
    """
    try:
        await check_service(desk.monitor.query, service)
    except UnknownNameError as error:
        raise UserError(str(error)) from None


async def choices(names: Iterable[str], typed: str) -> list[app_commands.Choice[str]]:
    """At most 25 choices: all names in order while nothing is typed, else the most alike."""
    chosen = await suggest(typed, names, limit=MOST) if typed.strip() else list(names)[:MOST]
    return [app_commands.Choice(name=cut(name, 100), value=name) for name in chosen]


async def rule_choices(_: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
    """Alert rules like what is typed. Their names are the product's own, and no secret."""
    return await choices(RULES, current)


async def rule_named(typed: str) -> str:
    """The alert rule of this name.

    Raises:
        UserError: there is none; the text names some like it.
    """
    rule = typed.strip().casefold().replace(" ", "_")
    if rule not in RULES:
        names = await suggest(rule, RULES) or list(RULES)
        raise UserError(
            f"{code(shown(typed), 50)} is no rule. Did you mean {' or '.join(code(one, 50) for one in names[:3])}?"
        )
    return rule
