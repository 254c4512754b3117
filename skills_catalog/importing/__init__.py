"""Brings a vendor's description over into our own YAML: names, params, effects, ways in, examples."""
