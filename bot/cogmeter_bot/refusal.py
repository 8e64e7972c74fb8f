"""The one exception whose text is meant for the person who used a command."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 - it is an answer to a person, not a fault of the program
    """What was asked cannot be done; the text says why and what to do instead."""
