"""Routes that carry a token in their path: interaction callbacks, followups, incoming webhooks."""

from __future__ import annotations

import time

from loopback import messages
from loopback.calls import Call, Invalid, Refused, Reply, Route
from loopback.exchanges import EPHEMERAL, LOADING, Exchange
from loopback.interactions import AUTOCOMPLETE, COMMAND, COMPONENT, MODAL
from loopback.limits_commands import check_choices
from loopback.limits_components import check_modal
from loopback.payloads import JSON
from loopback.problems import Problems

PONG, REPLY, DEFER, DEFER_UPDATE, UPDATE, CHOICES, OPEN_MODAL = 1, 4, 5, 6, 7, 8, 9
ALLOWED = {
    COMMAND: {REPLY, DEFER, OPEN_MODAL},
    COMPONENT: {REPLY, DEFER, DEFER_UPDATE, UPDATE, OPEN_MODAL},
    AUTOCOMPLETE: {CHOICES},
    MODAL: {REPLY, DEFER, DEFER_UPDATE, UPDATE},
}


async def post_callback(call: Call) -> Reply:
    """The first answer to an interaction; with `with_response` it tells what came of it."""
    exchange = call.rest.exchanges.to_acknowledge(call["webhook_id"], call["webhook_token"])
    kind, data = call.body.get("type"), call.body.get("data") or {}
    _check_kind(call, exchange, kind, data)
    if kind in {REPLY, DEFER}:
        exchange.original = await _respond(call, exchange, kind, data)
    elif kind == UPDATE:
        exchange.original = await messages.edit(call, exchange.interaction["message"], data, path="data")
    elif kind == DEFER_UPDATE:
        exchange.original = exchange.interaction.get("message")
    exchange.callback, exchange.files = call.body, call.files
    exchange.acknowledged_s = time.perf_counter()
    exchange.notify()
    wanted = call.query.get("with_response") in {"1", "true"}
    return Reply(200, _callback_response(exchange, kind)) if wanted else Reply(204)


async def post_webhook(call: Call) -> Reply:
    """A followup, or a message by an incoming webhook."""
    exchange = call.rest.exchanges.to_follow_up(call["webhook_token"])
    if exchange is None:
        hook = _hook(call)
        author = call.rest.world.bot | {"id": hook["id"], "username": (call.body or {}).get("username") or hook["name"]}
        message = await messages.create(call, hook["channel_id"], author, call.body or {}, webhook_id=hook["id"])
        return Reply(200, message) if call.query.get("wait") in {"1", "true"} else Reply(204)
    if exchange.loading:
        return Reply(200, await _finish_loading(call, exchange))
    channel_id = exchange.interaction["channel_id"]
    message = await messages.create(call, channel_id, call.rest.world.bot, call.body or {}, **_marks(call, exchange))
    exchange.followups.append(message)
    exchange.notify()
    return Reply(200, message)


async def get_webhook(call: Call) -> Reply:
    return Reply(200, _hook(call))


async def get_message(call: Call) -> Reply:
    return Reply(200, _message(call))


async def patch_message(call: Call) -> Reply:
    message = _message(call)
    exchange = call.rest.exchanges.to_follow_up(call["webhook_token"])
    if exchange is not None and message is exchange.original and exchange.loading:
        return Reply(200, await _finish_loading(call, exchange))
    message = await messages.edit(call, message, call.body or {})
    if exchange is not None:
        exchange.notify()
    return Reply(200, message)


async def delete_message(call: Call) -> Reply:
    await messages.delete(call, _message(call))
    return Reply(204)


def _check_kind(call: Call, exchange: Exchange, kind: int, data: JSON) -> None:
    problems = Problems()
    asked = exchange.interaction["type"]
    if kind not in ALLOWED[asked]:
        message = f"Interaction callback type {kind} is invalid for interaction type {asked}."
        problems.add("type", "INTERACTION_CALLBACK_TYPE_INVALID", message)
    elif kind in {UPDATE, DEFER_UPDATE} and "message" not in exchange.interaction:
        problems.add("type", "INTERACTION_CALLBACK_TYPE_INVALID", "There is no message to update.")
    elif kind == CHOICES:
        check_choices(problems, data.get("choices") or [], "data.choices")
    elif kind == OPEN_MODAL:
        check_modal(problems, data)
    if problems.found:
        raise Invalid(problems)


async def _respond(call: Call, exchange: Exchange, kind: int, data: JSON) -> JSON:
    channel_id, bot, marks = exchange.interaction["channel_id"], call.rest.world.bot, _marks(call, exchange)
    if kind == REPLY:
        return await messages.create(call, channel_id, bot, data, path="data", **marks)
    return call.rest.world.new_message(channel_id, bot, flags=data.get("flags", 0) | LOADING, **marks)


async def _finish_loading(call: Call, exchange: Exchange) -> JSON:
    """The first followup after a defer, like an edit of @original, fills the message that is loading."""
    assert exchange.original is not None
    flags = exchange.original["flags"] & EPHEMERAL
    message = await messages.edit(call, exchange.original, call.body or {})
    message["flags"] = (message["flags"] & ~LOADING) | flags
    exchange.notify()
    return message


def _marks(call: Call, exchange: Exchange) -> JSON:
    application_id = call.rest.world.application_id
    asker = exchange.interaction.get("member", exchange.interaction).get("user")
    metadata = {"id": exchange.interaction["id"], "type": exchange.interaction["type"], "user": asker}
    metadata["authorizing_integration_owners"] = exchange.interaction["authorizing_integration_owners"]
    return {"webhook_id": application_id, "application_id": application_id, "interaction_metadata": metadata}


def _callback_response(exchange: Exchange, kind: int) -> JSON:
    interaction: JSON = {"id": exchange.interaction["id"], "type": exchange.interaction["type"]}
    answer: JSON = {"interaction": interaction}
    if exchange.original is not None:
        interaction["response_message_id"] = exchange.original["id"]
        interaction["response_message_loading"] = exchange.loading
        interaction["response_message_ephemeral"] = bool(exchange.original["flags"] & EPHEMERAL)
    if kind in {REPLY, DEFER, UPDATE}:
        answer["resource"] = {"type": kind, "message": exchange.original}
    return answer


def _hook(call: Call) -> JSON:
    hook = call.rest.world.webhooks.get(call["webhook_id"])
    if hook is None:
        raise Refused(404, 10015, "Unknown Webhook")
    if hook["token"] != call["webhook_token"]:
        raise Refused(401, 50027, "Invalid Webhook Token")
    return hook


def _message(call: Call) -> JSON:
    exchange = call.rest.exchanges.to_follow_up(call["webhook_token"])
    message_id = call.parameters.get("message_id", "@original")
    if exchange is None:
        return messages.find(call, _hook(call)["channel_id"], message_id)
    if message_id != "@original":
        return messages.find(call, exchange.interaction["channel_id"], message_id)
    if exchange.original is None:
        raise Refused(404, 10008, "Unknown Message")
    return messages.find(call, exchange.original["channel_id"], exchange.original["id"])


_HOOK = "/webhooks/{webhook_id}/{webhook_token}"

ROUTES = [
    Route("POST", "/interactions/{webhook_id}/{webhook_token}/callback", post_callback, needs_bot_token=False),
    Route("POST", _HOOK, post_webhook, needs_bot_token=False),
    Route("GET", _HOOK, get_webhook, needs_bot_token=False),
    *(
        Route(method, f"{_HOOK}/messages/{which}", handler, needs_bot_token=False)
        for which in ("@original", "{message_id}")
        for method, handler in (("GET", get_message), ("PATCH", patch_message), ("DELETE", delete_message))
    ),
]
