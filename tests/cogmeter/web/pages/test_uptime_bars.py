"""Uptime bars: days without a critical alert."""

import time

from large_dataset import MINUTE_US

from cogmeter.alerts.model import Reading, Subject
from cogmeter.web.pages.uptime_bars import DAYS, uptime_bars
from cogmeter_storage.model import DAY_US, Outcome


async def test_a_bar_shows_each_day_by_its_critical_alerts_and_says_how_long_they_fired(served):
    async with served(alert_check_interval=3600) as web:
        now_us = time.time_ns() // 1_000 // DAY_US * DAY_US + DAY_US // 2
        empty = (await uptime_bars(web.monitor.store, now_us)).of("shop")
        (series,) = await web.monitor.store.series_ids([("shop", "buy")])
        rows = [(series, now_us - 9 * DAY_US, 1_000, Outcome.OK, None, None)]
        await web.monitor.store.append([rows], now_us=now_us)
        engine = web.monitor.alerting.engine
        began_us = now_us - 3 * DAY_US
        for subject, severity in (("shop", "critical"), ("till", "warning")):
            wrong = Reading(Subject("error_rate", subject), 0.5, 0.05, "Error rate of 50%", severity)
            await engine.step([wrong], began_us)
            for minutes in (1, 90, 120):
                await engine.step([wrong] if minutes < 90 else [], began_us + minutes * MINUTE_US)
        bars = await uptime_bars(web.monitor.store, now_us)
    assert empty.text == "no data yet"
    assert empty.paths.keys() == {"none"}
    assert empty.paths["none"].count("M") == DAYS
    assert {state: path.count("M") for state, path in bars.of("shop").paths.items()} == {"none": 20, "up": 9, "down": 1}
    assert "of the recorded time on 10 days without a critical alert: critical alerts for 1 h" in bars.of("shop").text
    assert bars.of("till").text == "100% of the recorded time on 10 days without a critical alert"


async def test_only_the_time_in_which_an_alert_was_critical_counts(served):
    async with served(alert_check_interval=3600) as web:
        now_us = time.time_ns() // 1_000 // DAY_US * DAY_US + DAY_US // 2
        (series,) = await web.monitor.store.series_ids([("shop", "buy")])
        rows = [(series, now_us - 9 * DAY_US, 1_000, Outcome.OK, None, None)]
        await web.monitor.store.append([rows], now_us=now_us)
        engine = web.monitor.alerting.engine
        began_us = now_us - 3 * DAY_US
        subject = Subject("error_rate", "shop")
        severities = ["warning"] * 10 + ["critical"] * 10 + ["warning"] * 20  # by minute
        for minute, severity in enumerate(severities):
            wrong = Reading(subject, 0.5, 0.05, "Error rate of 50%", severity)
            await engine.step([wrong], began_us + minute * MINUTE_US)
        eased = (await uptime_bars(web.monitor.store, now_us)).of("shop").text
        for minute in (50, 60):
            await engine.step([], began_us + minute * MINUTE_US)
        resolved = (await uptime_bars(web.monitor.store, now_us)).of("shop").text
    # It eases a cooldown of five minutes after it was last critical.
    assert eased.endswith("without a critical alert: critical alerts for 14 min")
    assert resolved == eased
