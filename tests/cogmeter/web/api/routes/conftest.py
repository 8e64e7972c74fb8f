"""Operations of known figures, and an active alert."""

import json

import pytest

from cogmeter.query.query import now_us

MINUTE_US = 60_000_000


@pytest.fixture
def stored():
    """Stores operations: (service, operation, minutes ago, ms, outcome, error, metadata), the oldest first."""

    async def store(web, *operations):
        kept, at_us = web.monitor.store, now_us()
        full = [(*one, *(0, None, None)[len(one) - 4 :]) for one in operations]
        names = list(dict.fromkeys(one[:2] for one in full))
        ids = dict(zip(names, await kept.series_ids(names), strict=True))
        rows = [
            (
                ids[one[:2]],
                at_us - int(one[2] * MINUTE_US),
                int(one[3] * 1000),
                one[4],
                one[5],
                one[6] and json.dumps(one[6]),
            )
            for one in full
        ]
        await kept.append([rows], now_us=at_us)

    return store


@pytest.fixture
def breach():
    """Raises an alert of the error rate of knowledge-graph: 39 of 500 fail, 7.8%, as in the guide."""

    async def raised(web):
        for number in range(500):
            web.monitor.recorder.record("knowledge-graph", "query", duration_ms=10, outcome=int(number < 39))
        await web.flushed()
        await web.monitor.alerting.check()
        (alert,) = [one for one in web.monitor.alerting.engine.active if one.rule == "error_rate"]
        return alert

    return raised
