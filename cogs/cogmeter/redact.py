"""Takes secrets out of text before it is kept: bot tokens, webhook and interaction addresses, authorisation headers.

And ids of people and places before it leaves the bot.
"""

from __future__ import annotations

import re
import string
from typing import Final

MARK = "[redacted]"

# Errors are redacted on the event loop, whatever they say. So a pattern is only tried where its first word is in the
# text, it begins with that word, which the search skips to without trying the pattern at each character, and it looks
# at no more characters from there than it replaces: the time is proportional to the length of the text.
_SECRETS: Final = {
    "webhooks/": re.compile(r"(webhooks/\d{15,21}/)[\w.-]+"),  # the token is the address's next part
    "interactions/": re.compile(r"(interactions/\d{15,21}/)[\w.-]+"),
    "Bot": re.compile(r"(Bot(?<!\wBot)\s++)[\w.+/=~-]{16,}"),
    "Bearer": re.compile(r"(Bearer(?<!\wBearer)\s++)[\w.+/=~-]{16,}"),
    "Basic": re.compile(r"(Basic(?<!\wBasic)\s++)[\w.+/=~-]{16,}"),
    "mfa.": re.compile(r"()mfa\.(?<!\wmfa\.)[\w-]{20,}"),
}
# A bot's token is an id, a time and a signature with dots between them. The search is for the first dot, from where the
# id is found backwards.
_TIME_AND_SIGNATURE: Final = re.compile(r"\.(?<=[A-Za-z0-9_-]{23}\.)[\w-]{6}\.[\w-]{27,}")
_BASE64: Final = f"{string.ascii_letters}{string.digits}_-"
_ID: Final = re.compile(r"\b\d{15,21}\b")  # Discord's ids, from 2015 on


def redact(text: str) -> str:
    """The text with each secret in it replaced by ``[redacted]``."""
    for word, pattern in _SECRETS.items():
        if word in text:
            text = pattern.sub(rf"\1{MARK}", text)
    return _without_tokens(text) if text.count(".") > 1 else text


def without_ids(text: str) -> str:
    """The text with each of Discord's ids in it replaced by ``(id)``."""
    return _ID.sub("(id)", text)


def _without_tokens(text: str) -> str:
    kept, done = "", 0
    for found in _TIME_AND_SIGNATURE.finditer(text):
        kept += text[done : found.start()].rstrip(_BASE64) + MARK
        done = found.end()
    return kept + text[done:] if done else text
