"""The order of active alerts, which every list has."""

import dataclasses
import random

from factories import make_alert

from cogmeter.alerts.model import by_urgency
from cogmeter.schemas.alerts import AlertAnswer
from cogmeter_storage.alerting import AlertState

NOW_US = 1_755_454_020_000_000


def test_firing_alerts_come_first_then_the_worst_then_the_newest():
    wanted = [
        ("firing", "critical", 2),
        ("firing", "critical", 1),
        ("firing", "warning", 9),
        ("firing", "info", 9),
        ("acknowledged", "critical", 3),
        ("acknowledged", "of tomorrow", 3),
        ("pending", "critical", 9),
        ("muted", "critical", 9),
    ]
    alerts = [
        make_alert(NOW_US + number * 1_000_000, state=AlertState(state), severity=severity)
        for state, severity, number in wanted
    ]
    mixed = random.Random(1).sample(alerts, len(alerts))
    assert by_urgency(mixed) == alerts
    answers = [AlertAnswer.of(alert) for alert in mixed]
    assert [one.started_us for one in by_urgency(answers)] == [alert.started_us for alert in alerts]
    assert "started_us" not in answers[0].model_dump()


def test_the_order_of_equal_alerts_is_kept():
    alerts = [dataclasses.replace(make_alert(NOW_US), uid=str(number)) for number in range(5)]
    assert by_urgency(alerts) == alerts
