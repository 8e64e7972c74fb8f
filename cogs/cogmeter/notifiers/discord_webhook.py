"""Posts alerts to a Discord webhook: one message per alert, edited as the alert changes. Works without the bot."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, Self

from cogmeter.notifiers.base import (
    Notifier,
    NotifyError,
    SendRate,
    incident_context,
    introduces_nothing,
    no_link,
    rule_introduction,
)
from cogmeter.notifiers.discord_wording import (
    EDITED_TOO_OFTEN,
    REFUSALS,
    RETRY_S,
    UNKNOWN_MESSAGE,
    explained,
    followup,
    is_silent,
    with_mentions,
)
from cogmeter.notifiers.http import Http, refusal
from cogmeter.query.query import now_us
from cogmeter.render.embeds.alert import alert_embed_data
from cogmeter.settings import env_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pydantic import SecretStr
    from yarl import URL

    from cogmeter.notifiers.base import LinkOf, Notice, NotifierContext
    from cogmeter.notifiers.http import HttpResponse
    from cogmeter.query.records import IncidentContext
    from cogmeter_storage.alerting import Alert

FIELD: Final = "alert_discord_webhook"
FORUM_NEEDS_THREAD: Final = 220001  # Discord's error code
CHANNEL_FOLLOWER: Final = 2  # the type of a webhook that only receives another channel's announcements
POSTS_ONLY: Final = frozenset({"forum", "media"})  # kinds of channels that accept no message outside a post
GONE: Final = frozenset({401, 404})  # Discord requires that a webhook that answers 404 is never used again
SILENT: Final = 4096  # the message flag SUPPRESS_NOTIFICATIONS
DISCORD_EPOCH_MS: Final = 1_420_070_400_000  # ids contain the time since then, above 22 other bits
_PATH: Final = re.compile(r"/api(/v\d+)?/webhooks/\d+/[\w-]+/?", re.ASCII)
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class DiscordWebhookNotifier(Notifier):
    """The receipt is the message's id. A webhook cannot search its channel, so a message may be posted twice."""

    name = "discord_webhook"
    label = "a Discord webhook"
    setting = FIELD
    edits_in_place = True
    per_alert = False
    out_of_band = True
    rate = SendRate(burst=5, per_s=1.0)

    def __init__(
        self,
        url: SecretStr,
        *,
        context_of: Callable[[Alert], Awaitable[IncidentContext | None]],
        ping_role: int | None = None,
        ping_user: int | None = None,
        kind_of: Callable[[int], str] = lambda _: "",
        introduces: Callable[[Alert], Awaitable[bool]] = introduces_nothing,
        group: str = "perf",
        link_of: LinkOf = no_link,
        http: Http | None = None,
        clock: Callable[[], int] = now_us,
    ) -> None:
        """``context_of`` returns an alert's incident context, ``link_of`` its link to the dashboard.

        An escalation pings the role and the user only.

        ``kind_of`` returns the kind of a channel by its id ("text", "forum", ...), or "" where the bot has no access.
        ``introduces`` returns True for an alert that explains its rule, which names a command of ``group``.
        """
        self._introduces = introduces
        self._group = group
        self._link_of = link_of
        self._url = url
        self._context_of = context_of
        self._ping = {"roles": ping_role, "users": ping_user}
        self._kind_of = kind_of
        self._http = http or Http(env_name(FIELD))
        self._clock = clock

    @classmethod
    def create(cls, context: NotifierContext) -> Self:
        """Return the notifier of PERFORMANCE_ALERT_DISCORD_WEBHOOK. It pings only if no alert channel does."""
        settings = context.settings
        assert settings.alert_discord_webhook is not None
        pings = settings.alert_channel_id is None
        return cls(
            settings.alert_discord_webhook,
            context_of=context.context_of,
            ping_role=settings.alert_escalate_role_id if pings else None,
            ping_user=settings.alert_escalate_user_id if pings else None,
            kind_of=lambda channel: _kind_of(context.bot, channel),
            introduces=context.introduces,
            group=settings.command_group,
            link_of=context.link_of,
        )

    async def prepare(self) -> None:
        """Check that the webhook exists and can post where it is; its token is enough to read it."""
        url = self._checked_url()
        webhook = _json(await self._accepted("GET", url))
        setting, channel = self._http.setting, str(webhook.get("channel_id", ""))
        if webhook.get("type") == CHANNEL_FOLLOWER:
            text = "this webhook only follows another channel's announcements and cannot post. Create a webhook"
            raise NotifyError(f"{setting}: {text}", permanent=True, gone=True)
        kind = self._kind_of(int(channel)) if channel.isdecimal() else ""
        if kind in POSTS_ONLY and not {"thread_id", "thread_name"} & set(url.query):
            raise NotifyError(f"{setting}: {explained(FORUM_NEEDS_THREAD, {})}", permanent=True, gone=True)

    async def notify(self, notice: Notice) -> str | None:
        """Post or edit the alert's message, and post a second one for what an edit cannot do."""
        receipt = notice.receipt
        if not notice.stored and receipt is None:  # a test, a stopped target, or an out-of-band alert
            return await self._post({**await self._message(notice), "flags": 0})
        if receipt is None or not receipt.isdecimal():
            return await self._post_message(notice)
        edited = await self._edit(receipt, notice)
        if edited is None:
            return await self._post_message(notice)
        text = followup(notice, edited=edited, posted_us=posted_us(int(receipt)), threaded=False)
        if text:
            await self._post({**self._text(notice, text), "flags": _flags(notice)})
        return receipt

    async def refresh(self, notice: Notice) -> None:
        """Edit the alert's message."""
        if notice.receipt is not None and notice.receipt.isdecimal():
            await self._edit(notice.receipt, notice)

    async def _post_message(self, notice: Notice) -> str | None:
        message = {**await self._message(notice), "flags": _flags(notice)}
        if notice.change.kind == "escalated":
            message |= self._text(notice, followup(notice, edited=True, posted_us=self._clock(), threaded=False))
        return await self._post(message)

    async def _post(self, message: dict[str, Any]) -> str | None:
        """Return the new message's id; None if Discord's response broke off before it."""
        response = await self._accepted("POST", self._checked_url().update_query(wait="true"), message)
        message_id = _json(response).get("id")
        return message_id if isinstance(message_id, str) and message_id.isdecimal() else None

    async def _edit(self, message_id: str, notice: Notice) -> bool | None:
        """Edit the message. Return False if Discord allows no more edits, None if the message no longer exists."""
        webhook = self._checked_url()
        url = (webhook / "messages" / message_id).with_query(webhook.query)  # which may name a thread
        response = await self._send("PATCH", url, await self._message(notice))
        code = _json(response).get("code")
        if code == UNKNOWN_MESSAGE:
            return None
        if code == EDITED_TOO_OFTEN:
            return False
        _raise_for(response, self._http.setting, self._clock())
        return True

    async def _message(self, notice: Notice) -> dict[str, Any]:
        context, introduction = None, ""
        if notice.stored:
            context = await incident_context(self._context_of, notice.alert)
            introduction = await rule_introduction(self._introduces, notice.alert, notice.members, self._group)
        embed = alert_embed_data(
            notice.alert,
            context,
            notice.members,
            chart=False,
            now_us=self._clock(),
            test=notice.test,
            introduction=introduction,
            link=None if notice.test else self._link_of(notice.alert),
        )
        return {"embeds": [embed], "allowed_mentions": {"parse": []}}

    def _text(self, notice: Notice, text: str) -> dict[str, Any]:
        """Return the message fields of a text; that of an escalation mentions whoever the settings name."""
        if notice.change.kind != "escalated":
            return {"content": text, "allowed_mentions": {"parse": []}}
        allowed = {kind: [str(number)] for kind, number in self._ping.items() if number is not None}
        content = with_mentions(text, self._ping["roles"], self._ping["users"])
        return {"content": content, "allowed_mentions": {"parse": [], **allowed}}

    async def _accepted(self, method: str, url: URL, message: dict[str, Any] | None = None) -> HttpResponse:
        response = await self._send(method, url, message)
        _raise_for(response, self._http.setting, self._clock())
        return response

    async def _send(self, method: str, url: URL, message: dict[str, Any] | None) -> HttpResponse:
        body = None if message is None else json.dumps(message, allow_nan=False).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        return await self._http.send(method, str(url), body=body, headers=headers)

    def _checked_url(self) -> URL:
        """Return the webhook's URL. Raise NotifyError if it is not one."""
        url = self._http.parsed(self._url.get_secret_value())
        safe = url.scheme == "https" or url.host in _LOOPBACK
        if not safe or not _PATH.fullmatch(url.raw_path):
            text = f"{self._http.setting} is not a Discord webhook; copy it from the channel's settings, Integrations"
            raise NotifyError(f"{text}: https://discord.com/api/webhooks/ID/TOKEN", permanent=True, gone=True)
        return url


def posted_us(message_id: int) -> int:
    """Return when a message was posted, in microseconds since 1970."""
    return ((message_id >> 22) + DISCORD_EPOCH_MS) * 1_000


def _kind_of(bot: Any, channel: int) -> str:
    """Return the kind of a channel, "text" or "forum" for example; empty if the bot does not see it."""
    kind = None if bot is None else getattr(bot.get_channel(channel), "type", None)
    return "" if kind is None else str(kind.name)


def _flags(notice: Notice) -> int:
    return SILENT if is_silent(notice) else 0


def _raise_for(response: HttpResponse, setting: str, at_us: int) -> None:
    """Raise NotifyError unless the response is a success. Discord's body has a more exact pause than its header."""
    error = refusal(response, setting, gone=GONE, now_s=at_us / 1e6)
    if error is None:
        return
    body = _json(response)
    pause_s = body.get("retry_after")
    if not error.permanent and isinstance(pause_s, int | float) and pause_s > 0:
        error.retry_after_s = float(pause_s)
    code = body.get("code")
    if not isinstance(code, int) or not code:
        raise error
    known = REFUSALS.get(code)
    gone = error.gone or bool(known and known.gone)
    permanent = gone or (error.permanent and not (known and known.retry and response.status != 403))
    raise NotifyError(
        f"{setting} answered {response.status}: {explained(code, body)}",
        permanent=permanent,
        gone=gone,
        retry_after_s=error.retry_after_s if error.permanent == permanent else RETRY_S,
    )


def _json(response: HttpResponse) -> dict[str, Any]:
    """Return the JSON object in the body; empty if there is none, or if it was cut off."""
    try:
        parsed = json.loads(response.body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
