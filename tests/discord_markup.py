"""Names that attack Discord's markdown, and a search for what Discord would interpret in a text of the bot."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

EVIL = "@everyone <@123456789012345678> [evil](https://evil.example) **evil** `x` ||y|| \u202e漢字 "
PIECES = (
    "@everyone", "@here", "<@123456789012345678>", "<#123456789012345678>", "</evil:123456789012345678>",
    "[evil](https://evil.example)", "https://evil.example", "**evil**", "||evil||", "`", "```", "\\", "\n# evil", "\n",
    "\u202e", "\u2066", "\u200b", "\ufeff", "漢字", "עברית", "عربي", "😀", "name", "x" * 120, "_*~|`" * 30, "\ud800",
)  # fmt: skip

# In code nothing is interpreted, and no character after a backslash is.
_INERT = re.compile(r"\\[^\w\s]|```.*?```|`[^`\n]+`", re.DOTALL)
_LIVE = re.compile(r"<[@#/]|@everyone|@here|https://evil|\*\*evil|\|\||`|^# evil|\]\(https://evil", re.MULTILINE)
_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")  # characters that turn the text behind them around


def live_markup(text: str) -> str:
    """Return the first markup, mention or turning character of a hostile name that Discord would interpret."""
    found = _TURNING.search(text) or _LIVE.search(_INERT.sub("\0", text))
    return found[0] if found else ""


def texts_of(message: dict[str, Any]) -> Iterator[str]:
    """Yield every text of a message's JSON in which Discord interprets markup."""
    yield message.get("content") or ""
    for embed in message.get("embeds") or []:
        yield from (embed.get("title", ""), embed.get("description", ""))
        for field in embed.get("fields", []):
            yield from (field["name"], field["value"])
