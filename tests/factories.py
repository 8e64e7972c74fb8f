"""Records that many tests begin with, as the guide's example has them."""

from __future__ import annotations

import dataclasses
from typing import Any

from cogmeter_storage.alerting import Alert, AlertState


def make_alert(at_us: int, **more: Any) -> Alert:
    """A firing alert on the guide's service, all of whose times are ``at_us`` (microseconds since 1970, UTC)."""
    alert = Alert(
        uid="0123456789abcdef0123456789abcdef",
        rule="error_rate",
        service="knowledge-graph",
        operation="",
        state=AlertState.FIRING,
        severity="warning",
        message="Error rate of 7.8% exceeds threshold of 5%",
        threshold=0.05,
        current=0.078,
        worst=0.078,
        started_us=at_us,
        seen_us=at_us,
        changed_us=at_us,
    )
    return dataclasses.replace(alert, **more)
