"""Opaque, prefixed ids: random, so that none can be guessed from another."""

from __future__ import annotations

import os

#: Random bytes fetched at once: the system call costs more than all the rest of an id.
_FETCHED = 4096
_pool = bytearray()
#: Time and place of the last ordered id.
_last = (0, 0)


def new_id(prefix: str) -> str:
    """`conn_1f0c…`, 128 random bits: the prefix says what it is, the rest says nothing."""
    return f"{prefix}_{random_hex(16)}"


def new_ordered_id(prefix: str, ms: int) -> str:
    """An id that sorts by its time (unix milliseconds), and among those of a millisecond as they were made here.

    Rows that are written together then lie together in an index, which halves what a commit writes.
    """
    global _last
    at, place = _last
    # 79 random bits first, then steps of up to 48: they do not run over, and none can be told from another.
    place = place + int(random_hex(6), 16) + 1 if at == ms else int(random_hex(10), 16) >> 1
    _last = ms, place
    return f"{prefix}_{ms:012x}{place:020x}"


def random_hex(size: int) -> str:
    """`size` random bytes of the operating system's, as hex; for ids, not for keys."""
    if len(_pool) < size:
        _pool[:] = os.urandom(_FETCHED)
    taken = _pool[-size:].hex()
    del _pool[-size:]
    return taken


# A child process must not give out what its parent gives out.
os.register_at_fork(after_in_child=_pool.clear)
