"""The heartbeat: pings a URL for as long as the bot is well, so that somebody outside notices when it stops."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import aiohttp

from cogmeter.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT: Final = aiohttp.ClientTimeout(total=10)

_logger = logging.getLogger("cogmeter.heartbeat")


class Heartbeat:
    """``beat`` is called on a schedule by the loop that it speaks for: a blocked loop sends none by itself."""

    def __init__(self, url: str, trouble: Callable[[], str]) -> None:
        """``trouble`` says what is not well, in words, or nothing. The URL holds a secret and is never shown."""
        self._url = url
        self._trouble = trouble
        self._session: aiohttp.ClientSession | None = None
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
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=TIMEOUT)
        try:
            async with self._session.get(self._url, allow_redirects=False) as answer:
                failed = "" if answer.status < 300 else f"it was answered with {answer.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            failed = f"it did not arrive ({type(error).__name__})"  # its text may hold the address
        if failed and failed != self.failed:
            _logger.warning("PERFORMANCE_HEARTBEAT_URL: %s; see that the address is right and can be reached", failed)
        self.failed = failed
        self.sent += not failed

    async def close(self) -> None:
        """Give the connection back."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def findings(self) -> list[Finding]:
        """Whether it beats."""
        trouble = self.failed or (f"withheld: {self.withheld}" if self.withheld else "")
        advice = "Mend what it says; see PERFORMANCE_HEARTBEAT_URL"
        return [Finding("heartbeat", well=not trouble, text=trouble or f"{self.sent} sent", advice=advice)]
