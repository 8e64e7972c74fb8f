"""``/perf mute`` and ``/perf unmute``: mute alerts of a service or a rule for a while, and end mutes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord
from discord import app_commands

from cogmeter.alerts.review.muting import REASON  # noqa: TC001 - discord.py evaluates the annotations of a command
from cogmeter.cog.options import MAX_CHOICES, Autocomplete, require_service, rule_choices, rule_named, seconds_of
from cogmeter.cog.responder import CommandAnswer, Responder, UserError
from cogmeter.query.query import now_us
from cogmeter.render.embeds.alert_lists import muted_embed, scope, unmuted_embed
from cogmeter.render.formatting import clock_time, cut
from cogmeter_storage.alerting import Mute
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

ALL: Final = "all"
NOTHING_TO_MUTE: Final = "Choose a service or rule, or `all`."
NOTHING_TO_UNMUTE: Final = "Choose a mute, a service or a rule, or `all`."


def add(group: app_commands.Group, responder: Responder) -> None:
    """Add the commands to the group."""
    names = Autocomplete(responder)

    async def active_mutes(interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
        return await _mute_choices(responder, interaction, current)

    @group.command(name="mute", description="Mute alerts of a service or a rule")
    @app_commands.describe(
        duration="For how long: 30m, 4h, 1d, at most 30d",
        service="Of which service, or: all",
        rule="Of which rule (every rule)",
        reason="Why, for others to read",
    )
    @app_commands.autocomplete(service=names.services, rule=rule_choices)
    async def mute(
        interaction: discord.Interaction,
        duration: str,
        service: str | None = None,
        rule: str | None = None,
        reason: app_commands.Range[str, 1, REASON] | None = None,
    ) -> None:
        async def requested_mute() -> Mute:
            requested = await _requested_mute(interaction, duration, service, rule, reason)
            await require_service(responder, requested.service)
            return requested

        await responder.answer_checked(interaction, requested_mute, lambda requested: _mute(responder, requested))

    @group.command(name="unmute", description="End a mute, or all mutes of a service or a rule")
    @app_commands.describe(mute="Which mute", service="All of this service, or: all", rule="All of this rule")
    @app_commands.autocomplete(mute=active_mutes, service=names.services, rule=rule_choices)
    async def unmute(
        interaction: discord.Interaction, mute: str | None = None, service: str | None = None, rule: str | None = None
    ) -> None:
        async def requested_rule() -> str | None:
            if mute is None and service is None and rule is None:
                raise UserError(NOTHING_TO_UNMUTE)
            return None if rule is None else await rule_named(rule)

        actor = interaction.user.display_name
        await responder.answer_checked(
            interaction, requested_rule, lambda rule_name: _unmute(responder, actor, mute, service, rule_name)
        )


async def _requested_mute(
    interaction: discord.Interaction, duration: str, service: str | None, rule: str | None, reason: str | None
) -> Mute:
    """Return the mute that the options describe, or raise UserError."""
    if service is None and rule is None:
        raise UserError(NOTHING_TO_MUTE)
    length_us, begin_us = int(seconds_of(duration) * 1e6), now_us()
    return Mute(
        service="" if service is None or service.casefold() == ALL else service,
        rule="" if rule is None else await rule_named(rule),
        since_us=begin_us,
        until_us=begin_us + length_us,
        actor=interaction.user.display_name,
        reason=(reason or "").strip(),
    )


async def _mute(responder: Responder, mute: Mute) -> CommandAnswer:
    stored = await responder.monitor.alerting.engine.mute(mute, mute.since_us)
    already = stored.since_us != mute.since_us
    return CommandAnswer(muted_embed(stored, responder.monitor.settings.command_group, already=already))


async def _unmute(
    responder: Responder, actor: str, mute_id: str | None, service: str | None, rule: str | None
) -> CommandAnswer:
    at_us = now_us()
    active = await responder.monitor.store.alerting.mutes(at_us)
    ids = [mute.id for mute in active if _matches(mute, mute_id, service, rule)]
    ended = await responder.monitor.alerting.engine.unmute(ids, actor, at_us) if ids else []
    return CommandAnswer(unmuted_embed(ended, {"mute": mute_id, "service": service, "rule": rule}))


def _matches(mute: Mute, mute_id: str | None, service: str | None, rule: str | None) -> bool:
    """Return whether a mute is the chosen one, or has the named service and rule."""
    if mute_id is not None:
        return str(mute.id) == mute_id.strip()
    everything = service is not None and service.casefold() == ALL
    return (service is None or everything or mute.service == service) and (rule is None or mute.rule == rule)


async def _mute_choices(
    responder: Responder, interaction: discord.Interaction, current: str
) -> list[app_commands.Choice[str]]:
    """Return the active mutes that contain the typed text; none for a user without access."""
    if not await responder.access.admits(interaction):
        return []
    try:
        mutes: Sequence[Mute] = await responder.monitor.store.alerting.mutes(now_us())
    except StorageError:
        return []  # the command itself reports the error
    labels = [(f"{scope(mute)} until {clock_time(mute.until_us, with_date=True)} UTC", mute.id) for mute in mutes]
    typed = current.casefold().strip()
    return [
        app_commands.Choice(name=cut(label, 100), value=str(number))
        for label, number in labels
        if typed in label.casefold()
    ][:MAX_CHOICES]
