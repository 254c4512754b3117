"""Where the gateway is and with which key: the environment first, then the file that `skillway login` wrote."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.cli import output
from gateway.cli.failures import refused
from gateway.cli.files import written_whole
from gateway.cli.jsontext import Json, loads, pretty

DEFAULT_URL = "http://127.0.0.1:8700"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A gateway and the key to it."""

    url: str
    api_key: str

    def __repr__(self) -> str:
        return f"Login(url={self.url!r})"


def login_in_use(environment: Mapping[str, str] = os.environ) -> Login:
    """The gateway and key to use, or CommandFailed with the way to log in."""
    stored = read_stored(environment)
    url = environment.get("SKILLWAY_URL") or (stored.url if stored else DEFAULT_URL)
    if key := environment.get("SKILLWAY_API_KEY"):
        return Login(url=url, api_key=checked_key(key))
    if stored is None:
        raise refused(
            "No API key is known here.",
            code="unauthorized",
            hint="Run `skillway login`, or set SKILLWAY_API_KEY.",
        )
    # A key belongs to the gateway that it was made by; no other address gets to see it.
    if _same_place(url) != _same_place(stored.url):
        raise refused(
            f"SKILLWAY_URL is {url}, and the stored key belongs to {stored.url}.",
            code="unauthorized",
            hint="Run `skillway login` for this address, or set SKILLWAY_API_KEY.",
        )
    return stored


def checked_key(key: str) -> str:
    """The key without the white space around it; it has to be fit for a header."""
    key = key.strip()
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise refused("That is not an API key: a key is one word of plain characters.", code="api_key_invalid")
    return key


def config_path(environment: Mapping[str, str] = os.environ) -> Path:
    """The file that holds the login. A relative XDG_CONFIG_HOME is ignored, as its specification asks."""
    home = environment.get("XDG_CONFIG_HOME", "")
    base = Path(home) if os.path.isabs(home) else Path.home() / ".config"
    return base / "skillway" / "config.json"


def read_stored(environment: Mapping[str, str] = os.environ) -> Login | None:
    """The stored login, if there is one. A file that others may read is closed to them first."""
    path = config_path(environment)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if os.name == "posix" and mode & 0o077:
            path.chmod(0o600)
            output.note(f"Others could read {path}; its mode is 0600 now.")
        value = loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise refused(f"{path} cannot be read: {error}", hint="Run `skillway login` to write it anew.") from error
    members = value if isinstance(value, dict) else {}
    url, key = members.get("url", DEFAULT_URL), members.get("api_key")
    if not isinstance(url, str) or not isinstance(key, str):
        return None
    return Login(url=url, api_key=checked_key(key))


def store(login: Login, environment: Mapping[str, str] = os.environ) -> Path:
    """Writes the login for this user alone, whole or not at all."""
    path = config_path(environment)
    members: Json = {"url": login.url, "api_key": login.api_key}
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with written_whole(path, mode=0o600) as file:
        file.write(f"{pretty(members)}\n".encode())
    return path


def forget(environment: Mapping[str, str] = os.environ) -> bool:
    """Removes the stored login; tells whether there was one."""
    try:
        config_path(environment).unlink()
    except FileNotFoundError:
        return False
    return True


def _same_place(url: str) -> str:
    return url.rstrip("/").lower()
