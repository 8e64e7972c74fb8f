"""Discord embeds for every command and alert."""
