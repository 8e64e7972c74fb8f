"""Reads OpenTelemetry's standard environment variables, by which any OTLP exporter is set up.

Source: OpenTelemetry specification, "OpenTelemetry Protocol Exporter" and "SDK environment variables". Each variable
has a form for one signal, which precedes the common one: ``OTEL_EXPORTER_OTLP_METRICS_HEADERS``.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from cogmeter.redaction import quoted
from cogmeter.settings import SettingsError
from cogmeter.settings.fields import is_http

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "OTEL_EXPORTER_OTLP_"
ENDPOINT: Final = f"{PREFIX}ENDPOINT"
DEFAULT_ENDPOINT: Final = "http://localhost:4318"
DEFAULT_TIMEOUT_MS: Final = 10_000
SIGNALS: Final = ("metrics", "traces", "logs")
ATTRIBUTES: Final = "OTEL_RESOURCE_ATTRIBUTES"
SERVICE_NAME: Final = "OTEL_SERVICE_NAME"
PROTOCOL: Final = "http/protobuf"
TEMPORALITY: Final = f"{PREFIX}METRICS_TEMPORALITY_PREFERENCE"


@dataclass(frozen=True, slots=True)
class SignalEndpoint:
    """Where and how one signal is sent."""

    variable: str  # the environment variable with the address, for error texts
    url: str
    headers: Mapping[str, str]
    timeout_s: float
    gzip: bool
    tls: ssl.SSLContext | None  # None: the system's certificates


@dataclass(frozen=True, slots=True)
class OtlpVariables:
    """What the variables say. ``delta`` is true if each point counts its own minute, and not all since the start."""

    endpoints: Mapping[str, SignalEndpoint]  # by signal; a signal that is switched off has none
    delta: bool
    attributes: Mapping[str, str]  # of the resource


def read_otlp_variables(values: Mapping[str, str]) -> OtlpVariables:
    """Return what the variables say; those that are not set or empty have OpenTelemetry's defaults, but gzip is on.

    Raises:
        SettingsError: a value is invalid; the text names the variable, and its value unless it may be a secret.
    """
    filled = {name.upper(): value.strip() for name, value in values.items() if value.strip()}
    preference = filled.get(TEMPORALITY, "cumulative").lower()
    if preference not in {"cumulative", "delta", "lowmemory"}:
        raise SettingsError(_line(TEMPORALITY, preference, "is not cumulative, delta or lowmemory"))
    attributes = _pairs(ATTRIBUTES, filled.get(ATTRIBUTES, ""))
    if SERVICE_NAME in filled:
        attributes["service.name"] = filled[SERVICE_NAME]
    endpoints = {
        signal: _endpoint(signal, filled)
        for signal in SIGNALS
        if filled.get(f"OTEL_{signal.upper()}_EXPORTER", "").lower() != "none"
    }
    # "lowmemory" asks for deltas of counters and histograms, which are all that we count.
    return OtlpVariables(endpoints, preference != "cumulative", attributes)


def _endpoint(signal: str, filled: Mapping[str, str]) -> SignalEndpoint:
    own = f"{PREFIX}{signal.upper()}_"

    def value(name: str, default: str = "") -> tuple[str, str]:
        """Return the variable that is set, and its value."""
        return (
            (own + name, filled[own + name])
            if own + name in filled
            else (PREFIX + name, filled.get(PREFIX + name, default))
        )

    variable, url = value("ENDPOINT", DEFAULT_ENDPOINT)
    if not is_http(url):
        raise SettingsError(_line(variable, url, f"is not an http or https URL, such as {DEFAULT_ENDPOINT}"))
    if variable == ENDPOINT:  # the address of one signal is used as it is
        url = f"{url.rstrip('/')}/v1/{signal}"
    name, protocol = value("PROTOCOL", PROTOCOL)
    if protocol != PROTOCOL:
        raise SettingsError(_line(name, protocol, f"is not supported: set {PROTOCOL}, and the port of OTLP over HTTP"))
    name, compression = value("COMPRESSION", "gzip")
    if compression not in {"gzip", "none"}:
        raise SettingsError(_line(name, compression, "is neither gzip nor none"))
    name, timeout = value("TIMEOUT", str(DEFAULT_TIMEOUT_MS))
    if not timeout.isdecimal() or not int(timeout):
        raise SettingsError(_line(name, timeout, "is not a number of milliseconds above 0"))
    name, headers = value("HEADERS")
    return SignalEndpoint(
        variable,
        url,
        _pairs(name, headers, secret=True),
        int(timeout) / 1000,
        compression == "gzip",
        _tls(value("CERTIFICATE"), value("CLIENT_CERTIFICATE"), value("CLIENT_KEY")),
    )


def _pairs(name: str, text: str, *, secret: bool = False) -> dict[str, str]:
    """Return the pairs of ``key=value,key=value``; values are percent-encoded."""
    pairs = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            shown = "(hidden)" if secret else text
            raise SettingsError(_line(name, shown, "is not a list such as key=value,other=value"))
        pairs[key.strip()] = unquote(value.strip())
    return pairs


def _tls(certificate: tuple[str, str], client: tuple[str, str], key: tuple[str, str]) -> ssl.SSLContext | None:
    """Return the context of these files; None if none is set."""
    if not certificate[1] and not client[1]:
        return None
    name = certificate[0]
    try:
        context = ssl.create_default_context(cafile=certificate[1] or None)
        if client[1]:
            name = client[0]
            context.load_cert_chain(client[1], key[1] or None)
    except (OSError, ssl.SSLError) as error:
        path = dict((certificate, client))[name]
        raise SettingsError(
            _line(name, path, f"cannot be read as a certificate ({type(error).__name__}: {error})")
        ) from None
    return context


def _line(name: str, value: str, problem: str) -> str:
    return f"{name}={quoted(value)} {problem}"
