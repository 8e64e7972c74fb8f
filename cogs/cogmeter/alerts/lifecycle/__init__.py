"""The lifecycle of alerts: a pure state machine, and the engine that stores each transition before delivery."""
