"""Routes that read or set state: the bot itself, gateway addresses, guilds, channels, commands."""

from __future__ import annotations

from loopback import payloads
from loopback.calls import Call, Invalid, Refused, Reply, Route
from loopback.limits_commands import check_commands
from loopback.payloads import JSON
from loopback.problems import Problems


async def get_me(call: Call) -> Reply:
    return Reply(200, call.rest.world.bot | {"verified": True, "mfa_enabled": True, "email": None})


async def get_user(call: Call) -> Reply:
    return Reply(200, _found(call.rest.world.users, call["user_id"], 10013, "Unknown User"))


async def get_application(call: Call) -> Reply:
    world = call.rest.world
    return Reply(200, payloads.application(world.application_id, world.bot, world.owner, len(world.guilds)))


async def get_gateway_bot(call: Call) -> Reply:
    limit = {"total": 1000, "remaining": 999, "reset_after": 86_400_000, "max_concurrency": 1}
    return Reply(200, {"url": call.rest.gateway_url, "shards": call.rest.shards, "session_start_limit": limit})


async def get_guild(call: Call) -> Reply:
    return Reply(200, _found(call.rest.world.guilds, call["guild_id"], 10004, "Unknown Guild"))


async def get_guild_channels(call: Call) -> Reply:
    await get_guild(call)
    return Reply(200, call.rest.world.channels_of(call["guild_id"]))


async def get_guild_roles(call: Call) -> Reply:
    return Reply(200, (await get_guild(call)).body["roles"])


async def get_guild_member(call: Call) -> Reply:
    await get_guild(call)
    members = call.rest.world.members[call["guild_id"]]
    return Reply(200, _found(members, call["user_id"], 10007, "Unknown Member"))


async def patch_guild_member(call: Call) -> Reply:
    """Changes what is named, such as the end of a timeout."""
    member: JSON = (await get_guild_member(call)).body
    member.update(call.body)
    return Reply(200, member)


async def change_role(call: Call) -> Reply:
    """Gives a member a role, or takes it away."""
    roles: list[str] = (await get_guild_member(call)).body["roles"]
    if call.route.startswith("PUT"):
        roles.append(call["role_id"])
    elif call["role_id"] in roles:
        roles.remove(call["role_id"])
    return Reply(204)


async def post_guild_channel(call: Call) -> Reply:
    await get_guild(call)
    channel = call.rest.world.add_channel(call["guild_id"], call.body["name"])
    channel.update({key: value for key, value in call.body.items() if key in channel})
    return Reply(201, channel)


async def get_channel(call: Call) -> Reply:
    return Reply(200, _found(call.rest.world.channels, call["channel_id"], 10003, "Unknown Channel"))


async def open_dm(call: Call) -> Reply:
    _found(call.rest.world.users, str(call.body["recipient_id"]), 10013, "Unknown User")
    return Reply(200, call.rest.world.open_dm(str(call.body["recipient_id"])))


async def get_commands(call: Call) -> Reply:
    return Reply(200, call.rest.world.commands[call.parameters.get("guild_id")])


async def put_commands(call: Call) -> Reply:
    problems = Problems()
    check_commands(problems, call.body)
    if problems.found:
        raise Invalid(problems)
    scope = call.parameters.get("guild_id")
    call.rest.world.commands[scope] = [_stored(call, command, scope) for command in call.body]
    return Reply(200, call.rest.world.commands[scope])


async def post_command(call: Call) -> Reply:
    problems = Problems()
    check_commands(problems, [call.body])
    if problems.found:
        raise Invalid(problems)
    scope = call.parameters.get("guild_id")
    stored = _stored(call, call.body, scope)
    same = (stored["name"], stored["type"])
    others = [old for old in call.rest.world.commands[scope] if (old["name"], old["type"]) != same]
    call.rest.world.commands[scope] = [*others, stored]
    return Reply(201, stored)


def _stored(call: Call, command: JSON, scope: str | None) -> JSON:
    world = call.rest.world
    defaults = {"type": 1, "description": "", "options": [], "nsfw": False, "default_member_permissions": None}
    identity = {"id": world.snowflake(), "application_id": world.application_id, "version": world.snowflake()}
    return defaults | command | identity | ({"guild_id": scope} if scope else {})


def _found(things: dict[str, JSON], key: str, code: int, message: str) -> JSON:
    if key not in things:
        raise Refused(404, code, message)
    return things[key]


ROUTES = [
    Route("GET", "/users/@me", get_me),
    Route("GET", "/users/{user_id}", get_user),
    Route("POST", "/users/@me/channels", open_dm),
    Route("GET", "/oauth2/applications/@me", get_application),
    Route("GET", "/applications/@me", get_application),
    Route("GET", "/gateway/bot", get_gateway_bot),
    Route("GET", "/guilds/{guild_id}", get_guild),
    Route("GET", "/guilds/{guild_id}/channels", get_guild_channels),
    Route("GET", "/guilds/{guild_id}/roles", get_guild_roles),
    Route("GET", "/guilds/{guild_id}/members/{user_id}", get_guild_member),
    Route("PATCH", "/guilds/{guild_id}/members/{user_id}", patch_guild_member),
    Route("PUT", "/guilds/{guild_id}/members/{user_id}/roles/{role_id}", change_role),
    Route("DELETE", "/guilds/{guild_id}/members/{user_id}/roles/{role_id}", change_role),
    Route("POST", "/guilds/{guild_id}/channels", post_guild_channel),
    Route("GET", "/channels/{channel_id}", get_channel),
    Route("GET", "/applications/{application_id}/commands", get_commands),
    Route("PUT", "/applications/{application_id}/commands", put_commands),
    Route("POST", "/applications/{application_id}/commands", post_command),
    Route("GET", "/applications/{application_id}/guilds/{guild_id}/commands", get_commands),
    Route("PUT", "/applications/{application_id}/guilds/{guild_id}/commands", put_commands),
    Route("POST", "/applications/{application_id}/guilds/{guild_id}/commands", post_command),
]
