"""What keeps a bot from speaking for itself: a blocked loop, a lost connection. Asked from the lifeline's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.alerts.out_of_band import Outage
from cogmeter.recording.operation import now_ns
from cogmeter.watch.event_loop.stalls import StallWatch
from cogmeter.watch.gateway import trouble_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import discord

    from cogmeter.settings import Settings
    from cogmeter.watch.event_loop.watchdog import Watchdog
    from cogmeter.watch.watcher import Watcher

LOST: Final = "disconnects"  # the rule that also sees a connection that is lost


def dangers(
    bot: discord.Client, settings: Settings, watcher: Watcher, stands: Callable[[str, str], bool]
) -> list[Outage]:
    """The dangers of this bot; that of a blocked loop needs PERFORMANCE_WATCH_STALLS.

    ``stands`` tells whether a target has been told of an alert of a rule that is not over; any thread may ask. Without
    Discord the loop goes on, and the engine may have been quicker. Of a loop that is blocked now it knows nothing.
    """
    connection = _Connection(bot)
    gateway = Outage(
        "gateway",
        settings.alert_gateway_lost_after,
        connection.since_ns,
        connection.words,
        echo=LOST,
        known=lambda target: stands(target, LOST),
    )
    stalls = (surface for surface in watcher.surfaces if isinstance(surface, StallWatch))
    return [*(_stall(surface.watchdog, settings.alert_lifeline_after) for surface in stalls), gateway]


def _stall(watchdog: Watchdog, limit_s: float) -> Outage:
    def words(lasted_s: float) -> str:
        return f"Event loop has been blocked for {lasted_s:.0f}s at {watchdog.blocked_at}"

    return Outage("stall", limit_s, lambda: watchdog.blocked_since_ns, words, echo="stall")


class _Connection:
    """Since when the bot, once it was connected, is not."""

    def __init__(self, bot: discord.Client) -> None:
        self._bot = bot
        self._lost_ns: int | None = None
        self.trouble = ""

    def since_ns(self) -> int | None:
        # A bot that is starting, or closing on purpose, is not lost.
        away = self._bot.is_closed() or not self._bot.is_ready()
        self.trouble = "" if away else trouble_of(self._bot)
        if not self.trouble:
            self._lost_ns = None
        elif self._lost_ns is None:
            self._lost_ns = now_ns()
        return self._lost_ns

    def words(self, lasted_s: float) -> str:
        return f"Connection to Discord has been lost for {lasted_s:.0f}s: {self.trouble}"
