"""The simulated Discord: as many members as the people who use the bot need, and a connection with a session."""

from cogmeter.watch.gateway import sockets_of
from cogmeter_bot.demo.gauges import simulate_heartbeats
from cogmeter_bot.demo.profiles import GUILDS, LIVE_GUILDS, LIVE_USERS, USERS
from cogmeter_bot.demo.runner import DemoBot
from cogmeter_bot.demo.world import World


async def test_every_server_has_more_members_than_people_who_use_the_bot_in_it():
    bot = DemoBot()
    async with World(bot):
        members = [guild.member_count for guild in bot.guilds]
    assert len(members) == GUILDS + LIVE_GUILDS
    assert min(members[1:]) > USERS / GUILDS + LIVE_USERS / LIVE_GUILDS
    assert sum(members) > USERS + LIVE_USERS


async def test_the_simulated_connection_is_open_and_has_a_session_that_the_watch_counts():
    bot = DemoBot()
    async with World(bot):
        simulate_heartbeats(bot)
        ((shard, socket),) = sockets_of(bot)
        assert (shard, socket.open, bool(socket.session_id)) == (0, True, True)
