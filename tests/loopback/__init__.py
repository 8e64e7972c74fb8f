"""A Discord on 127.0.0.1 for the unmodified transport of discord.py: REST, gateway, limits and faults on demand."""

from loopback.exchanges import Exchange
from loopback.faults import Fault, connection_reset, rate_limited, server_error, slow
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
    "connection_reset",
    "rate_limited",
    "server_error",
    "slow",
]
