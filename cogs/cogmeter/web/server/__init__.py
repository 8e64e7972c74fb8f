"""The HTTP servers: ports, applications, access control, limits, templates and static files."""
