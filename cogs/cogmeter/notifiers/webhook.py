"""Posts alerts to the operator's own endpoint as the guide's JSON with further fields, signed if a secret is set."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any, Final, Self

from cogmeter.alerts.model import split_counts
from cogmeter.notifiers.base import Notifier, SendRate, guide_fields, no_link
from cogmeter.notifiers.http import Http, refusal
from cogmeter.query.query import now_us
from cogmeter.settings import env_name
from cogmeter.times import SECOND_US, iso

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

    from cogmeter.notifiers.base import LinkOf, Notice, NotifierContext
    from cogmeter_storage.alerting import Alert

FIELD: Final = "alert_webhook_url"
VERSION: Final = 1  # of the JSON: raised when a field changes its meaning or is removed


class WebhookNotifier(Notifier):
    """One request per change. Receivers recognise a repetition by ``Idempotency-Key``, the event's id."""

    name = "webhook"
    label = "your own endpoint"
    setting = FIELD
    edits_in_place = False
    per_alert = False
    out_of_band = True
    rate = SendRate(burst=5, per_s=1.0)

    def __init__(
        self,
        url: SecretStr,
        secret: SecretStr | None = None,
        *,
        private_redirects: bool = False,
        link_of: LinkOf = no_link,
        http: Http | None = None,
        clock: Callable[[], int] = now_us,
    ) -> None:
        """Without a ``secret``, requests are not signed. ``http`` replaces the client that the settings define.

        ``link_of`` returns the link to the dashboard of an alert until a time.
        """
        self._url = url
        self._secret = secret
        self._link_of = link_of
        self._http = http or Http(env_name(FIELD), private_redirects=private_redirects)
        self._clock = clock

    @classmethod
    def create(cls, context: NotifierContext) -> Self:
        """Return the notifier of PERFORMANCE_ALERT_WEBHOOK_URL."""
        settings = context.settings
        assert settings.alert_webhook_url is not None
        return cls(
            settings.alert_webhook_url,
            settings.alert_webhook_secret,
            private_redirects=settings.alert_webhook_private_redirects,
            link_of=context.link_of,
        )

    async def notify(self, notice: Notice) -> str | None:
        """Post it. Statuses 401, 404 and 410 stop the target; others from 400 on concern this change alone."""
        link = None if notice.test else self._link_of(notice.alert, notice.change.at_us)
        body = json.dumps(payload(notice, link), separators=(",", ":"), allow_nan=False).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": notice.event_id}
        if self._secret is not None:
            headers |= signed(body, self._secret.get_secret_value(), self._clock() // 1_000_000)
        response = await self._http.send("POST", self._url.get_secret_value(), body=body, headers=headers)
        error = refusal(response, self._http.setting, now_s=self._clock() / 1e6)
        if error is not None:
            raise error
        return None


def payload(notice: Notice, link: str | None = None) -> dict[str, Any]:
    """Return the guide's fields, and what happened to which alert. Repeated attempts differ in ``members`` at most.

    ``link`` leads to the dashboard.
    """
    alert, change = notice.alert, notice.change

    def until_then(at_us: int | None) -> str | None:
        return iso(at_us, unit_us=SECOND_US) if at_us is not None and at_us <= change.at_us else None

    acknowledged = until_then(alert.acknowledged_us)
    fields = {
        **guide_fields(notice),
        "id": notice.event_id,
        "version": VERSION,
        "alert": alert.uid,
        "kind": change.kind,
        "state": change.state.value,
        "operation": alert.operation or None,
        "startedAt": iso(alert.started_us, unit_us=SECOND_US),
        "resolvedAt": until_then(alert.resolved_us),
        "acknowledgedBy": alert.acknowledged_by if acknowledged else None,
    }
    if link:
        fields["dashboardUrl"] = link
    if notice.members:
        fields["members"] = [_member(member) for member in notice.members]
    if notice.test:
        fields["test"] = True
    return fields


def signed(body: bytes, secret: str, at_s: int) -> dict[str, str]:
    """Return the headers that prove that a body is ours and new.

    The signature is the HMAC-SHA256 (RFC 2104), in hexadecimal, of the time in seconds since 1970, a full stop, and the
    body as sent. Receivers compare it in constant time and reject old times.
    """
    signature = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Cogmeter-Timestamp": str(at_s), "X-Cogmeter-Signature": f"v1={signature}"}


def _member(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.uid,
        "type": alert.rule,
        "service": alert.service,
        "operation": alert.operation or None,
        "state": alert.state.value,
        "severity": alert.severity,
        "message": split_counts(alert.message)[0],
    }
