"""Makes any embed, as JSON, one that Discord accepts: within its limits on embeds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cogmeter.render import formatting

if TYPE_CHECKING:
    from collections.abc import Mapping

# discord-api-docs, resources/message, "Embed limits"
TITLE, DESCRIPTION, FIELDS, NAME, VALUE, FOOTER, AUTHOR = 256, 4096, 25, 256, 1024, 2048, 256
TOTAL = 6000  # characters of all of these together
URL = 2048
BLANK = "\u200b"  # a zero-width space: invisible, but not an empty text
_FENCE = "```"
_LINK = re.compile(r"(?i)https?://[^\s/]+\S*|attachment://[A-Za-z0-9_][A-Za-z0-9_.-]*")


def fitted(embed: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of an embed's JSON within all of Discord's limits; texts and the last fields are cut."""
    data = dict(embed)
    _fit_text(data, "title", TITLE)
    _fit_text(data, "description", DESCRIPTION)
    _fit_part(data, "footer", "text", FOOTER)
    _fit_part(data, "author", "name", AUTHOR)
    data["fields"] = [_fitted_field(field) for field in data.get("fields", [])[:FIELDS]]
    _fit_links(data)
    if "color" in data:
        data["color"] = min(max(data["color"], 0), 0xFFFFFF)
    _fit_total(data)
    if not any(data.get(part) for part in ("title", "description", "fields", "footer", "author", "image", "thumbnail")):
        data["description"] = BLANK
    return data


def shorten(text: str, limit: int) -> str:
    """Return the text cut to its limit; a code block that the cut opened is closed."""
    if len(text) <= limit:
        return text
    visible = formatting.cut(text, limit)
    if visible.count(_FENCE) % 2 and limit > 8:
        return formatting.cut(text, limit - 4) + "\n" + _FENCE
    return visible


def _encodable(text: object) -> str:
    """Return the text without unpaired surrogates, which cannot be encoded."""
    return str(text).encode("utf-8", "replace").decode()


def _fit_text(data: dict[str, Any], key: str, limit: int) -> None:
    text = shorten(_encodable(data.get(key) or ""), limit)
    if text.strip():
        data[key] = text
    else:
        data.pop(key, None)


def _fit_part(data: dict[str, Any], part: str, key: str, limit: int) -> None:
    if part not in data:
        return
    inner = dict(data[part])
    _fit_text(inner, key, limit)
    if key in inner:
        # An icon may be an attachment, the target of a link may not.
        data[part] = {
            name: value
            for name, value in inner.items()
            if not name.endswith("url") or _is_link(value, attachment=name != "url")
        }
    else:
        del data[part]


def _fitted_field(field: Any) -> dict[str, Any]:
    name = shorten(_encodable(field["name"]), NAME)
    value = shorten(_encodable(field["value"]), VALUE)
    return {
        "name": name if name.strip() else BLANK,
        "value": value if value.strip() else BLANK,
        "inline": bool(field.get("inline", False)),
    }


def _fit_links(data: dict[str, Any]) -> None:
    """Remove addresses that Discord refuses: it would refuse the whole message."""
    if "url" in data and not _is_link(data["url"], attachment=False):
        del data["url"]
    for part in ("image", "thumbnail"):
        if part in data and not _is_link(data[part].get("url")):
            del data[part]


def _is_link(address: object, *, attachment: bool = True) -> bool:
    if not isinstance(address, str) or len(address) > URL or not _LINK.fullmatch(address):
        return False
    return attachment or not address.lower().startswith("attachment:")


def _fit_total(data: dict[str, Any]) -> None:
    """Cut what exceeds the total: a long description first, then the last fields, which are removed when empty."""
    over = _total(data) - TOTAL
    description = data.get("description", "")
    if over > 0 and len(description) > VALUE:
        data["description"] = shorten(description, max(len(description) - over, VALUE))
    while (over := _total(data) - TOTAL) > 0 and data["fields"]:
        last = data["fields"][-1]
        if len(last["value"]) > over + 1:
            last["value"] = shorten(last["value"], len(last["value"]) - over)
        else:
            data["fields"].pop()


def _total(data: dict[str, Any]) -> int:
    parts = [data.get("title", ""), data.get("description", "")]
    parts += [data.get("footer", {}).get("text", ""), data.get("author", {}).get("name", "")]
    parts += [text for field in data["fields"] for text in (field["name"], field["value"])]
    return sum(map(len, parts))
