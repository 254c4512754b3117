"""Times as the API shows them and as headers say them, and the days and months that limits are counted in: all UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import overload

#: A reset that is larger is a time of day, not seconds from now.
_IS_TIME = 1e8


@overload
def iso(seconds: float) -> str: ...
@overload
def iso(seconds: None) -> None: ...
def iso(seconds: float | None) -> str | None:
    """Unix seconds as ISO 8601 in UTC: `2026-11-22T10:15:00Z`."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def day_of(seconds: float) -> tuple[int, int]:
    """Begin and end of the day that holds this time, unix seconds."""
    start = int(seconds) // 86400 * 86400
    return start, start + 86400


def month_of(seconds: float) -> tuple[int, int]:
    """Begin and end of the calendar month that holds this time, unix seconds."""
    start = datetime.fromtimestamp(seconds, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = (start + timedelta(days=32)).replace(day=1)
    return int(start.timestamp()), int(end.timestamp())


def until(text: str | None, now: float, *, is_delay: bool = False) -> float | None:
    """Unix seconds of an HTTP date or of seconds from now (RFC 9110 §10.2.3), or of a time unless it is a delay."""
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        try:
            return parsedate_to_datetime(text).timestamp()
        except (TypeError, ValueError, OverflowError):
            return None
    if not 0 <= number < 1e12:
        return None
    return number if number > _IS_TIME and not is_delay else now + number
