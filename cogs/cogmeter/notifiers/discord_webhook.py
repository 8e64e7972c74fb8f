"""Delivers alerts to a Discord webhook: one message for each, edited as the alert goes on. Works without the bot."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any, Final

from cogmeter.notifiers.base import NotifyError
from cogmeter.notifiers.discord_channel.followups import followup, loud
from cogmeter.notifiers.discord_refusals import REFUSALS, RETRY_S, explained
from cogmeter.notifiers.http import Http, refusal
from cogmeter.query.query import now_us
from cogmeter.render.embeds.alert import alert_embed_data
from cogmeter_storage.alerting import AlertState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pydantic import SecretStr
    from yarl import URL

    from cogmeter.notifiers.base import Notice
    from cogmeter.notifiers.http import HttpResponse
    from cogmeter.query.records import IncidentContext
    from cogmeter_storage.alerting import Alert

FIELD: Final = "alert_discord_webhook"
UNKNOWN_MESSAGE, EDITED_TOO_OFTEN = 10008, 30046  # Discord's error codes
FORUM_NEEDS_THREAD: Final = 220001
CHANNEL_FOLLOWER: Final = 2  # the type of a webhook that only receives what another channel announces
POSTS_ONLY: Final = frozenset({"forum", "media"})  # kinds of channels that take no message outside of a post
GONE: Final = frozenset({401, 404})  # Discord wants a webhook that answers 404 never to be asked again
SILENT: Final = 4096  # the message flag SUPPRESS_NOTIFICATIONS
DISCORD_EPOCH_MS: Final = 1_420_070_400_000  # ids hold their time since then, above 22 other bits
_FORM: Final = re.compile(r"/api(/v\d+)?/webhooks/\d+/[\w-]+/?", re.ASCII)
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

_logger = logging.getLogger("cogmeter.notifiers")


class DiscordWebhookNotifier:
    """The receipt is the message's id. A message that may have arrived cannot be looked for: it may come twice."""

    name = "discord_webhook"
    living = True
    single = False

    def __init__(
        self,
        url: SecretStr,
        *,
        story_of: Callable[[Alert], Awaitable[IncidentContext]],
        ping_role: int | None = None,
        ping_user: int | None = None,
        kind_of: Callable[[int], str] = lambda _: "",
        http: Http | None = None,
        clock: Callable[[], int] = now_us,
    ) -> None:
        """``story_of`` finds the circumstances of a breach; an escalation pings the role and the user, else nobody.

        ``kind_of`` gives the kind of a channel by its id ("text", "forum", ...), or "" where the bot does not see it.
        """
        self._url = url
        self._story_of = story_of
        self._ping = {"roles": ping_role, "users": ping_user}
        self._kind_of = kind_of
        self._http = http or Http(FIELD)
        self._clock = clock

    async def prepare(self) -> None:
        """Check that the webhook exists and can post where it is; Discord shows it to whoever has its token."""
        address = self._address()
        webhook = _json(await self._asked("GET", address))
        setting, channel = self._http.setting, str(webhook.get("channel_id", ""))
        if webhook.get("type") == CHANNEL_FOLLOWER:
            text = "it only follows another channel's announcements and cannot be posted with. Create a webhook"
            raise NotifyError(f"{setting}: {text}", permanent=True, gone=True)
        kind = self._kind_of(int(channel)) if channel.isdecimal() else ""
        if kind in POSTS_ONLY and not {"thread_id", "thread_name"} & set(address.query):
            raise NotifyError(f"{setting}: {explained(FORUM_NEEDS_THREAD, {})}", permanent=True, gone=True)

    async def notify(self, notice: Notice) -> str | None:
        """Post the alert's message, or bring it up to date and say in a second one what an edit does not."""
        receipt = notice.receipt
        if not notice.stored and receipt is None:  # a test, word of a target that is gone, or of the lifeline
            return await self._post({**await self._message(notice), "flags": 0})
        if receipt is None or not receipt.isdecimal():
            return await self._post_message(notice)
        edited = await self._edit(receipt, notice)
        if edited is None:
            return await self._post_message(notice)
        words = followup(notice, edited=edited, posted_us=posted_us(int(receipt)), threaded=False)
        if words:
            await self._post({**self._said(notice, words), "flags": self._flags(notice)})
        return receipt

    async def _post_message(self, notice: Notice) -> str | None:
        message = {**await self._message(notice), "flags": self._flags(notice)}
        if notice.change.kind == "escalated":
            message |= self._said(notice, followup(notice, edited=True, posted_us=self._clock(), threaded=False))
        return await self._post(message)

    async def _post(self, message: dict[str, Any]) -> str | None:
        """The new message's id; None if Discord's answer broke off before it."""
        answer = await self._asked("POST", self._address().update_query(wait="true"), message)
        number = _json(answer).get("id")
        return number if isinstance(number, str) and number.isdecimal() else None

    async def _edit(self, number: str, notice: Notice) -> bool | None:
        """Whether the message shows the change now; None if there is no such message any more."""
        webhook = self._address()
        message = (webhook / "messages" / number).with_query(webhook.query)  # which may name a thread
        answer = await self._sent("PATCH", message, await self._message(notice))
        code = _json(answer).get("code")
        if code == UNKNOWN_MESSAGE:
            return None
        if code == EDITED_TOO_OFTEN:
            return False
        _accepted(answer, self._http.setting, self._clock())
        return True

    async def _message(self, notice: Notice) -> dict[str, Any]:
        story = await self._story(notice.alert) if notice.stored else None
        embed = alert_embed_data(
            notice.alert, story, notice.members, chart=False, now_us=self._clock(), test=notice.test
        )
        return {"embeds": [embed], "allowed_mentions": {"parse": []}}

    def _said(self, notice: Notice, words: str) -> dict[str, Any]:
        """The words, behind the mentions that the settings ask for when an alert is escalated."""
        if notice.change.kind != "escalated":
            return {"content": words, "allowed_mentions": {"parse": []}}
        role, user = self._ping["roles"], self._ping["users"]
        mentions = [f"<@&{role}>"] * (role is not None) + [f"<@{user}>"] * (user is not None)
        allowed = {kind: [str(number)] for kind, number in self._ping.items() if number is not None}
        return {"content": " ".join([*mentions, words]), "allowed_mentions": {"parse": [], **allowed}}

    def _flags(self, notice: Notice) -> int:
        alert = notice.alert
        quiet = alert.severity == "info" or alert.state is not AlertState.FIRING
        return SILENT if quiet and not loud(notice) else 0

    async def _story(self, alert: Alert) -> IncidentContext | None:
        try:
            return await self._story_of(alert)
        except Exception:
            _logger.exception("The circumstances of alert %d are not known", alert.id)
            return None

    async def _asked(self, method: str, address: URL, message: dict[str, Any] | None = None) -> HttpResponse:
        answer = await self._sent(method, address, message)
        _accepted(answer, self._http.setting, self._clock())
        return answer

    async def _sent(self, method: str, address: URL, message: dict[str, Any] | None) -> HttpResponse:
        body = None if message is None else json.dumps(message, allow_nan=False).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        return await self._http.send(method, str(address), body=body, headers=headers)

    def _address(self) -> URL:
        """The webhook's, if it has the form of one."""
        address = self._http.parsed(self._url.get_secret_value())
        safe = address.scheme == "https" or address.host in _LOOPBACK
        if not safe or not _FORM.fullmatch(address.raw_path):
            text = f"{self._http.setting} is no Discord webhook; copy it from the channel's settings, Integrations"
            raise NotifyError(f"{text}: https://discord.com/api/webhooks/ID/TOKEN", permanent=True, gone=True)
        return address


def posted_us(number: int) -> int:
    """When a message was posted, in microseconds since 1970, by its id."""
    return ((number >> 22) + DISCORD_EPOCH_MS) * 1_000


def _accepted(answer: HttpResponse, setting: str, at_us: int) -> None:
    """Raise what speaks against; Discord says how long to wait to the millisecond."""
    trouble = refusal(answer, setting, gone=GONE, now_s=at_us / 1e6)
    if trouble is None:
        return
    said = _json(answer)
    wish_s = said.get("retry_after")
    if not trouble.permanent and isinstance(wish_s, int | float) and wish_s > 0:
        trouble.retry_after_s = float(wish_s)
    code = said.get("code")
    if not isinstance(code, int) or not code:
        raise trouble
    known = REFUSALS.get(code)
    gone = trouble.gone or bool(known and known.gone)
    permanent = gone or (trouble.permanent and not (known and known.retry and answer.status != 403))
    raise NotifyError(
        f"{setting} answered {answer.status}: {explained(code, said)}",
        permanent=permanent,
        gone=gone,
        retry_after_s=trouble.retry_after_s if trouble.permanent == permanent else RETRY_S,
    )


def _json(answer: HttpResponse) -> dict[str, Any]:
    """What Discord said; empty where it is no JSON object, or was cut off."""
    try:
        said = json.loads(answer.body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
