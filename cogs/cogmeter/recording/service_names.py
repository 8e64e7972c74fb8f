"""The names of the services that cogmeter itself records, and which of them run in the background."""

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
LOG: Final = "log"  # of errors that were logged outside of any operation, by logger
UNHANDLED: Final = "unhandled"  # of errors in tasks, callbacks and threads outside of any operation

# Background services. A listener that runs a thousand times a minute, or a loop that takes a minute by design, would
# dominate the figures of commands. The summary lists these services separately, and only their error rate alerts.
BACKGROUND: Final = frozenset({AUTOCOMPLETE, ACKNOWLEDGEMENT, LISTENERS, TASKS, REST, STALLS})

# Dependencies: services that the bot calls, by the beginning of their names. They are background services, too, because
# a command and its calls would count twice in the summary. The rule ``dependency`` alerts on them.
HTTP: Final = "http."  # then the host
DATABASE: Final = "db."  # then the system: "db.postgresql"
MESSAGING: Final = "messaging."
RPC: Final = "rpc."
GEN_AI: Final = "gen_ai."
OTHER_CLIENT: Final = "otel."  # then the OpenTelemetry instrumentation
DEPENDENCIES: Final = (HTTP, DATABASE, MESSAGING, RPC, GEN_AI, OTHER_CLIENT)

BOT: Final = "(bot)"  # the service of alerts about the whole bot: its event loop, connection, memory


def is_dependency(service: str) -> bool:
    """Return whether a service is one that the bot calls."""
    return service.startswith(DEPENDENCIES)


def in_background(service: str) -> bool:
    """Return whether a service is a background service, dependencies included."""
    return service in BACKGROUND or service.startswith(DEPENDENCIES)
