"""What a limit would have told, in words, for embeds and pages alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogmeter.render import formatting

if TYPE_CHECKING:
    from cogmeter.query.records import WhatIf


def said(outlook: WhatIf, *, strong: str = "") -> str:
    """The outlook as a sentence: "In the last 7 days this would have fired 3 times, for 40 min in all".

    ``strong`` is put around what matters most: two asterisks in Discord, nothing elsewhere.
    """
    if not outlook.subjects:
        return "Nothing that it holds for has been recorded yet, so there is nothing to try it on."
    then = _told(outlook.times, outlook.length_us)
    now = _told(outlook.now_times, outlook.now_length_us)
    length = formatting.duration(outlook.until_us - outlook.since_us)
    days = round((outlook.until_us - outlook.since_us) / 86_400e6, 1)
    stretch = f"{days:.0f} days" if days >= 2 and days == int(days) else length
    return f"In the last {stretch} this would have fired {strong}{then}{strong}; as it is now: {now}."


def _told(times: int, length_us: int) -> str:
    if not times:
        return "not once"
    return (
        f"{'once' if times == 1 else f'{formatting.exact(times)} times'}, for {formatting.duration(length_us)} in all"
    )
