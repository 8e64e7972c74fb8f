"""The HTTP servers: ports, applications, access control, limits and static files."""
