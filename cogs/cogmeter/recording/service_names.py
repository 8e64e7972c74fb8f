"""The names of the services that the watch records, which of them run beside what people ask for, and the bot's own."""

from __future__ import annotations

from typing import Final

COMMANDS: Final = "discord.commands"
COMPONENTS: Final = "discord.components"
AUTOCOMPLETE: Final = "discord.autocomplete"
ACKNOWLEDGEMENT: Final = "discord.acknowledgement"
LISTENERS: Final = "discord.listeners"
TASKS: Final = "discord.tasks"
REST: Final = "discord.rest"
STALLS: Final = "discord.stalls"

# A listener that runs a thousand times a minute, or a loop that takes a minute by design, would drown the figures of
# what people ask for: the summary counts these apart, and only their error rate alerts.
BACKGROUND: Final = frozenset({AUTOCOMPLETE, ACKNOWLEDGEMENT, LISTENERS, TASKS, REST, STALLS})

BOT: Final = "(bot)"  # the service of an alert that is about the bot as a whole: its loop, its connection, its memory
