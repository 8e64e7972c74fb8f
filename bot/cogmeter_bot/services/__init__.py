"""The work behind the example commands: one file a service, recorded with cogmeter, knowing nothing of Discord."""
