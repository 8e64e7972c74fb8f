"""Sends a heartbeat to a URL while the bot is healthy, so that a monitoring service notices when it stops.

The URL may contain ``{ping}``, the latency to Discord in milliseconds, and ``{status}``. With ``{status}`` a problem is
reported as well: ``down`` in the query, as Uptime Kuma expects, and ``1`` in the path, as Healthchecks does.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import re
from typing import TYPE_CHECKING, Final

from cogmeter.diagnosis import Finding
from cogmeter.notifiers.base import NotifyError
from cogmeter.notifiers.http import Http, Timeouts, refusal
from cogmeter.settings import env_name
from cogmeter.settings.fields import PING, STATUS

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogmeter.notifiers.http import HttpResponse

FIELD: Final = "heartbeat_url"
TIMEOUTS: Final = Timeouts(answer_s=10.0)

_REFUSED: Final = re.compile(r"not found|unknown|no such|invalid|rate limited|expired|disabled", re.IGNORECASE)

_logger = logging.getLogger("cogmeter.heartbeat")


class Heartbeat:
    """A scheduled job on the bot's event loop: a blocked loop sends no heartbeat."""

    def __init__(self, url: str, problem: Callable[[], str], ping_s: Callable[[], float] = lambda: math.nan) -> None:
        """``problem`` returns why the bot is not healthy, or an empty text. The URL is secret and is never shown."""
        self._url = url
        self._problem = problem
        self._ping_s = ping_s
        self._http = Http(env_name(FIELD), timeouts=TIMEOUTS)
        self.sent = 0
        self.withheld = ""  # the problem at the last heartbeat
        self.failed = ""  # why the last heartbeat was not accepted

    async def beat(self) -> None:
        """Send a heartbeat if there is no problem; from its second time on, report a problem where the URL can."""
        problem, before = self._problem(), self.withheld
        if problem != before:
            _logger.warning("The heartbeat: %s", f"withheld, {problem}" if problem else "sent again")
        self.withheld = problem
        # A single time may be the start of the bot, or a reconnect that Discord requested.
        if problem and not (before and STATUS in self._url):
            return
        failed = await self._send(up=not problem)
        if failed and failed != self.failed:
            _logger.warning("%s; check that the address is correct and reachable", failed)
        self.failed = failed
        self.sent += not failed

    async def _send(self, *, up: bool) -> str:
        """Send a heartbeat; return the error without the address, or an empty text."""
        try:
            answer = await self._http.send("GET", filled(self._url, up=up, ping_s=self._ping_s()))
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
        how = "down" if STATUS in self._url else "withheld"
        problem = self.failed or (f"{how}: {self.withheld}" if self.withheld else "")
        advice = "Fix the problem named here; see PERFORMANCE_HEARTBEAT_URL"
        return [Finding("heartbeat", well=not problem, text=problem or f"{self.sent} sent", advice=advice)]


def filled(url: str, *, up: bool, ping_s: float) -> str:
    """Return the URL with its placeholders replaced; an unknown latency is empty."""
    path, mark, query = url.partition("?")
    ping = str(round(ping_s * 1000)) if math.isfinite(ping_s) else ""
    path = path.replace(STATUS, "0" if up else "1").replace(PING, ping)
    return path + mark + query.replace(STATUS, "up" if up else "down").replace(PING, ping)


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
