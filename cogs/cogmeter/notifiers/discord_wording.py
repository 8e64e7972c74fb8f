"""The texts of both Discord notifiers: follow-up messages, and the meaning of Discord's error codes.

The codes are those of Discord's documentation, "Opcodes and Status Codes", section "JSON Error Codes".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cogmeter.alerts.model import is_calm
from cogmeter.redaction import redact
from cogmeter.render import formatting
from cogmeter.render.embeds.alert import length_us, place
from cogmeter.render.escape import plain
from cogmeter.render.palette import look_of
from cogmeter.render.rule_text import present_text, value_text
from cogmeter_storage.alerting import AlertState
from cogmeter_storage.model import HOUR_US

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cogmeter.notifiers.base import Notice

# Discord limits how often a message older than this may be edited (error 30046).
OLD_US: Final = HOUR_US
UNKNOWN_CHANNEL: Final = 10003
UNKNOWN_MESSAGE: Final = 10008
EDITED_TOO_OFTEN: Final = 30046  # "Maximum number of edits to messages older than 1 hour reached"
RETRY_S: Final = 60.0  # after an error that only an admin can fix; Discord counts forbidden requests
MAX_REASON: Final = 300  # characters of Discord's own text
_URGENT: Final = frozenset({"escalated", "reminded"})


def followup(notice: Notice, *, edited: bool, posted_us: int, threaded: bool) -> str:
    """Return the text of a follow-up message; empty where the edited message is enough.

    Edits notify nobody, and Discord allows few of old messages. ``edited`` is True if the message shows the change,
    ``threaded`` if the text goes to the alert's thread, which receives every change. The text of a change never varies,
    so that it can be found again.
    """
    kind = notice.change.kind
    if kind == "fired" or (kind in _URGENT and notice.alert.state is not AlertState.FIRING):
        return ""  # the message itself shows it, or somebody has acknowledged the alert since
    old = kind == "resolved" and notice.change.at_us - posted_us > OLD_US
    if not (notifies(notice) or old or threaded or not edited):
        return ""
    # An urgent change shows its severity, even if somebody has acknowledged the alert.
    state = AlertState.FIRING if notifies(notice) else notice.change.state
    return f"{look_of(notice.change.severity, state).icon} {_FOLLOWUPS.get(kind, _message)(notice)}"


def notifies(notice: Notice) -> bool:
    """Return True if this change has to notify people, not only be visible."""
    kind = notice.change.kind
    return kind in _URGENT or (kind == "worsened" and notice.change.severity == "critical")


def is_silent(notice: Notice) -> bool:
    """Return True if the message is posted without a notification."""
    quiet = notice.alert.severity == "info" or notice.alert.state is not AlertState.FIRING
    return quiet and not notifies(notice)


def with_mentions(text: str, role: int | None, user: int | None) -> str:
    """Return the text behind mentions of the role and the user."""
    mentions = [f"<@&{role}>"] * (role is not None) + [f"<@{user}>"] * (user is not None)
    return " ".join([*mentions, text])


def _message(notice: Notice) -> str:
    change, about = notice.change, place(notice.alert)
    text = plain(present_text(notice.alert.rule, change.message, change.current, change.threshold), 500)
    return f"{about}: {text}" if about else text


def _age(notice: Notice) -> str:
    return formatting.duration(max(notice.change.at_us - notice.alert.started_us, 0))


def _escalated(notice: Notice) -> str:
    return f"Nobody has acknowledged this for {_age(notice)}: {_message(notice)}"


def _reminded(notice: Notice) -> str:
    change = notice.change
    value = value_text(notice.alert.rule, change.current, change.threshold)
    now = "" if is_calm(change.message) else f", now {value}"
    return f"Still firing after {_age(notice)}{now}: {_message(notice)}"


def _resolved(notice: Notice) -> str:
    return f"Resolved after {formatting.duration(length_us(notice.alert, notice.change.at_us))}"


def _acknowledged(notice: Notice) -> str:
    return f"Acknowledged{_by(notice)}"


def _muted(notice: Notice) -> str:
    until_us = notice.alert.muted_until_us
    return f"Muted{_by(notice)}" + ("" if until_us is None else f" until <t:{until_us // 1_000_000}:f>")


def _unmuted(notice: Notice) -> str:
    return f"No longer muted{_by(notice)}: {_message(notice)}"


def _by(notice: Notice) -> str:
    return f" by {plain(notice.change.actor, 60)}" if notice.change.actor else ""


def _joined(notice: Notice) -> str:
    return f"The group now has {formatting.counted(len(notice.members), 'alert')}: {_message(notice)}"


_FOLLOWUPS: Final[dict[str, Callable[[Notice], str]]] = {
    "escalated": _escalated,
    "reminded": _reminded,
    "resolved": _resolved,
    "acknowledged": _acknowledged,
    "muted": _muted,
    "unmuted": _unmuted,
    "worsened": lambda notice: f"Now {plain(notice.change.severity, 30)}: {_message(notice)}",
    "eased": lambda notice: f"Eased to {plain(notice.change.severity, 30)}: {_message(notice)}",
    "flapping": lambda notice: f"Flapping, so it stays open and is not sent again: {_message(notice)}",
    "joined": _joined,
}


@dataclass(frozen=True, slots=True)
class DiscordRefusal:
    """One of Discord's error codes."""

    reason: str
    fix: str
    gone: bool = False  # every later alert would be refused too, until a setting changes
    retry: bool = False  # the same alert may be accepted later, without a restart


_COPY_AGAIN: Final = "Create a webhook in the channel's settings (Integrations) and set its URL"
_TEXT_CHANNEL: Final = "Use a webhook of a text channel"
_ALLOW: Final = "Allow it in that channel's permissions"
_RETRIED: Final = "Nothing to do: cogmeter retries"

REFUSALS: Final[dict[int, DiscordRefusal]] = {
    UNKNOWN_CHANNEL: DiscordRefusal("the channel does not exist", "Set the id of another channel", gone=True),
    10004: DiscordRefusal("the bot is not in that server", "Invite the bot to it", retry=True),
    10015: DiscordRefusal("the webhook was deleted", _COPY_AGAIN, gone=True),
    20009: DiscordRefusal(
        "Discord's content filter blocked the message", "Exempt the bot's role or channel from the filter"
    ),
    20016: DiscordRefusal("the channel's slow mode blocks the message", "Switch slow mode off for the bot", retry=True),
    20028: DiscordRefusal("the channel's message limit is reached", "Use a channel with less traffic", retry=True),
    30007: DiscordRefusal("the channel has its maximum of 15 webhooks", "Delete an unused one"),
    40001: DiscordRefusal("the bot's or webhook's token is not accepted", "Set the token again", gone=True),
    40004: DiscordRefusal("Discord has disabled sending temporarily", _RETRIED, retry=True),
    40005: DiscordRefusal(
        "the message with its chart is too large",
        "Remove the bot's permission Attach Files in that channel: alerts are then posted without charts",
    ),
    40058: DiscordRefusal(
        "the channel is a forum, which accepts posts only", "Set the id of a text channel or a thread", gone=True
    ),
    40067: DiscordRefusal("the forum requires a tag on each post", "Switch the requirement off, or use a text channel"),
    50001: DiscordRefusal("the bot has no access to the channel", "Allow the bot View Channel there", retry=True),
    50007: DiscordRefusal(
        "this user accepts no direct messages from the bot", "Set the id of a text channel", retry=True
    ),
    50008: DiscordRefusal("this kind of channel accepts no messages", "Set the id of a text channel", gone=True),
    50013: DiscordRefusal("the bot lacks a permission", _ALLOW, retry=True),
    50024: DiscordRefusal("this kind of channel does not allow it", "Set the id of a text channel", gone=True),
    50027: DiscordRefusal("the webhook's token is wrong", "Copy the webhook's complete URL again", gone=True),
    50035: DiscordRefusal("a part of the message is not valid", "Report this alert and the text behind it to cogmeter"),
    50083: DiscordRefusal("the thread is archived", "Open the thread again, or set another channel", retry=True),
    130000: DiscordRefusal("Discord is overloaded", _RETRIED, retry=True),
    160002: DiscordRefusal("a reply needs Read Message History", _ALLOW, retry=True),
    160005: DiscordRefusal("the thread is locked", "Unlock the thread, or set another channel", retry=True),
    160006: DiscordRefusal(
        "the server has its maximum of open threads", "Close some, or set PERFORMANCE_ALERT_THREAD=false"
    ),
    200000: DiscordRefusal(
        "AutoMod blocked the message", "Exempt the bot's role or the channel from that AutoMod rule"
    ),
    200001: DiscordRefusal(
        "AutoMod blocked the thread's title", "Exempt the bot's role or the channel from that AutoMod rule"
    ),
    220001: DiscordRefusal(
        "the webhook belongs to a forum channel, which accepts posts only",
        f"Add ?thread_id=ID of one of its posts to the URL. Or: {_TEXT_CHANNEL[0].lower()}{_TEXT_CHANNEL[1:]}",
        gone=True,
    ),
    220002: DiscordRefusal(
        "the URL names both thread_id and thread_name", "Remove thread_name from the URL", gone=True
    ),
    220003: DiscordRefusal("only a forum's webhook can open threads", "Remove thread_name from the URL", gone=True),
    220004: DiscordRefusal("a forum channel accepts no such webhook", _TEXT_CHANNEL, gone=True),
    240000: DiscordRefusal("Discord blocked a link in the message", "Remove links from service and operation names"),
}


def explained(code: int, body: Mapping[str, Any]) -> str:
    """Return "reason. Fix (Discord's code N: its own text)"; for a code that is not listed only the last part."""
    own = details(body)
    code_text = f"Discord's code {code}{f': {own}' if own else ''}"
    known = REFUSALS.get(code)
    return f"{known.reason}. {known.fix} ({code_text})" if known else code_text


def details(body: Mapping[str, Any]) -> str:
    """Return Discord's own reason: its message, and for an invalid form each field with its error."""
    message = body.get("message")
    parts = [message] if isinstance(message, str) and message else []
    parts += [f"{path}: {text}" for path, text in _fields(body.get("errors"), "")]
    text = redact("; ".join(parts)[: 4 * MAX_REASON])
    return "".join(char if char.isprintable() else " " for char in text)[:MAX_REASON]


def _fields(errors: object, path: str) -> Iterator[tuple[str, str]]:
    """Yield (path, text) of each error in Discord's nested form, "embeds.0.title" for example."""
    if not isinstance(errors, dict):
        return
    for key, value in errors.items():
        if key == "_errors" and isinstance(value, list):
            texts = [str(error.get("message", "")) for error in value if isinstance(error, dict)]
            yield path, " ".join(texts)
        else:
            yield from _fields(value, f"{path}.{key}" if path else str(key))
