"""The connection to Discord: latency, heartbeats and reconnects of each shard, and the number of guilds and users."""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

import discord

from cogmeter.diagnosis import MOST_SHARDS, STALE_S, Finding, ShardState
from cogmeter.render import formatting
from cogmeter.watch.hook import Hook
from cogmeter.watch.surface import Surface, WatchContext
from cogmeter_storage.usage import JOINED, LEFT

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping

COUNTERS: Final = ("disconnects", "reconnects", "resumes", "identifies")
_NOUNS: Final[dict[str, str]] = dict(zip(COUNTERS, ("disconnect", "reconnect", "resume", "new session"), strict=True))
ADVICE: Final = "discord.py reconnects by itself; if this lasts, see the log of discord.gateway and discordstatus.com"


class Gateway(Surface):
    """Counters since loading and present gauges, and the counts of joined and left guilds; no operations.

    ``identifies`` counts new sessions (READY), with those that had begun before loading; ``resumes`` continued ones
    (RESUMED), ``reconnects`` both without each shard's first session. ``disconnects`` counts lost connections with a
    session, not failed attempts to reconnect. Each is counted by shard.
    """

    name = "gateway"
    setting = "watch_gateway"

    def __init__(self, context: WatchContext) -> None:
        super().__init__(context)
        self._counts: defaultdict[int, Counter[str]] = defaultdict(Counter)  # by shard
        self._had_session: set[int] = set()  # shards that have had a session
        self._up: set[int] = set()  # shards that have one now

    def prepare(self) -> None:
        """Hook the parsers of READY and RESUMED: a listener for all gateway events would run at each event."""
        sessions = [(shard, ws) for shard, ws in sockets_of(self.context.bot) if _has_session(ws)]
        self._had_session.update(shard for shard, _ in sessions)
        self._up.update(shard for shard, ws in sessions if _is_open(ws))
        for shard, _ in sessions:
            self._counts[shard]["identifies"] = 1
        parsers = self.context.bot._connection.parsers  # noqa: SLF001 - see arrivals.py
        self.hooks += [
            Hook("identifies", parsers, "READY", self._counting(self._identified), expects=["data"]),
            Hook("resumes", parsers, "RESUMED", self._counting(self._resumed), expects=["data"]),
        ]
        self.listeners += [
            self._event("disconnect", self._lost),
            ("on_guild_join", self._counted(JOINED)),
            ("on_guild_remove", self._counted(LEFT)),
        ]

    def fall_back(self, failed: list[Hook]) -> None:
        """Count the public events that follow at once; "ready" follows READY only seconds later."""
        names = {hook.name for hook in failed}
        if "identifies" in names:
            self.listeners.append(self._event("connect", self._identified))
        if "resumes" in names:
            self.listeners.append(self._event("resumed", self._resumed))

    def _event(self, name: str, count: Callable[[int], None]) -> tuple[str, Callable[..., Coroutine[Any, Any, None]]]:
        """Return a listener for a connection event: only a sharded client has events that name the shard."""
        bot = self.context.bot

        async def on_event() -> None:
            count(bot.shard_id or 0)

        async def on_shard_event(shard: int) -> None:
            count(shard)

        sharded = isinstance(bot, discord.AutoShardedClient)
        return (f"on_shard_{name}", on_shard_event) if sharded else (f"on_{name}", on_event)

    def sample(self) -> dict[str, float]:
        """Return latency and heartbeat age by shard, counters, and the numbers of guilds, users and voice connections.

        Unknown values, such as the latency before the first acknowledgement, are left out. So are counters of a shard
        that are 0. A bot with one shard has totals only.
        """
        gauges = {f"gateway.{name}": float(count) for name, count in self._totals().items()}
        sockets = sockets_of(self.context.bot)
        gauges["gateway.shards_connected"] = float(sum(_is_open(ws) for _, ws in sockets))
        for shard, ws in sockets[:MOST_SHARDS]:
            latency_s, age_s = _latency_s(ws), _heartbeat_age_s(ws)
            if latency_s is not None:
                gauges[f"gateway.latency_ms.shard_{shard}"] = latency_s * 1000
            if age_s is not None:
                gauges[f"gateway.heartbeat_age_s.shard_{shard}"] = age_s
            if len(sockets) > 1:
                counts: Counter[str] = self._counts.get(shard, Counter())
                gauges.update({f"gateway.{name}.shard_{shard}": float(count) for name, count in counts.items()})
        return gauges | self._audience()

    def findings(self) -> list[Finding]:
        """Return the findings of the hooks, of each unhealthy shard, and of the connection as a whole."""
        sockets = sockets_of(self.context.bot)
        problems = itertools.islice(_shard_problems(sockets), MOST_SHARDS)
        bad = [Finding(self.name, well=False, text=text, advice=ADVICE) for text in problems]
        latencies = [latency for _, ws in sockets if (latency := _latency_s(ws)) is not None]
        slowest = (
            f"slowest latency {formatting.duration(max(latencies) * 1e6)}" if latencies else "latency not known yet"
        )
        counts = ", ".join(formatting.counted(count, _NOUNS[name]) for name, count in self._totals().items())
        connected = sum(_is_open(ws) for _, ws in sockets)
        text = f"{formatting.part(connected, len(sockets), 'shard')} connected, {slowest}, {counts}"
        return [*super().findings(), *bad, Finding(self.name, well=not bad, text=text, advice=ADVICE)]

    def _counted(self, kind: str) -> Callable[..., Coroutine[Any, Any, None]]:
        """Return a listener that counts a joined or left guild."""

        async def on_guild(guild: discord.Guild) -> None:  # noqa: ARG001 - only counted, never named
            self.context.recorder.usage.count(kind)

        return on_guild

    def _totals(self) -> dict[str, int]:
        """Return each counter's sum over all shards."""
        return {name: sum(counts[name] for counts in self._counts.values()) for name in COUNTERS}

    def _audience(self) -> dict[str, float]:
        """Return the numbers of guilds, users and voice connections; empty while READY fills the cache."""
        bot = self.context.bot
        filling = bot._connection._ready_task  # noqa: SLF001 - READY empties the cache first
        if not bot.is_ready() or (filling is not None and not filling.done()):
            return {}
        return {
            "gateway.guilds": float(len(bot.guilds)),
            "gateway.members": float(sum(guild.member_count or 0 for guild in bot.guilds)),
            "gateway.users_cached": float(len(bot._connection._users)),  # noqa: SLF001 - bot.users copies them all
            "gateway.voice_connections": float(len(bot.voice_clients)),
        }

    def _counting(self, count: Callable[[int], None]) -> Callable[[Callable[[Any], Any], Hook], Callable[[Any], Any]]:
        def wrap(original: Callable[[Any], Any], hook: Hook) -> Callable[[Any], Any]:
            def counted(data: Any) -> Any:
                if hook.active:
                    try:
                        count(_shard_of(self.context.bot, data))
                    except Exception as error:  # noqa: BLE001 - the session must begin in any case
                        hook.fault(error)
                return original(data)

            return counted

        return wrap

    def _identified(self, shard: int) -> None:
        self._counts[shard]["identifies"] += 1
        if shard in self._had_session:
            self._counts[shard]["reconnects"] += 1
        self._had_session.add(shard)
        self._up.add(shard)

    def _resumed(self, shard: int) -> None:
        self._counts[shard]["resumes"] += 1
        self._counts[shard]["reconnects"] += 1
        self._had_session.add(shard)
        self._up.add(shard)

    def _lost(self, shard: int) -> None:
        # discord.py dispatches the event for each failed attempt as well.
        if shard in self._up:
            self._up.discard(shard)
            self._counts[shard]["disconnects"] += 1


def _shard_of(bot: discord.Client, data: Mapping[str, Any]) -> int:
    """Return the shard of a READY or RESUMED. Discord names it only in READY; discord.py adds it to RESUMED."""
    if not isinstance(bot, discord.AutoShardedClient):
        return bot.shard_id or 0
    return int(data["shard"][0] if "shard" in data else data["__shard_id__"])


def sockets_of(bot: discord.Client) -> list[tuple[int, Any]]:
    """Return the WebSocket of each shard, None while it is not connected. Each reconnect creates a new one.

    A sharded client knows its number of shards when it begins to connect, and connects them one after the other.
    """
    if isinstance(bot, discord.AutoShardedClient):
        expected = dict.fromkeys(bot.shard_ids or range(bot.shard_count or 0))
        connected = {shard: info._parent.ws for shard, info in bot.shards.items()}  # noqa: SLF001 - the heartbeat has no public name
        return sorted((expected | connected).items())
    return [(bot.shard_id or 0, bot.ws or None)]


def connection_problem(bot: discord.Client) -> str:
    """Return what is wrong with the connection to Discord, or an empty text. Works in any thread and before login."""
    return next(_shard_problems(sockets_of(bot)), "")


def connection_problems(bot: discord.Client) -> tuple[list[str], int]:
    """Return what is wrong with each unhealthy shard, and the number of shards."""
    sockets = sockets_of(bot)
    return list(_shard_problems(sockets)), len(sockets)


def shard_states(bot: discord.Client) -> list[ShardState]:
    """Return the connection of each shard; none before the number of shards is known."""
    states = []
    for shard, ws in sockets_of(bot):
        latency_s = _latency_s(ws)
        states.append(ShardState(shard, _shard_problem(ws), None if latency_s is None else latency_s * 1e6))
    return states


def heard_s(bot: discord.Client) -> float | None:
    """Return the seconds since the last acknowledged heartbeat of any shard; None if there was none."""
    ages = (_heartbeat_age_s(ws) for _, ws in sockets_of(bot))
    return min((age_s for age_s in ages if age_s is not None), default=None)


def _shard_problems(sockets: list[tuple[int, Any]]) -> Iterator[str]:
    """Yield what is wrong, a line for each shard."""
    if not sockets:
        yield "not connected yet"
    yield from (f"shard {shard} {text}" for shard, ws in sockets if (text := _shard_problem(ws)))


def _shard_problem(ws: Any) -> str:
    if not _is_open(ws):
        return "is not connected"
    age_s = _heartbeat_age_s(ws)
    return f"had its last heartbeat acknowledged {age_s:.0f} s ago" if age_s is not None and age_s > STALE_S else ""


def _is_open(ws: Any) -> bool:
    return ws is not None and bool(ws.open)


def _has_session(ws: Any) -> bool:
    """Return whether Discord began a session on the WebSocket: identifying alone does not begin one."""
    return getattr(ws, "session_id", None) is not None


def _latency_s(ws: Any) -> float | None:
    """Return the seconds between a heartbeat and its acknowledgement; None before the first one."""
    latency_s = math.inf if ws is None else float(ws.latency)
    return latency_s if math.isfinite(latency_s) else None


def _heartbeat_age_s(ws: Any) -> float | None:
    """Return the seconds since the last acknowledgement, or since the connection began; None without a connection."""
    acknowledged_s = getattr(getattr(ws, "_keep_alive", None), "_last_ack", None)
    return None if acknowledged_s is None else time.perf_counter() - acknowledged_s
