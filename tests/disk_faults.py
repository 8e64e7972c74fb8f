"""Disks that fail: builds the library of tests/faults, and switches its faults on and off in a running program."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).parent / "faults" / "faults.c"


def compiler() -> str | None:
    """The C compiler of this machine."""
    return shutil.which("cc") or shutil.which("gcc")


def build(folder: Path) -> Path:
    """Build the library."""
    library = folder / "faults.so"
    command = [compiler(), "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, SOURCE, "-ldl", "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return library


class DiskFaults:
    """The faults of programs that are started with ``environment``; see faults.c."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._control = folder / "faults.control"
        self.environment = {"LD_PRELOAD": str(library), "COGMETER_FAULTS": str(self._control)}

    def on(self, **fields: object) -> None:
        """Let calls fail from now on: ``on(calls="read", rate=0.05, seed=7, path="performance.db", errno=5)``."""
        self._write(" ".join(f"{name}={value}" for name, value in fields.items()))

    def off(self) -> None:
        """Let no call fail any more."""
        self._write("")

    @property
    def count(self) -> int:
        """How many calls have failed, in all programs."""
        counted = self._control.with_name(f"{self._control.name}.count")
        return counted.stat().st_size if counted.exists() else 0

    def _write(self, line: str) -> None:
        new = self._control.with_name("faults.new")
        new.write_text(line)
        new.replace(self._control)
