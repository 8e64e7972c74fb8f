"""REST, health, metrics and the dashboard, served from the bot's own process by aiohttp."""
