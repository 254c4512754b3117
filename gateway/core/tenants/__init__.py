"""Orgs: their keys, members and plans, and what is left of them."""
