"""The routes by subject. Each file has a tuple ROUTES; ``web.server.app`` lists the files."""
