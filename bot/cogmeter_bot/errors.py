"""The two exceptions whose texts are meant for people."""

from __future__ import annotations


class UserInputError(Exception):
    """What a command asked cannot be done; the text says why and what to do instead."""


class CannotRunError(Exception):
    """The program cannot run; the text says why and how to mend it, in a line."""
