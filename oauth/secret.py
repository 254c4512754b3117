"""A string that does not show itself: what every credential, key and client secret is held in."""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """A secret string; `reveal()` is the only way to its text, so that uses can be found by name."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __format__(self, _spec: str) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        # A pickle would carry the plain text into caches and crash reports.
        raise TypeError("a Secret is not pickled")
