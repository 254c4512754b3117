"""A guard against input that costs far more than it weighs. How fast things are is measured in `benchmarks`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

#: CPU seconds: many times what the work costs, and far less than it would if its cost grew with the square.
_MOST = 15.0


@contextmanager
def no_blowup() -> Iterator[None]:
    """Fails if this process spends long on what is inside. A busy machine does not count: its time is others'."""
    began = time.process_time()
    yield
    spent = time.process_time() - began
    assert spent < _MOST, f"{spent:.1f} s of CPU"
