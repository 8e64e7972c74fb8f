"""``/metrics``: what is stored and what is known of the moment, as Prometheus and OpenMetrics read it."""
