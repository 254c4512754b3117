"""What is sent to an upstream, and what comes back, as values: pure but for files."""
