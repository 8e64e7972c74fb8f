"""Prometheus itself, and what is made for it: it scrapes running monitors, and every expression finds data there.

Two monitors run: one is connected to the loopback Discord and does its work; the other has every trouble that the rules
know.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import json
import math
import re
import shutil
import socket
import subprocess
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import discord
import pytest
import yaml
from discord.ext import commands

from cogmeter.monitor import jobs
from cogmeter.monitor.monitor import Monitor
from cogmeter.recording.recorder import Recorder
from cogmeter.settings import Settings, env_name
from cogmeter.web.server.servers import Servers

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARD = ROOT / "docs" / "grafana-dashboard.json"
RULES = [DEPLOY / "rules" / name for name in ("recording.yml", "alerts.yml")]
PATIENCE_S = 80
HOUR_S = 3600
JOB = "chatterbot"
ILL = {
    "gateway.shards_connected": 0.0,
    "gateway.heartbeat_age_s.shard_0": 90.0,
    "loop.lag_p99_ms": 1_500.0,
    "loop.lag_max_ms": 2_500.0,
    "rest.invalid_share": 0.4,
}


def promtool(*arguments, stdin=None):
    done = subprocess.run(["promtool", *map(str, arguments)], input=stdin, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return (done.stdout + done.stderr).decode()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def expressions_of(node):
    """Every ``expr`` in a dashboard or a rule file."""
    if isinstance(node, dict):
        own = [node["expr"]] if isinstance(node.get("expr"), str) else []
        return own + [one for value in node.values() for one in expressions_of(value)]
    return [one for value in node for one in expressions_of(value)] if isinstance(node, list) else []


def filled_in(expression):
    """The expression as Grafana sends it with everything chosen."""
    for variable, value in {"$__rate_interval": "1m", "$job": ".*", "$service": ".*"}.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression
    return expression


DASHBOARD_EXPRESSIONS = expressions_of(json.loads(DASHBOARD.read_text()))
RULE_EXPRESSIONS = [one for path in RULES for one in expressions_of(yaml.safe_load(path.read_text()))]


@asynccontextmanager
async def served(bot, folder, port):
    """A monitor of the bot, with its metrics on the port; gauges are sampled once."""
    url = f"sqlite:///{folder / f'{port}.db'}"
    settings = Settings(_env_file=None, http_port=port, database_url=url, sample_interval=HOUR_S)
    monitor = Monitor(bot, settings, recorder=Recorder())
    await monitor.start()
    servers = Servers(monitor, {})
    try:
        await servers.start()
        yield monitor
    finally:
        await servers.stop()
        await monitor.stop()


async def work(monitor):
    """Traffic of every kind, without end: half of the chat fails, images are slow."""
    record = monitor.recorder.record
    record("quiet", "ask", duration_ms=10)
    for number in itertools.count():
        for share in range(4):
            spent = {"cost_usd": 0.01, "tokens_in": 500, "tokens_out": 80}
            record("chat", "ask", duration_ms=20 + share, error="gone" if share % 2 else None, metadata=spent)
            record("images", "draw", duration_ms=7_000 + share)
            record("discord.commands", "ask", duration_ms=90 + share)
            record("discord.acknowledgement", "ask", duration_ms=150, outcome=("ok", "upstream", "user")[number % 3])
        await asyncio.sleep(0.1)


async def fall_ill(monitor):
    """Let it store nothing any more, of a bot that is in every trouble."""
    monitor.gauges = {**monitor.gauges, **ILL}
    await monitor.flusher.stop()
    monitor.flusher.last_flush_us = time.time_ns() // 1000 - 100_000_000


async def lose(monitor):
    """It loses operations, without end."""
    while True:
        monitor.recorder.buffer.dropped += 1
        await asyncio.sleep(0.1)


@pytest.fixture
async def ports(host_folder, discord_server):
    """The ports of a well and of an ill monitor."""
    well, ill = free_port(), free_port()
    discord_server.gateway.heartbeat_interval_s = 0.05
    bots = [commands.Bot("!", intents=discord.Intents.default(), help_command=None) for _ in range(2)]
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(discord_server.running(bots[0]))
        monitors = [
            await stack.enter_async_context(served(bot, host_folder, port))
            for bot, port in zip(bots, (well, ill), strict=True)
        ]
        deadline = time.monotonic() + PATIENCE_S
        while "gateway.latency_ms.shard_0" not in monitors[0].gauges and time.monotonic() < deadline:
            await jobs.sample(monitors[0])
            await asyncio.sleep(0.1)
        await fall_ill(monitors[1])
        tasks = [asyncio.create_task(work(monitors[0])), asyncio.create_task(lose(monitors[1]))]
        try:
            yield well, ill
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(one, asyncio.CancelledError) for one in results), results


@pytest.fixture
async def prometheus(needed, tmp_path, ports):
    """The address of a Prometheus with our configuration, which scrapes both monitors and one that is not there."""
    needed(shutil.which("prometheus") and shutil.which("promtool"), "prometheus")
    config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOY / name) for name in config["rule_files"]]
    assert config["scrape_configs"][0]["static_configs"] == [{"targets": ["localhost:3000"]}]
    targets = [f"127.0.0.1:{port}" for port in (*ports, free_port())]
    config["scrape_configs"][0]["static_configs"] = [{"targets": targets}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    remember(tmp_path, targets[0])
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
        "--log.level=error",
    )
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    await process.wait()


def remember(folder, instance):
    """Let it remember that a service which is quiet now was busy some hours ago."""
    labels = f'instance="{instance}",job="{JOB}",service="quiet",operation="ask",outcome="ok"'
    begin_s = int(time.time()) - 6 * HOUR_S
    lines = [f"chatterbot_operations_total{{{labels}}} {count} {begin_s + 30 * count}" for count in range(0, 600, 2)]
    text = "\n".join(["# TYPE chatterbot_operations counter", *lines, "# EOF", ""])
    (folder / "history.txt").write_text(text)
    promtool("tsdb", "create-blocks-from", "openmetrics", folder / "history.txt", folder / "data")


async def answers(session, base, expression):
    """The values that an expression has now; [] before Prometheus is up."""
    try:
        async with session.get(f"{base}/api/v1/query", params={"query": expression}) as answer:
            status, text = answer.status, await answer.text()
    except aiohttp.ClientConnectionError:
        return []
    assert status in {200, 503}, f"{expression}: {text}"  # 503 in plain words while it is starting
    found = json.loads(text)["data"]["result"] if status == 200 else []
    return [one for one in found if not math.isnan(float(one["value"][1]))]


async def test_every_expression_of_dashboard_and_rules_finds_data_in_a_real_prometheus(prometheus, ports):
    waiting = {filled_in(one) for one in DASHBOARD_EXPRESSIONS} | set(RULE_EXPRESSIONS)
    assert len(waiting) > 50
    deadline = time.monotonic() + PATIENCE_S
    async with aiohttp.ClientSession() as session:
        while waiting and time.monotonic() < deadline:
            waiting = {one for one in waiting if not await answers(session, prometheus, one)}
            await asyncio.sleep(0.5)
        assert not waiting
        (one,) = await answers(session, prometheus, f'up{{instance="127.0.0.1:{ports[0]}"}}')
        assert (one["metric"]["job"], one["value"][1]) == (JOB, "1")
        names = await answers(session, prometheus, "count by (service) (chatterbot_operations_total)")
        assert {"chat", "images", "quiet"} <= {one["metric"].get("service") for one in names}
        await exemplars(session, prometheus)


async def exemplars(session, base):
    query = {"query": "chatterbot_operation_duration_seconds_bucket", "start": time.time() - 600, "end": time.time()}
    async with session.get(f"{base}/api/v1/query_exemplars", params=query) as answer:
        found = (await answer.json())["data"]
    labels = [one["labels"]["operation_id"] for series in found for one in series["exemplars"]]
    assert labels
    assert all(re.fullmatch(r"op_[0-9]+", one) for one in labels)


async def test_a_real_scrape_passes_promtools_checks(needed, ports):
    needed(shutil.which("promtool"), "promtool")
    async with aiohttp.ClientSession() as session:
        for port in ports:
            async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                assert promtool("check", "metrics", stdin=await answer.read()) == ""


def test_rules_and_configurations_pass_promtools_checks_and_the_rules_their_tests(needed):
    needed(shutil.which("promtool"), "promtool")
    assert promtool("check", "rules", *RULES).count("SUCCESS") == len(RULES)
    assert "SUCCESS" in promtool("test", "rules", DEPLOY / "rules" / "tests.yml")
    for path in (DEPLOY / "prometheus.yml", DEPLOY / "compose" / "prometheus.yml"):
        assert "SUCCESS" in promtool("check", "config", "--syntax-only", path)


def test_every_alert_has_a_test_that_it_fires():
    alerts = {
        rule["alert"]
        for group in yaml.safe_load((DEPLOY / "rules" / "alerts.yml").read_text())["groups"]
        for rule in group["rules"]
    }
    tests = yaml.safe_load((DEPLOY / "rules" / "tests.yml").read_text())["tests"]
    cases = [case for one in tests for case in one["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == alerts


def test_the_grafana_dashboard_is_what_its_script_writes():
    spec = importlib.util.spec_from_file_location("write_grafana", ROOT / "docs" / "write_grafana.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert DASHBOARD.read_text(encoding="utf-8") == module.dashboard_json()


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())


def test_the_compose_file_has_the_guides_service_volume_and_ports(compose):
    bot = compose["services"]["chatterbot"]
    assert {"3000:3000", "3001:3001"} == set(bot["ports"])
    assert "performance-data:/data/performance" in bot["volumes"]
    variables = dict(one.split("=", 1) for one in bot["environment"])
    assert variables["ENABLE_PERFORMANCE_MONITORING"] == "true"
    assert variables["PERFORMANCE_DASHBOARD_REFRESH_INTERVAL"] == "30000"
    known = {env_name(field) for field in Settings.model_fields}
    assert {one for one in variables if one.startswith(("PERFORMANCE_", "ENABLE_"))} <= known
    # What listens beyond this machine asks for a token, and compose does not start without one.
    assert variables["PERFORMANCE_HTTP_HOST"] == "0.0.0.0"
    assert variables["PERFORMANCE_HTTP_TOKEN"].startswith("${PERFORMANCE_HTTP_TOKEN:?")


def test_all_that_the_compose_file_mounts_is_there(compose):
    mounts = [one for service in compose["services"].values() for one in service.get("volumes", ())]
    files = [one.split(":")[0] for one in mounts if one.startswith(".")]
    assert len(files) == 5
    assert all((DEPLOY / one).exists() for one in files)
    assert {one.split(":")[0] for one in mounts} - set(files) == compose["volumes"].keys()
    secret = yaml.safe_load((DEPLOY / "compose" / "prometheus.yml").read_text())["scrape_configs"][0]["authorization"]
    assert secret == {"credentials_file": "/run/secrets/http_token"}
    assert compose["services"]["prometheus"]["secrets"] == list(compose["secrets"]) == ["http_token"]
    (source,) = yaml.safe_load((DEPLOY / "compose/grafana/datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"


def test_docker_compose_reads_it(clean_environment):
    version = ["docker", "compose", "version"]
    found = shutil.which("docker") and subprocess.run(version, capture_output=True, check=False).returncode == 0
    if not found:
        pytest.skip("needs docker compose, which the full tests do not install")
    done = subprocess.run(
        ["docker", "compose", "-f", DEPLOY / "docker-compose.yml", "config", "--quiet"],
        env=clean_environment(PERFORMANCE_HTTP_TOKEN="x" * 32, DISCORD_TOKEN="x"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
