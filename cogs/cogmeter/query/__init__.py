"""The read side: summaries, statistics and time series from the store."""
