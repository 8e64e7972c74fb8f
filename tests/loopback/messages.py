"""Turns the body of a create or an edit into a stored message, or refuses it."""

from __future__ import annotations

from typing import Any

from loopback import payloads
from loopback.calls import Call, Invalid, Refused
from loopback.limits import FILE_BYTES, check_message, is_empty
from loopback.payloads import JSON
from loopback.problems import Problems

COPIED = ("content", "embeds", "components", "flags", "tts", "nonce")
FILES_KEPT = 200


async def create(call: Call, channel_id: str, author: JSON, body: JSON, *, path: str = "", **fields: Any) -> JSON:
    """Checks a body, stores the message and tells the gateway; `path` is where the body stands in the request."""
    _check(call, body, frozenset(), path)
    if is_empty(body, call.files):
        raise Refused(400, 50006, "Cannot send an empty message", violates=True)
    message = call.rest.world.new_message(channel_id, author, **fields)
    _apply(call, message, body)
    await call.rest.echo("MESSAGE_CREATE", message)
    return message


async def edit(call: Call, message: JSON, body: JSON, *, path: str = "") -> JSON:
    """Checks a body and changes a stored message by it."""
    _check(call, body, frozenset(entry["filename"] for entry in message["attachments"]), path)
    _apply(call, message, body)
    message["edited_timestamp"] = payloads.iso(call.rest.world.now_s())
    await call.rest.echo("MESSAGE_UPDATE", message)
    return message


async def delete(call: Call, message: JSON) -> None:
    """Removes a stored message."""
    call.rest.world.messages[message["channel_id"]].pop(message["id"], None)
    await call.rest.echo("MESSAGE_DELETE", message)


def find(call: Call, channel_id: str, message_id: str) -> JSON:
    """A stored message; 404/10008 if there is none."""
    message = call.rest.world.messages[channel_id].get(message_id)
    if message is None:
        raise Refused(404, 10008, "Unknown Message")
    return message


def of_nonce(call: Call, channel_id: str, body: JSON) -> JSON | None:
    """The message that was posted by the same nonce, where the body asks for it to be looked for."""
    if not body.get("enforce_nonce") or body.get("nonce") is None:
        return None
    kept = call.rest.world.messages[channel_id].values()
    return next((one for one in kept if one.get("nonce") == body["nonce"]), None)


def _check(call: Call, body: JSON, kept: frozenset[str], path: str) -> None:
    if any(len(file.data) > FILE_BYTES for file in call.files):
        raise Refused(413, 40005, "Request entity too large", violates=True)
    problems = Problems()
    check_message(problems, body, call.files, kept=kept, path=path)
    if problems.found:
        raise Invalid(problems)


def _apply(call: Call, message: JSON, body: JSON) -> None:
    for key in COPIED:
        if key in body:
            message[key] = body[key] if body[key] is not None else payloads.message("", "", {}, 0).get(key)
    message["embeds"] = [{"type": "rich"} | embed for embed in message["embeds"]]
    if "attachments" in body:
        kept = {str(entry.get("id")) for entry in body["attachments"]}
        message["attachments"] = [entry for entry in message["attachments"] if entry["id"] in kept]
    message["attachments"] = message["attachments"] + [_store(call, message, file) for file in call.files]
    urls = {f"attachment://{entry['filename']}": entry["url"] for entry in message["attachments"]}
    for key in ("embeds", "components"):
        message[key] = _rewritten(message[key], urls)
    if body.get("message_reference"):
        reference = {key: str(value) for key, value in body["message_reference"].items() if key.endswith("_id")}
        message["message_reference"] = reference | {"type": 0}


def _store(call: Call, message: JSON, file: Any) -> JSON:
    """Keeps a file where its address leads: unlike Discord's, the content server is on 127.0.0.1, too."""
    files = call.rest.world.files
    file_id = call.rest.world.snowflake()
    files[file_id] = (file.content_type, file.data)
    if len(files) > FILES_KEPT:
        del files[next(iter(files))]
    url = f"{call.rest.cdn_url}/attachments/{message['channel_id']}/{file_id}/{file.name}"
    return {
        "id": file_id,
        "filename": file.name,
        "size": len(file.data),
        "url": url,
        "proxy_url": url,
        "content_type": file.content_type,
    }


def _rewritten(node: Any, urls: dict[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _rewritten(value, urls) for key, value in node.items()}
    if isinstance(node, list):
        return [_rewritten(value, urls) for value in node]
    return urls.get(node, node) if isinstance(node, str) else node
