"""Sends a heartbeat to a URL while the bot is healthy, so that a monitoring service notices when it stops."""

from __future__ import annotations

import contextlib
import json
import logging
import re
from typing import TYPE_CHECKING, Final

from cogmeter.diagnosis import Finding
from cogmeter.notifiers.base import NotifyError
from cogmeter.notifiers.http import Http, Timeouts, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogmeter.notifiers.http import HttpResponse

FIELD: Final = "heartbeat_url"
TIMEOUTS: Final = Timeouts(answer_s=10.0)

_REFUSED: Final = re.compile(r"not found|unknown|no such|invalid|rate limited|expired|disabled", re.IGNORECASE)

_logger = logging.getLogger("cogmeter.heartbeat")


class Heartbeat:
    """A scheduled job on the bot's event loop: a blocked loop sends no heartbeat."""

    def __init__(self, url: str, problem: Callable[[], str]) -> None:
        """``problem`` returns why no heartbeat is sent, or an empty text. The URL is secret and is never shown."""
        self._url = url
        self._problem = problem
        self._http = Http(FIELD, timeouts=TIMEOUTS)
        self.sent = 0
        self.withheld = ""  # why the last heartbeat was not sent
        self.failed = ""  # why the last heartbeat was not accepted

    async def beat(self) -> None:
        """Send a heartbeat if there is no problem."""
        problem = self._problem()
        if problem != self.withheld:
            _logger.warning("The heartbeat: %s", f"withheld, {problem}" if problem else "sent again")
        self.withheld = problem
        if problem:
            return
        failed = await self._send()
        if failed and failed != self.failed:
            _logger.warning("%s; check that the address is correct and reachable", failed)
        self.failed = failed
        self.sent += not failed

    async def _send(self) -> str:
        """Send a heartbeat; return the error without the address, or an empty text."""
        try:
            answer = await self._http.send("GET", self._url)
        except NotifyError as error:
            return str(error)
        refused = refusal(answer, self._http.setting, what="the heartbeat")
        if refused is not None:
            return str(refused)
        unknown = _unknown(answer)
        return (
            f'{self._http.setting} answered {answer.status}, but says: "{unknown}". Copy its URL again'
            if unknown
            else ""
        )

    def findings(self) -> list[Finding]:
        """Return the doctor's finding about the last heartbeat."""
        problem = self.failed or (f"withheld: {self.withheld}" if self.withheld else "")
        advice = "Fix the problem named here; see PERFORMANCE_HEARTBEAT_URL"
        return [Finding("heartbeat", well=not problem, text=problem or f"{self.sent} sent", advice=advice)]


def _unknown(answer: HttpResponse) -> str:
    """Return the error of a monitoring service that answers with success although it does not know the address.

    Healthchecks answers 200 with "OK (not found)" or "OK (rate limited)", others 200 with "ok": false.
    """
    with contextlib.suppress(ValueError, RecursionError):
        body = json.loads(answer.body)
        if isinstance(body, dict):
            results = (body.get("ok"), body.get("success"), body.get("status"), body.get("result"))
            refused = False in results[:2] or "error" in results[2:] or bool(body.get("error"))
            return (answer.reason or "it was not accepted") if refused else ""
    return answer.reason if _REFUSED.search(answer.reason) else ""
