"""The schema, step by step: numbered SQL files, each run once, in order, never changed afterwards."""
