"""A process that is killed loses nothing committed, and counts nothing twice."""

from __future__ import annotations

import random
import subprocess
import sys
import time

import pytest

from cogmeter_storage import open_store
from cogmeter_storage.model import DAY_US

pytestmark = pytest.mark.slow

WRITER = """
import asyncio, sys
from cogmeter_storage import open_store

async def main():
    store = await open_store(sys.argv[1])
    a, b = await store.series_ids([("a", "one"), ("b", "two")])
    status = await store.status()
    count, at_us = status.operations, status.last_end_us or 1_750_075_200_000_000
    print("stored", count, flush=True)
    while True:
        rows = []
        for i in range(60):
            at_us += 400_000 + 7919 * i
            number = count + i
            rows.append((a if number % 3 else b, at_us, 1 + number * 37 % 5_000_000, number % 5, None, None))
        await store.append([rows[:25], rows[25:]], now_us=at_us)
        count += 60
        print("stored", count, flush=True)
        await store.fold(now_us=at_us)

asyncio.run(main())
"""

ALERTING = """
import asyncio, sys
from cogmeter_storage import open_store
from cogmeter_storage.alerting import Alert, AlertChange, AlertState, Step

def step(number):
    uid, at_us = f"{number:09}", 1_750_075_200_000_000 + number
    firing = AlertState.FIRING
    alert = Alert(uid, "slow", "a", "", firing, "critical", "m", 1, 2, 2, at_us, at_us, at_us, at_us)
    return Step(alert, AlertChange(uid, "fired", firing, "critical", "m", 2, 1, at_us), ("log", "channel"))

async def main():
    store = await open_store(sys.argv[1])
    alerting = store.alerting
    count = len(await alerting.alerts(limit=10**6))
    print("stored", count, flush=True)
    while True:
        await alerting.save([step(count + i) for i in range(5)])
        count += 5
        print("stored", count, flush=True)
        for delivery in await alerting.due(2**60, limit=3):
            await alerting.begin(delivery.id, now_us=1)
            await alerting.end(delivery.id, outcome="sent", now_us=2, receipt=str(delivery.id))

asyncio.run(main())
"""

ERRORS = """
import asyncio, sys
from cogmeter_storage import open_store
from cogmeter_storage.errors import ErrorBatch, ErrorExample, ErrorKind, ErrorLink

def batch(name, number):
    at_us = 1_750_075_200_000_000 + number
    example = ErrorExample(at_us, "a", "one", None, None, (ErrorLink("E", str(number), ()),))
    counts, users = {("a", "one", 20_255 + number % 3): 2, ("b", "two", 20_255): 1}, frozenset({str(number % 50)})
    return ErrorBatch(
        name, ErrorKind.FAILED, "E", "m", None, at_us, at_us, counts, users, frozenset(), None, (example,)
    )

async def main():
    store = await open_store(sys.argv[1])
    found = await store.errors.group(1)
    number = found[0].total // 3 if found else 0
    print("stored", number, flush=True)
    while True:
        await store.errors.add([batch(name, number) for name in "abc"])
        number += 1
        print("stored", number, flush=True)
        if number % 7 == 0:
            await store.errors.resolve(1, actor="Ann", now_us=1_750_075_200_000_000 + number)

asyncio.run(main())
"""

USAGE = """
import asyncio, hashlib, sys
import numpy as np
from cogmeter_storage import open_store
from cogmeter_storage.usage import UsageBatch

def hashed(number):
    return int.from_bytes(hashlib.blake2b(str(number).encode(), digest_size=8).digest(), "big")

async def main():
    store = await open_store(sys.argv[1])
    (number,) = (await store.usage.counts(0, 2**60, ["joined"])).values() or (0,)
    print("stored", number, flush=True)
    while True:
        at_us = 1_750_032_000_000_000 + number * 600_000_000
        # Two users of series 1, one guild of series 2.
        keys, hashes = np.array([2, 2, 5]), np.array([*map(hashed, (number, number + 1, number))], np.uint64)
        await store.usage.add(UsageBatch(at_us, keys, hashes, {("joined", ""): 1}))
        number += 1
        print("stored", number, flush=True)
        if number % 50 == 0:
            await store.fold(now_us=at_us)

asyncio.run(main())
"""


def write_and_kill(url, after_s, script=WRITER):
    """Let a child process write for a while, kill it, and return the last commit that it reported."""
    child = subprocess.Popen([sys.executable, "-c", script, url], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(after_s)
    child.kill()
    said = child.stdout.read().split()
    child.stdout.close()
    child.wait()
    # A line that was cut short is no claim.
    return int(said[-1]) if len(said) >= 2 and len(said) % 2 == 0 else 0


async def test_after_kill_9_no_committed_operation_is_lost_or_counted_twice(path, url, slots_agree_with_rows):
    committed = 0
    for seed in range(6):
        committed = max(write_and_kill(url, random.Random(seed).uniform(0.02, 0.4)), committed)
        slots_agree_with_rows(path)
        store = await open_store(url)
        count = (await store.status()).operations
        totals = await store.totals(0, 1_750_075_200_000_000 + 1000 * DAY_US, groups={1: 0, 2: 0})
        newest = await store.recent([1, 2], 0, 2**60, limit=count + 1)
        await store.close()
        # The last commit may have succeeded before the process could report it.
        assert committed <= count
        assert count % 60 == 0
        assert totals.counts.tolist() == [[count]]
        assert totals.sum_us.tolist() == [[sum(1 + i * 37 % 5_000_000 for i in range(count))]]
        assert [one.id for one in newest] == list(range(count, 0, -1))
        slots_agree_with_rows(path)
        committed = count
    assert committed > 0


async def test_after_kill_9_each_alert_has_its_change_and_each_delivery_is_waiting_or_recorded_as_sent(path, url):
    committed = sent = 0
    for seed in range(6):
        committed = max(write_and_kill(url, random.Random(seed).uniform(0.02, 0.4), ALERTING), committed)
        store = await open_store(url)
        alerts = await store.alerting.alerts(limit=10**6)
        changes = await store.alerting.changes(limit=10**6)
        waiting = await store.alerting.due(2**60, limit=10**6)
        attempts = await store.alerting.attempts(limit=10**6)
        receipts = {await store.alerting.receipt(one.alert, one.target) for one in attempts}
        await store.close()
        assert committed <= len(alerts)
        assert len(alerts) % 5 == 0
        assert [one.alert for one in changes] == [one.uid for one in alerts]
        assert sorted([*(one.id for one in waiting), *(one.delivery for one in attempts)]) == list(
            range(1, 2 * len(alerts) + 1)
        )
        assert receipts == {str(one.delivery) for one in attempts}
        assert sum(one.begun_us is not None for one in waiting) <= 1
        committed, sent = len(alerts), len(attempts)
    assert committed > 0
    assert sent > 0


async def test_after_kill_9_each_batch_of_errors_is_stored_completely_or_not_at_all(path, url):
    committed = 0
    for seed in range(6):
        committed = max(write_and_kill(url, random.Random(seed).uniform(0.02, 0.4), ERRORS), committed)
        store = await open_store(url)
        groups = await store.errors.groups(0, 2**60)
        examples = {group.id: (await store.errors.group(group.id))[1] for group in groups}
        await store.close()
        (total,) = {group.total for group in groups} or {0}
        number = total // 3
        assert committed <= number
        for group in groups:
            assert (group.count, group.users) == (total, min(number, 50))
            assert [example.chain[0].message for example in examples[group.id]] == [
                str(one) for one in range(number - 1, max(number - 6, -1), -1)
            ]
        committed = number
    assert committed > 0


async def test_after_kill_9_no_committed_person_is_lost(path, url):
    committed = 0
    for seed in range(6):
        committed = max(write_and_kill(url, random.Random(seed).uniform(0.02, 0.4), USAGE), committed)
        store = await open_store(url)
        (number,) = (await store.usage.counts(0, 2**60, ["joined"])).values() or (0,)
        users, guilds = await store.usage.distinct(0, 2**60, groups={1: 0, 2: 1})
        (last_us,) = (await store.usage.last_use([1])).values() or (None,)
        await store.close()
        assert committed <= number
        if not number:
            continue
        assert last_us == 1_750_032_000_000_000 + (number - 1) * 600_000_000
        exact = number < 512
        assert users.users == (number + 1 if exact else pytest.approx(number + 1, rel=0.03))
        assert guilds.guilds == (number if exact else pytest.approx(number, rel=0.03))
        committed = number
    assert committed > 0
