"""Pages for people: server-rendered, no script, nothing loaded from anywhere else."""
