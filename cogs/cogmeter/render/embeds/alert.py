"""An alert as an embed's JSON, without discord.py: what, how bad, since when, who is touched, what changed before."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from cogmeter.recording.service_names import BOT
from cogmeter.render import formatting
from cogmeter.render.charts.chart import CHART_NAME, NO_CHART
from cogmeter.render.embeds.limits import VALUE, fitted
from cogmeter.render.escape import plain, when
from cogmeter.render.palette import WORST_FIRST, Look, look_of
from cogmeter.render.rule_text import measured, rule_title
from cogmeter.times import utc
from cogmeter_storage.alerting import AlertState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.query.records import IncidentContext
    from cogmeter_storage.alerting import Alert
    from cogmeter_storage.model import Marker, OperationRecord

MARKERS: Final = 5  # named in "Recent changes"
_LINK = re.compile(r"https://[^\s()<>]+")


def alert_embed_data(
    alert: Alert,
    story: IncidentContext | None,
    members: Sequence[Alert] = (),
    *,
    chart: bool,
    now_us: int,
    chart_trouble: str = "",
    test: bool = False,
) -> dict[str, Any]:
    """The alert as it is now, within all of Discord's limits on embeds.

    ``story`` is what is known of the circumstances, ``members`` the alerts that a group's root speaks for. ``chart``
    says that the message has ``CHART_NAME`` attached, ``chart_trouble`` why it has not. ``test`` marks a trial.
    """
    since = [] if test else [_since(alert)]
    data: dict[str, Any] = {
        "title": f"Test: {look_of(alert.severity, alert.state).icon} {subject(alert)}" if test else headline(alert),
        "description": "\n".join([f"**{plain(alert.message, 500)}**", *_states(alert, now_us)]),
        "color": look_of(alert.severity, alert.state).colour,
        "fields": [*_how_bad(alert), *since, *_circumstances(story, members)],
        "footer": {"text": _footer(alert, story)},
        "timestamp": utc(now_us).isoformat(),
    }
    if chart:
        data["image"] = {"url": f"attachment://{CHART_NAME}"}
    elif chart_trouble:
        data["description"] += f"\n{NO_CHART} {plain(chart_trouble, 300)}"
    return fitted(data)


def headline(alert: Alert) -> str:
    """Icon, state and subject in one line: ``🛑 Critical: Error rate of knowledge-graph / query``."""
    look = look_of(alert.severity, alert.state)
    of_what = f" ({plain(alert.severity, 30)})" if look in {Look.ACKNOWLEDGED, Look.MUTED, Look.RESOLVED} else ""
    return f"{look.icon} {look.word.capitalize()}{of_what}: {subject(alert)}"


def subject(alert: Alert) -> str:
    """What it is about: ``Error rate of knowledge-graph / query``; the bot as a whole goes without saying."""
    what = plain(rule_title(alert.rule), 60)
    if alert.service == BOT:
        return what
    operation = f" / {plain(alert.operation, 80)}" if alert.operation else ""
    return f"{what} of {plain(alert.service, 80)}{operation}"


def tag(alert: Alert) -> str:
    """What marks each message about this alert, so that it is found again: the end of its uid."""
    return alert.uid[-8:]


def length_us(alert: Alert, now_us: int) -> int:
    """How long the breach has lasted, or lasted in all."""
    until_us = now_us if alert.resolved_us is None else alert.resolved_us
    return max(until_us - alert.started_us, 0)


def _states(alert: Alert, now_us: int) -> list[str]:
    """What people and time did to it, one line each."""
    lines = []
    if alert.state is AlertState.RESOLVED:
        lines.append(f"Resolved after {formatting.duration(length_us(alert, now_us))}")
    if alert.acknowledged_us is not None:
        lines.append(f"Acknowledged by {plain(alert.acknowledged_by, 60) or 'somebody'} {when(alert.acknowledged_us)}")
    if alert.state is AlertState.MUTED and alert.muted_until_us is not None:
        lines.append(f"Muted until <t:{alert.muted_until_us // 1_000_000}:f>")
    if alert.escalated and alert.state is AlertState.FIRING:
        lines.append("Escalated: nobody has acknowledged it")
    if alert.flapping:
        lines.append("Flapping: fired several times, sent once")
    return lines


def _how_bad(alert: Alert) -> list[dict[str, Any]]:
    """The most important number: how it is now, or how bad it was; none where there is no threshold to hold against."""
    if not alert.threshold:
        return []
    limit, worst = measured(alert.rule, alert.threshold), measured(alert.rule, alert.worst)
    if alert.state is AlertState.RESOLVED:
        return [_field("Worst", f"**{worst}**\nthreshold {limit}", inline=True)]
    return [_field("Now", f"**{measured(alert.rule, alert.current)}**\nthreshold {limit}\nworst {worst}", inline=True)]


def _since(alert: Alert) -> dict[str, Any]:
    began = alert.started_us // 1_000_000
    if alert.resolved_us is None:
        return _field("Since", f"<t:{began}:f>\n{when(alert.started_us)}", inline=True)
    ended = alert.resolved_us // 1_000_000
    return _field("When", f"<t:{began}:f> to <t:{ended}:t>", inline=True)


def _circumstances(story: IncidentContext | None, members: Sequence[Alert]) -> list[dict[str, Any]]:
    fields = []
    if story is not None and story.operations:
        fields.append(_field("Affected", _touched(story), inline=True))
    if members:
        fields.append(_field("Alerts", _listed(members)))
    elif story is not None:
        fields += _from_the_errors(story)
    if story is not None and story.markers:
        fields.append(_field("Recent changes", "\n".join(map(_marker, story.markers[:MARKERS]))))
    return fields


def _touched(story: IncidentContext) -> str:
    failed = formatting.exact(story.failures) if story.failures else "none"
    lines = [f"{_counted(story.operations, 'operation')}, {failed} failed"]
    people = [(story.users, "user"), (story.guilds, "guild")]
    lines.append(" · ".join(_counted(number, word) for number, word in people if number is not None))
    return "\n".join(line for line in lines if line)


def _from_the_errors(story: IncidentContext) -> list[dict[str, Any]]:
    fields = []
    if story.most_common_error:
        times = f" ({_counted(story.most_common_count, 'time')})" if story.most_common_count else ""
        fields.append(_field("Most common error", f"{plain(story.most_common_error, 300)}{times}"))
    if story.example is not None:
        fields.append(_field("Example", _example(story.example, story.example_url)))
    return fields


def _example(one: OperationRecord, url: str | None) -> str:
    ended = f", {one.outcome.label}" if one.outcome.failed else ""
    link = f" [open in Discord]({url})" if url and _LINK.fullmatch(url) else ""
    return f"{plain(one.operation, 80)} took {formatting.duration(one.duration_us)}{ended}, {when(one.end_us)}{link}"


def _listed(members: Sequence[Alert]) -> str:
    """As many lines as a field holds, the worst first, and how many more there are."""
    looks = [(look_of(one.severity, one.state), one) for one in members]
    looks.sort(key=lambda pair: (WORST_FIRST.index(pair[0]), pair[1].service))
    lines = [f"{look.icon} {subject(one)}: {measured(one.rule, one.worst)}" for look, one in looks]
    return several(lines)


def several(lines: Sequence[str], limit: int = VALUE) -> str:
    """As many whole lines as fit, and a last one that says how many more there are."""
    kept: list[str] = []
    size = 0
    for number, line in enumerate(lines):
        left = len(lines) - number
        room = 0 if left == 1 else len(f"\nand {left} more")
        if size + len(line) + 1 + room > limit:
            return "\n".join([*kept, f"and {left} more"])
        kept.append(line)
        size += len(line) + 1
    return "\n".join(kept)


def _marker(marker: Marker) -> str:
    return f"{when(marker.at_us)} {plain(marker.name, 80)}"


def _footer(alert: Alert, story: IncidentContext | None) -> str:
    """The alert's number for people, its tag, and what its circumstances were counted from."""
    named = f"Alert {alert.id}" if alert.id else "Alert"
    if story is None or not story.operations:
        return f"{named} · {tag(alert)}"
    since = formatting.clock_time(story.since_us)
    return f"{named} · {tag(alert)} · {_counted(story.operations, 'operation')} since {since} UTC"


def _counted(number: int, word: str) -> str:
    return f"{formatting.exact(number)} {word}" + ("" if number == 1 else "s")


def _field(name: str, value: str, *, inline: bool = False) -> dict[str, Any]:
    return {"name": name, "value": value, "inline": inline}
