"""Finds actions by what somebody wants to do."""
