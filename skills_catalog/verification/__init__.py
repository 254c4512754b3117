"""Holds a definition against the vendor's own description: what it sends, what it declares, what it shows as answers."""
