"""Discord's REST API: every request, its waits and its limits."""
