"""Removes secrets from text before it is stored or shown: tokens, webhook and interaction URLs, passwords in URLs.

``without_ids`` also removes Discord ids before text leaves the bot, ``without_queries`` the queries of URLs, which HTTP
clients put into the texts of their exceptions. ``shown`` and ``quoted`` prepare a value that a
user entered (a setting, an option, a field of a request or file) for a message that repeats it.
"""

from __future__ import annotations

import re
import string
from typing import Final

MARK = "[redacted]"
LONGEST: Final = 100  # characters of a value that a message repeats

# Error texts are redacted on the event loop, so the time must be proportional to their length. A pattern is only tried
# if its first word is in the text; it begins with that word, so that the search skips to it; and it reads no more
# characters from there than it replaces.
_SECRETS: Final = {
    "webhooks/": re.compile(r"(webhooks/\d{15,21}/)[\w.-]+"),  # the token is the next part of the URL
    "://": re.compile(r"(://[^\s/:@]*+:)[^\s/@]++(?=@)"),  # the password of a URL
    "interactions/": re.compile(r"(interactions/\d{15,21}/)[\w.-]+"),
    "Bot": re.compile(r"(Bot(?<!\wBot)\s++)[\w.+/=~-]{16,}"),
    "Bearer": re.compile(r"(Bearer(?<!\wBearer)\s++)[\w.+/=~-]{16,}"),
    "Basic": re.compile(r"(Basic(?<!\wBasic)\s++)[\w.+/=~-]{16,}"),
    "mfa.": re.compile(r"()mfa\.(?<!\wmfa\.)[\w-]{20,}"),
}
# A bot's token is an id, a time and a signature, separated by dots. The search finds the first dot, and from there the
# id backwards.
_TIME_AND_SIGNATURE: Final = re.compile(r"\.(?<=[A-Za-z0-9_-]{23}\.)[\w-]{6}\.[\w-]{27,}")
_BASE64: Final = f"{string.ascii_letters}{string.digits}_-"
# Possible secrets of unknown kinds: the part of a URL after the host, and long runs of letters and digits.
_LIKELY: Final = re.compile(
    r"(?P<host>https?://(?:[^\s/?#@]*@)?[^\s/?#@]*[/?#])\S+"
    r"|(?<![\w+=-])(?=[\w+=-]{0,99}\d)(?=[\w+=-]{0,99}[A-Za-z])[\w+=-]{24,}"
)
# Keys and the texts of users are often parameters of a request. What ends a URL in a text is not part of it.
_QUERY: Final = re.compile(r"((?:http|ws)s?://[^\s?#'\"<>]*+[?#])[^\s'\"<>]++")
_ID: Final = re.compile(r"\b\d{15,21}\b")  # Discord's ids, from 2015 on


def redact(text: str) -> str:
    """Return the text with each secret replaced by ``[redacted]``."""
    for word, pattern in _SECRETS.items():
        if word in text:
            text = pattern.sub(rf"\1{MARK}", text)
    return _without_tokens(text) if text.count(".") > 1 else text


def without_ids(text: str) -> str:
    """Return the text with each Discord id replaced by ``(id)``."""
    return _ID.sub("(id)", text)


def without_queries(text: str) -> str:
    """Return the text with the query of each URL replaced by ``[redacted]``."""
    return _QUERY.sub(rf"\1{MARK}", text) if "://" in text else text


def shown(value: object, *, strict: bool = False, limit: int = LONGEST) -> str:
    """Return a value for a message: without secrets, cut to ``limit`` characters, on one printable line.

    Args:
        value: the value that the user entered.
        strict: also hide paths of URLs and text that looks like a key. For settings and other places where a user may
            have pasted a secret by mistake.
        limit: characters to show; ``...`` follows if there are more.
    """
    short = _short(value, limit, strict=strict)
    return "".join(character if character.isprintable() else _escape(character) for character in short)


def quoted(value: object, *, strict: bool = False, limit: int = LONGEST) -> str:
    """Return the text of ``shown`` in quotation marks and with Python's escapes."""
    return repr(_short(value, limit, strict=strict))


def _short(value: object, limit: int, *, strict: bool) -> str:
    try:
        text = str(value)
    except ValueError:  # an integer with more digits than Python converts
        text = f"({type(value).__name__})"
    # Cut twice: first, so that a megabyte is not searched, then to ``limit``. A secret that begins within the limit is
    # complete after the first cut, or long enough to be found without its end.
    text = redact(text[: limit + 1_000])
    text = _LIKELY.sub(_mark_likely, text) if strict else text
    return text if len(text) <= limit else f"{text[:limit]}..."


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _mark_likely(match: re.Match[str]) -> str:
    host = re.sub(r"//[^/]*@", "//", match["host"] or "")
    return host + MARK


def _without_tokens(text: str) -> str:
    result, done = "", 0
    for match in _TIME_AND_SIGNATURE.finditer(text):
        result += text[done : match.start()].rstrip(_BASE64) + MARK
        done = match.end()
    return result + text[done:] if done else text
