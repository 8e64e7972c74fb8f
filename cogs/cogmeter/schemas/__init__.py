"""What leaves as JSON: pydantic models in the guide's camelCase, made from the records of queries and the store."""
