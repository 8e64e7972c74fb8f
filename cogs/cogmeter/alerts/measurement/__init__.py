"""What a check sees: moving windows, long windows, gauges, costs and baselines, all in memory and bounded."""
