"""The service and operation of a span: safe to show, and limited in number."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cogmeter.recording.recorder import MAX_NAME, OTHER
from cogmeter.recording.service_names import DATABASE, GEN_AI, HTTP, MESSAGING, OTHER_CLIENT, RPC
from cogmeter.redaction import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import ReadableSpan

    from cogmeter.recording.recorder import Recorder

MAX_SERVICES: Final = 50
MAX_OPERATIONS: Final = 200  # of one service
_REMEMBERED: Final = 2_000  # names of spans whose series is known
_CUT: Final = 200  # characters of a span's name that are read

# A prefix of services, and the attribute that names the system, in the present version of OpenTelemetry's semantic
# conventions and in the one before. An HTTP request of a database client is the database's.
_SYSTEMS: Final = (
    (DATABASE, "db.system.name"),
    (DATABASE, "db.system"),
    (MESSAGING, "messaging.system"),
    (RPC, "rpc.system.name"),
    (RPC, "rpc.system"),
    (GEN_AI, "gen_ai.provider.name"),
    (GEN_AI, "gen_ai.system"),
)
_METHODS: Final = ("http.request.method", "http.method")
_URLS: Final = ("url.full", "http.url")
_HOSTS: Final = ("server.address", "net.peer.name")
_DISCORD: Final = ("discord.com", "discordapp.com", "discord.gg")  # its requests are operations of discord.rest

_KEY_VALUE: Final = frozenset({"redis", "valkey", "memcached"})  # what follows a command there is a key
_MAX_WORDS: Final = 4
_WORD: Final = re.compile(r"/?[^\W\d][\w.$/:*-]*")
_VERB: Final = re.compile(r"[^\W\d]\w*(?:\.\w+)*")
_TARGET: Final = re.compile(r"[^\W\d][\w.$-]*")  # a table or collection; no path of a file and no address
_VARIABLE: Final = re.compile(r"(?=\w*\d)[0-9a-fA-F]{16,}|\d{3,}")  # ids, dates, hashes; longer keys are removed before
_SYSTEM: Final = re.compile(r"[\w.-]{1,60}", re.ASCII)


class Names:
    """The series of spans, by the names that their instrumentations gave them. Any thread may call it."""

    def __init__(self, recorder: Recorder, *, http: bool) -> None:
        self._recorder = recorder
        self._http = http
        self._known: dict[tuple[str, str, str], int] = {}
        self._operations: dict[str, set[str]] = {}  # names in use by service

    def series_of(self, span: ReadableSpan) -> int | None:
        """Return the number of a span's series; None if the span is not recorded."""
        attributes = span.attributes or {}
        present = set(attributes)  # the SDK's attributes take six times as long to look for a missing key
        for prefix, key in _SYSTEMS:
            if key in present:
                system = attributes[key]
                if isinstance(system, str) and system:
                    return self._series(prefix, system, span.name)
        method, url = _first(attributes, _METHODS), _first(attributes, _URLS)
        if method or url:
            host = _first(attributes, _HOSTS) or _host_of(url)
            known = not self._http or any(host == name or host.endswith(f".{name}") for name in _DISCORD)
            return None if known else self._series(HTTP, host, method or span.name)
        scope = span.instrumentation_scope
        return self._series(OTHER_CLIENT, scope.name.rpartition(".")[2] if scope else "", span.name)

    def _series(self, prefix: str, system: str, name: str) -> int:
        system, name = system[:_CUT], name[:_CUT]
        key = (prefix, system, name)
        number = self._known.get(key)
        if number is None:
            service = self._service(prefix, system)
            number = self._recorder.series(service, self._operation(service, operation_name(prefix, system, name)))
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = number
        return number

    def _service(self, prefix: str, system: str) -> str:
        service = prefix + (system.lower() if _SYSTEM.fullmatch(system) else OTHER)
        if service in self._operations or len(self._operations) < MAX_SERVICES:
            return service
        return prefix + OTHER

    def _operation(self, service: str, name: str) -> str:
        names = self._operations.setdefault(service, set())
        if name not in names and len(names) >= MAX_OPERATIONS:
            return OTHER
        names.add(name)
        return name


def operation_name(prefix: str, system: str, name: str) -> str:
    """Return the name of a span's operation, without values, keys and the text of statements.

    The name of a database span is a verb, with its target if there is nothing else: ``SELECT users``. Some
    instrumentations use a whole statement, or all commands of a pipeline: only the first word remains, with ``...``.
    """
    words = shown(" ".join(name.split()), strict=True, limit=_CUT).split()
    if prefix == DATABASE:
        words = _verb_and_target(words, key_value=system in _KEY_VALUE)
    else:
        words = [word for word in words[:_MAX_WORDS] if _WORD.fullmatch(word)]
    return _VARIABLE.sub("#", " ".join(words))[:MAX_NAME].rstrip() or OTHER


def _verb_and_target(words: list[str], *, key_value: bool) -> list[str]:
    verb = _VERB.match(words[0]) if words else None
    if verb is None:
        return []
    if len(words) > 2:
        return [verb[0], "..."]
    return [verb[0], *(word for word in words[1:] if _TARGET.fullmatch(word) and not key_value)]


def _first(attributes: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """Return the first of these attributes that is a text; empty without one."""
    for key in keys:
        value = attributes.get(key)
        if isinstance(value, str) and value:
            return value
    return ""


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # not a URL
        return ""
