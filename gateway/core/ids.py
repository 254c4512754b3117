"""Opaque, prefixed ids: random, so that none can be guessed from another."""

from __future__ import annotations

import os

#: Random bytes fetched at once: the system call costs more than all the rest of an id.
_FETCHED = 4096
_pool = bytearray()


def new_id(prefix: str) -> str:
    """`conn_1f0c…`, 128 random bits: the prefix says what it is, the rest says nothing."""
    return f"{prefix}_{random_hex(16)}"


def new_ordered_id(prefix: str, ms: int) -> str:
    """An id that sorts by its time (unix milliseconds), then by 80 random bits: rows that are written together
    lie together in an index, which halves what a commit writes."""
    return f"{prefix}_{ms:012x}{random_hex(10)}"


def random_hex(size: int) -> str:
    """`size` random bytes of the operating system's, as hex; for ids, not for keys."""
    if len(_pool) < size:
        _pool[:] = os.urandom(_FETCHED)
    taken = _pool[-size:].hex()
    del _pool[-size:]
    return taken


# A child process must not give out what its parent gives out.
os.register_at_fork(after_in_child=_pool.clear)
