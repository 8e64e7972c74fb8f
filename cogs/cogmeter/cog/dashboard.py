"""``/perf dashboard``: a link to the web dashboard, with a one-time code in place of the token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord

from cogmeter.cog.responder import CommandAnswer, Responder
from cogmeter.render.embeds.statistics import fit
from cogmeter.render.escape import plain, when
from cogmeter.render.palette import DisplayState
from cogmeter.settings import env_name
from cogmeter.times import SECOND_US, iso
from cogmeter.web.server.login_codes import SESSION_S, audit

if TYPE_CHECKING:
    from discord import app_commands

    from cogmeter.web.server.servers import DashboardLink

TITLE: Final = "Dashboard"
OFF: Final = (
    "The dashboard is off. Switch it on in `/{group} setup`, or set `ENABLE_ANALYTICS_DASHBOARD=true` in `.env` and"
    " restart the bot. It is then at <http://localhost:{port}/performance> on the machine on which the bot runs."
)


def add(group: app_commands.Group, responder: Responder) -> None:
    """Add the command to the group."""

    @group.command(name="dashboard", description="A link to the web dashboard that only you see, with a one-time code")
    async def dashboard(interaction: discord.Interaction) -> None:
        await send_link(responder, interaction)


async def send_link(responder: Responder, interaction: discord.Interaction) -> None:
    """Answer a command or a button with a link that only the user sees."""
    await responder.answer(interaction, lambda: _link(responder, interaction.user), ephemeral=True)


async def _link(responder: Responder, user: discord.abc.User) -> CommandAnswer:
    settings, servers = responder.monitor.settings, responder.servers
    if not settings.analytics_dashboard or servers is None:
        return _answer(OFF.format(group=settings.command_group, port=settings.dashboard_port), DisplayState.NEUTRAL)
    link = servers.dashboard_link(user.id, user.display_name)
    if link is None:
        findings = [finding for finding in servers.findings() if not finding.well]
        lines = (f"{plain(finding.text, 400)}. {plain(finding.advice, 200)}." for finding in findings)
        return _answer("\n".join(["The dashboard is not served now.", *lines]), DisplayState.DEGRADED)
    if link.valid_until_us is not None:
        until = f"valid until {iso(link.valid_until_us, unit_us=SECOND_US)}"
        await audit(responder.monitor.store.alerting, user.display_name, "request", until)
    return _answer("\n".join(_lines(link)), DisplayState.HEALTHY)


def _lines(link: DashboardLink) -> list[str]:
    lines = [f"<{link.url}>"]
    if link.valid_until_us is not None:
        lines.append(
            f"It works once and expires {when(link.valid_until_us)}. You then stay signed in for"
            f" {SESSION_S // 3_600} hours in that browser. Do not share it."
        )
    if link.here:
        lines += [
            "It opens on the machine on which the bot runs. From another machine, run this first:",
            f"```sh\n{link.tunnel}\n```",
            f"To open it without a tunnel, set {env_name('dashboard_url')}; docs/hosting.md shows how.",
        ]
    return lines


def _answer(text: str, state: DisplayState) -> CommandAnswer:
    return CommandAnswer(fit(discord.Embed(title=TITLE, description=text, colour=state.colour)))
