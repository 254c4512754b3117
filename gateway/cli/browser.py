"""Opens a page for a person: https or loopback only, without a shell."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

_LOOPBACK = re.compile(r"localhost|::1|127(?:\.\d{1,3}){3}", re.ASCII)


def may_open(url: str) -> bool:
    """Whether this is an address that a browser may be sent to; the gateway's word alone is not enough."""
    # What urlsplit would strip or a browser's command line could take for something else is no part of an address.
    if not re.fullmatch(r"https?://[\x21\x23-\x3b\x3d\x3f-\x5b\x5d\x5f\x61-\x7a\x7e]+", url):
        return False
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    if not parts.hostname or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or is_loopback(parts.hostname)


def open_page(url: str) -> bool:
    """Opens the page if it may be opened; tells whether a browser was found."""
    if not may_open(url):
        return False
    import webbrowser

    with _stdout_kept_clean():
        return webbrowser.open(url)


def is_loopback(host: str) -> bool:
    """Whether the name or address is this very machine."""
    return _LOOPBACK.fullmatch(host) is not None


@contextmanager
def _stdout_kept_clean() -> Iterator[None]:
    """A browser inherits our stdout and likes to chat; stdout is for JSON alone, so it gets stderr instead."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
        os.dup2(2, 1)
    except OSError:
        yield
        return
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
