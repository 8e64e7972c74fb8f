"""Every example command, used by a member of a simulated guild, answers and is recorded under its service."""

import io

import pytest
import simcord
from PIL import Image

from cogmeter_bot.bot import ExampleBot
from cogmeter_bot.cogs import EXTENSIONS
from cogmeter_bot.errors import CannotRunError
from cogmeter_bot.replies import cut
from cogmeter_bot.services import web as web_service
from cogmeter_storage import open_store
from cogmeter_storage.model import Outcome


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 32), (200, 40, 40)).save(buffer, "PNG")
    return buffer.getvalue()


class Guild:
    """The bot online in a guild with one channel and one member."""

    def __init__(self, env, bot, database):
        self.env, self.bot = env, bot
        self._database = database
        guild = env.create_guild()
        self.channel = guild.create_text_channel("general")
        self.member = guild.add_member(env.create_user("ada"))

    async def use(self, command, **options):
        """The answer to a slash command: its text, or its embed's title and description."""
        result = await self.member.slash(self.channel, command, **options)
        message = result.followups[-1] if result.followups else result.response
        embeds = message.embeds
        text = "\n".join(filter(None, (message.content, *(f"{e.title}\n{e.description}" for e in embeds))))
        return text, message.flags.ephemeral

    async def recorded(self):
        """Close the bot; what it stored: {(service, operation): [outcome]}."""
        await self.bot.close()
        store = await open_store(self._database)
        try:
            ids = [one.id for one in await store.series()]
            stored = await store.recent(ids, 0, 2**62, limit=100)
        finally:
            await store.close()
        found = {}
        for one in stored:
            found.setdefault((one.service, one.operation), []).append(one.outcome)
        return found


@pytest.fixture
async def guild(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    database = f"sqlite:///{tmp_path}/performance.db"
    monkeypatch.setenv("PERFORMANCE_DATABASE_URL", database)
    bot = ExampleBot()
    env = simcord.Env(bot, check_errors=False, settle_timeout=60)
    await env.start()
    yield Guild(env, bot, database)
    await bot.close()
    await env.shutdown()


@pytest.mark.parametrize(
    ("command", "options", "answer", "service", "operation"),
    [
        (
            "mood",
            {"text": "This is great"},
            "The text is positive because of *great*.",
            "sentiment-analysis",
            "analyze",
        ),
        ("remember", {"note": "The key is under the mat"}, "You have 1 note", "context-memory", "store"),
        (
            "relate",
            {"thing": "Ada", "relation": "wrote", "other": "programs"},
            "Added: Ada wrote programs.",
            "knowledge-graph",
            "link",
        ),
        ("ask", {"question": "What is the weather?"}, "No note or fact matches", "core-intelligence", "process"),
        ("look", {"image": ("red.png", picture())}, "PNG, 64 x 32 pixels", "multimodal-processing", "describe"),
    ],
)
async def test_a_command_answers_and_is_recorded_under_its_service(guild, command, options, answer, service, operation):
    text, _ = await guild.use(command, **options)
    assert answer in text
    assert (await guild.recorded())[service, operation] == [Outcome.OK]


async def test_a_note_is_found_again_by_its_owner_alone(guild):
    await guild.use("remember", note="The key is under the mat")
    text, private = await guild.use("recall", question="Where is the key?")
    assert "The key is under the mat" in text
    assert private


async def test_a_chain_of_facts_is_found_and_its_ends_are_suggested(guild):
    await guild.use("relate", thing="database", relation="holds", other="operations")
    choices = await guild.member.autocomplete(guild.channel, "connect", "start", "SQ")
    assert [one["name"] for one in choices] == ["SQLite"]
    text, _ = await guild.use("connect", start="cogmeter", goal="operations")
    assert "1. cogmeter stores in SQLite\n2. SQLite is a database\n3. database holds operations" in text
    assert (await guild.recorded())["knowledge-graph", "query"] == [Outcome.OK]


async def test_a_question_is_answered_from_notes_and_records_each_service_on_the_way(guild):
    await guild.use("remember", note="The backup runs at three")
    text, _ = await guild.use("ask", question="When does the backup run?")
    assert "Your note: The backup runs at three" in text
    recorded = await guild.recorded()
    assert {("core-intelligence", "process"), ("sentiment-analysis", "analyze"), ("context-memory", "retrieve")} <= set(
        recorded
    )


async def test_a_page_of_the_own_network_is_refused_in_private_and_counts_as_the_users_mistake(guild):
    text, private = await guild.use("read", url="http://127.0.0.1/admin")
    assert text == "The address is not on the public internet."
    assert private
    assert (await guild.recorded())["web-crawling", "fetch"] == [Outcome.USER]


async def test_a_web_page_is_read(guild, monkeypatch):
    page = web_service.extract("<title>Hello</title><p>World</p>")

    async def read(_):
        return page

    monkeypatch.setattr(web_service, "read", read)
    assert (await guild.use("read", url="https://example.org/"))[0] == "Hello\nWorld"


async def test_a_refusal_is_shown_to_the_person_alone(guild):
    text, private = await guild.use("recall", question="anything")
    assert text == "None of your notes matches. Add one with /remember."
    assert private


async def test_a_file_that_is_no_image_is_refused_in_private(guild):
    text, private = await guild.use("look", image=("notes.txt", b"just text"))
    assert text == "The file is not a PNG, GIF, JPEG or WebP image."
    assert private
    assert (await guild.recorded())["multimodal-processing", "describe"] == [Outcome.USER]


async def test_a_fault_is_logged_and_the_person_gets_an_apology(guild, monkeypatch, caplog):
    monkeypatch.setattr(guild.bot.graph, "relate", None)
    text, private = await guild.use("relate", thing="a", relation="is", other="b")
    assert text == "Something went wrong on my side. The bot's log has the details."
    assert private
    assert "/relate failed" in caplog.text


async def test_every_name_is_short_enough_for_discord_and_used_once(guild):
    commands = list(guild.bot.tree.walk_commands())
    assert len({one.qualified_name for one in commands}) == len(commands)
    assert all(len(one.name) <= 32 and 1 <= len(one.description) <= 100 for one in commands)
    assert {"perf", "ask", "mood", "remember", "recall", "relate", "connect", "look", "read"} == {
        one.name for one in guild.bot.tree.get_commands()
    }
    assert len(EXTENSIONS) == 6


async def test_a_bad_setting_ends_the_bot_with_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERFORMANCE_ALERT_WINDOW", "soon")
    bot = ExampleBot()
    with pytest.raises(CannotRunError, match=r"^PERFORMANCE_ALERT_WINDOW='soon'.*$"):
        await bot.load_all_extensions()
    await bot.close()


def test_a_text_that_is_too_long_ends_with_an_ellipsis():
    assert cut("a" * 30, 10) == "a" * 9 + "…"
    assert cut("a" * 10, 10) == "a" * 10
