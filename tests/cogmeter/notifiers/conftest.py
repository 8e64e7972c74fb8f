"""Host names that a test resolves, a store, and notices."""

from __future__ import annotations

import logging
import socket
import traceback
from collections.abc import AsyncIterator

import pytest
from aiohttp.abc import AbstractResolver
from http_receiver import SECRET, Receiver, serving

from cogmeter.notifiers.base import Notice
from cogmeter_storage import open_store
from cogmeter_storage.alerting import Alert, AlertChange, AlertState


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with serving() as receiver:
        yield receiver


class Names(AbstractResolver):
    """Resolves by a table."""

    def __init__(self, **table: str) -> None:
        self.table = {name.replace("_", "."): addresses.split() for name, addresses in table.items()}
        self.names: list[str] = []

    async def resolve(self, host, port=0, family=0):
        self.names.append(host)
        if host not in self.table:
            raise OSError(f"no such name: {host}")
        return [
            {"hostname": host, "host": one, "port": port, "family": family, "proto": 0, "flags": 0}
            for one in self.table[host]
        ]

    async def close(self) -> None:
        pass


@pytest.fixture
def names():
    return Names


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    yield store
    await store.close()


@pytest.fixture
def make_notice():
    """``make_notice(kind, ...)``: the guide's example, one field or another changed."""

    def make(kind="fired", *, test=False, members=(), receipt=None, uncertain=False, note="", actor="", **changes):
        fields = {
            "uid": "5f0c",
            "rule": "error_rate",
            "service": "knowledge-graph",
            "operation": "",
            "state": AlertState.FIRING,
            "severity": "warning",
            "message": "Error rate of 7.8% exceeds threshold of 5%",
            "threshold": 0.05,
            "current": 0.078,
            "worst": 0.078,
            "started_us": 1_755_426_600_000_000,
            "seen_us": 1_755_426_600_000_000,
            "changed_us": 1_755_426_600_000_000,
            "id": 12,
        }
        alert = Alert(**{**fields, **changes})
        change = AlertChange(
            alert=alert.uid,
            kind=kind,
            state=alert.state,
            severity=alert.severity,
            message=alert.message,
            current=alert.current,
            threshold=alert.threshold,
            at_us=alert.changed_us,
            actor=actor,
            note=note,
            id=7,
        )
        return Notice(change, alert, tuple(members), receipt=receipt, uncertain=uncertain, test=test)

    return make


@pytest.fixture
def secret_free(caplog):
    """Search for the secret in the log, and in errors with their contexts and attributes."""
    caplog.set_level(logging.DEBUG)

    def check(*errors: BaseException, texts=()):
        logged = [caplog.text, *texts]
        logged += [f"{record.getMessage()} {record.__dict__}" for record in caplog.records]
        for error in errors:
            logged += traceback.format_exception(error)
            here: BaseException | None = error
            while here is not None:  # a suppressed context is not printed, but kept
                logged += [repr(here), str(here), repr(getattr(here, "__dict__", ""))]
                here = here.__cause__ or here.__context__
        assert not [text for text in logged if SECRET in text or "hmac-key" in text]

    return check


@pytest.fixture
def unused_port():
    """A port without a listener."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
