"""Run every benchmark in a process of its own and print one table at the end.

Run ``python benchmarks/all.py [--short | --smoke]``; ``make bench`` runs the short form, ``.ci/run`` the smoke one. The
exit status shows whether all of them ran, not whether they met their goals: a busy machine misses some of them.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

from timing import HEADER, parser

SCRIPTS = (
    *("record", "ingest", "usage", "loop_lag", "query", "compare", "alerts", "detection"),
    *("memory", "chart", "watch", "host_requests", "push", "fleet", "web", "cli"),
)
# Its smallest form takes most of a minute; tests/cogmeter/alerts/test_simulation.py runs the same simulation.
NOT_SMOKED = {"detection"}
COLUMNS = len(HEADER)
# chart.py prints figures one below the other; those with a goal belong into the table.
CHART_LINE = re.compile(
    r"^(?P<name>.+?) {2,}(?P<figure>-?[\d.]+ .*?)(?P<spread>\(.*\))?, goal <= (?P<goal>[\d.]+)$", re.MULTILINE
)


def rows_of(script: str, output: str) -> list[tuple[str, ...]]:
    lines = [tuple(part.strip() for part in line.split(" | ")) for line in output.splitlines()]
    rows = [line for line in lines if len(line) == COLUMNS]
    return rows if script != "chart" else [chart_row(found) for found in CHART_LINE.finditer(output)]


def chart_row(found: re.Match[str]) -> tuple[str, ...]:
    met = "yes" if float(found["figure"].split()[0]) <= float(found["goal"]) else "NO"
    figure, spread = found["figure"].strip(), found["spread"] or ""
    return (
        f"chart, {found['name']}",
        figure,
        "",
        f"{figure} {spread}".strip(),
        f"<= {found['goal']}",
        met,
    )


def run(script: str, options: list[str]) -> tuple[list[tuple[str, ...]], bool]:
    """Run one benchmark, print its rows as they come, and return them with whether it succeeded."""
    print(f"\n{script}.py", flush=True)
    start = time.perf_counter()
    command = [sys.executable, str(Path(__file__).with_name(f"{script}.py")), *options]
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(f"  {line}", end="", flush=True)
            lines.append(line)
    print(f"  {time.perf_counter() - start:.0f} s", flush=True)
    went_through = process.returncode == 0
    failed = [] if went_through else [(f"{script}.py", f"failed with status {process.returncode}", "", "", "", "NO")]
    return rows_of(script, "".join(lines)) + failed, went_through


def show(rows: list[tuple[str, ...]]) -> None:
    """Print the rows as a Markdown table with even columns."""
    table = [HEADER, *rows]
    widths = [max(len(line[column]) for line in table) for column in range(COLUMNS)]
    table.insert(1, tuple("-" * width for width in widths))
    print()
    for line in table:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")


def main() -> None:
    given = parser(__doc__).parse_args()
    options = ["--smoke"] if given.smoke else ["--short"] if given.short else []
    scripts = [script for script in SCRIPTS if not given.smoke or script not in NOT_SMOKED]
    results = [run(script, options) for script in scripts]
    show([row for rows, _ in results for row in rows])
    goals = [row for rows, _ in results for row in rows if row[4]]
    print(f"\n{sum(row[5] == 'yes' for row in goals)} of {len(goals)} goals met in this run.")
    if not all(went_through for _, went_through in results):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
