"""Processes of one bot on one PostgreSQL, with the program tests/product/fleet_member.py, and their alerts."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import psycopg
from http_receiver import Receiver

PROGRAM = Path(__file__).parent / "product" / "fleet_member.py"
PATIENCE_S = 60.0
SETTINGS = {
    "PERFORMANCE_ALERT_CHECK_INTERVAL": "1",
    "PERFORMANCE_ALERT_WINDOW": "30",
    "PERFORMANCE_ALERT_FOR": "0",
    "PERFORMANCE_ALERT_MIN_OPERATIONS": "5",
    "PERFORMANCE_ALERT_GROUP_FROM": "1000",
    "PERFORMANCE_ALERT_GATEWAY_LOST_AFTER": "0",
    "PERFORMANCE_ALERT_THRESHOLD_OPERATIONS_PER_MINUTE": "1000000",
}


class Member:
    """A process of the fleet."""

    def __init__(self, environment: dict[str, str], errors: Path, *failing: str) -> None:
        with errors.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, PROGRAM, *failing],
                env=environment,
                cwd=errors.parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    async def read(self) -> dict[str, object]:
        """What it says next about its state."""
        line = await asyncio.to_thread(self.process.stdout.readline)
        assert line, "the process has ended"
        return json.loads(line)

    async def tell(self, *words: str) -> dict[str, object]:
        """Say something to it, and wait until it is done."""
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        return await self.read()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    async def stop(self) -> dict[str, object]:
        """Stop it in an orderly way; return its last state."""
        state = await self.tell("stop")
        assert await asyncio.to_thread(self.process.wait, PATIENCE_S) == 0
        self.process.stdin.close()
        self.process.stdout.close()
        return state


class Fleet:
    """Processes on one database, and the webhook that receives their alerts."""

    def __init__(self, url: str, receiver: Receiver, environment: dict[str, str], errors: Path):
        self.members: list[Member] = []
        self.incidents: list[str] = []
        self._url = url
        self._receiver = receiver
        self._environment = environment | SETTINGS | {"PERFORMANCE_ALERT_WEBHOOK_URL": receiver.url()}
        self._errors = errors

    async def begin(self, *failing: str, **environment: str) -> Member:
        """Start a process."""
        environment = self._environment | {"PERFORMANCE_DATABASE_URL": self._url} | environment
        member = Member(environment, self._errors, *failing)
        self.members.append(member)
        assert (await member.read())["word"] == "started"
        return member

    async def end(self) -> int:
        """Stop all processes; return how many operations they have recorded."""
        states = [await member.stop() for member in self.members]
        assert not any(state["dropped"] for state in states)
        return sum(state["recorded"] for state in states)

    def kill_all(self) -> None:
        """Kill what still runs; no process may have had an error of ours."""
        for member in self.members:
            if member.process.poll() is None:
                member.kill()

    async def leader(self) -> Member | None:
        """The process that has the lease now."""
        row = await asyncio.to_thread(
            self.query,
            "SELECT run.pid FROM cogmeter.lease JOIN cogmeter.run ON run.id = lease.run"
            " WHERE until_us > extract(epoch FROM clock_timestamp()) * 1000000",
        )
        return next((member for member in self.members if row and member.pid == row[0][0]), None)

    def query(self, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self._url, autocommit=True, target_session_attrs="read-write") as raw:
            return raw.execute(statement).fetchall()

    async def next_leader(self, old: Member) -> float:
        """Wait until another process leads; return how long it took."""
        began_s = time.monotonic()
        while (found := await self.leader()) is None or found is old:
            assert time.monotonic() - began_s < PATIENCE_S
            await asyncio.sleep(0.1)
        return time.monotonic() - began_s

    async def fail(self, service: str) -> None:
        """Begin an incident in every process."""
        self.incidents.append(service)
        for member in self.members:
            await member.tell("fail", service)

    def fired(self, service: str, rule: str = "error_rate") -> list[str]:
        """The ids of the messages that an incident began; a repeated attempt has the same one."""
        bodies = [seen.json for seen in self._receiver.seen]
        return [
            body["id"] for body in bodies if (body["service"], body["type"], body["kind"]) == (service, rule, "fired")
        ]

    async def hears(self, service: str) -> None:
        """Wait until an incident was sent."""
        async with asyncio.timeout(PATIENCE_S):
            while not self.fired(service):
                await asyncio.sleep(0.1)

    async def shows(self, member: Member, service: str, state: str) -> float:
        """Wait until a process shows the alert of a service in a state; return how long it took."""
        began_s = time.monotonic()
        while (await member.tell("tell"))["alerts"].get(service) != state:
            assert time.monotonic() - began_s < PATIENCE_S
            await asyncio.sleep(0.1)
        return time.monotonic() - began_s
