"""Routes in a channel: messages, typing, reactions, threads, webhooks."""

from __future__ import annotations

from loopback import messages, payloads
from loopback.calls import Call, Reply, Route
from loopback.payloads import JSON
from loopback.routes_state import get_channel


async def post_message(call: Call) -> Reply:
    await get_channel(call)
    body: JSON = call.body or {}
    posted = messages.of_nonce(call, call["channel_id"], body)
    if posted is not None:  # sent before, by this nonce: Discord gives the message of then, and makes no other
        return Reply(200, posted)
    return Reply(200, await messages.create(call, call["channel_id"], call.rest.world.bot, body))


async def get_messages(call: Call) -> Reply:
    await get_channel(call)
    stored = list(call.rest.world.messages[call["channel_id"]].values())[::-1]
    before, after = call.query.get("before"), call.query.get("after")
    stored = [m for m in stored if before is None or int(m["id"]) < int(before)]
    stored = [m for m in stored if after is None or int(m["id"]) > int(after)]
    return Reply(200, stored[: int(call.query.get("limit", 50))])


async def get_message(call: Call) -> Reply:
    return Reply(200, messages.find(call, call["channel_id"], call["message_id"]))


async def patch_message(call: Call) -> Reply:
    message = messages.find(call, call["channel_id"], call["message_id"])
    return Reply(200, await messages.edit(call, message, call.body or {}))


async def delete_message(call: Call) -> Reply:
    await messages.delete(call, messages.find(call, call["channel_id"], call["message_id"]))
    return Reply(204)


async def nothing(call: Call) -> Reply:
    await get_channel(call)
    return Reply(204)


async def post_thread(call: Call) -> Reply:
    """A thread, from a message (then it bears the message's id) or without one."""
    world = call.rest.world
    parent = (await get_channel(call)).body
    thread: JSON = payloads.text_channel(
        call.parameters.get("message_id") or world.snowflake(), parent["guild_id"], call.body["name"]
    ) | {
        "type": 11,
        "parent_id": parent["id"],
        "owner_id": world.bot["id"],
        "message_count": 0,
        "member_count": 1,
        "total_message_sent": 0,
        "thread_metadata": {
            "archived": False,
            "locked": False,
            "auto_archive_duration": call.body.get("auto_archive_duration") or 1440,
            "archive_timestamp": payloads.iso(world.now_s()),
            "create_timestamp": payloads.iso(world.now_s()),
        },
    }
    world.channels[thread["id"]] = thread
    return Reply(201, thread)


async def post_webhook(call: Call) -> Reply:
    await get_channel(call)
    return Reply(200, call.rest.world.add_webhook(call["channel_id"], call.body["name"]))


async def get_webhooks(call: Call) -> Reply:
    here = [hook for hook in call.rest.world.webhooks.values() if hook["channel_id"] == call["channel_id"]]
    return Reply(200, here)


_REACTION = "/channels/{channel_id}/messages/{message_id}/reactions/{emoji}/@me"

ROUTES = [
    Route("POST", "/channels/{channel_id}/messages", post_message),
    Route("GET", "/channels/{channel_id}/messages", get_messages),
    Route("GET", "/channels/{channel_id}/messages/{message_id}", get_message),
    Route("PATCH", "/channels/{channel_id}/messages/{message_id}", patch_message),
    Route("DELETE", "/channels/{channel_id}/messages/{message_id}", delete_message),
    Route("POST", "/channels/{channel_id}/typing", nothing),
    Route("PUT", _REACTION, nothing),
    Route("DELETE", _REACTION, nothing),
    Route("POST", "/channels/{channel_id}/threads", post_thread),
    Route("POST", "/channels/{channel_id}/messages/{message_id}/threads", post_thread),
    Route("POST", "/channels/{channel_id}/webhooks", post_webhook),
    Route("GET", "/channels/{channel_id}/webhooks", get_webhooks),
]
