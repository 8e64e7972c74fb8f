"""docs/integrations.md names the real variables and metrics, and its lines of `.env` are valid."""

import inspect
import io
import re
from pathlib import Path

import pytest
from dotenv import dotenv_values

from cogmeter.exporters.gauge_names import COUNTER, SAMPLED, SAMPLED_BY_PREFIX
from cogmeter.push import otlp, otlp_variables
from cogmeter.push.base import Cursor, Origin, PushBatch, SeriesCounts
from cogmeter.push.otlp_variables import ATTRIBUTES, PREFIX, SERVICE_NAME, TEMPORALITY, read_otlp_variables
from cogmeter.settings import Settings, env_name
from cogmeter_storage import Outcome

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "integrations.md").read_text(encoding="utf-8")
VENDORS = ["Grafana Cloud", "SigNoz", "Uptrace", "Honeycomb", "Datadog", "New Relic"]
BLOCKS = re.findall(r"```dotenv\n(.*?)```", TEXT, re.DOTALL)


def rows(heading):
    """Return the cells of the first table after a heading."""
    table = TEXT.split(f"\n## {heading}\n")[1].split("\n| --- |")[1].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()[1:]]


def section(vendor):
    return TEXT.split(f"### {vendor}\n")[1].split("\n### ")[0].split("\n## ")[0]


@pytest.mark.parametrize("vendor", VENDORS)
def test_each_vendor_has_lines_of_env_and_a_link_to_its_page(vendor):
    text = section(vendor)
    assert "```dotenv\n" in text
    assert "](https://" in text


@pytest.mark.parametrize("block", BLOCKS)
def test_the_lines_of_env_switch_a_target_on_and_are_valid(block):
    values = dotenv_values(stream=io.StringIO(block))
    own = {name for name in values if not name.startswith("OTEL_")}
    assert own <= {env_name(field) for field in Settings.model_fields}
    assert {"PERFORMANCE_EXPORT_OTLP", "PERFORMANCE_EXPORT_DATADOG"} & own
    found = read_otlp_variables({name: value for name, value in values.items() if name.startswith("OTEL_")})
    headers = values.get("OTEL_EXPORTER_OTLP_HEADERS")
    assert bool(found.endpoints["metrics"].headers) == bool(headers)
    assert found.delta == ("delta" in block)


def test_the_table_of_variables_lists_those_that_are_read():
    read = set(re.findall(r'value\("([A-Z_]+)"', inspect.getsource(otlp_variables)))
    listed = [row[0].strip("`") for row in rows("Variables of OTLP")]
    assert sorted(listed) == sorted({PREFIX + name for name in read} | {TEMPORALITY, ATTRIBUTES, SERVICE_NAME})


def test_the_table_of_variables_has_the_defaults():
    metrics = read_otlp_variables({}).endpoints["metrics"]
    defaults = {row[0].strip("`").removeprefix(PREFIX): row[1].strip("`") for row in rows("Variables of OTLP")}
    assert f"{defaults['ENDPOINT']}/v1/metrics" == metrics.url
    assert defaults["TIMEOUT"] == f"{metrics.timeout_s * 1000:.0f}"
    assert (defaults["COMPRESSION"], metrics.gzip) == ("gzip", True)
    assert defaults["PROTOCOL"] == otlp_variables.PROTOCOL
    assert (defaults["METRICS_TEMPORALITY_PREFERENCE"], read_otlp_variables({}).delta) == ("cumulative", False)


def test_the_table_of_metrics_is_what_otlp_sends():
    target = otlp.OtlpTarget(read_otlp_variables({f"{PREFIX}COMPRESSION": "none"}), Origin("bot", "id", "host"))
    gauges = dict.fromkeys(SAMPLED, 1.0) | dict.fromkeys((f"{prefix}1" for prefix in SAMPLED_BY_PREFIX), 1.0)
    one = SeriesCounts("service", "operation", (1,) + (0,) * (len(Outcome) - 1), 5, 5, ((3, 1),))
    (request,) = target.encode(PushBatch(Cursor(0), 60_000_000, (one,), gauges=gauges, gauges_us=1))
    message = otlp.ExportMetricsServiceRequest.FromString(request.body)
    sent = {}
    for metric in message.resource_metrics[0].scope_metrics[0].metrics:
        points = getattr(metric, metric.WhichOneof("data")).data_points
        attributes = ", ".join(f"`{one.key}`" for one in points[0].attributes)
        sent[f"`{metric.name}`"] = [kind_of(metric), f"`{metric.unit}`", attributes]
    assert {row[0]: row[1:4] for row in rows("What is sent")} == sent


def kind_of(metric):
    if metric.HasField("sum"):
        return COUNTER if metric.sum.is_monotonic else "up-down counter"
    return "gauge" if metric.HasField("gauge") else "exponential histogram"


def test_the_ages_that_targets_accept_are_named():
    assert otlp.OtlpTarget.oldest_us == 24 * 3_600 * 10**6
    assert "By OTLP minutes of the last 24 hours are sent" in " ".join(TEXT.split())


@pytest.mark.parametrize("metric", ["pushed_total", "push_dropped_total", "push_rejected_total", "push_failures"])
def test_the_metrics_about_pushing_exist(metric):
    families = (ROOT / "cogs" / "cogmeter" / "web" / "metrics" / "families.py").read_text(encoding="utf-8")
    assert f'"monitor_{metric}"' in families
    assert f"`monitor_{metric}`" in TEXT


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md", "docs/metrics.md", "docs/cli.md"])
def test_other_pages_link_to_it(page):
    assert "integrations.md" in (ROOT / page).read_text(encoding="utf-8")
