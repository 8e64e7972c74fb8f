"""The work of the example commands, recorded with cogmeter: one file per service, none of them imports discord."""
