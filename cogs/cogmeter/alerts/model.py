"""The records that pass between rules and engine: what holds for a rule, and what a rule found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cogmeter.recording import service_names

INFO: Final = "info"  # told silently
WARNING: Final = "warning"
CRITICAL: Final = "critical"
SEVERITIES: Final = (INFO, WARNING, CRITICAL)  # from the least to the worst

BOT: Final = service_names.BOT


@dataclass(frozen=True, slots=True)
class Subject:
    """What a rule is about: a rule's name, a service, and one of its operations (empty: the service as a whole)."""

    rule: str
    service: str
    operation: str = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """What holds for one subject. ``threshold`` and ``recovery`` are in the rule's unit; a threshold of 0 is off."""

    threshold: float
    recovery: float  # at it or on its better side the alert is on its way to recover
    for_s: float  # so long the breach has to last before it is told
    recovery_s: float  # so long it has to be over before it is resolved
    min_operations: int  # fewer of them in the window say nothing
    severity: str = ""  # one of SEVERITIES; empty: by how far the value is beyond the threshold


@dataclass(frozen=True, slots=True)
class Reading:
    """One subject that is beyond its recovery threshold at this moment. What is not read is well, or unknown.

    ``breached`` is False between the recovery threshold and the threshold, and for an echo of another alert: it raises
    no alert, and keeps one that is there.
    """

    subject: Subject
    current: float
    threshold: float
    message: str  # with a capital and without a full stop: "Error rate of 7.8% exceeds threshold of 5%"
    severity: str
    breached: bool = True


@dataclass(frozen=True, slots=True)
class LoopState:
    """A background loop or scheduled job that should run and does not, or is late."""

    name: str  # as its operations are named under discord.tasks
    dead: bool  # ended against its will; else overdue
    overdue_s: float  # since when its next iteration is due; 0 for a dead one
    text: str  # why, for people
