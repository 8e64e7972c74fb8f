"""Where the command line reads from: a database, or the API of a bot elsewhere; both answer with the same models."""
