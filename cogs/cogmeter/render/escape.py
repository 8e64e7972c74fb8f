"""Words that came from users or errors, made harmless in Discord's markdown."""

from __future__ import annotations

import re

from cogmeter.render import formatting

# A backslash before any sign shows the sign. "<" begins mentions, emoji and timestamps, "://" makes a link; the
# others begin headings, lists and quotes where a line begins.
_MARKUP = re.compile(r"([\\*_~|`\[\]<>]|:(?=//)|^[-+#]|(?<=^\d)\.|(?<=^\d\d)\.)")
_EVERYONE = re.compile(r"@(?=everyone|here)")


def plain(words: str, limit: int) -> str:
    """One line of at most ``limit`` characters before escaping, shown as it is: no markup, no link, no mention."""
    escaped = _MARKUP.sub(r"\\\1", formatting.cut(formatting.clean(words), limit))
    return _EVERYONE.sub("@\u200b", escaped)


def code(words: str, limit: int) -> str:
    """The same between backticks, which no character inside can end."""
    return f"`{formatting.cut(formatting.clean(words), limit).replace('`', chr(0x2BB)) or ' '}`"


def below(words: str) -> str:
    """A line that belongs to the one above it. Not Discord's small print, which some clients show as it is written."""
    return f"\N{DOWNWARDS ARROW WITH TIP RIGHTWARDS} {words}"


def when(at_us: int) -> str:
    """A moment as Discord shows it to each reader: ``5 minutes ago``."""
    return f"<t:{at_us // 1_000_000}:R>"
