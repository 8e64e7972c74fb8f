"""The example commands: one extension per service, listed in ``EXTENSIONS``."""

from typing import Final

EXTENSIONS: Final = (
    "cogmeter_bot.cogs.core_intelligence",
    "cogmeter_bot.cogs.sentiment_analysis",
    "cogmeter_bot.cogs.context_memory",
    "cogmeter_bot.cogs.knowledge_graph",
    "cogmeter_bot.cogs.multimodal_processing",
    "cogmeter_bot.cogs.web_crawling",
)
