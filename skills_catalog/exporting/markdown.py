"""Pieces of Markdown and of the YAML in front of it, which no text of a definition breaks out of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

#: What no reader sees and a model reads, and what YAML refuses: controls, bidirectional and zero-width signs, tags. The two
#: joiners that scripts need are left alone.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufdd0-\ufdef\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e0fff]"
)
#: Words that YAML 1.1 takes for something else.
_NO_TEXT = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def visible(text: str) -> str:
    """The text without what is not seen; a file passes through it whole."""
    return _UNSEEN.sub("", text)


def front_matter(members: Mapping[str, str | bool | Mapping[str, str]]) -> str:
    """YAML of one line for each text: quoted as JSON, which YAML reads too, unless it is a plain word to both."""
    lines = ["---"]
    for key, value in members.items():
        if isinstance(value, Mapping):
            lines += [f"{key}:", *(f"  {name}: {_scalar(member)}" for name, member in value.items())]
        elif isinstance(value, bool):
            lines.append(f"{key}: {'true' if value else 'false'}")
        else:
            lines.append(f"{key}: {_scalar(value)}".rstrip())
    return "\n".join([*lines, "---", ""])


def _scalar(text: str) -> str:
    text = line(_UNSEEN.sub(" ", text))
    is_plain = re.fullmatch(r"([A-Za-z][A-Za-z0-9_-]*)?", text) is not None and text.lower() not in _NO_TEXT
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def page(parts: Iterable[str]) -> str:
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def fenced(text: str, language: str = "") -> str:
    """A code block whose fence is longer than any row of backticks within."""
    longest = max((len(row) for row in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def table(names: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(names)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in lines)


def _cell(text: str) -> str:
    return line(text).replace("|", "\\|")


def paragraph(text: str) -> str:
    """Text as one paragraph that begins no heading, list, quote or block of code."""
    flat = line(text)
    return f"\\{flat}" if re.match(r"[#>*+=~`|<-]", flat) else flat


def line(text: str) -> str:
    return " ".join(text.split())


def sentence(text: str) -> str:
    flat = line(text)
    return flat if not flat or flat[-1] in ".!?" else f"{flat}."


def label(text: str) -> str:
    """Text as the words of a link."""
    return line(text).replace("[", "(").replace("]", ")")
