"""Delivery of alerts: an outbox in the database, one worker per target, with retries and rate limits."""
