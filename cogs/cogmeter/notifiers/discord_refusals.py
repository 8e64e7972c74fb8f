"""What Discord's error codes mean for an alert: the reason in words, the fix, and whether to try again.

The codes are those of Discord's documentation, "Opcodes and Status Codes", section "JSON Error Codes".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cogmeter.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RETRY_S: Final = 60.0  # after a refusal that somebody has to lift; Discord counts the requests that it forbids
MAX_REASON: Final = 300  # characters of Discord's own text


@dataclass(frozen=True, slots=True)
class DiscordRefusal:
    """One error code of Discord's."""

    reason: str
    fix: str
    gone: bool = False  # every later alert would be refused too, until a setting changes
    retry: bool = False  # the same alert may be accepted later, without a restart


_COPY_AGAIN: Final = "Create a webhook in the channel's settings (Integrations) and set its URL"
_TEXT_CHANNEL: Final = "Use a webhook of a text channel"
_ALLOW: Final = "Allow it in that channel's permissions"

REFUSALS: Final[dict[int, DiscordRefusal]] = {
    10003: DiscordRefusal("the channel does not exist", "Set the id of another channel", gone=True),
    10004: DiscordRefusal("the bot is not in that server", "Invite the bot to it", retry=True),
    10015: DiscordRefusal("the webhook was deleted", _COPY_AGAIN, gone=True),
    20009: DiscordRefusal(
        "Discord's content filter blocked the message", "Exempt the bot's role or channel from the filter"
    ),
    20016: DiscordRefusal(
        "the channel's slow mode allows no message yet", "Switch slow mode off for the bot", retry=True
    ),
    20028: DiscordRefusal("the channel's limit of messages is reached", "Use a channel with less traffic", retry=True),
    30007: DiscordRefusal("the channel has its maximum of 15 webhooks", "Delete one that is not used any more"),
    40001: DiscordRefusal("the bot's token or the webhook's is not accepted", "Set the token again", gone=True),
    40004: DiscordRefusal(
        "Discord has switched sending off for the moment", "Nothing to do: it is tried again", retry=True
    ),
    40005: DiscordRefusal(
        "the message with its chart is too large",
        "Forbid the bot Attach Files in that channel: alerts then come without charts",
    ),
    40058: DiscordRefusal(
        "the channel is a forum, which takes posts only", "Set the id of a text channel or a thread", gone=True
    ),
    40067: DiscordRefusal("the forum requires a tag on each post", "Switch the requirement off, or use a text channel"),
    50001: DiscordRefusal("the bot has no access to the channel", "Allow the bot View Channel there", retry=True),
    50007: DiscordRefusal(
        "this person takes no direct messages from the bot", "Set the id of a text channel", retry=True
    ),
    50008: DiscordRefusal("this kind of channel takes no messages", "Set the id of a text channel", gone=True),
    50013: DiscordRefusal("the bot lacks a permission", _ALLOW, retry=True),
    50024: DiscordRefusal("this kind of channel does not allow it", "Set the id of a text channel", gone=True),
    50027: DiscordRefusal(
        "the webhook's token is wrong", "Copy the webhook's URL again, to its last character", gone=True
    ),
    50035: DiscordRefusal("a part of the message is not valid", "Report this alert and the text behind it to cogmeter"),
    50083: DiscordRefusal("the thread is archived", "Open the thread again, or set another channel", retry=True),
    130000: DiscordRefusal("Discord is overloaded", "Nothing to do: it is tried again", retry=True),
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
        "the webhook belongs to a forum channel, which takes posts only",
        f"Add ?thread_id=ID of one of its posts to the URL. Or: {_TEXT_CHANNEL[0].lower()}{_TEXT_CHANNEL[1:]}",
        gone=True,
    ),
    220002: DiscordRefusal(
        "the URL names both a thread and a thread's name", "Remove thread_name from the URL", gone=True
    ),
    220003: DiscordRefusal("only a forum's webhook can open threads", "Remove thread_name from the URL", gone=True),
    220004: DiscordRefusal("a forum channel takes no such webhook", _TEXT_CHANNEL, gone=True),
    240000: DiscordRefusal("Discord blocked a link in the message", "Take links out of service and operation names"),
}


def explained(code: int, answer: Mapping[str, Any]) -> str:
    """Return "reason. Fix (Discord's code N: its own text)"; for a code that is not listed only the last part."""
    own = details(answer)
    code_text = f"Discord's code {code}{f': {own}' if own else ''}"
    known = REFUSALS.get(code)
    return f"{known.reason}. {known.fix} ({code_text})" if known else code_text


def details(answer: Mapping[str, Any]) -> str:
    """Return Discord's own reason: its message, and for an invalid form each field with what is wrong with it."""
    message = answer.get("message")
    parts = [message] if isinstance(message, str) and message else []
    parts += [f"{path}: {text}" for path, text in _fields(answer.get("errors"), "")]
    text = redact("; ".join(parts)[: 4 * MAX_REASON])
    return "".join(char if char.isprintable() else " " for char in text)[:MAX_REASON]


def _fields(errors: object, path: str) -> Iterator[tuple[str, str]]:
    """Yield (path, text) of each error in Discord's nested form, "embeds.0.title" for example."""
    if not isinstance(errors, dict):
        return
    for key, value in errors.items():
        if key == "_errors" and isinstance(value, list):
            texts = [str(one.get("message", "")) for one in value if isinstance(one, dict)]
            yield path, " ".join(texts)
        else:
            yield from _fields(value, f"{path}.{key}" if path else str(key))
