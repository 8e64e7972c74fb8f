"""A Discord on 127.0.0.1 for the unmodified transport of discord.py: REST, gateway, limits and faults on demand.

    async with Loopback() as server, server.running(bot):
        exchange = await server.interact(server.owner.slash("perf summary", {"period": "1h"}))
        message = await exchange.answered()
    assert not list(server.violations)

Tests take the fixture `discord_server`. A script elsewhere appends this folder's parent to `sys.path`, and bounds
the records of a long run with `Loopback(keep=1000)`. Server and bot share one event loop, so process CPU times
include the server's part.
"""

from loopback.exchanges import Exchange
from loopback.faults import Fault, answer_lost, connection_reset, rate_limited, server_error, slow
from loopback.interactions import Asker, Option
from loopback.recording import GatewayOp, Request, UploadedFile, Violation
from loopback.server import Loopback
from loopback.world import World

__all__ = [
    "Asker",
    "Exchange",
    "Fault",
    "GatewayOp",
    "Loopback",
    "Option",
    "Request",
    "UploadedFile",
    "Violation",
    "World",
    "answer_lost",
    "connection_reset",
    "rate_limited",
    "server_error",
    "slow",
]
