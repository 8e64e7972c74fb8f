"""Sentences about slow runs, for embeds, pages, charts and the terminal: what is known, and what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.query.slow_patterns import PATTERNS
from cogmeter.query.time_parts import TimePart
from cogmeter.render import formatting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogmeter.query.slow import SlowRun, TimeProfile
    from cogmeter.query.slow_patterns import PatternMatch

WHAT: Final = 90  # characters of a line, a route or a host in a sentence
NO_TRACED_RUNS: Final = "No traced runs in this period."
_UNNAMED_SHARE: Final = 0.5  # of the run, from which own code counts as not broken down
_LEAST_SHARE: Final = 0.005  # a smaller part is not listed
_UNUSUAL: Final = 1.5  # times the usual time of a dependency


def cause_text(match: PatternMatch) -> str:
    """Return what was found, such as ``GET api.example.com took 4.2 s (usually 350 ms)``."""
    evidence = match.evidence
    return cause(match.pattern.key, evidence.what, evidence.cost_us, evidence.calls, evidence.usual_us)


def cause(key: str, what: str, cost_us: float, calls: int, usual_us: float | None = None) -> str:
    """Return the sentence of a pattern's key; a key of a newer version is shown as it is."""
    if key not in PATTERNS:
        return f"{key}: {what}."
    shown = formatting.cut(formatting.clean(what), WHAT)
    total = " in total" if calls > 1 else ""
    text = PATTERNS[key].cause.format(what=shown, time=formatting.duration(cost_us), count=calls, total=total)
    if usual_us is None or calls > 1 or cost_us < _UNUSUAL * usual_us:
        return text
    return f"{text.removesuffix('.')} (usually {formatting.duration(usual_us)})."


def run_lines(run: SlowRun) -> list[str]:
    """Return the cause and the advice of each pattern of a run; without any, where the time went."""
    lines = [f"{cause_text(match)} {match.advice}" for match in run.patterns]
    return lines or [unexplained_text(run)]


def unexplained_text(run: SlowRun) -> str:
    """Return what is known of a run without a known pattern."""
    parts = {part.key: us for part, us in run.time.parts.items()}
    return unexplained(parts, run.time.unnamed_us, run.slowest_step, traced=run.traced)


def unexplained(
    parts: Mapping[str, float], unnamed_us: float, step: tuple[str, float] | None = None, *, traced: bool
) -> str:
    """Return what is known of a run with these parts, by their keys, in microseconds.

    ``step`` is the operation with most of the largest part, and its microseconds.
    """
    whole_us = sum(parts.values())
    if not traced:
        return (
            f"Where the {formatting.duration(whole_us)} went is not known: no trace of this run is stored."
            " Traces are kept of slow and failed commands, buttons and forms."
        )
    if unnamed_us >= _UNNAMED_SHARE * whole_us:
        return (
            f"Own code {formatting.duration(parts[TimePart.OWN.key])}, not broken down: nothing was recorded inside it."
            " Put its steps into cogmeter.operation(...) to see which one is slow."
        )
    part = max(TimePart, key=lambda one: parts.get(one.key, 0.0))
    time = formatting.duration(parts[part.key])
    named = ""
    if step is not None:
        share = formatting.duration(step[1])
        named = f", {'all' if share == time else share} of it in {formatting.cut(formatting.clean(step[0]), WHAT)}"
    largest = "Most of the time" if parts[part.key] > whole_us / 2 else "The largest part"
    return f"{largest} is {part.title}: {time}{named}. No known pattern was found."


def note_lines(run: SlowRun) -> list[str]:
    """Return what the picture of a run lacks."""
    notes: list[str] = []
    late = sum(span.start_us + span.duration_us > run.trace.duration_us for span in run.trace.spans)
    if run.trace.left_out:
        notes.append(f"{formatting.counted(run.trace.left_out, 'more part')} beyond the first 100 not stored.")
    if late:
        ended = "ended after the run: its" if late == 1 else "ended after the run: their"
        notes.append(f"{formatting.counted(late, 'part')} {ended} time outside of it is not counted.")
    known = {span.id for span in run.trace.spans}
    orphans = sum(span.parent not in known and span.parent != 0 for span in run.trace.spans)
    if orphans:
        notes.append(f"The step around {formatting.counted(orphans, 'part')} was not recorded.")
    return [*notes, *shared_lines(run.time.shared_us, run.time.whole_us)]


def shared_lines(shared_us: float, whole_us: float) -> list[str]:
    """Return why the parts of a run are shorter than its calls, if that is a considerable part of it."""
    if shared_us < max(_LEAST_SHARE * whole_us, 1):
        return []
    text = "calls of several kinds ran at once, or the event loop was blocked during one"
    return [
        f"For {formatting.duration(shared_us)}, {text}. Each moment counts once: parts are shorter than their calls."
    ]


def part_lines(parts: Mapping[TimePart, float]) -> list[tuple[TimePart, str]]:
    """Return the parts of a run that matter with their text, largest first: ``Discord REST 1.2 s (40%)``."""
    whole_us = sum(parts.values())
    shown = [part for part in TimePart if whole_us and parts[part] >= _LEAST_SHARE * whole_us]
    shown.sort(key=lambda part: -parts[part])
    return [(part, _part_text(part, parts[part], whole_us)) for part in shown]


def _part_text(part: TimePart, part_us: float, whole_us: float) -> str:
    return f"{part.title} {formatting.duration(part_us)} ({formatting.percent(round(part_us / whole_us, 2))})"


def output_text(run: SlowRun) -> str:
    """Return when the user saw something for the first time."""
    return "not known" if run.first_output_us is None else f"after {formatting.duration(run.first_output_us)}"


def profile_text(profile: TimeProfile) -> str:
    """Return how many runs a profile covers, and which."""
    slowest = "the slowest " if profile.truncated else ""
    read, runs = formatting.counted(profile.traced, "traced run"), formatting.counted(profile.runs, "run")
    return f"{slowest}{read} of {runs}; traces are kept of slow and failed runs"
