"""The inputs of the rules: windows, gauges, costs and baselines, in memory and bounded."""
