"""The heartbeat: pings a URL for as long as the bot is well, so that somebody outside notices when it stops."""

from __future__ import annotations

import contextlib
import json
import logging
import re
from typing import TYPE_CHECKING, Final

from cogmeter.diagnosis import Finding
from cogmeter.notifiers.base import NotifyError
from cogmeter.notifiers.http import Http, Patience, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogmeter.notifiers.http import HttpResponse

FIELD: Final = "heartbeat_url"
PATIENCE: Final = Patience(answer_s=10.0)

_REFUSED: Final = re.compile(r"not found|unknown|no such|invalid|rate limited|expired|disabled", re.IGNORECASE)

_logger = logging.getLogger("cogmeter.heartbeat")


class Heartbeat:
    """``beat`` is called on a schedule by the loop that it speaks for: a blocked loop sends none by itself."""

    def __init__(self, url: str, trouble: Callable[[], str]) -> None:
        """``trouble`` says what is not well, in words, or nothing. The URL holds a secret and is never shown."""
        self._url = url
        self._trouble = trouble
        self._http = Http(FIELD, patience=PATIENCE)
        self.sent = 0
        self.withheld = ""  # why the last one was
        self.failed = ""  # why the last one was not taken

    async def beat(self) -> None:
        """Send one, if all is well."""
        trouble = self._trouble()
        if trouble != self.withheld:
            _logger.warning("The heartbeat: %s", f"withheld, {trouble}" if trouble else "sent again")
        self.withheld = trouble
        if trouble:
            return
        failed = await self._sent()
        if failed and failed != self.failed:
            _logger.warning("%s; see that the address is right and can be reached", failed)
        self.failed = failed
        self.sent += not failed

    async def _sent(self) -> str:
        """Send it; empty, or what went wrong, without the address."""
        try:
            answer = await self._http.send("GET", self._url)
        except NotifyError as error:
            return str(error)
        trouble = refusal(answer, self._http.setting, what="the heartbeat")
        if trouble is not None:
            return str(trouble)
        unknown = _unknown(answer)
        return (
            f'{self._http.setting} answered {answer.status}, but says: "{unknown}". Copy its URL again'
            if unknown
            else ""
        )

    def findings(self) -> list[Finding]:
        """Whether it beats."""
        trouble = self.failed or (f"withheld: {self.withheld}" if self.withheld else "")
        advice = "Mend what it says; see PERFORMANCE_HEARTBEAT_URL"
        return [Finding("heartbeat", well=not trouble, text=trouble or f"{self.sent} sent", advice=advice)]


def _unknown(answer: HttpResponse) -> str:
    """Return what a monitoring service says when it answers with success and yet does not know the address.

    Several do: Healthchecks answers 200 with "OK (not found)" or "OK (rate limited)", others 200 with "ok": false.
    """
    with contextlib.suppress(ValueError, RecursionError):
        said = json.loads(answer.body)
        if isinstance(said, dict):
            refused = False in (said.get("ok"), said.get("success")) or "error" in (
                said.get("status"),
                said.get("result"),
            )
            return (answer.reason or "it was not accepted") if refused or bool(said.get("error")) else ""
    return answer.reason if _REFUSED.search(answer.reason) else ""
