"""Performance monitoring that lives inside a discord.py bot."""
