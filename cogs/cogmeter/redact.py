"""Takes secrets out of text before it is kept or shown: tokens, webhook and interaction addresses, passwords in URLs.

And ids of people and places before it leaves the bot. ``shown`` and ``quoted`` prepare a value that a person gave (a
setting, an option, a field of a request or file) for a message that repeats it.
"""

from __future__ import annotations

import re
from typing import Final

MARK = "[redacted]"
LONGEST: Final = 100  # characters of a given value that a message repeats

_SECRETS = re.compile(
    r"(?P<address>(?:webhooks|interactions)/\d{15,21}/)[\w.-]+"  # the token is the address's next part
    r"|(?P<login>://[^\s/:@]*:)[^\s/@]+(?=@)"  # the password of a URL
    r"|(?P<scheme>\b(?:Bot|Bearer|Basic)\s+)[\w.+/=~-]{16,}"
    r"|\b[\w-]{23,30}\.[\w-]{6}\.[\w-]{27,}"  # a bot's token: id, time and signature
    r"|\bmfa\.[\w-]{20,}"
)
# What may be a secret of a kind that nobody knows: what follows a web address's host, and long runs of letters with
# digits among them, as keys are.
_LIKELY = re.compile(
    r"(?P<host>https?://(?:[^\s/?#@]*@)?[^\s/?#@]*[/?#])\S+"
    r"|(?<![\w+=-])(?=[\w+=-]{0,99}\d)(?=[\w+=-]{0,99}[A-Za-z])[\w+=-]{24,}"
)
_ID = re.compile(r"\b\d{15,21}\b")  # Discord's ids, from 2015 on


def redact(text: str) -> str:
    """The text with each secret in it replaced by ``[redacted]``."""
    return _SECRETS.sub(_mark, text)


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


def _mark(found: re.Match[str]) -> str:
    kept = found["address"] or found["login"] or found["scheme"] or ""
    return kept + MARK


def _mark_likely(found: re.Match[str]) -> str:
    host = re.sub(r"//[^/]*@", "//", found["host"] or "")
    return host + MARK
