"""Review of alerts: previews of thresholds, the alert report, advice."""
