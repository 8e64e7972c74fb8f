"""What needs attention as lines of an embed: each finding with the command that shows more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord

from cogmeter.alerts.model import by_urgency
from cogmeter.diagnosis import NO_CONCERN, left_out_text, step_text
from cogmeter.recording.service_names import BY_OPERATION, label
from cogmeter.render import formatting
from cogmeter.render.embeds.alert import place, several, subject
from cogmeter.render.embeds.limits import DESCRIPTION
from cogmeter.render.embeds.statistics import fit
from cogmeter.render.escape import below, code, plain
from cogmeter.render.palette import look_of, state_of
from cogmeter.render.rule_text import alert_text
from cogmeter_storage.alerting import SENT, AlertState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.diagnosis import Concern, ConcernList, Status
    from cogmeter.query.records import Range
    from cogmeter_storage.alerting import Alert

OTHERS: Final = 5  # active alerts that no finding is about
# The command that shows more, by the target of a finding; of the others, the target is the command.
COMMANDS: Final = {"error": "errors"}


def attention_lines(concerns: ConcernList, group: str, *, more_at: str = "") -> list[str]:
    """Return two lines for each finding and how many more there are, or that nothing is wrong.

    Commands are those of ``group``. ``more_at`` is the one that leads to all findings; empty: a button below does.
    """
    if not concerns:
        return [f"{NO_CONCERN}."]
    lines = [line for concern in concerns for line in _concern_lines(concern, group)]
    left_out = left_out_text(concerns.left_out)
    where = f": see {code(f'/{group} {more_at}', 50)}" if more_at else ""
    return [*lines, f"{left_out}{where}"] if left_out else lines


def findings_embed(concerns: ConcernList, span: Range, *, status: Status, group: str) -> discord.Embed:
    """Return the embed of all findings; those that do not fit are counted. ``status`` is the verdict."""
    whole = ["\n".join(_concern_lines(concern, group)) for concern in concerns] or [f"{NO_CONCERN}."]
    embed = discord.Embed(
        title=f"Needs Attention ({formatting.clean(span.label)})",
        description=several(whole, DESCRIPTION, more=concerns.left_out),
        colour=state_of(status).colour,
    )
    return fit(embed)


def _concern_lines(concern: Concern, group: str) -> list[str]:
    icon = look_of(concern.severity, AlertState.FIRING).icon
    next_step = step_text(plain(concern.next_step, 150), code(command_of(concern, group), 150))
    return [f"{icon} {plain(concern.text, 400)}.", below(next_step)]


def active_alert_lines(alerts: Sequence[Alert], concerns: Sequence[Concern]) -> list[str]:
    """Return a line for each firing or acknowledged alert that no finding is about, the worst first."""
    named = {concern.alert for concern in concerns}
    others = [alert for alert in alerts if alert.state in SENT and alert.uid not in named]
    lines = [_alert_line(alert) for alert in by_urgency(others)[:OTHERS]]
    hidden = len(others) - OTHERS
    return [*lines, f"and {formatting.counted(hidden, 'more active alert')}"] if hidden > 0 else lines


def _alert_line(alert: Alert) -> str:
    icon, about = look_of(alert.severity, alert.state).icon, place(alert) or subject(alert)
    return f"{icon} {about}: {plain(alert_text(alert), 300)}."


def command_of(concern: Concern, group: str) -> str:
    """Return the command that shows more about a finding: ``/perf stats service:/ask``."""
    kind, _, more = concern.target.partition(":")
    command = f"/{group} {COMMANDS.get(kind, kind)}"
    if kind in {"stats", "slow", "compare"} and concern.subject is not None:
        service, operation = concern.subject
        if kind == "slow":  # it takes a command or a service
            operation = operation if service in BY_OPERATION else ""
        if operation and service in BY_OPERATION:
            command = f"{command} service:{label(service, operation)}"
        else:
            command = f"{command} service:{service}" + (f" operation:{operation}" if operation else "")
        return f"{command} before:{more}" if kind == "compare" and more else command
    if kind == "stats":
        return f"/{group} summary"
    return f"{command} (error {more})" if more else command
