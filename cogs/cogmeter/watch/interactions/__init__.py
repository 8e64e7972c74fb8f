"""Interactions and prefix commands: arrival, handling, response, user."""
