"""Takes a GraphQL document apart as far as a definition needs: its one operation, its variables, its brackets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from skills_catalog.templates import Malformed

#: The GraphQL specification (October 2021) §2.1: what is skipped, and every token.
_TOKEN = re.compile(
    r"""(?P<skip>[\s,\ufeff]+|\#[^\n\r]*)"""
    r"""|(?P<text>\"\"\"(?:\\\"\"\"|(?!\"\"\").)*\"\"\"|"(?:[^"\\\n\r]|\\.)*")"""
    r"""|(?P<name>[_A-Za-z][_0-9A-Za-z]*)"""
    r"""|(?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"""
    r"""|(?P<sign>\.\.\.|[!$&()\[\]{}:=@|])""",
    re.DOTALL,
)
_CLOSES = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableType:
    """A variable as the operation declares it: `[ID!]!`, and whether it has a default."""

    type: str
    has_default: bool = False

    @property
    def is_required(self) -> bool:
        """Whether the server refuses the operation without it."""
        return self.type.endswith("!") and not self.has_default


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """The one operation of a document."""

    kind: Literal["query", "mutation"]
    variables: Mapping[str, VariableType]
    #: Names of the variables that the document uses.
    used: frozenset[str]


def operation(text: str) -> Operation:
    """The operation of a document; its fragments may stand beside it. Raises `Malformed`, which names the line."""
    tokens = list(_tokens(text))
    _check_brackets(tokens)
    # A name with a colon behind it is declared there; in selections a comma or nothing follows.
    used = {tokens[at + 1][0] for at in range(len(tokens) - 2) if tokens[at][0] == "$" and tokens[at + 2][0] != ":"}
    found: Operation | None = None
    at = 0
    while at < len(tokens):
        word, line = tokens[at]
        if word in ("query", "mutation", "{"):
            if found is not None:
                raise Malformed(f"Line {line}: there is another operation; one action is one operation.")
            kind: Literal["query", "mutation"] = "mutation" if word == "mutation" else "query"
            found = Operation(kind=kind, variables=_declared(tokens, at), used=frozenset(used))
        elif word == "subscription":
            raise Malformed(f"Line {line}: a subscription does not end, so it cannot be an action.")
        elif word != "fragment":
            raise Malformed(f"Line {line}: `{word}` cannot stand there; begin with query, mutation or fragment.")
        at = _past_selection(tokens, at)
    if found is None:
        raise Malformed("There is no query and no mutation.")
    return found


Tokens = Sequence[tuple[str, int]]


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    """Every token with its line; texts are one token without meaning."""
    at, line = 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Malformed(f"Line {line}: `{text[at]}` cannot stand there.")
        if match.lastgroup == "text":
            yield '""', line
        elif match.lastgroup != "skip":
            yield match[0], line
        line += match[0].count("\n")
        at = match.end()


def _check_brackets(tokens: Tokens) -> None:
    opened: list[tuple[str, int]] = []
    for word, line in tokens:
        if word in _CLOSES:
            opened.append((word, line))
        elif word in _CLOSES.values():
            if not opened or _CLOSES[opened[-1][0]] != word:
                raise Malformed(f"Line {line}: `{word}` closes nothing.")
            opened.pop()
    if opened:
        word, line = opened[-1]
        raise Malformed(f"Line {line}: `{word}` is never closed.")


def _declared(tokens: Tokens, start: int) -> dict[str, VariableType]:
    """The variables in the round brackets that follow the operation's name."""
    at = start + 1
    if tokens[start][0] == "{":
        return {}
    if at < len(tokens) and re.fullmatch(r"\w+", tokens[at][0]):
        at += 1
    if at >= len(tokens) or tokens[at][0] != "(":
        return {}
    declared: dict[str, VariableType] = {}
    at += 1
    while tokens[at][0] != ")":
        line = tokens[at][1]
        words = [word for word, _ in tokens[at : at + 3]]
        if len(words) < 3 or words[0] != "$" or words[2] != ":" or not re.fullmatch(r"\w+", words[1]):
            raise Malformed(f"Line {line}: a variable is declared as `$name: Type`.")
        name, at = words[1], at + 3
        if name in declared:
            raise Malformed(f"Line {line}: ${name} is declared twice.")
        kind = ""
        while re.fullmatch(r"\w+|[\[\]!]", tokens[at][0]):
            kind, at = kind + tokens[at][0], at + 1
        if not re.fullmatch(r"\[*\w+[\]!]*", kind):
            raise Malformed(f"Line {line}: ${name} has no type.")
        has_default = tokens[at][0] == "="
        # What is left until the next variable is its default and its directives.
        depth = 0
        while not (depth == 0 and tokens[at][0] in ("$", ")")):
            depth += (tokens[at][0] in _CLOSES) - (tokens[at][0] in _CLOSES.values())
            at += 1
        declared[name] = VariableType(type=kind, has_default=has_default)
    return declared


def _selection_start(tokens: Tokens, start: int) -> int:
    """Where the selections of a definition begin: at the first `{` that stands in no brackets."""
    depth = 0
    for at in range(start, len(tokens)):
        word = tokens[at][0]
        if word == "{" and depth == 0:
            return at
        depth += (word in _CLOSES) - (word in _CLOSES.values())
    raise Malformed(f"Line {tokens[start][1]}: `{tokens[start][0]}` has no selections in curly brackets.")


def _past_selection(tokens: Tokens, start: int) -> int:
    depth, at = 0, _selection_start(tokens, start)
    while True:
        depth += (tokens[at][0] == "{") - (tokens[at][0] == "}")
        at += 1
        if depth == 0:
            return at
