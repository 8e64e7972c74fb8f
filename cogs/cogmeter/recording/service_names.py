"""The names of the services that cogmeter itself records, and the labels of their operations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

COMMANDS: Final = "discord.commands"
COMPONENTS: Final = "discord.components"
REPLIES: Final = "discord.replies"  # runs of a message listener that send or type
AUTOCOMPLETE: Final = "discord.autocomplete"
ACKNOWLEDGEMENT: Final = "discord.acknowledgement"
ACKNOWLEDGEMENT_LIMIT_US: Final = 3_000_000  # Discord's limit for the first response; a later one is missed
LISTENERS: Final = "discord.listeners"
TASKS: Final = "discord.tasks"
REST: Final = "discord.rest"
STALLS: Final = "discord.stalls"
RATE_LIMITS: Final = "discord.rate_limits"  # only in traces: waits for a rate limit, named by the route that waited
LOG: Final = "log"  # of errors that were logged outside of any operation, by logger
UNHANDLED: Final = "unhandled"  # of errors in tasks, callbacks and threads outside of any operation

# Services of which owners know the operations, not the service: each operation is ranked by its own label.
BY_OPERATION: Final = frozenset({COMMANDS, COMPONENTS, REPLIES})

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


_EVENT: Final = "on_message "  # before the name of a listener that is not named like its event
_KINDS: Final = {"command": COMMANDS, "button": COMPONENTS, "select": COMPONENTS, "form": COMPONENTS, "reply": REPLIES}
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")


def label(service: str, operation: str | None) -> str:
    """Return the name by which an owner knows an operation: "/ask", "button Shop.buy", "reply on_message".

    Without an operation, it is the name of the service.
    A hybrid command is one operation, so "/ask" names its use by prefix, too.
    """
    if not operation:
        return service
    if service == COMMANDS:
        # The name of a slash command has no capital letter. One with capitals is a context menu, or a prefix command.
        slash = operation == operation.lower() and not operation.startswith("(")
        return f"/{operation}" if slash else f"command {operation}"
    if service == COMPONENTS:
        return f"{_component(operation)} {operation}"
    if service == REPLIES:
        return f"reply {operation.removeprefix(_EVENT)}"
    return f"{service} / {operation}"


def meanings(text: str) -> Iterator[tuple[str, str]]:
    """Yield each (service, operation) that a typed label may mean, the likeliest first. Most of them do not exist."""
    typed = text.strip()
    kind, _, name = typed.partition(" ")
    if typed.startswith("/"):
        yield from ((COMMANDS, typed[1:]), (COMMANDS, typed[1:].lower()))
    elif kind in _KINDS:
        yield from _named(_KINDS[kind], name)
    service, separator, operation = typed.partition(" / ")
    if separator:
        yield service, operation
    for ranked in (COMMANDS, COMPONENTS, REPLIES):
        yield from _named(ranked, typed)


def labels(names: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the labels of the stored operations that are ranked by their own name, in alphabetical order.

    ``names`` has the operation names of each stored service.
    """
    return sorted(label(service, operation) for service in BY_OPERATION for operation in names.get(service, ()))


def _named(service: str, operation: str) -> Iterator[tuple[str, str]]:
    yield service, operation
    if service == COMMANDS:
        yield service, operation.lower()
    elif service == REPLIES:
        yield service, f"{_EVENT}{operation}"


def _component(operation: str) -> str:
    """Return the kind of a component: the name of its class or callback can show a select or a form."""
    name = operation.rpartition(".")[2]
    words = {word.lower() for word in _WORD.findall(name)}
    if "button" in words:
        return "button"
    if words & {"select", "dropdown"}:
        return "select"
    # A button's callback may open a form, but only a form is recorded under the name of a class.
    return "form" if name[:1].isupper() and words & {"form", "modal"} else "button"
