"""Options that several commands share: a period, a typed duration, and autocompleted names."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from discord import app_commands

from cogmeter.alerts.review.muting import LONGEST_S, SHORTEST_S, check_service
from cogmeter.alerts.rules import RULES
from cogmeter.cog.responder import UserError
from cogmeter.query.fleet import process_names
from cogmeter.query.name_matching import suggest
from cogmeter.query.records import Period, UnknownNameError
from cogmeter.recording.service_names import labels
from cogmeter.redaction import shown
from cogmeter.render.escape import code
from cogmeter.render.formatting import cut
from cogmeter.times import parse_duration
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import discord

    from cogmeter.cog.responder import Responder

DEFAULT: Final = Period.DAY.key
CHOICES: Final = [app_commands.Choice(name=period.label, value=period.key) for period in Period]
MAX_CHOICES: Final = 25  # Discord's limit
LONGEST: Final = 100  # characters of a choice
CACHE_S: Final = 5.0  # Discord sends a request for every few characters that the user types


def seconds_of(typed: str) -> float:
    """Return the seconds of a duration such as ``30m``, ``4h`` or ``1h 30m``, between a minute and 30 days.

    Raises:
        UserError: the text is not such a duration; the error shows valid ones.
    """
    words, total = typed.strip(), parse_duration(typed)
    if total is None:
        raise UserError(f"{code(shown(words), 50)} is not a duration. Use 30m, 4h, 1d or 1h 30m.")
    if not SHORTEST_S <= total <= LONGEST_S:
        raise UserError(f"{code(shown(words), 50)} is not between 1 minute and 30 days.")
    return total


def period_of(key: str) -> Period:
    """Return the period of a choice."""
    return next(period for period in Period if period.key == key)


class Autocomplete:
    """Completes stored names of services and operations, read again every few seconds at most."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._names: dict[str, list[str]] = {}
        self._read_at: float | None = None

    async def services(self, interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
        """Return services that resemble the typed text; none for a user without access."""
        return await choices(await self._stored(interaction), current)

    async def subjects(self, interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
        """Return commands and services that resemble the typed text: what ``Query.subject_of`` accepts."""
        names = await self._stored(interaction)
        return await choices([*labels(names), *names], current)

    async def operations(self, interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
        """Return operations of the chosen service that resemble the typed text."""
        names = await self._stored(interaction)
        return await choices(names.get(str(interaction.namespace.service), []), current)

    async def processes(self, interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
        """Return processes of the fleet that resemble the typed text; none for a user without access."""
        if not await self._responder.access.admits(interaction):
            return []
        try:
            names = await process_names(self._responder.monitor.query)
        except StorageError:
            return []  # the command itself reports the error
        return await choices([name for name in names if len(name) <= LONGEST], current)

    async def _stored(self, interaction: discord.Interaction) -> dict[str, list[str]]:
        if not await self._responder.access.admits(interaction):
            return {}
        now = time.perf_counter()
        if self._read_at is None or now - self._read_at > CACHE_S:
            try:
                monitor = self._responder.monitor
                names = await monitor.query.names(other=bool(monitor.recorder.overflowed))
                self._names, self._read_at = names, now
            except StorageError:
                return {}  # the command itself reports the error
        return self._names


async def require_service(responder: Responder, service: str) -> None:
    """Check that a service has operations or alerts. An empty name means every service.

    Raises:
        UserError: nothing is stored under this name; the text suggests similar names.
    """
    try:
        await check_service(responder.monitor.query, service)
    except UnknownNameError as error:
        raise UserError.quoting(error) from None


async def choices(names: Iterable[str], typed: str) -> list[app_commands.Choice[str]]:
    """Return at most 25 choices: the most similar names, or the first ones while nothing is typed."""
    chosen = await suggest(typed, names, limit=MAX_CHOICES) if typed.strip() else list(names)[:MAX_CHOICES]
    return [app_commands.Choice(name=cut(name, LONGEST), value=_value(name)) for name in chosen]


def _value(name: str) -> str:
    """Return the value of a choice; a label that Discord refuses as too long is accepted without its first word."""
    if len(name) <= LONGEST:
        return name
    return name[1:] if name.startswith("/") else name.partition(" ")[2]


async def rule_choices(_: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
    """Return alert rules that resemble the typed text. Their names are not secret, so access is not checked."""
    return await choices(RULES, current)


async def rule_named(typed: str) -> str:
    """Return the alert rule with this name.

    Raises:
        UserError: no rule has this name; the text suggests similar ones.
    """
    rule = typed.strip().casefold().replace(" ", "_")
    if rule not in RULES:
        names = await suggest(rule, RULES) or list(RULES)
        raise UserError(
            f"{code(shown(typed), 50)} is not a rule. Did you mean {' or '.join(code(name, 50) for name in names[:3])}?"
        )
    return rule
