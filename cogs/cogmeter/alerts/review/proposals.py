"""Proposes thresholds for the busiest commands, replies and services, with how often each would have fired."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.model import Subject
from cogmeter.alerts.review.what_if import Replayer
from cogmeter.alerts.thresholds.calibration import CALIBRATED_RULES, SETTLED_US, propose
from cogmeter.alerts.thresholds.keys import key_of
from cogmeter.alerts.thresholds.learning import read_periods, stored_limits
from cogmeter.recording.background import paced
from cogmeter.recording.service_names import BY_OPERATION, in_background
from cogmeter.render.rule_text import proposal_text

if TYPE_CHECKING:
    from cogmeter.alerts.thresholds.calibration import Proposal
    from cogmeter.query.records import WhatIf
    from cogmeter.settings import Settings
    from cogmeter_storage.base import Store

MOST: Final = 3  # each is replayed over up to 7 days


@dataclass(frozen=True, slots=True)
class Proposed:
    """A proposed threshold of one service or operation, and its replay."""

    subject: Subject
    proposal: Proposal
    what_if: WhatIf

    @property
    def text(self) -> str:
        """One sentence: "95% of /ask take under 9.2 s; an alert above 18 s (average) would have fired twice"."""
        return proposal_text(self.proposal, self.subject.service, self.subject.operation, self.what_if)


async def proposals(store: Store, settings: Settings, *, now_us: int, most: int = MOST) -> list[Proposed]:
    """Return the proposals from the last three days: those above the guide's thresholds first, then the busiest.

    A throughput is proposed only above the guide's. Raise StorageError if the store does not answer.
    """
    limits = await stored_limits(store, settings)
    groups: dict[tuple[str, str], list[int]] = {}
    for record in await store.series():
        if not in_background(record.service):
            operation = record.operation if record.service in BY_OPERATION else ""
            groups.setdefault((record.service, operation), []).append(record.id)
    since_us = [now_us - SETTLED_US] * len(groups)
    found: list[tuple[Subject, Proposal]] = []
    histories = await read_periods(store, list(groups.values()), since_us, now_us)
    async for name, periods in paced(zip(groups, histories, strict=True)):
        for rule in CALIBRATED_RULES:
            subject = Subject(rule, *name)
            proposal = propose(rule, periods, limits.statistic_of(subject))
            if proposal is not None and (proposal.raised or rule == CALIBRATED_RULES[0]):
                found.append((subject, proposal))
    found.sort(key=lambda pair: (not pair[1].raised, -pair[1].operations))
    replayer = Replayer(store, settings, now_us=now_us)
    return [
        Proposed(subject, proposal, await replayer.what_if(key_of(subject), f"{proposal.value:.12g}"))
        for subject, proposal in found[:most]
    ]
