"""The two exceptions whose texts are meant for people."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 - it is an answer to a person, not a fault of the program
    """What a command asked cannot be done; the text says why and what to do instead."""


class CannotRunError(Exception):
    """The program cannot run; the text says why and how to mend it, in a line."""
