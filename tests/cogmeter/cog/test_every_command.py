"""Every command of the tree: on an empty database and on a hundred hostile services, each page, button and choice.

Commands come from the tree: a new one is tested without a line here, unless it has a required option of a new name.
"""

import time
from types import SimpleNamespace

import pytest
from discord import app_commands
from discord_markup import EVIL, live_markup, texts_of
from large_dataset import write_dataset
from loopback.limits import check_message, is_empty
from loopback.limits_commands import check_choices
from loopback.limits_components import check_modal, walk
from loopback.problems import Problems
from loopback.recording import UploadedFile

import cogmeter
from cogmeter.cog.perf import FAMILIES
from cogmeter.cog.responder import REFUSED
from cogmeter_storage.model import Marker, Outcome, SpanRecord, TraceRecord

UNKNOWN = "no-such-thing"
REQUIRED = {"service": "all", "rule": "error_rate", "value": "9%", "duration": "1h"}  # of options without choices
ANY_TEXT = {("mute", "reason")}  # options that accept every text
PUBLIC_NAMES = {"rule", "reset"}  # options whose choices are in the documentation, not in the database
MESSAGE, DEFERRED, UPDATE, CHOICES, MODAL = 4, 5, 7, 8, 9
BUTTON, TEXT_SELECT = 2, 3


def commands_of_the_tree():
    group = app_commands.Group(name="perf", description="x")
    for add in FAMILIES:
        add(group, SimpleNamespace(answers={}))
    return [command for command in group.walk_commands() if isinstance(command, app_commands.Command)]


COMMANDS = commands_of_the_tree()
every_command = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.qualified_name[5:])


async def fill(home):
    """Store a hundred services and commands with hostile names: failures, costs, traces, markers, errors, alerts."""
    monitor, now_us = home.monitor, time.time_ns() // 1000
    for number in range(100):
        failed = EVIL * 5 if number % 3 == 0 else None
        spent = {"model": f"{number} {EVIL}", "tokens_in": 10**9 if number else 1, "tokens_out": 5, "cost_usd": 0.01}
        names = (("discord.commands", f"{number:02}{EVIL}"), (f"{number:02}{EVIL}", EVIL))
        for service, operation in names:
            cogmeter.record(service, operation, duration_ms=200 + 40_000 * number, error=failed, metadata=spent)
    await home.flushed()
    await write_dataset(monitor)
    spans = tuple(
        SpanRecord(number, number - 1, EVIL, EVIL, number, 9_000_000, Outcome.ERROR) for number in range(1, 101)
    )
    await monitor.store.add_traces(
        TraceRecord(now_us - number, "discord.commands", f"{number:02}{EVIL}", 10**7, Outcome.ERROR, EVIL, 7, spans)
        for number in range(20)
    )
    for number in range(40):
        await monitor.store.add_marker(Marker(now_us - number * 10**9, "version", f"{number}{EVIL}"))


def problems_of(request):
    """What Discord would refuse in a request of the bot; its answers to interactions and its messages."""
    problems, body = Problems(), request.json
    if not isinstance(body, dict) or "/commands" in request.path:
        return []
    kind, data = body.get("type"), body.get("data") or {}
    if request.path.endswith("/callback"):
        if kind == CHOICES:
            check_choices(problems, data["choices"], "choices")
            return problems.found
        if kind == MODAL:
            check_modal(problems, data)
            return problems.found
        if kind not in {MESSAGE, UPDATE}:
            return []
        body = data
    files = tuple(
        UploadedFile(f"files[{one['id']}]", one["filename"], "", b"")
        for one in body.get("attachments") or []
        if "filename" in one
    )
    check_message(problems, body, files)
    if request.method == "POST" and is_empty(body, files):
        problems.add("", "50006", "Cannot send an empty message")
    if (body.get("allowed_mentions") or {}).get("parse") != [] and (body.get("content") or body.get("embeds")):
        problems.add("allowed_mentions", "", "mentions are not switched off")
    problems.found += [("", "live markup", text) for text in texts_of(body) if live_markup(text)]
    return problems.found


class Visit:
    """Uses a command as its owner, and checks everything that the bot sends."""

    def __init__(self, home, command):
        self.home, self.command, self.checked = home, command, 0
        home.env.http_requests.clear()

    def check(self):
        requests = self.home.env.http_requests[self.checked :]
        self.checked += len(requests)
        assert [found for request in requests for found in problems_of(request)] == []
        assert not any(self.home.monitor.faults.values()), self.home.monitor.faults

    async def run(self, actor=None, **options):
        given = {option.display_name: self.required(option) for option in self.command.parameters if option.required}
        actor = actor or self.home.owner
        result = await actor.slash(self.home.channel, self.command.qualified_name, **given | options)
        self.check()
        return result.response or result.followups[0]

    def required(self, option):
        if option.type.name == "user":
            return self.home.stranger
        return option.choices[0].value if option.choices else REQUIRED[option.name]

    async def completed(self, option, typed, actor=None):
        actor = actor or self.home.owner
        found = await actor.autocomplete(self.home.channel, self.command.qualified_name, option.display_name, typed)
        self.check()
        return [choice["value"] for choice in found]

    async def press_everything(self, **options):
        """Press each component of the answer, each on an answer of its own; pages are turned to the end and back."""
        for place in range(len(usable(await self.run(**options)))):
            message = await self.run(**options)
            components = usable(message)
            if place < len(components):
                await self.press(message, components[place])

    async def press(self, message, component):
        if component["type"] == BUTTON:
            await self.home.owner.click(message, custom_id=component["custom_id"])
        elif component["type"] == TEXT_SELECT:
            await self.home.owner.select(message, [component["options"][-1]["value"]], custom_id=component["custom_id"])
        self.check()
        for label in ("Next", "Previous"):
            while component.get("label") == "Next" and (again := named(message, label)):
                await self.home.owner.click(message, custom_id=again["custom_id"])
                self.check()


def usable(message):
    return [
        component
        for _, component in walk(message.components, "")
        if component.get("custom_id") and not component.get("disabled")
    ]


def named(message, label):
    return next((component for component in usable(message) if component.get("label") == label), None)


def text_of(message):
    return message.content + "".join(str(embed.to_dict()) for embed in message.embeds)


@every_command
async def test_an_empty_database_is_answered(move_in, command):
    async with move_in(PERFORMANCE_CHARTS=False) as home:
        visit = Visit(home, command)
        assert text_of(await visit.run())
        for option in command.parameters:
            if option.autocomplete:
                await visit.completed(option, "")
        await visit.press_everything()


@pytest.mark.slow
@every_command
async def test_a_hundred_hostile_services_keep_within_the_limits_on_each_page(move_in, command):
    async with move_in(PERFORMANCE_CHARTS=False) as home:
        await fill(home)
        visit = Visit(home, command)
        await visit.press_everything()
        for option in command.parameters:
            values = [choice.value for choice in option.choices]
            if option.autocomplete:
                for typed in ("", "evil", EVIL):
                    values += (await visit.completed(option, typed))[:1]
            for value in values:
                await visit.run(**{option.display_name: value})


@pytest.mark.slow
@every_command
async def test_charts_are_sent_within_the_limits(move_in, command):
    async with move_in() as home:
        await fill(home)
        await Visit(home, command).run()


@every_command
async def test_a_stranger_gets_no_figures_and_no_names(move_in, command):
    async with move_in(PERFORMANCE_CHARTS=False) as home:
        for service in ("discord.commands", "alpha", EVIL):
            cogmeter.record(service, "secret", duration_ms=200, error="failed")
        await home.flushed()
        visit = Visit(home, command)
        response = await visit.run(home.stranger)
        assert response.ephemeral
        assert (response.content, response.embeds, response.components) == (REFUSED, [], [])
        for option in command.parameters:
            if option.autocomplete and option.name not in PUBLIC_NAMES:
                assert await visit.completed(option, "", home.stranger) == []


TYPED = [
    (command, option)
    for command in COMMANDS
    for option in command.parameters
    if option.type.name == "string" and not option.choices and (command.name, option.name) not in ANY_TEXT
]


@pytest.mark.parametrize(("command", "option"), TYPED, ids=lambda one: getattr(one, "qualified_name", one.name)[-20:])
@pytest.mark.parametrize("evil", [False, True])
async def test_a_value_that_is_not_known_is_named_in_the_answer(move_in, command, option, evil):
    async with move_in(PERFORMANCE_CHARTS=False) as home:
        cogmeter.record("alpha", "x", duration_ms=5)
        await home.flushed()
        needs_service = option.name == "operation" or command.name == "mute"
        service = {"service": "alpha"} if needs_service and option.name != "service" else {}
        typed = f"{UNKNOWN} {EVIL}" if evil else UNKNOWN
        answer = text_of(await Visit(home, command).run(**service | {option.display_name: typed}))
        assert UNKNOWN in answer.replace("\\", "")
