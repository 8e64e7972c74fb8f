"""Prints text so that nothing in it can control the terminal, whatever a name, a path or a server put into it."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

import click

if TYPE_CHECKING:
    from collections.abc import Callable

# What reorders or hides the text around it.
DIRECTIONS: Final = "\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
# And control characters, of which a terminal takes orders; line ends and tabs are none. U+2028 ends a line, too.
_UNSAFE = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{DIRECTIONS}]")
_UNSAFE_IN_JSON = re.compile(f"[\x7f-\x9f\u2028\u2029\ud800-\udfff{DIRECTIONS}]")


def safe(text: str) -> str:
    r"""Return the text with each such character as an escape that can be read, such as ``\x1b``."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def safe_json(document: str) -> str:
    r"""Return a JSON document of the same meaning without such characters: ``\u009b``, and line ends as they are."""
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


def echo(text: str, *, err: bool = False) -> None:
    """Print a text and a line end."""
    click.echo(safe(text), err=err)


class TerminalOutput:
    """A binary file for UTF-8 text that ends on a terminal; what is written is made safe on its way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decode: Callable[..., str] = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode

    def write(self, data: Any) -> int:
        """Write bytes; a character may be split between two writes."""
        self._file.write(safe(self._decode(bytes(data))).encode())
        return len(data)

    def flush(self) -> None:
        """See io.IOBase."""
        self._file.flush()


def on_terminal(file: BinaryIO) -> BinaryIO:
    """Return the file itself, or, where it is a terminal, one that makes safe what is written to it."""
    return cast("BinaryIO", TerminalOutput(file)) if file.isatty() else file
