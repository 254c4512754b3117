"""`skillway login`, `logout` and `whoami`: which gateway this user works with, and as whom."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from gateway.cli import config, output
from gateway.cli.browser import is_loopback
from gateway.cli.client import checked_url, client_for
from gateway.cli.config import DEFAULT_URL, Login, checked_key, login_in_use, read_stored
from gateway.cli.connect import SystemClock
from gateway.cli.devices import sign_in_by_browser
from gateway.cli.failures import CommandFailed
from gateway.cli.jsontext import Json
from gateway.cli.skillfiles import FilesChanged, core_skill, detect_platform, skill_folder, write_files

_PREFIX = 16


@click.command(short_help="Sign in to a gateway: by a key, or in the browser.")
@click.option("--url", help=f"Address of the gateway; else SKILLWAY_URL, the stored one, or {DEFAULT_URL}.")
@click.option("--key-stdin", is_flag=True, help="Read the API key from stdin instead of asking for it.")
@click.option("--no-browser", is_flag=True, help="Only print the page to sign in on.")
@click.option("--no-skill", is_flag=True, help="Do not write the skill that tells agents about `skillway`.")
def login(url: str | None, key_stdin: bool, no_browser: bool, no_skill: bool) -> None:
    """Store the API key of a gateway for this user, after trying it.

    The key is asked for without showing it, or read from stdin; it is never part of the command line, where others
    could see it. Whoever has none presses Enter and signs in by the browser, which makes one for this machine; without
    a terminal that is the way at once. The key goes to ~/.config/skillway/config.json, readable by you alone. The skill that tells agents about
    `skillway` is written to the folder of the platform in use: .claude, .cursor, .windsurf, or .skillway.

    \b
    skillway login --key-stdin < key.txt
    skillway login --url https://skillway.example.com --no-browser
    """
    url = (url or os.environ.get("SKILLWAY_URL") or _stored_url()).rstrip("/")
    place = checked_url(url)
    if place.scheme == "http" and not is_loopback(place.hostname or ""):
        output.warn(f"{url} is not encrypted: whoever is in between can read the key.")
    key = _read_key(from_stdin=key_stdin, url=url)
    if key is None:
        key = sign_in_by_browser(url, browser=not no_browser, clock=SystemClock())
    entered = Login(url=url, api_key=checked_key(key))
    client_for(entered).ask("GET", "/v1/skills")
    path = config.store(entered)
    output.note(f"Logged in to {url}. The key is stored in {path}.")
    if os.environ.get("SKILLWAY_API_KEY"):
        output.warn("SKILLWAY_API_KEY is set and goes before the stored key.")
    if not no_skill:
        _write_core_skill()
    if not output.for_people():
        output.line({"status": "logged_in", "url": url, "key_prefix": entered.api_key[:_PREFIX]})


@click.command(short_help="Forget the stored API key.")
def logout() -> None:
    """Forget the API key that `skillway login` stored.

    \b
    skillway logout
    """
    known = config.forget()
    output.note(
        "The stored key is gone from this machine; revoke it too if nothing else uses it."
        if known
        else "No key was stored."
    )
    if not output.for_people():
        output.line({"status": "logged_out"})


@click.command(short_help="Show the org and the key in use.")
@click.option("--json", "as_json", is_flag=True, help="JSON, on a terminal too.")
def whoami(as_json: bool) -> None:
    """Show the org and the key in use: its name, prefix, scopes and mode.

    \b
    skillway whoami
    """
    used = login_in_use()
    answer = client_for(used).ask("GET", "/v1/verify")
    if not output.for_people(as_json):
        output.answer(answer.body)
        return
    output.fields({"gateway": used.url, **_flat(answer.members())})


def _stored_url() -> str:
    try:
        stored = read_stored()
    except CommandFailed:
        # A broken file is what a new login is there to replace.
        return DEFAULT_URL
    return stored.url if stored else DEFAULT_URL


def _read_key(*, from_stdin: bool, url: str) -> str | None:
    """The key that was given; None where somebody is to sign in by the browser."""
    if from_stdin:
        return sys.stdin.readline()
    if not sys.stdin.isatty():
        return None
    asked = f"API key for {url} (or Enter, to sign in by the browser)"
    key: str = click.prompt(asked, default="", show_default=False, hide_input=True, err=True)
    return key.strip() or None


def _write_core_skill() -> None:
    here = Path.cwd()
    platform = detect_platform(here)
    folder = skill_folder(here, platform)
    try:
        written = write_files(folder, core_skill(platform))
    except FilesChanged as changed:
        output.note(f"{folder / changed.paths[0]} was changed here, and is left as it is.")
        return
    except OSError as error:
        output.warn(f"The skill for agents could not be written to {folder}: {error.strerror}.")
        return
    output.note(f"Agents in this folder learn of `skillway` from {written[0]}.")


def _flat(members: dict[str, Json], above: str = "") -> dict[str, Json]:
    flat: dict[str, Json] = {}
    for name, value in members.items():
        flat |= _flat(value, f"{above}{name}.") if isinstance(value, dict) else {f"{above}{name}": value}
    return flat
