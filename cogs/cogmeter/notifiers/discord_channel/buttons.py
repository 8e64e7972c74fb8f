"""The buttons below an alert's message: how their custom ids are written and read, and which of them a state has.

Who presses one is answered in ``cog/presses.py``, by the custom id alone: after a restart, too, no view is needed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import discord

from cogmeter_storage.alerting import AlertState
from cogmeter_storage.model import DAY_US, HOUR_US

if TYPE_CHECKING:
    from cogmeter_storage.alerting import Alert

ACKNOWLEDGE: Final = "acknowledge"
UNMUTE: Final = "unmute"
DETAILS: Final = "details"
# Action, what its button says, and for how long it mutes.
MUTES: Final[dict[str, tuple[str, int]]] = {
    "mute-1h": ("Mute 1 h", HOUR_US),
    "mute-4h": ("Mute 4 h", 4 * HOUR_US),
    "mute-1d": ("Mute 1 d", DAY_US),
}

PREFIX: Final = "cogmeter:alert:"
TEMPLATE: Final = re.compile(rf"{PREFIX}(?P<action>[a-z0-9-]+):(?P<uid>[0-9A-Za-z_-]{{1,64}})")


def custom_id(action: str, uid: str) -> str:
    """``cogmeter:alert:<action>:<uid>``, within Discord's 100 characters."""
    return f"{PREFIX}{action}:{uid}"


def view_of(alert: Alert) -> discord.ui.View | None:
    """The buttons of this state; None once it is resolved.

    The view is finished: discord.py neither stores it nor waits for it to time out.
    """
    buttons = _buttons(alert)
    if not buttons:
        return None
    view = discord.ui.View(timeout=None)
    for button in buttons:
        view.add_item(button)
    view.stop()
    return view


def _buttons(alert: Alert) -> list[discord.ui.Button[Any]]:
    if alert.state is AlertState.RESOLVED:
        return []
    buttons = []
    if alert.acknowledged_us is None:
        buttons.append(_button("Acknowledge", ACKNOWLEDGE, alert.uid, discord.ButtonStyle.primary))
    if alert.state is AlertState.MUTED:
        buttons.append(_button("Unmute", UNMUTE, alert.uid))
    else:
        buttons += [_button(label, action, alert.uid) for action, (label, _) in MUTES.items()]
    return [*buttons, _button("Details", DETAILS, alert.uid)]


def _button(
    label: str, action: str, uid: str, style: discord.ButtonStyle = discord.ButtonStyle.secondary
) -> discord.ui.Button[Any]:
    return discord.ui.Button(label=label, style=style, custom_id=custom_id(action, uid))
