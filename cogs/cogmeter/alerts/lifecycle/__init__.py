"""The life of alerts: a pure state machine, and the engine that stores each step before it is told."""
