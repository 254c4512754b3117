"""The public contract: its committed snapshot, what may differ from it, and requests that try it out."""
