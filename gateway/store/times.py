"""Times at the border of the database: whole milliseconds inside, float seconds outside."""

from __future__ import annotations

from typing import overload


@overload
def to_ms(seconds: float) -> int: ...
@overload
def to_ms(seconds: None) -> None: ...
def to_ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


@overload
def to_seconds(ms: int) -> float: ...
@overload
def to_seconds(ms: None) -> None: ...
def to_seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000
