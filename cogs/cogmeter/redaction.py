"""Takes secrets out of text before it is kept or shown: tokens, webhook and interaction addresses, passwords in URLs.

And ids of people and places before it leaves the bot. ``shown`` and ``quoted`` prepare a value that a person gave (a
setting, an option, a field of a request or file) for a message that repeats it.
"""

from __future__ import annotations

import re
import string
from typing import Final

MARK = "[redacted]"
LONGEST: Final = 100  # characters of a given value that a message repeats

# Errors are redacted on the event loop, whatever they say. So a pattern is only tried where its first word is in the
# text, it begins with that word, which the search skips to without trying the pattern at each character, and it looks
# at no more characters from there than it replaces: the time is proportional to the length of the text.
_SECRETS: Final = {
    "webhooks/": re.compile(r"(webhooks/\d{15,21}/)[\w.-]+"),  # the token is the address's next part
    "://": re.compile(r"(://[^\s/:@]*+:)[^\s/@]++(?=@)"),  # the password of a URL
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
# What may be a secret of a kind that nobody knows: what follows a web address's host, and long runs of letters with
# digits among them, as keys are.
_LIKELY: Final = re.compile(
    r"(?P<host>https?://(?:[^\s/?#@]*@)?[^\s/?#@]*[/?#])\S+"
    r"|(?<![\w+=-])(?=[\w+=-]{0,99}\d)(?=[\w+=-]{0,99}[A-Za-z])[\w+=-]{24,}"
)
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


def shown(value: object, *, strict: bool = False, limit: int = LONGEST) -> str:
    """Return a given value for a message: without secrets, cut to ``limit`` characters, on one printable line.

    Args:
        value: what the person gave.
        strict: also hide paths of web addresses and what looks like a key. For settings and other places where
            somebody may have pasted a secret that belongs elsewhere.
        limit: characters that are shown of it; ``...`` says that there are more.
    """
    return "".join(one if one.isprintable() else _escape(one) for one in _short(value, limit, strict=strict))


def quoted(value: object, *, strict: bool = False, limit: int = LONGEST) -> str:
    """Return what ``shown`` does, in quotation marks and with Python's escapes."""
    return repr(_short(value, limit, strict=strict))


def _short(value: object, limit: int, *, strict: bool) -> str:
    try:
        text = str(value)
    except ValueError:  # an integer with more digits than Python converts
        text = f"({type(value).__name__})"
    # Cut twice: before, so that a megabyte is not searched; after, to what is shown. A secret that begins in what is
    # shown is found whole, or is long enough to be found without its end.
    text = redact(text[: limit + 1_000])
    text = _LIKELY.sub(_mark_likely, text) if strict else text
    return text if len(text) <= limit else f"{text[:limit]}..."


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _mark_likely(found: re.Match[str]) -> str:
    host = re.sub(r"//[^/]*@", "//", found["host"] or "")
    return host + MARK


def _without_tokens(text: str) -> str:
    kept, done = "", 0
    for found in _TIME_AND_SIGNATURE.finditer(text):
        kept += text[done : found.start()].rstrip(_BASE64) + MARK
        done = found.end()
    return kept + text[done:] if done else text
