"""Finds a short text that a regular expression matches, for the common expressions of identifiers and colours."""

from __future__ import annotations

import re
from collections.abc import Iterator

#: Longer texts than that are not made.
_LONGEST = 300
_DEEPEST = 20
_CLASSES = {"d": "0", "w": "a", "s": " ", "D": "a", "W": "-", "S": "a"}
_MEMBERS = {"d": "0123456789", "w": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", "s": " "}
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))


def matching(pattern: str, *, least: int = 0) -> Iterator[str]:
    """Texts that are likely to match; the caller tries them. None where the expression has what we do not know."""
    hollow: list[str] = []
    for stretch in (0, 1, 2, 8):
        try:
            text = _Reader(pattern, stretch).all()
        except (_Unknown, IndexError):
            return
        if len(text) < least:
            continue
        if "" in text.split("/"):
            # It shows less, and no path can hold it.
            hollow.append(text)
        else:
            yield text
    yield from hollow


class _Unknown(Exception):
    """Something in the expression that we cannot follow."""


class _Reader:
    def __init__(self, pattern: str, stretch: int) -> None:
        self._pattern = pattern
        self._at = 0
        #: Repetitions beyond the fewest.
        self._stretch = stretch
        self._depth = 0

    def all(self) -> str:
        text = self._alternatives()
        if self._at < len(self._pattern):
            raise _Unknown
        return text

    def _alternatives(self) -> str:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _Unknown
        ways = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            ways.append(self._sequence())
        self._depth -= 1
        return next((way for way in ways if way), "")

    def _sequence(self) -> str:
        text = ""
        while self._at < len(self._pattern) and self._peek() not in "|)":
            piece, times = self._piece(), self._times()
            if len(text) + len(piece) * times > _LONGEST:
                raise _Unknown
            text += piece * times
        return text

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self) -> str:
        self._at += 1
        return self._pattern[self._at - 1]

    def _piece(self) -> str:
        letter = self._take()
        if letter in "^$":
            return ""
        if letter == ".":
            return "a"
        if letter == "[":
            return self._class()
        if letter == "(":
            return self._group()
        if letter == "\\":
            escaped = self._take()
            if escaped in "bBAzZ":
                return ""
            if escaped.isalnum() and escaped not in _CLASSES:
                raise _Unknown
            return _CLASSES.get(escaped, escaped)
        if letter in "*+?{":
            raise _Unknown
        return letter

    def _group(self) -> str:
        if self._pattern.startswith("?", self._at):
            name = re.compile(r"\?(:|P?<\w+>)").match(self._pattern, self._at)
            if name is None:
                raise _Unknown
            self._at = name.end()
        text = self._alternatives()
        if self._take() != ")":
            raise _Unknown
        return text

    def _class(self) -> str:
        negated = self._peek() == "^"
        self._at += negated
        members = ""
        while (letter := self._take()) != "]" or not members:
            if letter == "\\":
                escaped = self._take()
                members += _MEMBERS.get(escaped, escaped)
            elif self._peek() == "-" and self._pattern[self._at + 1] != "]":
                self._at += 1
                last = self._take()
                last = self._take() if last == "\\" else last
                members += "".join(map(chr, range(ord(letter), min(ord(last), ord(letter) + 200) + 1)))
            else:
                members += letter
        if negated:
            return next((one for one in _VISIBLE if one.isalnum() and one not in members), "-")
        # A letter or digit reads better than a sign.
        return next((one for one in members if one.isascii() and one.isalnum()), members[0])

    def _times(self) -> int:
        mark = self._peek()
        if mark not in ("*", "+", "?", "{") or not mark:
            return 1
        self._at += 1
        least, most = {"*": (0, 99), "+": (1, 99), "?": (0, 1)}.get(mark, (0, 0))
        if mark == "{":
            end = self._pattern.index("}", self._at) if "}" in self._pattern[self._at :] else 0
            counts = re.fullmatch(r"([0-9]{1,4})(,([0-9]{0,4}))?", self._pattern[self._at : end])
            if counts is None:
                raise _Unknown
            self._at = end + 1
            least = int(counts[1])
            most = least if counts[2] is None else int(counts[3] or 99)
        if self._peek() in ("?", "+"):
            self._at += 1
        return min(most, least + self._stretch)
