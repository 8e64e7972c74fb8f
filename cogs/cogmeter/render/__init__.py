"""Charts, embeds, and the formatting of numbers."""
