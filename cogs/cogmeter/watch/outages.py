"""The outages in which a bot cannot send alerts: a blocked event loop, a lost connection to Discord."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.alerts.out_of_band import Outage
from cogmeter.recording.operation import now_ns
from cogmeter.watch.event_loop.stalls import StallWatch
from cogmeter.watch.gateway import connection_problem

if TYPE_CHECKING:
    from collections.abc import Callable

    import discord

    from cogmeter.settings import Settings
    from cogmeter.watch.event_loop.watchdog import Watchdog
    from cogmeter.watch.watcher import Watcher

LOST: Final = "disconnects"  # the engine's rule that also finds a lost connection


def outages_of(
    bot: discord.Client, settings: Settings, watcher: Watcher, has_active: Callable[[str, str], bool]
) -> list[Outage]:
    """Return the outages to check; a blocked loop is detected only with PERFORMANCE_WATCH_STALLS.

    ``has_active(target, rule)`` is True if the engine has sent the target an alert of the rule that is still active.
    Without Discord the loop still runs, so the engine may have been faster. It cannot detect a loop that is blocked.
    """
    connection = _Connection(bot)
    gateway = Outage(
        "gateway",
        settings.alert_gateway_lost_after,
        connection.since_ns,
        connection.message,
        engine_rule=LOST,
        known=lambda target: has_active(target, LOST),
    )
    stalls = (surface for surface in watcher.surfaces if isinstance(surface, StallWatch))
    return [*(_stall(surface.watchdog, settings.alert_lifeline_after) for surface in stalls), gateway]


def _stall(watchdog: Watchdog, limit_s: float) -> Outage:
    def message(lasted_s: float) -> str:
        return f"Event loop has been blocked for {lasted_s:.0f}s at {watchdog.blocked_at}"

    return Outage("stall", limit_s, lambda: watchdog.blocked_since_ns, message, engine_rule="stall")


class _Connection:
    """The time since when a bot that was connected is not connected any more."""

    def __init__(self, bot: discord.Client) -> None:
        self._bot = bot
        self._lost_ns: int | None = None
        self.problem = ""

    def since_ns(self) -> int | None:
        # A bot that is starting, or closing on purpose, is not lost.
        away = self._bot.is_closed() or not self._bot.is_ready()
        self.problem = "" if away else connection_problem(self._bot)
        if not self.problem:
            self._lost_ns = None
        elif self._lost_ns is None:
            self._lost_ns = now_ns()
        return self._lost_ns

    def message(self, lasted_s: float) -> str:
        return f"Connection to Discord has been lost for {lasted_s:.0f}s: {self.problem}"
