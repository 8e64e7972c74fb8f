"""The heartbeat: pings a URL for as long as the bot is well, so that somebody outside notices when it stops."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from cogmeter.finding import Finding
from cogmeter.notifiers.base import NotifyError
from cogmeter.notifiers.http import Http, Patience

if TYPE_CHECKING:
    from collections.abc import Callable

FIELD: Final = "heartbeat_url"
PATIENCE: Final = Patience(answer_s=10.0)

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
        return "" if 200 <= answer.status < 300 else f"{self._http.setting} answered {answer.status}"

    def findings(self) -> list[Finding]:
        """Whether it beats."""
        trouble = self.failed or (f"withheld: {self.withheld}" if self.withheld else "")
        advice = "Mend what it says; see PERFORMANCE_HEARTBEAT_URL"
        return [Finding("heartbeat", well=not trouble, text=trouble or f"{self.sent} sent", advice=advice)]
