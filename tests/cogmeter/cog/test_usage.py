"""``/perf usage``: commands with the people who used them, counted by cogmeter itself."""

import cogmeter


async def test_commands_that_were_used_and_those_that_were_not_are_listed(move_in):
    async with move_in() as home:
        for user in (home.owner, home.owner):
            await user.slash(home.channel, "perf doctor")  # cogmeter's own commands do not count
        cogmeter.record("discord.commands", "ask", duration_ms=5)
        await home.monitor.flusher.flush()
        result = await home.owner.slash(home.channel, "perf usage")
        (embed,) = result.response.embeds
    assert embed.title == "Usage (last 7 days)"
    assert embed.description == "**1 run** of 1 command"
    assert embed.fields[0].value.startswith("**/ask** · 1 run")
