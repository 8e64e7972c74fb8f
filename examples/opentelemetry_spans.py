"""Record database calls through OpenTelemetry: `pip install "cogmeter[otel]" opentelemetry-instrumentation-sqlite3`."""

import asyncio
import os
import sqlite3
from contextlib import closing

import discord
from discord import app_commands
from discord.ext import commands
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from opentelemetry.sdk.trace import TracerProvider

from cogmeter.otel import SpanProcessor

provider = TracerProvider()
provider.add_span_processor(SpanProcessor())  # operations of db.sqlite, also in the trace of a slow /notes
SQLite3Instrumentor().instrument(tracer_provider=provider)


def read_notes() -> list[str]:
    with closing(sqlite3.connect("notes.db")) as database, closing(database.cursor()) as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS notes (text)")
        return [text for (text,) in cursor.execute("SELECT text FROM notes")]


@app_commands.command(description="List the notes.")
async def notes(interaction: discord.Interaction) -> None:
    await interaction.response.send_message("\n".join(await asyncio.to_thread(read_notes)) or "No notes.")


class NotesBot(commands.Bot):
    async def setup_hook(self) -> None:
        self.tree.add_command(notes)
        await self.load_extension("cogmeter.cog")


if __name__ == "__main__":
    NotesBot("!", intents=discord.Intents.default()).run(os.environ["DISCORD_TOKEN"])
