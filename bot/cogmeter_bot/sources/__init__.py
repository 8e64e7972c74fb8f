"""The data sources of the command line: a database, or the API of a running bot. Both return the same models."""
