"""Takes secrets out of text before it is kept: bot tokens, webhook and interaction addresses, authorisation headers.

And ids of people and places before it leaves the bot.
"""

from __future__ import annotations

import re

MARK = "[redacted]"

_SECRETS = re.compile(
    r"(?P<address>(?:webhooks|interactions)/\d{15,21}/)[\w.-]+"  # the token is the address's next part
    r"|(?P<scheme>\b(?:Bot|Bearer|Basic)\s+)[\w.+/=~-]{16,}"
    r"|\b[\w-]{23,30}\.[\w-]{6}\.[\w-]{27,}"  # a bot's token: id, time and signature
    r"|\bmfa\.[\w-]{20,}"
)
_ID = re.compile(r"\b\d{15,21}\b")  # Discord's ids, from 2015 on


def redact(text: str) -> str:
    """The text with each secret in it replaced by ``[redacted]``."""
    return _SECRETS.sub(_mark, text)


def without_ids(text: str) -> str:
    """The text with each of Discord's ids in it replaced by ``(id)``."""
    return _ID.sub("(id)", text)


def _mark(found: re.Match[str]) -> str:
    kept = found["address"] or found["scheme"] or ""
    return kept + MARK
