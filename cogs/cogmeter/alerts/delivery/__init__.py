"""How alerts are told: from an outbox in the database, one lane for each target, with retries and pauses."""
