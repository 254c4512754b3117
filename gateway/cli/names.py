"""The spelling of names and ids on the command line: what is not spelled so is never put into a path."""

from __future__ import annotations

import re

from gateway.cli.failures import refused


def check_name(what: str, name: str) -> str:
    """The name of an integration or action, or CommandFailed."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise refused(
            f"{name!r} is not the name of an {what}: such names are lower-case letters, digits and _.",
            hint="`skillway skills` lists them.",
        )
    return name


def check_id(what: str, value: str) -> str:
    """The id of a thing, or CommandFailed."""
    if not re.fullmatch(r"[A-Za-z0-9_\-]+", value):
        raise refused(f"{value!r} is not the id of a {what}.")
    return value
