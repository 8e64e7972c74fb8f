"""Checks in the database whether the bot still writes and is connected to Discord."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.diagnosis import Finding
from cogmeter.render import formatting
from cogmeter_storage.clock import AHEAD_US

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cogmeter_storage import Store

CONNECTED_SHARDS: Final = "gateway.shards_connected"  # a gauge that is sampled even if nothing happens
MIN_AGE_S: Final = 120.0
SECOND_US: Final = 1_000_000
MISSED_SAMPLES: Final = 4  # before the bot counts as hung


def max_age_s(sample_interval_s: float) -> float:
    """Return the default maximum age of the newest record of a running bot."""
    return max(MIN_AGE_S, MISSED_SAMPLES * sample_interval_s)


@dataclass(frozen=True, slots=True)
class Freshness:
    """The newest record of a bot and its connected shards."""

    now_us: int
    max_age_s: float
    newest_us: int  # 0 without any record
    shards: float | None  # None if it was not sampled within the maximum age

    @classmethod
    async def read(cls, store: Store, max_age_s: float, *, now_us: int) -> Freshness:
        """Read both from the database."""
        since_us = now_us - int(max_age_s * 1e6)
        samples = (await store.samples([CONNECTED_SHARDS], since_us, now_us + 1))[CONNECTED_SHARDS]
        sampled_us, shards = samples[-1] if samples else (0, None)
        return cls(now_us, max_age_s, max((await store.status()).last_end_us or 0, sampled_us), shards)

    def findings(self) -> Iterator[Finding]:
        """Yield the check of the newest record, and the check of the connection if it was sampled."""
        yield self._age()
        if self.shards is not None:
            count = "1 shard" if self.shards == 1 else f"{self.shards:g} shards"
            text = f"{count} connected" if self.shards else "not connected to Discord"
            yield Finding("gateway", self.shards > 0, text, "Check the network and https://discordstatus.com")

    def stopped_text(self) -> str:
        """Return that the bot does not run, and what that means for what is shown of now; empty if it runs."""
        age = self._age()
        if age.well or not self.newest_us or self.newest_us > self.now_us:
            return ""
        return f"{age.advice.partition(':')[0]}: {age.text}. Active alerts and states are from that time."

    def _age(self) -> Finding:
        age_us = self.now_us - self.newest_us
        if not self.newest_us:
            return Finding("freshness", well=False, text="nothing has been recorded yet", advice="Start the bot")
        if age_us < -AHEAD_US:
            text = f"the last record is {formatting.duration(-age_us)} in the future: the clock is or was wrong"
            advice = "Set this machine's clock. If it is right, restart the bot: it moves such records aside"
            return Finding("freshness", well=False, text=text, advice=advice)
        age_text = "less than 1 s" if age_us < SECOND_US else formatting.duration(age_us)
        text = f"the last record is {age_text} old"
        advice = "The bot does not run or does not respond: see its log"
        return Finding("freshness", age_us <= self.max_age_s * 1e6, text, advice)
