"""A PostgreSQL server for tests: brought by pip, started when the first test wants it, ended with the session."""
