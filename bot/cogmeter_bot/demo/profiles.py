"""The simulated services: how often each operation happens, how long it takes, how it fails, its metadata.

History and live traffic use the same profiles, so that charts continue without a step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from cogmeter_storage.model import DAY_US, HOUR_US, Outcome

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import ArrayLike, NDArray

Failure: TypeAlias = tuple[Outcome, str]
# Returns the metadata of an operation for a random generator and the operation's duration in milliseconds.
MetadataFactory: TypeAlias = Callable[["Generator", float], dict[str, Any]]

REPLY: Final = "reply Chat.on_message"  # the label of a reply that uses a model
CALLBACK: Final = "POST /interactions/{webhook_id}/{webhook_token}/callback"  # as the watch names a first response
MESSAGE: Final = "POST /channels/{channel_id}/messages"
NEAR_MISS_MS: Final = 2_000.0
USERS: Final = 420  # of the past
LIVE_USERS: Final = 25  # who use the bot while the demo runs; some much more often than others
GUILDS: Final = 11  # of the past
LIVE_GUILDS: Final = 3  # whose members use the bot while the demo runs
# Dollars per million input tokens and per million output tokens; the prices are simulated.
PRICES: Final = {"gpt-4o": (2.5, 10.0), "gpt-4o-mini": (0.15, 0.6), "text-embedding-3-small": (0.02, 0.0)}

_TIMEOUT = (Outcome.UPSTREAM, "TimeoutError: the model did not answer in time")
_RATE = (Outcome.UPSTREAM, "RateLimitError: Rate limit exceeded")
_FORMAT = (Outcome.ERROR, "ValueError: Invalid input format")
_GRAPH = (Outcome.UPSTREAM, "ServiceUnavailable: the graph database refused the connection")
_LOCKED = (Outcome.ERROR, "OperationalError: database is locked")
_IMAGE = (Outcome.ERROR, "UnidentifiedImageError: cannot identify image file")
_STATUS = (Outcome.UPSTREAM, "ClientResponseError: 503, message='Service Unavailable'")
_DNS = (Outcome.UPSTREAM, "ClientConnectorError: Cannot connect to host example.org:443")
_COOLDOWN = (Outcome.USER, "CommandOnCooldown: You are on cooldown. Try again in 4 s")
_SILENT = (Outcome.ERROR, "never acknowledged within 3 s")
LIMITED: Final = "429 Too Many Requests"
_LIMITED = (Outcome.UPSTREAM, LIMITED)


@dataclass(frozen=True, slots=True)
class Profile:
    """An operation whose durations are lognormal and whose failures are independent of each other."""

    service: str
    operation: str
    per_minute: float  # the mean over a week
    median_ms: float
    spread: float  # standard deviation of the logarithm of the duration
    failure_rate: float
    failures: tuple[Failure, ...]
    metadata: MetadataFactory | None = None
    max_ms: float = inf  # of a success
    failed_ms: float | None = None  # duration of every failure, if it is constant
    steady: bool = False  # it runs by a clock: as often in the night as in the evening


def _cost_usd(model: str, tokens_in: int, tokens_out: int) -> float:
    input_price, output_price = PRICES[model]
    return round((input_price * tokens_in + output_price * tokens_out) / 1e6, 8)


def random_users(rng: Generator, size: int) -> NDArray[np.int64]:
    """Return the numbers of users of the past: the first ones use the bot much more often than the others."""
    return np.asarray(USERS * rng.random(size) ** 3, dtype=np.int64)


def in_direct_messages(users: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of these users write to the bot in direct messages, not in a server."""
    inside: NDArray[np.bool_] = (users % 20 == 0) & (users < USERS)
    return inside


def random_live_user(rng: Generator) -> int:
    """Return the number of a user who uses the bot while the demo runs."""
    return USERS + int(LIVE_USERS * rng.random() ** 3)


def user_of_failure(end_us: int) -> int:
    """Return the number of the user of the past whose operation failed at this time."""
    return int(USERS * (end_us % 99_991 / 99_991) ** 3)


def person_hashes(user: int) -> dict[str, str]:
    """Return the hashes of a user and of the server that the user is in, if any, as metadata has them.

    Users from USERS on use the bot while the demo runs.
    """
    numbers = {"user": user, "guild": user % GUILDS if user < USERS else GUILDS + user % LIVE_GUILDS}
    if in_direct_messages(np.array(user)):
        del numbers["guild"]
    return {
        kind: hashlib.blake2b(f"{kind} {number}".encode(), digest_size=4).hexdigest()
        for kind, number in numbers.items()
    }


def _tokens(model: str, *callers: str) -> MetadataFactory:
    """Return a factory for the tokens and costs of one request to a model, inside one of these commands and replies."""

    def metadata(rng: Generator, _duration_ms: float) -> dict[str, Any]:
        tokens_in, tokens_out = int(rng.integers(80, 1400)), int(rng.integers(20, 400)) if PRICES[model][1] else 0
        return {
            "model": model,
            "tokens_in": tokens_in,
            "tokens_out": tokens_out,
            "cached_tokens": int(tokens_in * rng.uniform(0, 0.5)) if tokens_out else 0,
            "cost_usd": _cost_usd(model, tokens_in, tokens_out),
            "caller": callers[int(rng.integers(len(callers)))],
            **person_hashes(int(random_users(rng, 1)[0])),
        }

    return metadata


def _http_time(rng: Generator, duration_ms: float) -> dict[str, Any]:
    """Return the HTTP time of an acknowledgement, and mark a near miss."""
    near_miss = {"near_miss": True} if duration_ms > NEAR_MISS_MS else {}
    return {"http_ms": round(min(duration_ms, 90.0 * float(rng.lognormal(0.0, 0.3))), 1), **near_miss}


def _stack(*frames: str, during: str) -> MetadataFactory:
    """Return a factory for the stack of a blocked event loop, innermost frame first."""
    return lambda _rng, _duration_ms: {"stack": list(frames), "during": during}


_SERVICES: Final = (
    Profile(
        "core-intelligence",
        "process",
        3.2,
        950.0,
        0.50,
        0.012,
        (_TIMEOUT, _RATE),
        _tokens("gpt-4o", "/ask", "/ask", REPLY),
    ),
    Profile("core-intelligence", "route", 1.2, 14.0, 0.40, 0.001, (_FORMAT,)),
    Profile(
        "sentiment-analysis",
        "analyze",
        2.4,
        138.0,
        0.34,
        0.010,
        (_RATE, _FORMAT),
        _tokens("gpt-4o-mini", "/mood", REPLY),
    ),
    Profile("context-memory", "retrieve", 1.7, 46.0, 0.55, 0.006, (_LOCKED,)),
    Profile("context-memory", "store", 0.6, 19.0, 0.45, 0.008, (_LOCKED,)),
    Profile("knowledge-graph", "query", 1.0, 215.0, 0.60, 0.014, (_GRAPH,), _tokens("text-embedding-3-small", "/ask")),
    Profile("knowledge-graph", "link", 0.4, 72.0, 0.40, 0.006, (_GRAPH,)),
    Profile(
        "multimodal-processing",
        "describe",
        0.5,
        1_900.0,
        0.45,
        0.020,
        (_TIMEOUT, _IMAGE),
        _tokens("gpt-4o-mini", "/look"),
    ),
    Profile("multimodal-processing", "thumbnail", 0.3, 240.0, 0.35, 0.010, (_IMAGE,)),
    Profile("web-crawling", "fetch", 0.7, 620.0, 0.75, 0.030, (_STATUS, _DNS)),
    Profile("web-crawling", "extract", 0.6, 38.0, 0.50, 0.004, (_FORMAT,)),
)


def _acknowledgement(command: str, per_minute: float, median_ms: float, spread: float) -> Profile:
    """Return the profile of the first response to a command: within three seconds, or never."""
    return Profile(
        "discord.acknowledgement", command, per_minute, median_ms, spread, 0.003, (_SILENT,),
        _http_time, max_ms=2_950.0, failed_ms=4_000.0,
    )  # fmt: skip


_THUMBNAIL: Final = _stack(
    "PIL/Image.py:2365:resize",
    "services/images.py:41:thumbnail",
    "cogs/gallery.py:27:look",
    during="look",
)
_COMPRESS: Final = _stack(
    "zipfile.py:1817:write",
    "services/archive.py:88:compress",
    "services/archive.py:60:keep",
    "cogs/archive.py:19:nightly",
    during="Archive.nightly",
)

# The operations that the watch records in a bot with users.
_DISCORD: Final = (
    Profile("discord.commands", "ask", 0.9, 1_120.0, 0.50, 0.010, (_TIMEOUT, _COOLDOWN)),
    Profile("discord.commands", "mood", 0.5, 190.0, 0.35, 0.008, (_RATE, _COOLDOWN)),
    Profile("discord.commands", "remember", 0.3, 62.0, 0.45, 0.004, (_LOCKED,)),
    Profile("discord.commands", "look", 0.2, 2_150.0, 0.45, 0.020, (_IMAGE, _COOLDOWN)),
    _acknowledgement("ask", 0.9, 260.0, 0.75),
    _acknowledgement("mood", 0.5, 205.0, 0.45),
    _acknowledgement("remember", 0.3, 110.0, 0.40),
    _acknowledgement("look", 0.2, 420.0, 0.80),
    Profile("discord.rest", CALLBACK, 1.9, 92.0, 0.35, 0.002, (_LIMITED,)),
    Profile("discord.rest", MESSAGE, 0.6, 135.0, 0.40, 0.009, (_LIMITED,)),
    Profile("discord.tasks", "Chores.refresh_feeds", 3.0, 124.0, 0.10, 0.002, (_STATUS,), steady=True),
    Profile("discord.stalls", "services/images.py:41 thumbnail", 0.012, 260.0, 0.22, 0.0, (), _THUMBNAIL),
    Profile("discord.stalls", "services/archive.py:88 compress", 0.004, 640.0, 0.20, 0.0, (), _COMPRESS),
)
PROFILES: Final = (*_SERVICES, *_DISCORD)
FIRST_RESPONSES: Final = {
    profile.operation: profile for profile in PROFILES if profile.service == "discord.acknowledgement"
}  # by command: each run of it has one
(MESSAGES,) = (profile for profile in PROFILES if profile.operation == MESSAGE)
(CALLBACKS,) = (profile for profile in PROFILES if profile.operation == CALLBACK)  # each first response that was sent

_BUSIEST_HOUR: Final = 19.5  # UTC: the evening of Europe and the afternoon of America


def activity(at_us: ArrayLike) -> NDArray[np.float64]:
    """Return the activity at these times (microseconds since 1970 UTC), relative to its mean over a week.

    A daily curve with one maximum and one minimum, times 1.2 at the weekend and 0.92 on other days.
    """
    at = np.asarray(at_us, dtype=np.float64)
    angle = 2 * np.pi * ((at % DAY_US) / HOUR_US - _BUSIEST_HOUR) / 24
    weekday = (at // DAY_US + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    return (1 + 0.6 * np.cos(angle)) * np.where(weekday >= 5, 1.2, 0.92)
