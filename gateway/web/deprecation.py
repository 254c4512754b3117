"""How answers say that what was asked for will be gone one day: for programs, in headers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from email.utils import format_datetime


def deprecation_headers(since: date, sunset: date | None, use: str | None) -> Mapping[str, str]:
    """`X-Deprecated`, `Deprecation` (RFC 9745), `Sunset` (RFC 8594), and where `use` is its successor (RFC 5829)."""
    headers = {"X-Deprecated": "true", "Deprecation": f"@{int(_midnight(since).timestamp())}"}
    if sunset is not None:
        headers["Sunset"] = format_datetime(_midnight(sunset), usegmt=True)
    if use is not None:
        headers["Link"] = f'<{use}>; rel="successor-version"'
    return headers


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
