"""Records that many tests begin with, as the guide's example has them."""

from __future__ import annotations

import dataclasses
import itertools
import time
from typing import TYPE_CHECKING, Any

from cogmeter.alerts.lifecycle.engine import AlertEngine
from cogmeter_storage.alerting import Alert, AlertState
from cogmeter_storage.errors import ErrorBatch, ErrorExample, ErrorKind, ErrorLink, Frame
from cogmeter_storage.model import DAY_US
from cogmeter_storage.process import Process, ProcessRecord

if TYPE_CHECKING:
    import pytest

# A sample of a bot that has no trouble.
QUIET_GAUGES = {
    "gateway.latency_ms.shard_0": 120.0,
    "gateway.heartbeat_age_s.shard_0": 40.0,
    "gateway.shards_connected": 1.0,
    "gateway.disconnects": 0.0,
    "rest.rate_limited.user": 3.0,
    "rest.rate_limited.global": 0.0,
    "rest.invalid_share": 0.01,
    "resources.memory_bytes": 2e8,
}


def make_alert(at_us: int, **more: Any) -> Alert:
    """A firing alert on the guide's service, all of whose times are ``at_us`` (microseconds since 1970, UTC)."""
    alert = Alert(
        uid="0123456789abcdef0123456789abcdef",
        rule="error_rate",
        service="knowledge-graph",
        operation="",
        state=AlertState.FIRING,
        severity="warning",
        message="Error rate of 7.8% exceeds threshold of 5%",
        threshold=0.05,
        current=0.078,
        worst=0.078,
        started_us=at_us,
        seen_us=at_us,
        changed_us=at_us,
    )
    return dataclasses.replace(alert, **more)


def make_process(
    name: str, *, version: str = "1.4", silent_s: float = 2, up_s: float = 600, host: str = "", **more: Any
) -> ProcessRecord:
    """A process as the store knows it, that has run for ``up_s`` and showed its last sign of life ``silent_s`` ago."""
    now_us = 1_800_000_000_000_000
    times = {"started_us": now_us - int(up_s * 1e6), "seen_us": now_us - int(silent_s * 1e6), "now_us": now_us}
    values = {"pid": 7, "ended": False, "last_end_us": 0, **times, **more}
    return ProcessRecord(Process(name, version), host or f"host of {name}", **values)


def make_errors(
    name: str, at_us: int, *, count: int = 1, where: tuple[str, str] = ("knowledge-graph", "query"), **more: Any
) -> ErrorBatch:
    """Errors of one group at one moment: a ValueError in ``cogs/graph.py``, caused by a KeyError of a library."""
    place = Frame("cogs/graph.py", f"Graph.{name}", 42, own=True)
    outer = Frame("discord/app_commands/commands.py", "Command._do_call", 858, own=False)
    inner = Frame("networkx/graph.py", "Graph.__getitem__", 479, own=False)
    chain = (
        ErrorLink("ValueError", f"no node {name}", (outer, place)),
        ErrorLink("KeyError", f"'{name}'", (place, inner)),
    )
    batch = ErrorBatch(
        fingerprint=name[:16].rjust(16, "0"),
        kind=ErrorKind.FAILED,
        type=chain[0].type,
        message=chain[0].message,
        place=place,
        first_us=at_us,
        last_us=at_us,
        counts={(*where, at_us // DAY_US): count},
        users=frozenset({"0a0a0a0a", "0b0b0b0b"}),
        guilds=frozenset({"0c0c0c0c"}),
        version="1.4",
        examples=(ErrorExample(at_us, *where, "0a0a0a0a", "1.4", chain),),
    )
    return dataclasses.replace(batch, **more)


def read_newer_each_time(monkeypatch: pytest.MonkeyPatch, services: int) -> None:
    """Let the engine's active alerts, of some services, have other counts whenever they are read: 1, 2, 3 failed."""
    readings = itertools.count(1)

    def active(_: AlertEngine) -> tuple[Alert, ...]:
        failed = next(readings)
        message = f"Error rate of 50% exceeds threshold of 5% ({failed} of 22 failed)"
        at_us = time.time_ns() // 1_000
        return tuple(
            make_alert(at_us, uid=f"{number:032x}", service=f"service-{number}", message=message)
            for number in range(services)
        )

    monkeypatch.setattr(AlertEngine, "active", property(active))
