"""``/perf thresholds``: what is in effect, set with a preview, reset, and who changed what."""

import time

import pytest

import cogmeter
from cogmeter.alerts.model import Subject
from cogmeter.alerts.review.threshold_changes import effective_limits
from cogmeter.alerts.rules import RULES
from cogmeter.diagnostics.doctor import examine
from cogmeter_storage import StorageError
from cogmeter_storage.model import HOUR_US, MINUTE_US

ERRORS = Subject("error_rate", "knowledge-graph")


async def asked(home, command, **options):
    return (await home.owner.slash(home.channel, f"perf thresholds {command}", **options)).response


async def viewed(home, **options):
    """All pages of the list."""
    await asked(home, "view", **options)
    message = home.channel.last_message
    pages = [message.embeds[0].description]
    while (button := next_button(message)) is not None and not button.disabled:
        await home.owner.click(message, label="Next")
        message = home.channel.last_message
        pages.append(message.embeds[0].description)
    return "\n".join(pages)


def next_button(message):
    """The button of the next page, if there are pages."""
    items = [item for row in message.components for item in row.children]
    return next((item for item in items if item.label == "Next"), None)


async def apply(home, **options):
    await asked(home, "set", **options)
    await home.owner.click(home.channel.last_message, label="Apply")
    return home.channel.last_message.embeds[0]


def holds(home, subject=ERRORS):
    return home.monitor.alerting.limits.of(subject)


async def test_every_rule_is_listed_with_its_value_and_where_that_comes_from(move_in):
    async with move_in(PERFORMANCE_ALERT_THRESHOLD_ERROR_RATE=0.08, PERFORMANCE_ALERT_THRESHOLD_STALL=0) as home:
        said = await viewed(home)
        assert all(f"**{rule.title}** (`{rule.name}`): " in said for rule in RULES.values())
        assert "**Error rate** (`error_rate`): above **8%** (.env)\n" in said
        assert "↳ Alert when the error rate exceeds this share.\n" in said
        assert "**Response time** (`response_time`): above **5 s** (default)" in said
        assert "**Low traffic** (`low_traffic`): below **10% of usual** (default)" in said
        assert "**Background loop** (`dead_loops`): at or above **1 loop** (default)" in said
        assert "**Blocked event loop** (`stall`): **off** (.env)" in said
        assert "**Error budget** (`burn_rate`): **off** (default)" in said
        assert "**Lost connections** (`disconnects`): above **5 times in 10 min** (default)" in said


async def test_of_one_service_only_the_rules_that_judge_it_are_listed(move_in):
    async with move_in() as home:
        said = await viewed(home, service="knowledge-graph")
        assert "error_rate" in said
        assert not [rule for rule in ("stall", "gateway", "memory", "acknowledgement", "dead") if f"`{rule}" in said]
        assert "acknowledgement" in await viewed(home, service="discord.acknowledgement")


async def test_a_command_is_named_by_its_label(move_in):
    async with move_in() as home:
        home.monitor.recorder.record("discord.commands", "ask", duration_ms=20)
        await home.monitor.flusher.flush()
        said = await viewed(home, service="/ask")
        assert "**/ask: " not in said
        assert "**Response time of /ask** (`response_time@discord.commands/ask`): above **5 s**" in said
        assert "Memory" not in said
        await apply(home, rule="response_time", value="9s", service="/ask")
        assert holds(home, Subject("response_time", "discord.commands", "ask")).threshold == 9_000
        refused = await asked(home, "set", rule="response_time", value="9s", service="/nobody")
        assert "'/nobody' has been recorded" in str(refused.content or refused.embeds[0].description)


async def test_a_change_is_previewed_and_is_in_effect_after_apply(move_in):
    async with move_in() as home:
        for number in range(40):
            cogmeter.record("knowledge-graph", "query", duration_ms=1, error="no" if number % 2 else None)
        await home.flushed()
        message = await asked(home, "set", rule="error_rate", value="7%", service="knowledge-graph")
        said = message.embeds[0].description
        assert "**error\\_rate@knowledge-graph**: 5% → **7%**" in said
        assert "this would have fired **once, for" in said
        assert "the current limit: once, for" in said
        assert holds(home).threshold == 0.05
        await home.owner.click(home.channel.last_message, label="Apply")
        changed = home.channel.last_message
        assert changed.embeds[0].title == "Threshold changed"
        assert changed.components == []
        assert holds(home).threshold == 0.07
        assert holds(home, Subject("error_rate", "web-crawling")).threshold == 0.05
        assert "above **7%** (changed by owner <t:" in await viewed(home, service="knowledge-graph")
        line = "**Error rate of knowledge-graph** (`error_rate@knowledge-graph`): above **7%** (changed by owner <t:"
        assert line in await viewed(home)


async def test_the_preview_of_a_higher_threshold_has_fewer_alerts(move_in):
    async with move_in() as home:
        for number in range(40):
            cogmeter.record("knowledge-graph", "query", duration_ms=1, error="no" if number % 2 else None)
        await home.flushed()
        message = await asked(home, "set", rule="error_rate", value="0.6")
        assert "fired **0 times**; the current limit: once, for" in message.embeds[0].description


async def test_what_cannot_be_replayed_can_be_set_all_the_same(move_in):
    async with move_in() as home:
        message = await asked(home, "set", rule="memory_growth", value="0.8")
        assert "No preview: this rule" in message.embeds[0].description
        await home.owner.click(home.channel.last_message, label="Apply")
        assert holds(home, Subject("memory_growth", "(bot)")).threshold == 0.8


async def test_nothing_is_changed_by_cancel(move_in):
    async with move_in() as home:
        await asked(home, "set", rule="error_rate", value="0.5")
        await home.owner.click(home.channel.last_message, label="Cancel")
        assert "is unchanged" in home.channel.last_message.embeds[0].description
        assert home.channel.last_message.components == []
        assert await home.monitor.store.alerting.overrides() == {}


async def test_a_stranger_can_apply_nothing(move_in):
    async with move_in() as home:
        await asked(home, "set", rule="error_rate", value="0.5")
        refused = await home.stranger.click(home.channel.last_message, label="Apply")
        assert refused.ephemeral
        assert "owner and team" in refused.response.content
        result = await home.stranger.slash(home.channel, "perf thresholds set", rule="error_rate", value="1")
        assert result.ephemeral
        assert await home.monitor.store.alerting.overrides() == {}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rule": "error_rate", "value": "7"}, "0 to 1"),
        ({"rule": "error_rate", "value": "many"}, "a share from 0 to 1 or a percentage, e.g. 5%"),
        ({"rule": "error_rate", "value": "9" * 5_000}, "0 to 1"),
        ({"rule": "response_time", "value": "-1"}, "0 to 86400000"),
        ({"rule": "response_time", "value": "90000s"}, "0 to 86400000"),
        ({"rule": "response_time", "value": "p42", "field": "statistic"}, "average, p50, p95, p99"),
        ({"rule": "error_rate", "value": "bad", "field": "severity"}, "info, warning, critical"),
        ({"rule": "error_rate", "value": "2.5", "field": "min_operations"}, "whole number"),
        ({"rule": "error_rat", "value": "0.1"}, "`error_rate`"),
        ({"rule": "error_rate", "value": "0.1", "operation": "query"}, "Name the service"),
        ({"rule": "stall", "value": "1s", "service": "knowledge-graph"}, "leave the service"),
        ({"rule": "low_traffic", "value": "0.1", "service": "a", "operation": "b"}, "leave the operation out"),
    ],
)
async def test_what_cannot_be_is_refused_with_what_can_where_only_who_asked_sees_it(move_in, options, words):
    async with move_in() as home:
        result = await home.owner.slash(home.channel, "perf thresholds set", **options)
        assert result.ephemeral
        assert words in result.response.content
        assert home.channel.history() == []
        assert await home.monitor.store.alerting.audit() == []


@pytest.mark.parametrize("service", ["odd.for", "openai/gpt-4", "a%2Fb", "@everyone"])
async def test_a_service_of_any_name_has_thresholds_of_its_own(move_in, service):
    async with move_in() as home:
        assert (await apply(home, rule="error_rate", value="0.3", service=service)).title == "Threshold changed"
        assert holds(home, Subject("error_rate", service)).threshold == 0.3
        assert "**30%** (changed by owner" in await viewed(home, service=service)
        assert (await asked(home, "reset", rule="error_rate", service=service)).embeds[0].title == "Threshold reset"
        assert holds(home, Subject("error_rate", service)).threshold == 0.05


async def test_a_change_survives_a_restart_and_wins_over_the_settings_until_it_is_reset(move_in, monkeypatch):
    async with move_in() as home:
        await apply(home, rule="error_rate", value="0.3", service="knowledge-graph")
        await apply(home, rule="response_time", value="2m", field="for")
        monkeypatch.setenv("PERFORMANCE_ALERT_THRESHOLD_ERROR_RATE", "0.02")
        await home.bot.unload_extension("cogmeter.cog")
        await home.bot.load_extension("cogmeter.cog")
        await home.env.settle()
        assert holds(home).threshold == 0.3
        assert holds(home, Subject("response_time", "a")).for_s == 120
        assert holds(home, Subject("error_rate", "web-crawling")).threshold == 0.02
        said = await viewed(home)
        assert "**Response time** (`response_time.for`): fires after **2 min** (changed by owner" in said
        reset = await asked(home, "reset", rule="error_rate", service="knowledge-graph")
        assert "30% → **2%** (.env)" in reset.embeds[0].description
        assert holds(home).threshold == 0.02


async def test_a_reset_of_what_was_never_changed_is_refused(move_in):
    async with move_in() as home:
        result = await home.owner.slash(home.channel, "perf thresholds reset", rule="error_rate")
        assert result.ephemeral
        assert "nothing to reset" in result.response.content


async def test_a_calibrated_threshold_is_listed_and_a_reset_learns_it_again(move_in):
    async with move_in() as home:
        assert "`response_time@discord.commands" not in await viewed(home)
        store, now_us = home.monitor.store, time.time_ns() // 1000
        (series,) = await store.series_ids([("discord.commands", "ask")])
        ends_us = range(now_us - 74 * HOUR_US, now_us - HOUR_US, 2 * MINUTE_US)
        await store.append([[(series, at_us, 6_000_000, 0, None, None) for at_us in ends_us]], now_us=now_us)
        await home.monitor.alerting.calibrate()
        said = await viewed(home, service="discord.commands")
        assert "(`response_time@discord.commands`): above **12 s** (calibrated from 3 d" in said
        assert "(`response_time@discord.commands/ask`): above **12 s** (calibrated from 3 d" in said
        assert "(`throughput@discord.commands`): above **100/min** (default)" in said
        (line,) = (one.text for one in await examine(home.monitor) if one.name == "thresholds")
        limits = await effective_limits(store, home.monitor.settings)
        in_effect = [limit for limit in await limits.others(None) if limit.origin == "calibrated"]
        assert line.startswith(f"6 learned: {len(in_effect)} in effect (response_time@")
        assert line.endswith(f"; {6 - len(in_effect)} within the defaults, which apply instead")
        assert "response_time@discord.commands/ask 12 s" in line
        options = {"rule": "response_time", "service": "discord.commands", "operation": "ask"}
        again = (await asked(home, "reset", **options)).embeds[0]
        assert again.title == "Thresholds learned again"
        assert "by owner" in again.description
        assert "(`response_time@discord.commands/ask`): above **12 s** (calibrated from 3 d" in again.description
        await apply(home, **options, value="9s")
        assert holds(home, Subject("response_time", "discord.commands", "ask")).threshold == 9_000
        assert "9 s → **12 s** (calibrated from" in (await asked(home, "reset", **options)).embeds[0].description


async def test_every_change_is_audited_by_who_when_from_and_to(move_in):
    async with move_in() as home:
        await apply(home, rule="error_rate", value="10%")
        await apply(home, rule="error_rate", value="0.2")
        await asked(home, "reset", rule="error_rate")
        entries = await home.monitor.store.alerting.audit()
        assert [(one.actor, one.action, one.subject, one.before, one.after) for one in entries] == [
            ("owner", "threshold reset", "error_rate", "0.2", ""),
            ("owner", "threshold set", "error_rate", "0.1", "0.2"),
            ("owner", "threshold set", "error_rate", "", "0.1"),
        ]
        said = (await asked(home, "audit")).embeds[0].description.split("\n")
        assert len(said) == 3
        assert "**owner**: threshold set error\\_rate: `10%` → `20%`" in said[1]
        assert said[1].startswith("<t:")
        assert "`20%` → the configured value" in said[0]


async def test_the_same_value_again_changes_nothing(move_in):
    async with move_in() as home:
        await apply(home, rule="error_rate", value="10%")
        result = await home.owner.slash(home.channel, "perf thresholds set", rule="error_rate", value="0.1")
        assert result.ephemeral
        assert "is 10% already" in result.response.content
        assert len(await home.monitor.store.alerting.audit()) == 1


async def test_a_change_that_cannot_be_read_back_is_in_effect_from_the_next_check(move_in, monkeypatch):
    async def fails(*_):
        raise StorageError("the disk is busy", permanent=False)

    async with move_in() as home:
        with monkeypatch.context() as patched:
            patched.setattr(type(home.monitor.store.alerting), "overrides", fails)
            assert len(await home.monitor.override({"error_rate": "9%"}, "Ada")) == 1
            await home.monitor.alerting.check()
            assert holds(home).threshold == 0.05
        await home.monitor.alerting.check()
        assert holds(home).threshold == 0.09


async def test_a_change_is_marked(move_in):
    async with move_in() as home:
        await apply(home, rule="error_rate", value="10%")
        await home.flushed()
        markers = await home.monitor.store.markers(0, 2**62)
        assert any(one.kind == "threshold" and "error_rate" in one.name for one in markers)


async def test_rules_services_and_operations_are_completed(move_in):
    async with move_in() as home:
        cogmeter.record("lexicon", "query", duration_ms=1)
        await home.flushed()

        async def completed(option, typed, **chosen):
            found = await home.owner.autocomplete(home.channel, "perf thresholds set", option, typed, **chosen)
            return [one["value"] for one in found]

        assert (await completed("rule", "error"))[0] == "error_rate"
        assert len(await completed("rule", "")) == len(RULES)
        assert await completed("service", "lexic") == ["lexicon"]
        assert await completed("operation", "", service="lexicon") == ["query"]


async def test_the_audit_names_channels_and_roles_next_to_their_ids(move_in):
    async with move_in() as home:
        ops = f"#{home.bot.get_channel(home.channel.id).name} ({home.channel.id})"
        change = home.monitor.setting_changes.change
        await change({"alert_channel_id": str(home.channel.id)}, "Ada")
        await change({"alert_channel_id": "42", "ops_role_ids": str(home.guild.id)}, "Ada")
        said = (await asked(home, "audit")).embeds[0].description
        assert f"`{ops}` → `42`" in said
        assert f"the configured value → `@everyone ({home.guild.id})`" in said
