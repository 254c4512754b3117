"""Where everything is kept: one SQL text on SQLite and on PostgreSQL, one noun a file."""
