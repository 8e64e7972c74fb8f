"""The settings: name, default, unit and limits of each. ``reading`` reads their values.

They are one class in three files, in the order in which documents list them: ``recording``, ``alerting``, and here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Literal

from pydantic import PrivateAttr, SecretStr, field_validator

from cogmeter.settings.alerting import AlertSettings
from cogmeter.settings.fields import is_http, origin_of, placeholder_fault, setting
from cogmeter.settings.prices import parse_prices
from cogmeter.times import zone_of

if TYPE_CHECKING:
    from collections.abc import Mapping

OTEL: Final = "OTEL_"  # begins the names of OpenTelemetry's own variables


class Settings(AlertSettings):
    """The settings. A field's name is its environment variable's, in lower case and without ``PERFORMANCE_``."""

    export_format: Literal["json", "csv", "prometheus"] = setting(
        "json", "json, csv, prometheus", "The default export format"
    )
    export_interval: int = setting(
        60_000,
        "milliseconds",
        "How often metrics are pushed, by OTLP, to Datadog or DogStatsD",
        ge=1_000,
        le=86_400_000,
    )
    analytics_dashboard: bool = setting(
        False, "true or false", "Serve the web dashboard and the API", name="ENABLE_ANALYTICS_DASHBOARD"
    )
    dashboard_refresh_interval: int = setting(
        30_000, "milliseconds", "How often the dashboard refreshes", ge=1_000, le=3_600_000
    )
    dashboard_port: int = setting(3001, "port", "The port of the web dashboard (path /performance)", ge=1, le=65_535)
    dashboard_url: str | None = setting(
        None,
        "URL",
        "The address at which your browser reaches the dashboard, for links in alerts and answers. Not set: localhost "
        "in the answer of /perf dashboard, and no other links",
        example="https://perf.example.com",
    )
    status_page: bool = setting(
        False,
        "true or false",
        "Serve a public status page without a token: /status, and a badge for your README",
        in_chat=False,
    )
    http_port: int | None = setting(
        None,
        "port",
        "The port of REST API, health and metrics. Not set: the dashboard's port, or SERVER_PORT or PORT of a bot host",
        ge=1,
        le=65_535,
        example="3000",
    )
    http_host: str = setting(
        "127.0.0.1",
        "address",
        "The address that the servers listen on. An address other than loopback needs a token",
        in_chat=False,
        min_length=1,
    )
    http_token: SecretStr | None = setting(
        None,
        "text of 32 or more characters",
        "The token that clients send as Authorization: Bearer",
        min_length=32,
        example="at-least-32-characters-of-random-text",
    )
    metrics_namespace: str = setting(
        "chatterbot", "name", "The prefix of metric names at /metrics", pattern=r"^[a-zA-Z_][a-zA-Z0-9_]{0,40}$"
    )
    export_otlp: bool = setting(
        False,
        "true or false",
        "Push metrics, traces and alerts by OTLP over HTTP; set up by OpenTelemetry's own variables, such as "
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    )
    export_datadog: bool = setting(False, "true or false", "Push metrics, alerts and markers to Datadog", in_chat=False)
    datadog_api_key: SecretStr | None = setting(
        None, "key", "Datadog's API key; DD_API_KEY is read, too", name="DATADOG_API_KEY", other_name="DD_API_KEY"
    )
    datadog_app_key: SecretStr | None = setting(
        None,
        "key",
        "Datadog's application key. Pushing needs none; cogmeter push --check checks it together with the API key",
        name="DATADOG_APP_KEY",
        other_name="DD_APP_KEY",
    )
    datadog_site: str = setting(
        "datadoghq.com",
        "host name",
        "Datadog's site of your account, such as datadoghq.eu; or the URL of a proxy for its API, without a path",
        name="DD_SITE",
        in_chat=False,  # the key is sent there
        pattern=r"^([a-z0-9.-]{1,80}\.[a-z]{2,20}|https?://([a-z0-9.-]{1,100}|\[[0-9a-f:.]{2,45}\])(:[0-9]{1,5})?/?)$",
    )
    export_statsd: str | None = setting(
        None,
        "host:port",
        "Push metrics by DogStatsD (UDP) to a Datadog Agent from version 7.40 on",
        example="localhost:8125",
        in_chat=False,
        pattern=r"^([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}$",
    )
    _otel_of_file: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def otel_variables(self) -> dict[str, str]:
        """Return OpenTelemetry's own variables that are set: those of ``.env``, and over them the environment's."""
        names = {name.upper(): value for name, value in os.environ.items() if value}
        return self._otel_of_file | {name: value for name, value in names.items() if name.startswith(OTEL)}

    def read_otel(self, values: Mapping[str, str | None]) -> None:
        """Take OpenTelemetry's own variables out of the values of a file."""
        names = {name.upper(): value for name, value in values.items()}
        self._otel_of_file = {name: value for name, value in names.items() if value and name.startswith(OTEL)}

    @field_validator("*", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        """Refuse surrogates (they replace bytes that are not UTF-8), because they cannot be stored, sent or logged."""
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError("contains bytes that are not UTF-8 text")
        return value

    @field_validator("ops_role_ids", mode="before")
    @classmethod
    def _ids(cls, value: object) -> object:
        """Split the ids of an environment variable: ``1, 2``."""
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    @field_validator("cost_prices")
    @classmethod
    def _prices(cls, value: str | None) -> str | None:
        """Check the prices at the start instead of at the first operation with tokens."""
        parse_prices(value)
        return value

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        """Check the time zone at the start instead of at the first digest."""
        try:
            zone_of(value)
        except ValueError:
            raise ValueError(
                "is not a time zone of this machine, such as Europe/Berlin; without time zone data, pip install tzdata"
            ) from None
        return value

    @field_validator("alert_discord_webhook", "alert_webhook_url", "heartbeat_url")
    @classmethod
    def _address(cls, value: SecretStr | None) -> SecretStr | None:
        """Check the URL at the start instead of at the first alert."""
        if value is not None and not is_http(value.get_secret_value()):
            raise ValueError("is not an http or https URL")
        return value

    @field_validator("dashboard_url")
    @classmethod
    def _origin(cls, value: str | None) -> str | None:
        """Return the URL without a path: the dashboard's pages are at /performance of any address."""
        if value is None:
            return None
        origin = origin_of(value)
        if origin is None:
            raise ValueError("is not an http or https URL without path, query and password")
        return origin

    @field_validator("heartbeat_url")
    @classmethod
    def _placeholders(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and (fault := placeholder_fault(value.get_secret_value())):
            raise ValueError(fault)
        return value
