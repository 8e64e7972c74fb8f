"""Records every HTTP request of the bot to hosts other than Discord's API, by aiohttp or httpx."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogmeter.watch.dependencies.aiohttp_client import AiohttpRequests
from cogmeter.watch.dependencies.host_request import HostRequests
from cogmeter.watch.dependencies.httpx_client import HttpxRequests
from cogmeter.watch.surface import Surface

if TYPE_CHECKING:
    from cogmeter.watch.surface import WatchContext


class HttpClients(Surface):
    """One operation of ``http.<host>`` for each request, named by its method, with the tokens of AI hosts."""

    name = "http"
    setting = "watch_http"
    reads = ("watch_llm",)

    def __init__(self, context: WatchContext) -> None:
        super().__init__(context)
        requests = HostRequests(context.recorder)
        self._aiohttp, self._httpx = (
            AiohttpRequests(requests),
            HttpxRequests(requests, reads_tokens=context.settings.watch_llm),
        )
        self._httpx_hooked = False

    def prepare(self) -> None:
        """Hook aiohttp, and httpx if the host has imported it."""
        self.hooks += self._aiohttp.hooks()
        if self._httpx.imported:
            self._httpx_hooked = True
            self.hooks += self._httpx.hooks()

    def sample(self) -> dict[str, float]:
        """Hook httpx once the host has imported it; there are no gauges."""
        if self._httpx.imported and not self._httpx_hooked:
            self._httpx_hooked = True
            hooks = self._httpx.hooks()
            for hook in hooks:
                hook.install()
            self.hooks += hooks
        return {}
