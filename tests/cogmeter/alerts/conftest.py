"""A measuring evaluator on clocks that the test moves."""

import pytest

from cogmeter.alerts.evaluator import Evaluator
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.settings import Settings

BEGIN_US = 1_755_426_000_000_000  # a Sunday, 10:20 UTC


class Measured:
    """An evaluator with its limits; time passes by ``after`` alone."""

    def __init__(self, overrides=None, **settings):
        self.settings = Settings(_env_file=None, **settings)
        self.limits = Limits(self.settings, overrides or {})
        self.names = [("(other)", "(other)")]
        self.now_s = 0.0
        self.evaluator = Evaluator(
            self.names,
            self.limits,
            window_s=self.settings.alert_window,
            clock_s=lambda: self.now_s,
            wall=lambda: self.now_us,
        )

    @property
    def now_us(self):
        return BEGIN_US + int(self.now_s * 1e6)

    def after(self, seconds):
        """Let time pass."""
        self.now_s += seconds
        return self

    def atoms(self, service, operation="query", *, count, failures=0, duration_ms=1.0, metadata=None):
        if (service, operation) not in self.names:
            self.names.append((service, operation))
        series = self.names.index((service, operation))
        extra = (None, metadata) if metadata else None
        flat = []
        for number in range(count):
            flat += [series, int(self.now_s * 1e9), int(duration_ms * 1e6), int(number < failures), extra]
        return flat

    async def see(self, service, operation="query", **what):
        """Operations that end now."""
        await self.evaluator.watch(self.atoms(service, operation, **what))
        return self

    async def readings(self, rule=None):
        found = await self.evaluator.evaluate(self.now_us)
        return [one for one in found if rule in {None, one.subject.rule}]

    async def breached(self, rule=None):
        """What is in breach, as (rule, service, operation)."""
        return [
            (one.subject.rule, one.subject.service, one.subject.operation)
            for one in await self.readings(rule)
            if one.breached
        ]


@pytest.fixture
def measured():
    """Makes a Measured: overrides, and settings by name."""
    return Measured
