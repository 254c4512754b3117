"""The REST surface: parse, call the core, render."""
