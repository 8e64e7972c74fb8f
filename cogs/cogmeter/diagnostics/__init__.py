"""Judges the health of the running bot, of the monitor and of services, with reasons and ages."""
