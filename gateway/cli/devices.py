"""Signing in by the browser: a code is shown here, approved there, and a new key comes back."""

from __future__ import annotations

import os

from gateway.cli import output
from gateway.cli.browser import may_open, open_page
from gateway.cli.client import Client
from gateway.cli.config import checked_key
from gateway.cli.connect import Clock
from gateway.cli.failures import UNREACHED, CommandFailed, refused
from gateway.cli.jsontext import Json, Number

#: RFC 8628 §3.2 and §3.5: where the gateway names no interval, and what each `slow_down` adds.
_USUAL_INTERVAL = 5.0
_SLOWER = 5.0
#: Seconds that a code lives at the most, whatever the gateway says.
_LONGEST = 900.0
#: So many polls in a row may fail before the gateway counts as gone.
_PATIENCE = 5


def sign_in_by_browser(url: str, *, browser: bool, clock: Clock) -> str:
    """The key that a member gave this machine; CommandFailed where nobody did."""
    client = Client(url=url, api_key=None)
    begun = client.ask("POST", "/auth/device/code", body={"device_name": _this_machine()}).members()
    page, code, device_code = (begun.get(name) for name in ("verification_uri", "user_code", "device_code"))
    if not isinstance(page, str) or not isinstance(code, str) or not isinstance(device_code, str):
        raise refused("The gateway named no page to sign in on.", code="internal")
    output.note(f"To sign in, open this page: {page}")
    output.note(f"And type this code there: {code}")
    filled = begun.get("verification_uri_complete")
    address = filled if isinstance(filled, str) else page
    if browser and not may_open(address):
        output.warn("That is no https or loopback address, so no browser is sent there.")
    elif browser and not open_page(address):
        output.note("No browser could be opened; open the page yourself.")
    lifetime = min(_seconds(begun.get("expires_in"), _LONGEST), _LONGEST)
    with output.spinner("waiting for somebody to approve"):
        return _poll(client, device_code, _seconds(begun.get("interval"), _USUAL_INTERVAL), lifetime, clock)


def _poll(client: Client, device_code: str, interval: float, lifetime: float, clock: Clock) -> str:
    until, failures = clock.now() + lifetime, 0
    while True:
        if clock.now() + interval > until:
            raise refused("Nobody approved in time.", code="expired_token", hint="Run `skillway login` again.")
        clock.sleep(interval)
        try:
            token = client.ask("POST", "/auth/device/token", body={"device_code": device_code}).members()
        except CommandFailed as failed:
            match failed.problem.code:
                case "authorization_pending":
                    failures = 0
                case "slow_down":
                    failures, interval = 0, interval + _SLOWER
                case _:
                    # A gateway that restarts does not end what a person is busy with in a browser.
                    failures += 1
                    if failed.exit_code != UNREACHED or failures >= _PATIENCE:
                        raise
            continue
        key = token.get("access_token")
        if not isinstance(key, str):
            raise refused("The gateway gave no key.", code="internal")
        return checked_key(key)


def _this_machine() -> str:
    return f"skillway on {os.uname().nodename}" if hasattr(os, "uname") else "skillway"


def _seconds(value: Json, usual: float) -> float:
    try:
        return max(1.0, float(value.text)) if isinstance(value, Number) else usual
    except ValueError:
        return usual
