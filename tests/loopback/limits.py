"""Discord's documented limits for messages and embeds (API documentation: resources/message, reference)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from loopback.limits_components import V2_FLAG, check_components
from loopback.payloads import JSON
from loopback.problems import Problems
from loopback.recording import UploadedFile

FILE_BYTES = 10 * 1024 * 1024
REQUEST_BYTES = 25 * 1024 * 1024
EMBED_CHARACTERS = 6000
MESSAGE_KEYS = frozenset(
    [
        "content",
        "nonce",
        "enforce_nonce",
        "tts",
        "embeds",
        "allowed_mentions",
        "message_reference",
        "components",
        "sticker_ids",
        "attachments",
        "flags",
        "poll",
        "payload_json",
        "username",
        "avatar_url",
        "thread_name",
        "applied_tags",
        "shared_client_theme",
    ]
)
EMBED_KEYS = frozenset(
    [
        "title",
        "type",
        "description",
        "url",
        "timestamp",
        "color",
        "footer",
        "image",
        "thumbnail",
        "video",
        "provider",
        "author",
        "fields",
        "flags",
    ]
)
CONTENT_KEYS = ("content", "embeds", "components", "sticker_ids", "poll", "attachments", "message_reference")


def check_message(
    problems: Problems,
    body: JSON,
    files: tuple[UploadedFile, ...],
    *,
    kept: frozenset[str] = frozenset(),
    path: str = "",
) -> None:
    """Checks a message that is created or edited; `kept` are names of files that the message has already."""
    problems.keys(body, path, MESSAGE_KEYS)
    problems.text(body, path, "content", 2000)
    embeds = problems.count(body, path, "embeds", 10)
    prefix = f"{path}." if path else ""
    names = kept | {file.name for file in files}
    for number, embed in enumerate(embeds):
        check_embed(problems, embed, f"{prefix}embeds.{number}", names)
    if sum(map(embed_characters, embeds)) > EMBED_CHARACTERS:
        problems.add(
            f"{prefix}embeds", "MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum size of {EMBED_CHARACTERS}"
        )
    components = problems.count(body, path, "components", 40 if body.get("flags", 0) & V2_FLAG else 5)
    check_components(
        problems, components, f"{prefix}components", v2=bool((body.get("flags") or 0) & V2_FLAG), names=names
    )
    _check_v2_alone(problems, body, prefix)
    _check_uploads(problems, body, files, prefix)


def is_empty(body: JSON, files: tuple[UploadedFile, ...]) -> bool:
    """Whether a new message would show nothing (error 50006)."""
    return not files and not any(body.get(key) for key in CONTENT_KEYS)


def check_embed(problems: Problems, embed: JSON, path: str, names: frozenset[str]) -> None:
    """Checks one embed; `names` are the files that `attachment://` may point at."""
    problems.keys(embed, path, EMBED_KEYS)
    problems.text(embed, path, "title", 256)
    problems.text(embed, path, "description", 4096)
    problems.number(embed, path, "color", 0, 0xFFFFFF)
    _check_time(problems, embed, path)
    problems.text(embed.get("footer") or {}, f"{path}.footer", "text", 2048, required="footer" in embed)
    problems.text(embed.get("author") or {}, f"{path}.author", "name", 256, required="author" in embed)
    for number, entry in enumerate(problems.count(embed, path, "fields", 25)):
        problems.text(entry, f"{path}.fields.{number}", "name", 256, required=True)
        problems.text(entry, f"{path}.fields.{number}", "value", 1024, required=True)
    for holder, key in (("image", "url"), ("thumbnail", "url"), ("footer", "icon_url"), ("author", "icon_url")):
        problems.address((embed.get(holder) or {}).get(key), f"{path}.{holder}.{key}", names)
    problems.address(embed.get("url"), f"{path}.url", frozenset())
    if not embed.keys() - {"type", "flags"}:
        problems.add(f"{path}.description", "BASE_TYPE_REQUIRED", "This field is required")


def embed_characters(embed: JSON) -> int:
    """The characters of an embed that count towards 6000: title, description, fields, footer, author."""
    texts: list[Any] = [embed.get("title"), embed.get("description")]
    texts += [(embed.get("footer") or {}).get("text"), (embed.get("author") or {}).get("name")]
    texts += [entry.get(key) for entry in embed.get("fields") or [] for key in ("name", "value")]
    return sum(len(text) for text in texts if isinstance(text, str))


def _check_time(problems: Problems, embed: JSON, path: str) -> None:
    given = embed.get("timestamp")
    if given is None:
        return
    try:
        datetime.fromisoformat(given)
    except (TypeError, ValueError):
        problems.add(f"{path}.timestamp", "DATE_TIME_TYPE_PARSE", f"Could not parse {given}. Should be ISO8601.")


def _check_v2_alone(problems: Problems, body: JSON, prefix: str) -> None:
    if not (body.get("flags") or 0) & V2_FLAG:
        return
    for key in ("content", "embeds", "sticker_ids", "poll"):
        if body.get(key):
            problems.add(
                f"{prefix}{key}",
                "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
                f"The '{key}' field cannot be used when using MessageFlags.IS_COMPONENTS_V2",
            )


def _check_uploads(problems: Problems, body: JSON, files: tuple[UploadedFile, ...], prefix: str) -> None:
    if len(files) > 10:
        problems.add(f"{prefix}attachments", "BASE_TYPE_BAD_LENGTH", "Must be between 0 and 10 in length.")
    fields = {file.part for file in files}
    for number, entry in enumerate(body.get("attachments") or []):
        where = f"{prefix}attachments.{number}"
        problems.text(entry, where, "description", 1024)
        # A short id is the index of a part of this request; a long one is a file that the message has already.
        if len(str(entry.get("id", ""))) < 15 and f"files[{entry.get('id')}]" not in fields:
            problems.add(f"{where}.id", "ATTACHMENT_NOT_FOUND", f"No part files[{entry.get('id')}] was sent")
