"""The embeds of error groups: a list, and the details of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord

from cogmeter.query.errors import NO_FAILURES
from cogmeter.recording.service_names import label
from cogmeter.render import formatting
from cogmeter.render.embeds.limits import VALUE
from cogmeter.render.embeds.statistics import fit
from cogmeter.render.error_text import (
    INNER_TITLE,
    KIND_TITLES,
    UNPLACED_NEXT,
    chain_lines,
    counted_days,
    deploy_text,
    happened_text,
    people_text,
    place_text,
    state_word,
    type_text,
    unplaced_text,
)
from cogmeter.render.escape import below, code, plain, when
from cogmeter.render.palette import DisplayState
from cogmeter_storage.errors import ErrorKind, headline

if TYPE_CHECKING:
    from cogmeter.query.errors import ErrorDetails, ErrorList, ErrorTrend, InnerError, UngroupedFailures
    from cogmeter_storage.errors import ErrorExample, ErrorGroup
    from cogmeter_storage.model import Marker

STACK: Final = VALUE - 10  # characters of a stack in its code block
BARS: Final = "▁▂▃▄▅▆▇█"
LISTED: Final = 5  # services and examples


def error_list_embed(
    errors: ErrorList,
    *,
    subject: str | None,
    kind: ErrorKind | None,
    page: int,
    now_us: int,
    ungrouped: UngroupedFailures = NO_FAILURES,
) -> discord.Embed:
    """Return a page, counted from 0, of the error groups of a range, with the other failures of the subject.

    ``subject`` is a service or the label of an operation; None: all.
    """
    inner = ungrouped.inner
    of = "" if subject is None else f" of {plain(subject, 80)}"
    title = "Errors" if kind is None else f"{kind.value.capitalize()} errors"
    open_groups = any(trend.group.resolved_us is None for trend in errors.groups)
    embed = discord.Embed(
        title=f"{title}{of} ({formatting.clean(errors.range.label)})",
        description="\n".join(line for trend in errors.groups for line in _lines(trend, errors.deploy, now_us))
        or _none_text(ungrouped),
        colour=(DisplayState.DEGRADED if open_groups or ungrouped.unplaced else DisplayState.HEALTHY).colour,
    )
    if ungrouped.unplaced:
        text = f"{unplaced_text(ungrouped.unplaced)}: {UNPLACED_NEXT}, /perf stats."
        embed.add_field(name="Other failures", value=text, inline=False)
    if inner:
        lines = list(map(_inner_line, inner[:LISTED]))
        if len(inner) > LISTED:
            lines.append(f"and {formatting.exact(len(inner) - LISTED)} more")
        embed.add_field(name=INNER_TITLE, value="\n".join(lines), inline=False)
    days = counted_days(errors.range.since_us, errors.range.until_us)
    more = errors.next_offset is not None
    pages = f" · Page {page + 1}" + (", more on the next page" if more else ", last page") if more or page else ""
    embed.set_footer(text=days + pages)
    return fit(embed)


def _none_text(ungrouped: UngroupedFailures) -> str:
    if ungrouped.unplaced:
        return "No error with a known place in this period."
    return "No errors were raised here in this period." if ungrouped.inner else "No errors in this period."


def _inner_line(inner: InnerError) -> str:
    """Return failures whose error another operation counts, with the number of its group."""
    error = plain(headline(type_text(inner.group.type), inner.group.message), 90)
    place = plain(label(*inner.raised_in), 60)
    return f"**{formatting.exact(inner.failures.count)}** {error}: see error {inner.group.id} in {place}"


def error_details_embed(details: ErrorDetails, now_us: int) -> discord.Embed:
    """Return one error group: its place, counts and state, the newest stack, and examples."""
    trend, group = details.trend, details.trend.group
    embed = discord.Embed(
        title=f"Error {group.id}: {plain(group.type, 180)}",
        description=f"{plain(group.message, 400) or '(no message)'}\n{code(place_text(group.place), 200)}\n"
        f"{plain(happened_text(group.kind.value, _operations(group)), 300)}",
        colour=(DisplayState.DEGRADED if group.resolved_us is None else DisplayState.HEALTHY).colour,
    )
    people = people_text(group.users, group.guilds)
    embed.add_field(
        name="Count",
        value=f"**{formatting.counted(group.total, 'error')}** since <t:{group.first_us // 1_000_000}:D>\n"
        f"{_sparkline(trend)}" + (f"\n{people}" if people else ""),
    )
    embed.add_field(name="Last", value=when(group.last_us))
    embed.add_field(name="State", value="\n".join(_state_lines(trend, details.deploy, now_us)))
    embed.add_field(
        name="Started by" if group.kind is ErrorKind.UNHANDLED else "In", value=_places(group), inline=False
    )
    if details.examples:
        embed.add_field(name="Newest stack", value=_stack(details.examples[0]), inline=False)
        embed.add_field(name="Examples", value="\n".join(map(_example, details.examples[:LISTED])), inline=False)
    versions = [group.first_version, group.last_version, details.running_version]
    if any(versions):
        first, last, running = (formatting.cut(formatting.clean(version or "unknown"), 40) for version in versions)
        embed.set_footer(text=f"First in version {first}, last in {last}; running: {running}")
    return fit(embed)


def _operations(group: ErrorGroup) -> list[tuple[str, str]]:
    return [(service, operation) for service, operation, _ in group.places]


def _lines(trend: ErrorTrend, deploy: Marker | None, now_us: int) -> list[str]:
    group = trend.group
    parts = [f"**{formatting.exact(group.count)}** ({_compared(trend)})"]
    people = people_text(group.users, group.guilds)
    if people:
        parts.append(f"{people} in total")
    parts += [group.kind.value, *_state_words(trend, deploy, now_us), when(group.last_us), f"Error {group.id}"]
    head = f"**{plain(group.type, 80)}** in {code(place_text(group.place), 120)}"
    return [
        f"{head}: {plain(group.message, 120)}" if group.message else head,
        below(" · ".join(parts)),
    ]


def _compared(trend: ErrorTrend) -> str:
    days = formatting.counted(trend.range_days, "day")
    return f"{formatting.exact(trend.before)} in the {days} before" if trend.before else f"none in the {days} before"


def _state_words(trend: ErrorTrend, deploy: Marker | None, now_us: int) -> list[str]:
    group = trend.group
    word = state_word(
        is_new=trend.is_new,
        reopened=group.reopened_us is not None,
        resolved=group.resolved_us is not None,
        muted=group.is_muted(now_us),
    )
    if word == "new" and deploy is not None:
        return [f"new since {plain(deploy_text(deploy.kind, deploy.name), 60)}"]
    return [] if word == "open" else [word]


def _state_lines(trend: ErrorTrend, deploy: Marker | None, now_us: int) -> list[str]:
    group = trend.group
    lines = [KIND_TITLES[group.kind.value].capitalize(), *_state_words(trend, deploy, now_us)]
    if group.resolved_us is not None:
        lines[-1] = f"resolved {when(group.resolved_us)} by {plain(group.resolved_by, 40) or 'somebody'}"
    elif group.muted_until_us is not None and group.is_muted(now_us):
        lines[-1] = f"muted until <t:{group.muted_until_us // 1_000_000}:f>"
    elif group.reopened_us is not None:
        lines[-1] = f"reopened {when(group.reopened_us)}"
    return lines


def _places(group: ErrorGroup) -> str:
    lines = [
        f"{plain(service, 60)} / {plain(operation, 80)}: {formatting.exact(errors)}"
        for service, operation, errors in group.places[:LISTED]
    ]
    more = len(group.places) - LISTED
    return "\n".join([*lines, f"and {formatting.counted(more, 'more operation')}"] if more > 0 else lines) or "unknown"


def _stack(example: ErrorExample) -> str:
    """Return the innermost frames that fit, in a code block; ``>`` marks frames of the bot's own code."""
    lines = [line for line, _ in chain_lines(example.chain)] or ["(no stack)"]
    first, *rest = (formatting.cut(line.replace("`", "'"), 110) for line in lines)
    left_out: list[str] = []
    while rest and len("\n".join([first, *left_out, *rest])) > STACK:
        del rest[0]
        left_out = ["  ..."]
    text = "\n".join([first, *left_out, *rest])
    return f"```\n{text}\n```"


def _example(example: ErrorExample) -> str:
    message = example.chain[0].message if example.chain else ""
    version = f" · {plain(example.version, 30)}" if example.version else ""
    user = f" · user {plain(example.user, 12)}" if example.user else ""
    return f"{when(example.at_us)} {plain(example.operation, 60)}{user}{version}: {plain(message, 90)}"


def _sparkline(trend: ErrorTrend) -> str:
    """Return the errors of each day as bars, for example ``▁▁▃█``, with the number of days."""
    most = max(trend.days, default=0)
    if not most:
        return "none in the last days"
    bars = "".join(BARS[7 * errors // most] for errors in trend.days)
    return f"`{bars}` {len(trend.days)} days"
