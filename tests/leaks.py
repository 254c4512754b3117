"""Looks for a secret in whatever it may have been written down as."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote


def spellings(secret: str) -> dict[str, bytes]:
    """The bytes that would give a secret away: itself, hex, base64 at each offset, escaped, backwards."""
    raw = secret.encode()
    found = {
        "as it is": raw,
        "in hex": raw.hex().encode(),
        "in upper-case hex": raw.hex().upper().encode(),
        "percent-encoded": quote(secret, safe="").encode(),
        "backwards": raw[::-1],
        "in UTF-16": secret.encode("utf-16-le"),
    }
    for offset in range(3):
        # What stands before it shifts its base64; the characters that mix in its neighbours are left out.
        encoded = base64.b64encode(b"\0" * offset + raw)
        whole = encoded[(4 if offset else 0) : len(encoded) - 4]
        found[f"in base64 at {offset}"] = whole
        found[f"in base64url at {offset}"] = whole.replace(b"+", b"-").replace(b"/", b"_")
    return found


def leaks(secrets: Iterable[str], places: Iterable[tuple[str, bytes]]) -> Iterator[str]:
    """Where a secret is found, and how it is spelled there."""
    wanted = {secret: spellings(secret) for secret in secrets}
    for place, content in places:
        for secret, spelled in wanted.items():
            for how, text in spelled.items():
                if text in content:
                    yield f"{secret[:8]}… {how} in {place}"


def files(*roots: Path) -> Iterator[tuple[str, bytes]]:
    """Every file under the folders, whole."""
    for root in roots:
        for path in [root] if root.is_file() else sorted(root.rglob("*")):
            if path.is_file():
                yield path.name, path.read_bytes()
