"""Delivers alerts to an endpoint of the operator's own, as the guide's JSON and more, signed on request."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any, Final

from cogmeter.notifiers.base import guide_fields
from cogmeter.notifiers.http import Http, refusal
from cogmeter.query.query import now_us
from cogmeter.times import SECOND_US, iso

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

    from cogmeter.notifiers.base import Notice
    from cogmeter_storage.alerting import Alert

FIELD: Final = "alert_webhook_url"
VERSION: Final = 1  # of the JSON: raised when a field changes its meaning or goes


class WebhookNotifier:
    """Posts each change. Receivers know a repetition by ``Idempotency-Key``, which is the event's id."""

    name = "webhook"
    living = False
    single = False

    def __init__(
        self,
        url: SecretStr,
        secret: SecretStr | None = None,
        *,
        private_redirects: bool = False,
        http: Http | None = None,
        clock: Callable[[], int] = now_us,
    ) -> None:
        """Without a ``secret`` nothing is signed. ``http`` stands in for the one that the settings ask for."""
        self._url = url
        self._secret = secret
        self._http = http or Http(FIELD, private_redirects=private_redirects)
        self._clock = clock

    async def prepare(self) -> None:
        """Nothing can be found out without telling: the setting's form was looked at when it was read."""

    async def notify(self, notice: Notice) -> str | None:
        """Post it; 401, 404 and 410 give the endpoint up, other answers from 400 on this change."""
        body = json.dumps(payload(notice), separators=(",", ":"), allow_nan=False).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": notice.event_id}
        if self._secret is not None:
            headers |= signed(body, self._secret.get_secret_value(), self._clock() // 1_000_000)
        answer = await self._http.send("POST", self._url.get_secret_value(), body=body, headers=headers)
        trouble = refusal(answer, self._http.setting, now_s=self._clock() / 1e6)
        if trouble is not None:
            raise trouble
        return None


def payload(notice: Notice) -> dict[str, Any]:
    """The guide's fields, and what happened to which alert. The same for each attempt, but for a group's members."""
    alert, change = notice.alert, notice.change

    def until_then(at_us: int | None) -> str | None:
        return iso(at_us, unit_us=SECOND_US) if at_us is not None and at_us <= change.at_us else None

    acknowledged = until_then(alert.acknowledged_us)
    told = {
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
    if notice.members:
        told["members"] = [_member(one) for one in notice.members]
    if notice.test:
        told["test"] = True
    return told


def signed(body: bytes, secret: str, at_s: int) -> dict[str, str]:
    """The headers by which a receiver knows that a body is ours and new.

    The signature is the HMAC-SHA256 (RFC 2104), in hexadecimal, of the time in seconds since 1970, a full stop, and the
    body as it was sent. Receivers compare it in constant time and refuse old times.
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
        "message": alert.message,
    }
