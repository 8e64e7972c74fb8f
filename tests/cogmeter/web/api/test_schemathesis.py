"""schemathesis tries what /openapi.json allows and what it does not, on a real socket, with all its checks."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TOKEN = "a-token-of-more-than-32-characters-for-tests"
HOOKS = Path(__file__).with_name("schemathesis_hooks.py")

CONFIG = """
# The bot is not connected in this test, and health says so.
[[operations]]
include-path-regex = "^/health"
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", 503]

# Which values a threshold takes depends on the rule.
[[operations]]
include-path = "/api/performance/thresholds"
checks.positive_data_acceptance.expected-statuses = ["2xx", 422, 503]
"""


# A live stream never ends by itself; its own tests hold it to what it sends.
OPTIONS = """
--checks all --max-examples 5 --exclude-path /api/performance/live --request-timeout 30
--suppress-health-check all --warnings off --no-color
"""


@pytest.mark.timeout(300)  # it asks some hundred questions of every route
async def test_no_answer_is_a_fault_or_undocumented(seeded, tmp_path, monkeypatch):
    monkeypatch.setattr("cogmeter.web.server.security.ATTEMPTS", 1_000_000)  # it tries wrong tokens at every route
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    async with seeded(http_token=TOKEN) as web:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{web.url}/openapi.json"),
            *("--header", f"Authorization: Bearer {TOKEN}", *OPTIONS.split()),
            cwd=tmp_path,
            env={**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()[-20_000:]
        assert not web.monitor.faults["web"]
