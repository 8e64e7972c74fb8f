"""Collects what is wrong with a body, and words it as Discord does (error 50035)."""

from __future__ import annotations

from typing import Any

from loopback.payloads import JSON


class Problems:
    """Findings as (path, code, message); the codes are Discord's where it has one for the case."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str, str]] = []

    def add(self, path: str, code: str, message: str) -> None:
        """Notes one finding; `path` is dotted, list indices included."""
        self.found.append((path, code, message))

    def text(self, body: JSON, path: str, key: str, most: int, *, least: int = 0, required: bool = False) -> None:
        """Checks the length of a string in characters, and that it is one."""
        value = body.get(key)
        where = f"{path}.{key}" if path else key
        if value is None:
            if required:
                self.add(where, "BASE_TYPE_REQUIRED", "This field is required")
        elif not isinstance(value, str):
            self.add(where, "STRING_TYPE_CONVERT", "Could not interpret value as a string.")
        elif required and not value.strip():
            self.add(where, "BASE_TYPE_REQUIRED", "This field is required")
        elif not least <= len(value) <= most:
            code, rule = self._length(len(value), least, most)
            self.add(where, code, rule)

    def count(self, body: JSON, path: str, key: str, most: int, *, least: int = 0) -> list[Any]:
        """Checks the length of a list and returns it, or an empty one."""
        value = body.get(key) or []
        where = f"{path}.{key}" if path else key
        if not isinstance(value, list):
            self.add(where, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
            return []
        if not least <= len(value) <= most:
            self.add(where, "BASE_TYPE_BAD_LENGTH", f"Must be between {least} and {most} in length.")
        return value

    def number(self, body: JSON, path: str, key: str, least: int, most: int) -> None:
        """Checks the range of a whole number, if it is given."""
        value = body.get(key)
        where = f"{path}.{key}" if path else key
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int):
            self.add(where, "NUMBER_TYPE_COERCE", f'Value "{value}" is not int.')
        elif value > most:
            self.add(where, "NUMBER_TYPE_MAX", f"int value should be less than or equal to {most}.")
        elif value < least:
            self.add(where, "NUMBER_TYPE_MIN", f"int value should be greater than or equal to {least}.")

    def keys(self, body: JSON, path: str, known: frozenset[str]) -> None:
        """Refuses keys that the documentation does not name: a misspelt one would be silently without effect."""
        for key in body.keys() - known:
            self.add(f"{path}.{key}" if path else key, "UNKNOWN_KEY", f"The documentation names no key {key!r} here")

    def address(self, url: Any, path: str, names: frozenset[str]) -> None:
        """Checks a URL's scheme, and that the file an `attachment://` names is among `names`.

        Discord refuses a missing file for media components and shows no picture for embeds; both are refused here.
        """
        if not url:
            return
        scheme, _, rest = str(url).partition("://")
        if scheme == "attachment":
            if rest not in names:
                code = "UNFURLED_MEDIA_ITEM_REFERENCED_ATTACHMENT_NOT_FOUND"
                self.add(path, code, f"The referenced attachment {rest!r} was not found; uploaded: {sorted(names)}")
        elif scheme not in {"http", "https"}:
            self.add(path, "URL_TYPE_INVALID_SCHEME", f"Scheme {scheme!r} is not one of http, https, attachment.")

    def answer(self) -> JSON:
        """The body of Discord's 400."""
        errors: JSON = {}
        for path, code, message in self.found:
            node = errors
            for part in filter(None, path.split(".")):
                node = node.setdefault(part, {})
            node.setdefault("_errors", []).append({"code": code, "message": message})
        return {"message": "Invalid Form Body", "code": 50035, "errors": errors}

    @staticmethod
    def _length(length: int, least: int, most: int) -> tuple[str, str]:
        if least > 0:
            return "BASE_TYPE_BAD_LENGTH", f"Must be between {least} and {most} in length."
        return "BASE_TYPE_MAX_LENGTH", f"Must be {most} or fewer in length." if length > most else ""
