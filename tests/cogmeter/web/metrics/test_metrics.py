"""``/metrics``: what a scrape over a real socket receives, in both formats, and what it must never contain."""

from __future__ import annotations

import asyncio
import gzip
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from cogmeter.diagnostics.health import Health
from cogmeter.exporters.gauge_names import SAMPLED, SAMPLED_BY_PREFIX, metric_of
from cogmeter.monitor import jobs
from cogmeter.recording.recorder import MAX_SERIES
from cogmeter.web.metrics.counters import BOUNDS, COLUMNS, SUM, CounterReading
from cogmeter.web.metrics.exposition import HISTOGRAMS, Scraped, page
from cogmeter.web.metrics.scrape import Scraper

OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}
ROOT = Path(__file__).parents[4]
LABELS = {
    *("service", "operation", "outcome", "le", "shard", "event", "statistic", "scope", "direction", "component"),
    *("severity", "rule", "state", "target", "part", "version"),
}
USER, GUILD, CHANNEL = 223456789012345678, 323456789012345678, 423456789012345678


def samples_of(text, parse=prometheus):
    """The samples by name and labels."""
    return {(one.name, *sorted(one.labels.items())): one.value for family in parse(text) for one in family.samples}


def value_of(samples, name, **labels):
    return samples[name, *sorted(labels.items())]


async def scraped(web, **headers):
    answer = await web.get("/metrics", headers=headers)
    assert answer.status == 200, answer.text
    return answer


async def test_the_guides_lines_are_there_with_the_outcome_and_a_whole_histogram(seeded):
    async with seeded() as web:
        answer = await scraped(web)
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert "# HELP chatterbot_operations_total Total number of operations\n" in answer.text
        assert "# TYPE chatterbot_operations_total counter\n" in answer.text
        assert "# HELP chatterbot_operation_duration_seconds Operation duration\n" in answer.text
        assert "# TYPE chatterbot_operation_duration_seconds histogram\n" in answer.text
        samples = samples_of(answer.text)
        series = {"service": "context-memory", "operation": "retrieve"}
        assert value_of(samples, "chatterbot_operations_total", **series, outcome="ok") == 162
        assert value_of(samples, "chatterbot_operations_total", **series, outcome="error") == 18
        assert value_of(samples, "chatterbot_operations_total", **series, outcome="upstream") == 0
        name = "chatterbot_operation_duration_seconds"
        assert value_of(samples, f"{name}_bucket", **series, le="0.1") == 0
        assert value_of(samples, f"{name}_bucket", **series, le="0.25") == 180
        assert value_of(samples, f"{name}_bucket", **series, le="+Inf") == value_of(samples, f"{name}_count", **series)
        assert value_of(samples, f"{name}_sum", **series) == pytest.approx(180 * 0.234)


async def test_both_formats_have_the_same_content_and_the_accept_header_chooses(seeded):
    async with seeded() as web:
        plain, rich = await scraped(web), await scraped(web, **OPENMETRICS)
        assert rich.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        assert rich.text.endswith("# EOF\n")
        one, other = samples_of(plain.text), samples_of(rich.text, openmetrics)
        # The first scrape of all cannot tell how long one takes.
        assert other.keys() - one.keys() == {("chatterbot_monitor_scrape_duration_seconds",)}
        assert one.keys() <= other.keys()
        counted = [key for key in one if "operation" in key[0] and "buffer" not in key[0]]
        assert counted
        assert all(one[key] == other[key] for key in counted)
        for broken in ("application/openmetrics-text;version=new", "text/plain;version=x", "*/*;q=0.1", ";;,"):
            answer = await scraped(web, Accept=broken)
            assert answer.headers["Content-Type"].startswith("text/plain")


async def test_exemplars_lead_to_slow_and_failed_operations_that_are_stored(seeded):
    async with seeded() as web:
        families = openmetrics((await scraped(web, **OPENMETRICS)).text)
        found = [one for family in families for one in family.samples if one.exemplar]
        stored = {f"op_{one.id}": one for one in await web.monitor.store.page(None, 0, 2**62, limit=10_000)}
        assert {one.name for one in found} >= {"chatterbot_operation_duration_seconds_bucket"}
        for one in found:
            assert one.exemplar.labels.keys() == {"operation_id"}
            operation = stored[one.exemplar.labels["operation_id"]]
            assert (operation.service, operation.operation) == (one.labels["service"], one.labels["operation"])
            assert float(one.exemplar.timestamp) == pytest.approx(operation.end_us / 1e6)
            if "le" in one.labels:
                assert one.exemplar.value == operation.duration_us / 1e6 <= float(one.labels["le"])
        assert " # {" not in (await scraped(web)).text  # the plain format has no word for them


async def test_a_failure_of_the_last_minutes_is_the_counters_example(served):
    async with served() as web:
        web.monitor.recorder.record("graph", "query", duration_ms=3, error="gone")
        await web.flushed()
        text = (await scraped(web, **OPENMETRICS)).text
        assert re.search(
            r'operations_total{operation="query",outcome="error",service="graph"} 1.0 # {operation_id="op_1"} 1.0', text
        )


async def test_what_is_compressed_is_the_same(served):
    async with served() as web:
        async with web.session.get(
            f"{web.url}/metrics", headers={"Accept-Encoding": "gzip"}, auto_decompress=False
        ) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert gzip.decompress(await answer.read()).startswith(b"# HELP chatterbot_operations_total")
        for refused in ("identity", "gzip;q=0", "br, gzip; q=0.0"):
            async with web.session.get(
                f"{web.url}/metrics", headers={"Accept-Encoding": refused}, auto_decompress=False
            ) as answer:
                assert "Content-Encoding" not in answer.headers
                assert (await answer.read()).startswith(b"# HELP")


async def test_no_label_and_no_exemplar_carries_what_identifies_people_or_places(served):
    people = {"user": USER, "user_id": str(USER), "guild_id": GUILD, "channel": f"<#{CHANNEL}>", "model": f"m{USER}"}
    async with served() as web:
        record = web.monitor.recorder.record
        for service, operation in (("chat", "ask"), (f"chat-{GUILD}", f"ask of {USER}"), (str(CHANNEL), f"<@{USER}>")):
            for outcome in ("ok", "error", "upstream", "user", "cancelled"):
                record(
                    service,
                    operation,
                    duration_ms=20_000,
                    outcome=outcome,
                    error=f"user {USER} in {GUILD} failed",
                    metadata={**people, "cost_usd": 0.5, "tokens_in": 3, "tokens_out": 4},
                )
        await web.flushed()
        await web.monitor.alerting.check()
        await jobs.sample(web.monitor)
        text = (await scraped(web, **OPENMETRICS)).text
        families = list(openmetrics(text))
        labels = {key: value for family in families for one in family.samples for key, value in one.labels.items()}
        assert labels.keys() <= LABELS
        assert "chat-[id]" in text
        assert not re.search(r"[0-9]{17,20}(?![0-9.])", re.sub(r"(?m) [0-9.e+]+$", "", text))
        assert all(str(one) not in text for one in (USER, GUILD, CHANNEL))
        samples = samples_of(text, openmetrics)
        assert value_of(samples, "chatterbot_cost_usd_total", service="chat") == 2.5
        assert value_of(samples, "chatterbot_tokens_total", service="chat", direction="out") == 20


async def test_hostile_names_stay_inside_their_quotes(seeded):
    async with seeded() as web:
        samples = samples_of((await scraped(web)).text)
        name = "chatterbot_operations_total"
        labels = {"operation": "=1+1", "outcome": "ok"}
        assert value_of(samples, name, service="a \"b\" & 'c'", **labels) == 180


async def test_every_sampled_gauge_is_exposed_with_its_unit(served):
    async with served() as web:
        await jobs.sample(web.monitor)
        assert len(web.monitor.gauges) > 15
        assert [gauge for gauge in web.monitor.gauges if metric_of(gauge) is None] == []
        web.monitor.gauges = {**web.monitor.gauges, "gateway.latency_ms.shard_3": 120.0, "loop.lag_max_ms": 40.0}
        samples = samples_of((await scraped(web)).text)
        assert value_of(samples, "chatterbot_gateway_latency_seconds", shard="3") == pytest.approx(0.12)
        assert value_of(samples, "chatterbot_loop_lag_seconds", statistic="max") == pytest.approx(0.04)
        units = {"_ms": 1e-3, "_percent": 1e-2}
        for gauge, how in {**SAMPLED, **SAMPLED_BY_PREFIX}.items():
            scale = next((scale for unit, scale in units.items() if re.search(rf"{unit}(\b|_|\.)", gauge)), 1.0)
            assert how.scale == scale, gauge


async def test_the_namespace_is_the_settings(served):
    async with served(metrics_namespace="my_bot") as web:
        text = (await scraped(web)).text
        assert "my_bot_monitor_info" in text
        assert "chatterbot" not in text


async def test_counters_continue_after_a_restart(serving, tmp_path):
    async def count(times):
        async with serving(http_port=None, database_url=f"sqlite:///{tmp_path / 'kept.db'}") as web:
            for _ in range(times):
                web.monitor.recorder.record("chat", "ask", duration_ms=5)
            await web.flushed()
            text = (await Scraper(web.monitor, Health(web.monitor)).scrape()).body.decode()
            return value_of(
                samples_of(text), "chatterbot_operations_total", service="chat", operation="ask", outcome="ok"
            )

    assert [await count(2), await count(0), await count(3)] == [2, 2, 5]


async def test_scrapes_at_once_are_all_answered(seeded):
    async with seeded() as web:
        answers = await asyncio.gather(*(scraped(web) for _ in range(5)))
        assert len({value_of(samples_of(one.text), "chatterbot_monitor_stored_total") for one in answers}) == 1


async def test_a_store_that_cannot_be_read_is_a_problem_and_no_half_page(served):
    async with served() as web:
        await web.monitor.store.close()
        answer = await web.get("/metrics")
        assert answer.status == 503
        assert answer.problem["title"]


def test_a_bot_with_all_series_that_there_may_be_has_a_bounded_page():
    values = np.ones((MAX_SERIES, COLUMNS), dtype=np.int64)
    values[:, BOUNDS:] = 5
    names = [("(other)", "(other)"), *((f"service-{one}", "operation") for one in range(MAX_SERIES - 1))]
    text = page(Scraped("chatterbot", CounterReading(names, values), ()), "", "").body.decode()
    samples = samples_of(text)
    assert len(samples) == MAX_SERIES * SUM + (HISTOGRAMS + 1) * 16 == 26_016
    totals = {
        kind: sum(value for (name, *_), value in samples.items() if name == f"chatterbot_{kind}")
        for kind in ("operations_total", "operation_duration_seconds_count")
    }
    assert totals["operations_total"] == totals["operation_duration_seconds_count"] == MAX_SERIES * SUM


@pytest.mark.parametrize("headers", [{}, OPENMETRICS])
async def test_prometheus_own_parser_and_linter_find_no_fault(seeded, headers):
    async with seeded() as web:
        await jobs.sample(web.monitor)
        answer = await scraped(web, **headers)
    if headers:
        list(openmetrics(answer.text))  # promtool reads the plain format alone
        return
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not to be had on this machine; tests/product/test_prometheus.py insists on it")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=answer.body, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


async def test_every_metric_is_in_the_documents_table(served):
    table = re.findall(r"^\| (`[^|]+) \|", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE)
    documented = {name for cell in table for name in re.findall(r"`([a-z_]+)`", cell)}
    async with served() as web:
        await jobs.sample(web.monitor)
        await scraped(web)
        families = {line.split()[2] for line in (await scraped(web)).text.splitlines() if line.startswith("# TYPE")}
    known = {name.removeprefix("chatterbot_") for name in families} | {how.name for how in SAMPLED.values()}
    assert {name.removesuffix("_total") for name in known} <= {name.removesuffix("_total") for name in documented}
