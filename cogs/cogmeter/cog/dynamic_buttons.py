"""Registers the buttons that are answered by their custom ids alone, also after a restart."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import re

    import discord
    from discord.ui import DynamicItem

    from cogmeter.cog.responder import Responder


def add_buttons(
    bot: discord.Client, kind: type[DynamicItem[Any]], template: re.Pattern[str], responder: Responder
) -> None:
    """Answer presses of this kind with the bot's responder, which is the attribute ``responder`` of each press.

    discord.py creates an item of the class for each press, so each bot has a class of its own.
    ``bot.remove_dynamic_items(kind)`` ends it.
    """
    bound = types.new_class(
        kind.__name__, (kind,), {"template": template}, lambda names: names.update(responder=responder)
    )
    bot.add_dynamic_items(bound)
