"""Calls that are kept: later, once, followed, approved, looked at again."""
