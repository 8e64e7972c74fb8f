"""Makes text of users and errors harmless in Discord's markdown."""

from __future__ import annotations

import re

from cogmeter.render import formatting

# A backslash before a character shows the character. "<" begins mentions, emoji and timestamps, "://" makes a link; the
# others begin headings, lists and quotes at the start of a line.
_MARKUP = re.compile(r"([\\*_~|`\[\]<>]|:(?=//)|^[-+#]|(?<=^\d)\.|(?<=^\d\d)\.)")
_EVERYONE = re.compile(r"@(?=everyone|here)")


def plain(text: str, limit: int) -> str:
    """Return one line, cut to ``limit`` characters and escaped: no markup, no link, no mention."""
    escaped = _MARKUP.sub(r"\\\1", formatting.cut(formatting.clean(text), limit))
    return _EVERYONE.sub("@\u200b", escaped)


def code(text: str, limit: int) -> str:
    """Return one line between backticks; backticks inside are replaced."""
    return f"`{formatting.cut(formatting.clean(text), limit).replace('`', chr(0x2BB)) or ' '}`"


def below(text: str) -> str:
    """Return a line that continues the line above. Some clients do not support Discord's subtext."""
    return f"\N{DOWNWARDS ARROW WITH TIP RIGHTWARDS} {text}"


def together(text: str) -> str:
    """Return a text that stays on one line: a value keeps its name and its unit."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def dashboard_line(link: str) -> str:
    """Return the line of a link to the dashboard."""
    return f"[Open in the dashboard]({link})"


def when(at_us: int) -> str:
    """Return a moment that Discord shows relative to now: ``5 minutes ago``."""
    return f"<t:{at_us // 1_000_000}:R>"
