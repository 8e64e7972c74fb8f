"""The JSON that leaves cogmeter: pydantic models in the guide's camelCase, built from query and store records."""
