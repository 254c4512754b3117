"""A connection that was granted less than an action needs: told before the upstream is asked, mended by one link."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core.connections.scopes import closure
from tests.demo import Desk, demo, oauth_definition, write_definitions
from tests.fakes.provider import Provider, browser

NEEDY: dict[str, Any] = {
    "description": "Says whose account it is, and more.",
    "request": "GET /api/me",
    "scopes": ["read", "profile"],
    "errors": [{"status": 403, "fix": "Grant the scope `profile`."}],
    "examples": [{"params": {}, "response": {"status": 200, "data": {"login": "alice"}}}],
}


@pytest.fixture
async def desk(tmp_path: Path, one_server: Provider) -> AsyncIterator[Desk]:
    definition = oauth_definition(one_server)
    definition["actions"]["profile"] = NEEDY
    async with demo(tmp_path, one_server) as made:
        write_definitions(tmp_path, definition)
        assert made.running.services is not None
        made.running.services.catalogs.reload()
        yield made


async def test_a_scope_that_is_missing_is_told_and_asked_for_beside_what_was_granted(desk: Desk) -> None:
    connection = await desk.connect(scopes=["read"])
    assert (await desk.running.call("demo", "whoami")).json()["status"] == 200
    refused = await desk.running.call("demo", "profile")
    body = refused.json()
    assert (refused.status, body["error"]) == (403, "missing_scopes")
    assert body["details"] == {"missing": ["profile"], "connection": connection}
    assert "profile" in body["message"] and "read" not in body["message"].partition(":")[2]
    async with browser() as session:
        async with session.get(body["action_url"]) as page:
            text = await page.text()
        assert "<code>read</code>" in text and "<code>profile</code>" in text
        await desk.come_back(await desk.consent(body["action_url"], session=session), session)
    assert set((await desk.shown(connection))["scopes"]) == {"read", "profile"}
    assert (await desk.running.call("demo", "profile")).json()["status"] == 200


async def test_where_nobody_knows_what_was_granted_the_upstream_is_asked(desk: Desk) -> None:
    await desk.connect(scopes=["read"], user="oauth")
    services = desk.running.services
    assert services is not None
    [shown] = await services.connecting.connections(desk.running.org.id, "oauth", "demo")
    # As a provider that does not say what it granted leaves it.
    connections = services.gateway._preparation._connections
    database = connections._store._database  # type: ignore[attr-defined]
    await database.execute("UPDATE connections SET scopes = NULL WHERE id = :id", id=shown["id"])
    connections._forget(desk.running.org.id)
    answer = await desk.running.call("demo", "profile", user="oauth")
    assert answer.status == 200, answer.body


def test_what_a_scope_includes_counts_as_granted() -> None:
    implies = {"repo": ("repo:status", "public_repo"), "admin": ("repo",), "loop": ("loop",)}
    assert closure(["admin"], implies) == {"admin", "repo", "repo:status", "public_repo"}
    assert closure(["loop"], implies) == {"loop"}
    assert closure([], implies) == set()
