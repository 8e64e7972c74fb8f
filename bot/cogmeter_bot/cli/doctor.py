"""``cogmeter doctor``: how bot, monitor and services are, as far as it can be known from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cogmeter_bot.cli.options import ReadingOptions, reading

if TYPE_CHECKING:
    from cogmeter_bot.cli.output import OutputPage
    from cogmeter_bot.sources.diagnosis import Diagnosis


@click.command()
@reading
def doctor(ask: ReadingOptions) -> None:
    """Look for what is wrong with the bot and its database.

    It looks at the database's size, damaged data, the clock, whether old data is removed, how fresh it is, the
    gateway, free disk space, alerts, and what waits to be sent; with --url, at what the bot says of
    itself. Services are judged by the last hour, or by the stretch asked for.

    --check: a check fails.
    """
    from cogmeter.query.records import Period
    from cogmeter_bot.cli.output import show, show_json

    span = ask.span(Period.HOUR)
    found = ask.answer(lambda source: source.diagnosis(span, ask.services))
    if ask.as_json:
        show_json(found)
    else:
        show(page(found))
    ask.checked(well=found.healthy)


def page(found: Diagnosis) -> OutputPage:
    """The page; what is not well stands first."""
    from cogmeter_bot.cli import guide_format
    from cogmeter_bot.cli.output import BAD, GOOD, LabelledValue, OutputPage

    def fact(name: str, well: bool, text: str, advice: str) -> LabelledValue:
        said = f"{guide_format.line(text)}. {advice}." if advice else guide_format.line(text)
        return LabelledValue(f"[{'ok' if well else '!!'}] {guide_format.line(name)}", said, "" if well else BAD)

    bad = sum(not one.well for one in found.findings)
    verdict = LabelledValue(
        "Result", f"{bad} of {len(found.findings)} checks fail" if bad else "all pass", BAD if bad else GOOD
    )
    facts = [fact(one.name, one.well, one.text, one.advice) for one in found.findings]
    return OutputPage(f"Doctor ({guide_format.line(found.source)})", [verdict, *facts])
