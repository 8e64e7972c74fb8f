"""Where operations live. Knows nothing of Discord, and nothing of the packages above it."""
