"""OpenTelemetry's own variables: defaults, forms for one signal, and errors that name them."""

import shutil
import ssl
import subprocess

import pytest

from cogmeter.push.otlp_variables import read_otlp_variables
from cogmeter.settings import Settings, SettingsError, load_settings

PREFIX = "OTEL_EXPORTER_OTLP_"


def read(**values):
    return read_otlp_variables({PREFIX + name: value for name, value in values.items()})


def test_without_variables_the_defaults_of_opentelemetry_apply_with_gzip():
    found = read_otlp_variables({})
    assert {name: one.url for name, one in found.endpoints.items()} == {
        "metrics": "http://localhost:4318/v1/metrics",
        "traces": "http://localhost:4318/v1/traces",
        "logs": "http://localhost:4318/v1/logs",
    }
    metrics = found.endpoints["metrics"]
    assert (metrics.headers, metrics.timeout_s, metrics.gzip, metrics.tls) == ({}, 10.0, True, None)
    assert (found.delta, found.attributes) == (False, {})


def test_a_form_for_one_signal_precedes_the_common_one_and_its_address_is_used_as_it_is():
    found = read(
        ENDPOINT="https://collector:4318/otlp/",
        TRACES_ENDPOINT="https://traces/in",
        HEADERS="api-key=a%20b, x=1",
        LOGS_HEADERS="api-key=c",
        TIMEOUT="500",
        METRICS_TIMEOUT="900",
        COMPRESSION="none",
        TRACES_COMPRESSION="gzip",
    ).endpoints
    assert [one.url for one in found.values()] == [
        "https://collector:4318/otlp/v1/metrics",
        "https://traces/in",
        "https://collector:4318/otlp/v1/logs",
    ]
    assert [one.headers for one in found.values()] == [{"api-key": "a b", "x": "1"}] * 2 + [{"api-key": "c"}]
    assert [one.timeout_s for one in found.values()] == [0.9, 0.5, 0.5]
    assert [one.gzip for one in found.values()] == [False, True, False]
    assert found["traces"].variable == f"{PREFIX}TRACES_ENDPOINT"


def test_the_resource_has_the_stated_attributes_and_name():
    values = {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=prod,service.name=a", "OTEL_SERVICE_NAME": "mybot"}
    assert read_otlp_variables(values).attributes == {"deployment.environment": "prod", "service.name": "mybot"}


def test_a_signal_can_be_switched_off():
    values = {"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "NONE", "OTEL_METRICS_EXPORTER": "otlp"}
    assert list(read_otlp_variables(values).endpoints) == ["metrics"]


@pytest.mark.parametrize(("preference", "delta"), [("cumulative", False), ("DELTA", True), ("lowmemory", True)])
def test_the_temporality_preference_is_honoured(preference, delta):
    assert read(METRICS_TEMPORALITY_PREFERENCE=preference).delta is delta


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("ENDPOINT", "collector:4318", "'collector:4318' is not an http or https URL, such as http://localhost:4318"),
        ("LOGS_ENDPOINT", "grpc://x", "'grpc://x' is not an http or https URL, such as http://localhost:4318"),
        ("PROTOCOL", "grpc", "'grpc' is not supported: set http/protobuf, and the port of OTLP over HTTP"),
        ("COMPRESSION", "zstd", "'zstd' is neither gzip nor none"),
        ("TIMEOUT", "0", "'0' is not a number of milliseconds above 0"),
        ("TRACES_TIMEOUT", "10s", "'10s' is not a number of milliseconds above 0"),
        ("METRICS_TEMPORALITY_PREFERENCE", "both", "'both' is not cumulative, delta or lowmemory"),
    ],
)
def test_a_value_that_is_not_valid_is_named_with_its_variable(name, value, problem):
    with pytest.raises(SettingsError) as caught:
        read(**{name: value})
    assert str(caught.value) == f"{PREFIX}{name}={problem}"


def test_headers_are_never_shown():
    with pytest.raises(SettingsError) as caught:
        read(HEADERS="s3cret")
    assert str(caught.value) == f"{PREFIX}HEADERS='(hidden)' is not a list such as key=value,other=value"


def test_certificates_are_read_at_the_start(tmp_path, needed):
    missing = tmp_path / "ca.pem"
    with pytest.raises(SettingsError, match=f"{PREFIX}CERTIFICATE='.*ca.pem' cannot be read as a certificate"):
        read(CERTIFICATE=str(missing))
    needed(shutil.which("openssl"), "openssl")
    made = f"openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -out {missing} -keyout {tmp_path}/key.pem"
    subprocess.run(made.split(), check=True, capture_output=True)
    found = read(CERTIFICATE=str(missing), CLIENT_CERTIFICATE=str(missing), CLIENT_KEY=str(tmp_path / "key.pem"))
    assert isinstance(found.endpoints["logs"].tls, ssl.SSLContext)
    with pytest.raises(SettingsError, match=f"{PREFIX}CLIENT_CERTIFICATE="):
        read(CLIENT_CERTIFICATE=str(tmp_path / "none.pem"))


def test_variables_are_read_from_the_file_and_the_environment_precedes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("OTEL_SERVICE_NAME=file\nOTEL_EXPORTER_OTLP_ENDPOINT=http://file:4318\nOTHER=1\n")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "environment")
    settings = load_settings()
    found = {"OTEL_SERVICE_NAME": "environment", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://file:4318"}
    assert settings.otel_variables == found
    assert settings.model_copy(update={"export_otlp": True}).otel_variables == found
    assert Settings().otel_variables == {"OTEL_SERVICE_NAME": "environment"}
