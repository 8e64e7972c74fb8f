"""``/perf alerts`` and ``/perf test-alert``: active and past alerts by page, and whether the targets can be reached."""

import re
import time

import pytest
from factories import make_alert

import cogmeter
from cogmeter_storage.alerting import AlertState, Step
from cogmeter_storage.model import HOUR_US, MINUTE_US


def alert(number=1, **more):
    now_us = time.time_ns() // 1000
    given = {
        "uid": f"alert-{number}",
        "severity": "critical",
        "worst": 0.12,
        "started_us": now_us - 12 * MINUTE_US,
        "changed_us": now_us - (100 - number) * MINUTE_US,
        "fired_us": now_us - 10 * MINUTE_US,
    }
    return make_alert(now_us, **given | more)


async def keep(home, *alerts):
    return await home.monitor.store.alerting.save([Step(one) for one in alerts])


def pages(message):
    """Whether each button of the pages can be pressed."""
    buttons = {item.label: not item.disabled for row in message.components for item in row.children}
    return {name: buttons[name] for name in ("Previous", "Next")}


async def asked(home, command, **options):
    (embed,) = (await home.owner.slash(home.channel, f"perf {command}", **options)).response.embeds
    return embed


async def test_a_line_says_what_how_bad_since_when_and_in_whose_hands(move_in):
    async with move_in() as home:
        now_us = time.time_ns() // 1000
        await keep(
            home,
            alert(1),
            alert(2, rule="response_time", operation="query", severity="warning", threshold=5_000, current=8_200),
            alert(
                3, service="web-crawling", state=AlertState.ACKNOWLEDGED, acknowledged_us=now_us, acknowledged_by="ann"
            ),
            alert(4, rule="throughput", state=AlertState.MUTED, muted_until_us=now_us + HOUR_US, flapping=True),
        )
        said = (await asked(home, "alerts")).description
        lines = said.split("\n")
        assert "\N{OCTAGONAL SIGN} Error rate of knowledge-graph: **7.8%** (threshold 5%, peak 12%)" in lines
        assert any("Response time of knowledge-graph / query: **8.2 s** (threshold 5 s" in line for line in lines)
        assert any(re.search(r"critical · firing, began <t:\d+:t>, 12 min ago · Alert 1$", line) for line in lines)
        assert any("acknowledged by ann" in line and "Alert " in line for line in lines)
        assert any("muted until <t:" in line and "flapping" in line for line in lines)
        assert "\N{EYES}" in said


async def test_states_and_services_are_distinguished(move_in):
    async with move_in() as home:
        now_us = time.time_ns() // 1000
        await keep(
            home,
            alert(1),
            alert(2, rule="throughput", state=AlertState.RESOLVED, resolved_us=now_us),
            alert(3, service="web-crawling", state=AlertState.PENDING, fired_us=None),
        )
        assert "Throughput" not in (await asked(home, "alerts")).description
        assert "Error rate of web-crawling" in (await asked(home, "alerts")).description
        resolved = (await asked(home, "alerts", state="resolved")).description
        assert "Throughput of knowledge-graph: peaked at **" in resolved
        assert "lasted 12 min" in resolved
        assert "Error rate" not in resolved
        history = (await asked(home, "alerts", state="history")).description
        assert "Throughput" in history
        assert "web-crawling" not in history  # it is not delivered yet
        one = await asked(home, "alerts", service="web-crawling")
        assert "knowledge-graph" not in one.description
        assert one.title.endswith("of web-crawling")


async def test_an_unknown_service_is_reported_to_the_user_with_similar_names(move_in):
    async with move_in() as home:
        cogmeter.record("knowledge-graph", "query", duration_ms=1)
        await home.flushed()
        result = await home.owner.slash(home.channel, "perf alerts", service="knowlege-graph")
        assert result.ephemeral
        assert result.response.content == "No service 'knowlege-graph' has been recorded. Did you mean knowledge-graph?"
        assert (await asked(home, "alerts", service="(bot)")).description.startswith("No active alerts")


@pytest.mark.parametrize("state", ["active", "history", "firing", "acknowledged", "muted", "resolved"])
async def test_an_empty_list_has_a_message(move_in, state):
    async with move_in() as home:
        embed = await asked(home, "alerts", state=state)
        assert embed.description.endswith(".")
        assert "None" not in embed.description


async def test_a_long_list_is_turned_page_by_page_and_a_stranger_turns_none(move_in):
    async with move_in() as home:
        await keep(home, *(alert(number, service=f"service-{number:02}") for number in range(20)))
        await home.owner.slash(home.channel, "perf alerts")
        message = home.channel.last_message
        assert pages(message) == {"Previous": False, "Next": True}
        assert "service-19" in message.embeds[0].description
        refused = await home.stranger.click(message, label="Next")
        assert refused.ephemeral
        assert "owner and team" in refused.response.content
        await home.owner.click(message, label="Next")
        await home.owner.click(message, label="Next")
        message = home.channel.last_message
        assert message.embeds[0].footer.text == "Page 3, last page"
        assert "service-00" in message.embeds[0].description
        assert pages(message) == {"Previous": True, "Next": False}
        await home.owner.click(message, label="Previous")
        assert "service-10" in home.channel.last_message.embeds[0].description


async def test_buttons_end_with_their_time_and_with_the_cog(move_in):
    async with move_in() as home:
        await keep(home, *(alert(number) for number in range(20)))
        await home.owner.slash(home.channel, "perf alerts")
        assert home.channel.last_message.components
        await home.env.advance_time(900)
        await home.env.settle()
        assert home.channel.last_message.components == []
        await home.owner.slash(home.channel, "perf alerts")
        await home.bot.unload_extension("cogmeter.cog")
        await home.env.settle()
        assert home.channel.last_message.components == []
        await home.bot.load_extension("cogmeter.cog")


async def test_a_stranger_gets_no_data(move_in):
    async with move_in() as home:
        await keep(home, alert())
        for command in ("alerts", "thresholds view", "thresholds audit", "report", "test-alert"):
            result = await home.stranger.slash(home.channel, f"perf {command}")
            assert result.ephemeral
            assert result.response.embeds == []


async def test_a_test_alert_shows_the_result_of_each_target(move_in):
    async def prepare(home, monkeypatch):
        monkeypatch.setenv("PERFORMANCE_ALERT_CHANNEL_ID", str(home.channel.id))

    async with move_in(prepare=prepare) as home:
        embed = await asked(home, "test-alert")
        assert embed.title == "Test alert delivered"
        assert "✓ **channel**" in embed.description
        assert "✓ **log**" in embed.description
        assert any("Test" in (one.embeds[0].title or "") for one in home.channel.history() if one.embeds)
        home.env.inject_error("POST", "/channels/*/messages", status=403, code=50013, message="Missing Permissions")
        embed = await asked(home, "test-alert")
        assert embed.title == "Test alert: 1 of 2 targets failed"
        assert "✗ **channel**: PERFORMANCE\\_ALERT\\_CHANNEL\\_ID=" in embed.description
        assert "Missing Permissions" in embed.description
        assert "✓ **log**" in embed.description


def texts(command):
    """Every name and description below a command, as (key, text)."""
    for key in ("name", "description"):
        yield key, command[key]
    for option in command.get("options", []):
        yield from texts(option)
        choices = option.get("choices", [])
        assert len(choices) <= 25
        for choice in choices:
            yield "choice", choice["name"]
            yield "choice", str(choice["value"])
        wanted = [bool(one.get("required")) for one in option.get("options", [])]
        assert wanted == sorted(wanted, reverse=True), "options that are required come first"


async def test_discord_takes_the_commands_as_they_are(move_in):
    async with move_in() as home:
        (group,) = [one for one in home.bot.tree.get_commands() if one.name == "perf"]
        said = list(texts(group.to_dict(home.bot.tree)))
        assert all(re.fullmatch(r"[-_a-z0-9]{1,32}", text) for key, text in said if key == "name")
        assert all(1 <= len(text) <= 100 for key, text in said if key != "name")
        assert sum(len(text) for _, text in said) < 8_000
        assert {"alerts", "thresholds", "mute", "unmute", "test-alert", "report"} <= {text for _, text in said}


async def test_names_from_users_are_shown_as_they_are_and_lists_stay_within_discords_limits(move_in):
    async with move_in() as home:
        odd = "**@everyone** `<@1>` " + "long " * 60
        await keep(
            home,
            *(alert(number, service=odd, operation=odd, acknowledged_by=odd, acknowledged_us=1) for number in range(9)),
        )
        embed = await asked(home, "alerts")
        assert len(embed) <= 6_000
        assert "\\*\\*@\u200beveryone\\*\\*" in embed.description
        assert "<@1>" not in embed.description.replace("\\<@1\\>", "")
