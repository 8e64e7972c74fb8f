"""How the engine treats every alert: the cooldown, groups, reminders, flapping."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for every subject alike. Times in seconds; a reminder or an escalation after 0 s: never."""

    cooldown_s: float = 300  # from when an alert fired: so long its subject does not fire again
    group_from: int = 4  # so many alerts at once are told as one
    reminder_s: float = 3_600
    escalate_after_s: float = 900
    flap_from: int = 3  # so many alerts of one subject within the window are flapping
    flap_window_s: float = 3_600
    flap_calm_s: float = 600  # at least so long a flapping alert has to be calm before it is resolved
    flap_calm_factor: float = 3  # and at least so many times its recovery delay
    join_s: float = 600  # so long a group takes new members
    figures_s: float = 60  # figures that no change goes with are stored no more often than this

    @property
    def memory_us(self) -> int:
        """How long it matters that an alert fired."""
        return round(max(self.cooldown_s, self.flap_window_s) * 1e6)
