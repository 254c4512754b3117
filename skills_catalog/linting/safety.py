"""Secrets where others read them, and patterns that other engines read differently."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Literal

from skills_catalog.model import Integration, Json
from skills_catalog.strict_yaml import Document

Found = Iterator[tuple[Literal["error", "warning", "info"], tuple[str | int, ...], str]]

# How credentials of well-known issuers look.
_ISSUED = re.compile(
    r"gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{50,}|glpat-[A-Za-z0-9_-]{20,}|xox[abeoprs]-[A-Za-z0-9-]{20,}"
    r"|sk_live_[A-Za-z0-9_]{20,}|rk_live_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{32,}|AKIA[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{35}"
    r"|SG\.[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}|ya29\.[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{36}|lin_api_[A-Za-z0-9]{30,}"
    r"|eyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]{20,}|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
#: Places where a value stands for a credential by its name.
_NAMED = re.compile(r"(^|[_.-])(password|passwd|secret|token|api[_-]?key|authorization|credential)s?$", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_CREDENTIAL_PARAMS = frozenset(
    {"api_key", "apikey", "api-key", "x-api-key", "access_token", "authorization", "client_secret", "auth_token"}
)
#: Bits for each character, from which on a text looks drawn by lot.
_RANDOM = 3.5
_LEAST = 20
# Rust's engine takes these, and RE2, ECMAScript or both do not.
_UNPORTABLE = (
    (re.compile(r"\(\?P<"), "(?P<name>…)"),
    (re.compile(r"\(\?[imsux-]+[:)]"), "(?i)"),
    (re.compile(r"\\[AzZh]"), r"\A, \z, \h"),
    (re.compile(r"\[[^\]]*(&&|--|~~)"), "set operations"),
    (re.compile(r"\\[pP]\{"), r"\p{…}"),
)


def secrets(document: Document) -> Found:
    """Anything that looks like a credential, wherever it stands: a definition is no place for one."""
    for at, text in _texts(document.value, ()):
        if looks_issued(text):
            yield "error", at, "Looks like a credential that somebody was issued; revoke it, and write a made-up one."
        elif _is_sent(at) and looks_random(text):
            yield "error", at, "Looks like a secret that is sent with every call; credentials come from the connection."


def looks_issued(text: str) -> bool:
    """Whether a text holds what an issuer of credentials may have handed out."""
    return any(not _is_made_up(match[0]) for match in _ISSUED.finditer(text))


def credential_params(integration: Integration) -> Found:
    """Params are recorded and shown; a credential among them is neither sealed nor renewed."""
    for skill in integration.skills.values():
        for name, param in skill.params.items():
            wire = ".".join(param.wire) or name
            if param.location in ("header", "query") and wire.lower() in _CREDENTIAL_PARAMS:
                message = f"{wire} sounds like the credential; it belongs under `auth`, where it is sealed."
                yield "warning", ("actions", skill.name, "params", name), message
    for field in integration.fields:
        if _NAMED.search(field.name) and not field.secret:
            yield (
                "warning",
                ("connection", field.name),
                "Sounds like a secret; say `secret: true`, so that it is sealed.",
            )


def patterns(document: Document) -> Found:
    """Patterns that the gateway's engine takes, and those of agents and other languages do not."""
    for at, text in _texts(document.value, ()):
        if at[-1] != "pattern":
            continue
        for unportable, words in _UNPORTABLE:
            if unportable.search(text):
                yield "warning", at, f"{words} mean something else, or nothing, to RE2 and ECMAScript; write it out."
                break


def _is_sent(at: tuple[str | int, ...]) -> bool:
    """Whether a value goes out with calls, by where it stands and how it is named."""
    names = [str(step) for step in at]
    if "headers" in names[-2:] or names[-1] == "const":
        named = names[-1] if names[-1] != "const" else names[-2]
        return _NAMED.search(named) is not None
    return (
        len(names) > 1
        and names[-2] in ("token_headers", "token_params", "authorize_params", "refresh_params")
        and (_NAMED.search(names[-1]) is not None)
    )


def is_secret_name(name: str) -> bool:
    """Whether what has such a name is a credential, or a part of one."""
    return _NAMED.search(_CAMEL.sub("_", name)) is not None


def looks_random(text: str) -> bool:
    """Whether a text looks drawn by lot, as tokens and keys are."""
    plain = text.partition(" ")[2] if re.match(r"(Bearer|Basic|Token) ", text) else text
    if len(plain) < _LEAST or "{" in plain or not re.fullmatch(r"[A-Za-z0-9_+/=.~-]+", plain):
        return False
    counted = Counter(plain)
    bits = -sum(many / len(plain) * math.log2(many / len(plain)) for many in counted.values())
    return bits >= _RANDOM and bool(re.search(r"\d", plain)) and bool(re.search(r"[A-Za-z]", plain))


def _is_made_up(text: str) -> bool:
    """`sk_live_a1b2c3…`, `xxxx`, `EXAMPLE`: letters or digits in a row, or always the same."""
    if re.search(r"example|sample|dummy|your|xxxx|1234|abcd", text, re.IGNORECASE):
        return True
    body = re.sub(r"^[A-Za-z]+[-_](live[-_]|test[-_])?", "", text)
    steps = []
    for kind in (r"[a-z]", r"[A-Z]", r"[0-9]"):
        row = [ord(letter) for letter in re.findall(kind, body)]
        steps += [abs(after - before) for before, after in pairwise(row)]
    return len(steps) > 4 and sum(step <= 1 for step in steps) >= len(steps) * 0.7


def _texts(value: Json, at: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, (*at, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, (*at, number))
