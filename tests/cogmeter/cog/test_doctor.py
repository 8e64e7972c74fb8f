"""``/perf doctor``: healthy when nothing is wrong, and a line of advice for each thing that is."""

import re
import sys
import time

import psutil

import cogmeter
from cogmeter.diagnostics.doctor import examine
from cogmeter.monitor.jobs import sample
from cogmeter.watch.memory import memory


async def findings(home):
    return {one.name: one for one in await examine(home.monitor)}


async def test_the_doctor_lists_the_passed_checks_of_a_healthy_bot(move_in):
    async with move_in() as home:
        cogmeter.record("a", "x", duration_ms=1)
        await home.flushed()
        await home.owner.slash(home.channel, "perf doctor")
        message = home.channel.last_message
        assert "**buffer**" not in message.embeds[0].description
        await home.owner.click(message, label="Show all checks")
        (embed,) = home.channel.last_message.embeds
        names = (
            "buffer",
            "flusher",
            "database",
            "charts",
            "jobs",
            "rules",
            "alerts: log",
            "out-of-band alerts",
            "markers",
        )
        for name in (*names, "overhead"):
            assert f"**{name}**" in embed.description
        assert re.search(r"\b(1 operation|[1-9]\d* operations), \d+ series", embed.description)
        odd = r"\b0\.0+\b|\b1 (operations|groups|errors|checks|active alerts|shards|jobs|times|runs|attempts|limits)\b"
        assert re.findall(odd, embed.description) == []


async def test_the_state_of_the_bot_with_its_alerts_is_above_the_checks(move_in):
    async with move_in() as home:
        await home.owner.slash(home.channel, "perf doctor")
        assert re.search(
            r"^Bot: (healthy|unknown); no active alerts \(`/perf summary`\)$",
            home.channel.last_message.embeds[0].description,
            re.MULTILINE,
        )


async def test_passed_checks_are_counted_and_unfolded_in_place_for_those_with_access(move_in):
    async with move_in() as home:
        home.monitor.faults["alerts"] += 1
        await home.owner.slash(home.channel, "perf doctor")
        message = home.channel.last_message
        folded = message.embeds[0].description
        assert re.search(r"^✗ \*\*jobs\*\*: alerts failed 1 time\b", folded, re.MULTILINE)
        head = re.search(r"^\*\*(\d+) of (\d+) monitor checks fails?, (\d+) pass(?:es)?\*\*$", folded, re.MULTILINE)
        failed, total, passed = map(int, head.groups())
        listed = len(re.findall(r"^✓ \*\*", folded, re.MULTILINE))
        others = int(re.search(r"^✓ (\d+) other checks pass$", folded, re.MULTILINE)[1])
        assert failed + passed == total
        assert len(re.findall("^✗ ", folded, re.MULTILINE)) == failed
        assert listed + others == passed
        number = len(home.channel.history())
        refused = await home.stranger.click(message, label="Show all checks")
        assert refused.ephemeral
        assert home.channel.last_message.embeds[0].description == folded
        await home.owner.click(message, label="Show all checks")
        message = home.channel.last_message
        assert "**buffer**" in message.embeds[0].description
        assert "other checks pass" not in message.embeds[0].description
        assert len(re.findall(r"^[✓✗] \*\*", message.embeds[0].description, re.MULTILINE)) == total
        assert len(home.channel.history()) == number
        await home.owner.click(message, label="Fold passed checks")
        assert "**buffer**" not in home.channel.last_message.embeds[0].description


async def test_settings_that_were_changed_in_chat_are_listed_with_their_values(move_in):
    async with move_in() as home:
        channel = home.bot.get_channel(home.channel.id)
        await home.monitor.setting_changes.change({"alert_channel_id": str(channel.id), "digest": "daily"}, "Ada")
        await home.owner.slash(home.channel, "perf doctor")
        said = home.channel.last_message.embeds[0].description.replace("\\", "")
        assert f"**settings**: 2 changed in chat: PERFORMANCE_ALERT_CHANNEL_ID=#{channel.name} ({channel.id}), " in said
        assert "PERFORMANCE_DIGEST=daily" in said


async def test_each_thing_that_is_not_well_comes_first_with_advice(move_in):
    async with move_in(PERFORMANCE_ALERT_CHANNEL_ID=42) as home:
        recorder = home.monitor.recorder
        recorder.buffer.dropped += 3
        recorder.record("", "x", duration_ms=1)
        home.monitor.faults["alerts"] += 1
        home.monitor.alerting.evaluator.faults["stall"] += 2
        recorder.markers.dropped += 1
        home.monitor.flusher.last_flush_us = time.time_ns() // 1000 - 60_000_000
        try:
            found = await findings(home)
            ill = {name for name, one in found.items() if not one.well}
            assert ill >= {"buffer", "recording", "jobs", "rules", "alerts: channel", "flusher", "markers"}
            assert found["rules"].text == "stall failed 2 times"
            assert all(found[name].advice for name in ill)
            assert [one.well for one in await examine(home.monitor)] == sorted(
                one.well for one in await examine(home.monitor)
            )
            assert "PERFORMANCE_ALERT_CHANNEL_ID=42" in found["alerts: channel"].text
        finally:
            recorder.buffer.dropped = recorder.refused = recorder.markers.dropped = 0


async def test_missing_permissions_in_the_alert_channel_are_named(move_in):
    async def prepare(home, monkeypatch):
        monkeypatch.setenv("PERFORMANCE_ALERT_CHANNEL_ID", str(home.channel.id))

    async with move_in(prepare=prepare) as home:
        assert (await findings(home))["alerts: channel"].well
        channel = home.bot.get_channel(home.channel.id)
        await channel.set_permissions(channel.guild.default_role, attach_files=False)
        await home.env.settle()
        found = (await findings(home))["alerts: channel"]
        assert not found.well
        assert "Attach Files" in found.text


async def test_a_failing_store_is_reported_with_its_error(move_in):
    async with move_in() as home:
        home.monitor.flusher.failures, home.monitor.flusher.last_error = 2, "disk full"
        assert "disk full" in (await findings(home))["flusher"].text


async def test_only_those_who_may_ask_learn_how_the_monitor_is(move_in):
    async with move_in() as home:
        result = await home.stranger.slash(home.channel, "perf doctor")
        assert result.ephemeral
        assert result.response.embeds == []


async def test_a_frozen_bot_answers_without_a_chart_and_the_doctor_says_why(move_in, monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    before = psutil.Process().children()  # of other tests in this process
    async with move_in() as home:
        cogmeter.record("music", "play", duration_ms=3)
        await home.flushed()
        result = await home.owner.slash(home.channel, "perf summary")
        (embed,) = result.response.embeds
        assert "No chart: " in str(embed.to_dict())
        assert not result.response.attachments
        found = (await findings(home))["charts"]
        assert not found.well
        assert "sys.frozen" in found.text
        assert "python bot.py" in found.advice
        assert psutil.Process().children() == before


async def test_names_that_no_font_has_are_reported_with_the_package_to_install(move_in):
    async with move_in() as home:
        assert "fonts" not in await findings(home)
        home.monitor.charts.missing_glyphs = "楽音"
        found = (await findings(home))["fonts"]
        assert not found.well
        assert "楽 音" in found.text
        assert "fonts-noto-cjk" in found.advice


async def test_what_grew_in_memory_is_named_by_the_alert_and_while_it_is_active_by_the_doctor(move_in, monkeypatch):
    time_s = [time.perf_counter()]
    monkeypatch.setattr(memory, "now_ns", lambda: int(time_s[0] * 1e9))
    monkeypatch.setattr(memory, "PAUSE_S", 0)
    async with move_in() as home:
        (watch,) = [one for one in home.monitor.watcher.surfaces if isinstance(one, memory.MemoryWatch)]
        home.bot.history = []
        await watch.take()
        home.bot.history += range(1_000_000)
        time_s[0] += 3_600
        await watch.take()
        await sample(home.monitor)  # one of the scheduled jobs
        assert "memory growth" not in await findings(home)
        evaluator, now_us = home.monitor.alerting.evaluator, time.time_ns() // 1000
        for number in range(84):
            gauges = {"resources.memory_bytes": 2e8 * (1 + number / 60)}
            evaluator.sampled(now_us + number * 300_000_000, gauges, grown=home.monitor.watcher.grown)
        await home.monitor.alerting.check()
        (alert,) = [one for one in home.monitor.alerting.engine.active if one.rule == "memory_growth"]
        # Other objects of the test process may have grown more, so it need not come first.
        assert re.search(
            r"; grew in the last hour: .*\bbot\.history \(list, from .*to 1,000,000 items\)", alert.message
        )
        found = (await findings(home))["memory growth"]
        assert not found.well
        assert "bot.history (list, from " in found.text
