"""All that is known of one alert, as an embed's JSON: its figures, its history, and how it was told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cogmeter.render import formatting
from cogmeter.render.embeds.alert import alert_embed_data, several
from cogmeter.render.embeds.limits import fitted
from cogmeter.render.escape import plain, when
from cogmeter.render.rule_text import measured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.query.records import IncidentContext
    from cogmeter_storage.alerting import Alert, AlertChange, Attempt


def details_embed_data(
    alert: Alert,
    story: IncidentContext | None,
    members: Sequence[Alert] = (),
    changes: Sequence[AlertChange] = (),
    attempts: Sequence[Attempt] = (),
    *,
    now_us: int,
) -> dict[str, Any]:
    """What the alert's message says, and below it what happened (``changes``) and who was told (``attempts``).

    Both are newest first, as the store gives them.
    """
    data = alert_embed_data(alert, story, members, chart=False, now_us=now_us)
    data["title"] = f"Details: {data['title']}"
    if changes:
        data["fields"].append(_field("History", [_change(alert, one) for one in changes]))
    if attempts:
        data["fields"].append(_field("Deliveries", [_attempt(one) for one in attempts]))
    return fitted(data)


def _change(alert: Alert, one: AlertChange) -> str:
    by = f" by {plain(one.actor, 60)}" if one.actor else ""
    note = f": {plain(one.note, 120)}" if one.note else ""
    return f"{when(one.at_us)} {plain(one.kind, 30)}{by}, {measured(alert.rule, one.current)}{note}"


def _attempt(one: Attempt) -> str:
    error = f": {plain(one.error, 120)}" if one.error else ""
    return (
        f"{when(one.at_us)} {plain(one.target, 40)}: {plain(one.outcome, 30)} in"
        f" {formatting.duration(one.took_us)}{error}"
    )


def _field(name: str, lines: Sequence[str]) -> dict[str, Any]:
    return {"name": name, "value": several(lines), "inline": False}
