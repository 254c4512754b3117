"""Opaque, prefixed ids: 128 random bits, so that none can be guessed from another."""

from __future__ import annotations

import os


def new_id(prefix: str) -> str:
    """`conn_1f0c…`: the prefix says what it is, the rest says nothing."""
    return f"{prefix}_{os.urandom(16).hex()}"
