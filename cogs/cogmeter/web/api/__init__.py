"""The REST API: routing, parameters, bodies, problem documents, and the routes by subject."""
