"""``/perf thresholds``: view, set with a preview, and reset thresholds, and list who changed what."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import discord
from discord import app_commands

from cogmeter.alerts.model import Subject
from cogmeter.alerts.review.threshold_changes import NOT_REPLAYABLE, Change, effective_limits, preview
from cogmeter.alerts.thresholds.keys import THRESHOLD, LimitError
from cogmeter.cog.options import Autocomplete, rule_choices, rule_named
from cogmeter.cog.responder import CommandAnswer, Responder, UserError
from cogmeter.cog.views import Buttons, Pages
from cogmeter.monitor.setting_changes import named_value
from cogmeter.query.records import UnknownNameError
from cogmeter.render import formatting
from cogmeter.render.embeds.alert_lists import audit_embed
from cogmeter.render.embeds.thresholds import (
    changed_embed,
    learned_embed,
    preview_embed,
    thresholds_embed,
    unchanged_embed,
)
from cogmeter.render.escape import plain
from cogmeter.render.rule_text import FIELD_LABELS, override_text

if TYPE_CHECKING:
    from cogmeter.alerts.thresholds.effective import EffectiveLimits
    from cogmeter.settings import Settings

PAGE: Final = 15
MAX_ERROR: Final = 500  # characters of the text about a wrong option
FIELD_CHOICES: Final = [app_commands.Choice(name=label, value=field) for field, label in FIELD_LABELS.items()]


@dataclass(frozen=True, slots=True)
class ThresholdRequest:
    """A requested change and the user who requested it."""

    change: Change
    actor: str


def add(group: app_commands.Group, responder: Responder) -> None:
    """Add the commands to the group."""
    names = Autocomplete(responder)
    inner = app_commands.Group(name="thresholds", description="View and change alert thresholds", parent=group)

    @inner.command(name="view", description="List every rule with its threshold and origin")
    @app_commands.describe(service="Only for this service, or a command such as /ask (all)")
    @app_commands.autocomplete(service=names.subjects)
    async def view(interaction: discord.Interaction, service: str | None = None) -> None:
        await responder.answer(interaction, lambda: _view(responder, service))

    @inner.command(name="set", description="Change a threshold, with a preview over the last 7 days")
    @app_commands.describe(
        rule="Which rule",
        value="The new value: 5%, 1.9s, 300; 0 switches a rule off",
        service="Only for this service (all)",
        operation="Only for this operation (all)",
        field="Setting of the rule (threshold)",
    )
    @app_commands.choices(field=FIELD_CHOICES)
    @app_commands.autocomplete(rule=rule_choices, service=names.services, operation=names.operations)
    async def set_(  # noqa: PLR0917 - one parameter for each option
        interaction: discord.Interaction,
        rule: str,
        value: str,
        service: str | None = None,
        operation: str | None = None,
        field: str = THRESHOLD,
    ) -> None:
        await responder.answer_checked(
            interaction,
            lambda: _request(responder, interaction, (rule, service, operation), field, value),
            lambda request: _preview(responder, request),
        )

    @inner.command(name="reset", description="Reset to the configured value; learn a calibrated one again")
    @app_commands.describe(
        rule="Which rule",
        service="Of this service (none)",
        operation="Of this operation (none)",
        field="Setting of the rule (threshold)",
    )
    @app_commands.choices(field=FIELD_CHOICES)
    @app_commands.autocomplete(rule=rule_choices, service=names.services, operation=names.operations)
    async def reset(
        interaction: discord.Interaction,
        rule: str,
        service: str | None = None,
        operation: str | None = None,
        field: str = THRESHOLD,
    ) -> None:
        await responder.answer_checked(
            interaction,
            lambda: _request(responder, interaction, (rule, service, operation), field, None),
            lambda request: _reset(responder, request),
        )

    @inner.command(name="audit", description="List changes of thresholds and mutes, and acknowledgements")
    async def audit(interaction: discord.Interaction) -> None:
        await responder.answer(interaction, lambda: _audit(responder))


async def _request(
    responder: Responder,
    interaction: discord.Interaction,
    subject: tuple[str, str | None, str | None],
    field: str,
    value: str | None,
) -> ThresholdRequest:
    """Return the change that the options describe; raise UserError if it is invalid or changes nothing."""
    rule, service, operation = subject
    if operation is not None and service is None:
        raise UserError("Name the service of that operation, too.")
    names = await _subject(responder, service, operation)
    try:
        change = Change.of(Subject(await rule_named(rule), *names), field, value)
    except LimitError as error:
        raise UserError(plain(str(error), MAX_ERROR)) from None
    current = (await responder.monitor.store.alerting.overrides()).get(change.key)
    if current == change.value and not _learned(responder, change):
        key = plain(change.key, 150)
        raise UserError(
            f"{key} is {override_text(change.key, current)} already."
            if current is not None
            else f"{key} is at its configured value. There is nothing to reset."
        )
    return ThresholdRequest(change, interaction.user.display_name)


async def _subject(responder: Responder, service: str | None, operation: str | None) -> tuple[str, str]:
    """Return the service and operation that the options name, perhaps by a label such as "/ask"; "" for all.

    A service may get a threshold before its first operation.

    Raises:
        UserError: there is no such command.
    """
    try:
        found = ("", operation) if service is None else await responder.monitor.query.subject_of(service, operation)
    except UnknownNameError as error:
        if error.name.startswith("/"):
            raise UserError.quoting(error) from None
        found = service or "", operation
    return found[0], found[1] or ""


async def _view(responder: Responder, service: str | None) -> CommandAnswer:
    limits = await _effective_limits(responder)
    about, operation = await _subject(responder, service, None)
    listed = limits.rules(about or None, operation)
    if not operation:
        listed += await limits.others(about or None)
    footer = _common_settings(responder.monitor.settings)

    async def page(number: int) -> tuple[discord.Embed, bool]:
        return thresholds_embed(listed, service=service, common=footer, page=number)

    return await Pages.answer(responder, page)


async def _preview(responder: Responder, request: ThresholdRequest) -> CommandAnswer:
    key = request.change.key
    result = await preview(responder.monitor.store, responder.monitor.settings, request.change)
    why_not = NOT_REPLAYABLE if result.what_if is None else ""
    embed = preview_embed(key, result.before, result.after, result.what_if, why_not)
    return CommandAnswer(embed, buttons=Confirmation(responder, request))


async def _reset(responder: Responder, request: ThresholdRequest) -> CommandAnswer:
    return CommandAnswer(await _apply(responder, request))


async def _apply(responder: Responder, request: ThresholdRequest) -> discord.Embed:
    """Make the change: stored, audited, marked, and effective at once."""
    monitor, change = responder.monitor, request.change
    before = (await _effective_limits(responder)).of(change.subject, change.field)
    learned = _learned(responder, change)
    made = await monitor.override({change.key: change.value}, request.actor)
    limits = await _effective_limits(responder)
    if not made and learned:
        return learned_embed([limits.of(subject) for subject in learned], request.actor)
    if not made:
        return unchanged_embed("Another user has made the same change in the meantime.")
    after = limits.of(change.subject, change.field)
    return changed_embed(change.key, before, after, request.actor, reset=change.value is None)


def _learned(responder: Responder, change: Change) -> list[Subject]:
    """Return the subjects whose calibrated thresholds a reset without a changed value learns again."""
    resets = change.value is None and change.field == THRESHOLD
    return responder.monitor.alerting.calibrator.covered(change.subject) if resets else []


async def _audit(responder: Responder) -> CommandAnswer:
    async def page(number: int) -> tuple[discord.Embed, bool]:
        entries = await responder.monitor.store.alerting.audit(limit=PAGE + 1, offset=number * PAGE)
        more = len(entries) > PAGE
        named = partial(named_value, responder.monitor)
        return audit_embed(entries[:PAGE], page=number, more=more, named=named), more

    return await Pages.answer(responder, page)


async def _effective_limits(responder: Responder) -> EffectiveLimits:
    return await effective_limits(responder.monitor.store, responder.monitor.settings)


def _common_settings(settings: Settings) -> str:
    """Return the settings of every rule without its own."""
    window = formatting.duration(settings.alert_window * 1e6)
    recovery = formatting.duration(settings.alert_recovery * 1e6)
    return (
        f"Window {window}, at least {settings.alert_min_operations} operations; "
        f"resolves after {recovery} below the threshold. "
        f"Change with /{settings.command_group} thresholds set, or in .env."
    )


class Confirmation(Buttons):
    """The buttons Apply and Cancel below a preview. Of simultaneous presses the first one counts."""

    def __init__(self, responder: Responder, request: ThresholdRequest) -> None:
        super().__init__(responder)
        self._request = request
        self._deciding = asyncio.Lock()

    @discord.ui.button(label="Apply", style=discord.ButtonStyle.primary, custom_id="cogmeter:threshold:apply")
    async def apply(self, interaction: discord.Interaction, _: discord.ui.Button[Confirmation]) -> None:
        """Make the change in the name of the user who pressed the button."""
        await interaction.response.defer()
        async with self._deciding:
            if not self.is_finished():
                request = replace(self._request, actor=interaction.user.display_name)
                await self.show(interaction, await _apply(self._responder, request), last=True)

    @discord.ui.button(label="Cancel", custom_id="cogmeter:threshold:cancel")
    async def cancel(self, interaction: discord.Interaction, _: discord.ui.Button[Confirmation]) -> None:
        """Keep the present value."""
        await interaction.response.defer()
        async with self._deciding:
            if not self.is_finished():
                embed = unchanged_embed(f"{plain(self._request.change.key, 150)} is unchanged.")
                await self.show(interaction, embed, last=True)
