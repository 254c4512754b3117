"""Rows to store, and a clock that a test moves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from gateway.core.connections.flows import Flow, FlowSecrets
from gateway.core.events import OPERATOR, Actor
from gateway.core.messages.hooks import Hook
from gateway.core.messages.webhook import Webhook
from gateway.core.run import Run
from gateway.core.tenants.grants import Grant
from gateway.store.database import Database
from gateway.store.opening import open_database
from oauth.connections import Connection, ConnectionState, Credential
from oauth.secret import Secret
from skills_catalog.loader import load_integration
from skills_catalog.model import Skill

_numbers = count(1)


class Clock:
    """Stands still until it is moved."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


@asynccontextmanager
async def opened(url: str | None, folder: Path) -> AsyncIterator[Database]:
    """Closed also where the test fails: an open SQLite file would keep the process from its end."""
    database = await open_database(url, folder)
    try:
        yield database
    finally:
        await database.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Looks again and again, for what happens in another process or by a timer of the code under test."""
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110 - nobody can tell us
            await asyncio.sleep(0.01)


def a_run(org: str, **changes: Any) -> Run:
    number = next(_numbers)
    run = Run(
        id=f"run_{number:08}",
        org=org,
        key="key_1",
        user="alice",
        integration="github",
        action="create_issue",
        effect="create",
        mode="live",
        state="running",
        started_at=1_800_000_000_000 + number,
    )
    return replace(run, **changes)


def ended(run: Run, **changes: Any) -> Run:
    run = replace(run, state="completed", finished_at=run.started_at + 5, status=201, outcome="answered")
    return replace(run, **changes)


def a_connection(org: str, **changes: Any) -> Connection:
    connection = Connection(
        id=f"conn_{next(_numbers)}",
        org=org,
        integration="github",
        user="alice",
        method="oauth",
        state=ConnectionState.ACTIVE,
        account="octocat",
        account_id="583231",
        fields={"instance": "eu-1"},
        scopes=("repo", "read:user"),
        created_at=1_800_000_000.25,
        updated_at=1_800_000_000.25,
    )
    return replace(connection, **changes)


def a_credential(token: str = "token-1", **changes: Any) -> Credential:
    credential = Credential(
        token=Secret(token),
        refresh_token=Secret(f"refresh of {token}"),
        expires_at=1_800_003_600.0,
        issued_at=1_800_000_000.0,
    )
    return replace(credential, **changes)


def whole_credential() -> Credential:
    """One with every field set."""
    return Credential(
        token=Secret("t\u00f6ken"),
        token_secret=Secret("token secret"),
        refresh_token=Secret("refresh"),
        username="octo",
        password=Secret("pa\"ss"),
        client_id="client",
        client_secret=Secret("client secret"),
        private_key=Secret("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n"),
        key_id="kid",
        fields={"signing": Secret("s3cret")},
        expires_at=1_800_003_600.5,
        issued_at=1_800_000_000.5,
    )


def a_flow(org: str, **changes: Any) -> Flow:
    flow = Flow(
        connection=f"conn_{next(_numbers)}",
        org=org,
        integration="github",
        user="alice",
        method="oauth",
        by=Actor(kind="api_key", id="key_1", name="ci"),
        scopes=("repo",),
        label="work",
        redirect_url="https://app.example/back",
        fields={"instance": "eu-1"},
        created_at=1_800_000_000.0,
        expires_at=1_800_000_600.0,
    )
    return replace(flow, **changes)


def a_webhook(org: str, **changes: Any) -> Webhook:
    webhook = Webhook(
        id=f"whk_{next(_numbers)}",
        org=org,
        mode="live",
        url="https://ok.example/in",
        events=("*",),
        grant=Grant(),
        key=None,
        by=OPERATOR,
        created_at=1_800_000_000.0,
    )
    return replace(webhook, **changes)


def a_hook(org: str, **changes: Any) -> Hook:
    hook = Hook(
        id=f"hook_{next(_numbers)}",
        org=org,
        mode="live",
        integration="github",
        by=OPERATOR,
        created_at=1_800_000_000.0,
        has_secret=True,
    )
    return replace(hook, **changes)


def flow_secrets(**changes: Any) -> FlowSecrets:
    secrets = FlowSecrets(
        verifier=Secret("verifier-of-this-flow"),
        context="github",
        redirect_uri="https://gateway.example/oauth/callback/github",
        browser=b"\x00\xff browser",
        callback_fields={"realmId": "9"},
    )
    return replace(secrets, **changes)


def a_deprecated_skill(action: str = "create_issue", since: str = "2026-11-30", **more: str) -> Skill:
    """An action of GitHub that is not to be used any more."""
    definition: dict[str, Any] = {
        "slug": "github",
        "name": "GitHub",
        "description": "Issues.",
        "base_url": "https://api.github.com",
        "auth": [{"name": "token", "type": "bearer", "title": "Token"}],
        "actions": {
            action: {
                "description": "Open an issue.",
                "request": "POST /issues",
                "effect": "create",
                "deprecated": {"since": since, **more},
                "examples": [{"response": {"status": 201, "data": {"number": 7}}}],
            }
        },
    }
    return load_integration(json.dumps(definition)).skills[action]
