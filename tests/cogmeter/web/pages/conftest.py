"""Pages with much on them."""

import os
import shutil
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from large_dataset import write_dataset

AXE = "4.14.1"


@pytest.fixture
def crowded(served):
    """As ``served``, with a hundred services in the store."""

    @asynccontextmanager
    async def opened(**settings):
        async with served(**({"alert_check_interval": 300} | settings)) as web:
            await write_dataset(web.monitor)
            yield web

    return opened


@pytest.fixture(scope="session")
def axe(once_per_run) -> Path:
    """The script of axe-core, which npm brings into a temporary folder for the tests alone."""
    npm = shutil.which("npm")
    if npm is None:
        report = pytest.fail if os.environ.get("COGMETER_TEST_ALL") == "1" else pytest.skip
        report("npm is not on this machine")

    def install(folder: Path) -> None:
        (folder / "package.json").write_text('{"private": true}')
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", f"axe-core@{AXE}"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=100)

    return once_per_run("axe", install) / "node_modules/axe-core/axe.min.js"
