"""Looking back: what thresholds would have told, how good the alerts were, and what people change in them."""
