"""The REST API: routing, parameters, problems, the OpenAPI document and the live stream."""
