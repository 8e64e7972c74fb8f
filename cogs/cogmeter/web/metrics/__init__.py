"""``/metrics``: totals of all operations and gauges of the present state, for Prometheus and OpenMetrics."""
