"""The lifeline's thread by itself; with a real bot it is tried in tests/product."""

import time

from cogmeter.alerts.lifeline import Danger, Lifeline
from cogmeter.timing import now_ns


class Target:
    """Keeps what it is told, or fails as it should not."""

    def __init__(self, name, error=None):
        self.name, self.living, self.single = name, False, False
        self.error = error
        self.told = []

    async def prepare(self):
        """Nothing to look at."""

    async def notify(self, notice):
        if self.error is not None:
            raise self.error
        self.told.append(notice.change.kind)


def test_a_target_that_fails_as_none_should_keeps_no_other_from_being_told(caplog):
    broken, webhook = Target("discord_webhook", RuntimeError("a fault")), Target("webhook")
    since_ns = now_ns()
    lifeline = Lifeline([Danger("stall", 0.01, lambda: since_ns, "Blocked for {:.0f}s".format)], [broken, webhook])
    lifeline.start()
    deadline = time.perf_counter() + 30
    while not webhook.told and time.perf_counter() < deadline:
        time.sleep(0.02)
    lifeline.stop()
    assert webhook.told == ["fired"]
    assert (lifeline.told, lifeline.failed) == (1, 1)
    assert "The discord_webhook target failed in the lifeline" in caplog.text
