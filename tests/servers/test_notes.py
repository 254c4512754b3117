"""An API behind django-oauth-toolkit, from the consent to the end of the grant: every step through the gateway alone."""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.conftest import lacking
from tests.demo import Desk, client_of, query_of
from tests.fakes.provider import Provider, ProviderUnavailable, available_providers, browser, provider_process
from tests.fakes.upstream import HandClock
from tests.harness import environment, gateway
from tests.servers.running import DEFINITIONS


@pytest.fixture(scope="module")
def toolkit() -> Iterator[Provider]:
    if "dot" not in available_providers():
        lacking("django-oauth-toolkit")
    try:
        with provider_process("dot") as started:
            yield started
    except ProviderUnavailable as refusal:
        lacking(str(refusal))


@pytest.fixture
async def desk(tmp_path: Path, toolkit: Provider, clock: HandClock) -> AsyncIterator[Desk]:
    """A gateway whose operator says where the API and its authorization server are."""
    definitions = tmp_path / "definitions"
    definitions.mkdir()
    shutil.copy(DEFINITIONS / "notes.yaml", definitions)
    told = {
        "base_url": toolkit.issuer,
        "authorization_url": toolkit.authorization_url,
        "token_url": toolkit.token_url,
        "revocation_url": toolkit.revocation_url,
        **client_of(toolkit),
    }
    async with gateway(tmp_path, integrations={"notes": told}, definitions=definitions, clock=clock) as running:
        toolkit.add_redirect_uri(f"{running.url}/oauth/callback/notes")
        environ = environment(tmp_path, {"notes": told}, definitions, {})
        async with browser() as session:
            yield Desk(running=running, server=toolkit, session=session, environ=environ, slug="notes")


class Told:
    """What the authorization server and the API were asked since the test began."""

    def __init__(self, server: Provider) -> None:
        self._server = server
        self._before = len(server.requests())

    def forms(self, grant_type: str) -> list[dict[str, str]]:
        """The token requests of one kind."""
        forms = [
            {name: values[0] for name, values in parse_qs(one["body"]).items()}
            for one in self._server.requests()[self._before :]
            if one["path"] == "/o/token/"
        ]
        return [form for form in forms if form["grant_type"] == grant_type]

    def calls(self, method: str, path: str) -> list[str]:
        """The `Authorization` of each request to the API."""
        return [
            one["headers"].get("authorization", "")
            for one in self._server.requests()[self._before :]
            if (one["method"], one["path"]) == (method, path)
        ]


async def answered(desk: Desk, action: str, params: Any = None) -> Any:
    answer = await desk.running.call("notes", action, params)
    assert answer.status == 200, answer.body
    return answer.json()


async def test_a_grant_from_the_consent_to_its_end(desk: Desk, clock: HandClock) -> None:
    told = Told(desk.server)

    # -- connect: code and PKCE
    begun = await desk.begin()
    async with desk.session.get(begun["oauth_url"]) as page:
        assert "read" in await page.text()
    landed = await desk.come_back(await desk.consent(begun["oauth_url"]))
    assert landed.page_status == 200
    assert (await desk.poll(begun["connection_id"]))["account"] == "alice"
    (redeemed,) = told.forms("authorization_code")
    assert len(redeemed["code_verifier"]) >= 43 and redeemed["client_id"] == desk.server.client_id

    # -- call
    assert (await answered(desk, "list_notes"))["data"] == {"notes": []}
    (first,) = told.calls("GET", "/api/notes")

    # -- a scope that was not given is asked for, not tried
    refused = await desk.running.call("notes", "add_note", {"text": "Milk"})
    assert (refused.status, refused.json()["error"]) == (403, "missing_scopes")
    assert told.calls("POST", "/api/notes") == []
    await desk.connect(connection=begun["connection_id"], scopes=["read", "write"])
    added = await answered(desk, "add_note", {"text": "Milk"})
    assert (added["status"], added["data"]["owner"], added["meta"]["account"]) == (201, "alice", "alice")

    # -- the token ends, by its clock: a new one is there before the call
    clock.move(3600)
    assert [one["text"] for one in (await answered(desk, "list_notes"))["data"]["notes"]] == ["Milk"]
    assert len(told.forms("refresh_token")) == 1
    assert told.calls("GET", "/api/notes")[-1] not in (first, "")

    # -- and before its time: a 401 means that nothing was done, so a write is sent once more and happens once
    desk.server.expire_access_tokens()
    assert (await answered(desk, "add_note", {"text": "Bread"}))["status"] == 201
    *_, old, new = told.calls("POST", "/api/notes")
    assert old != new and len(told.forms("refresh_token")) == 2
    assert [one["text"] for one in (await answered(desk, "list_notes"))["data"]["notes"]] == ["Milk", "Bread"]

    # -- the grant is withdrawn where it was given
    desk.server.revoke_all()
    over = await desk.running.call("notes", "list_notes")
    assert (over.status, over.json()["error"]) == (401, "token_expired")
    assert over.json()["action_url"].startswith(f"{desk.running.url}/connect/new?")
    shown = await desk.shown(begun["connection_id"])
    assert (shown["state"], shown["reason"]) == ("needs_reauth", "invalid_grant")
    # A dead grant is not asked about again.
    asked = len(told.forms("refresh_token"))
    assert (await desk.running.call("notes", "list_notes")).json()["error"] == "token_expired"
    assert len(told.forms("refresh_token")) == asked

    # -- and given again, by the address that the refusal names
    async with browser() as session:
        landed = await desk.come_back(await desk.consent(over.json()["action_url"], session=session), session)
    assert landed.page_status == 200
    assert (await desk.shown(begun["connection_id"]))["state"] == "active"
    assert len((await answered(desk, "list_notes"))["data"]["notes"]) == 2


async def test_the_challenge_of_the_consent_is_that_of_the_verifier(desk: Desk) -> None:
    told = Told(desk.server)
    begun = await desk.begin()
    # The person presses our button; where it leads is the provider's page.
    async with desk.session.post(begun["oauth_url"], allow_redirects=False) as pressed:
        address = pressed.headers["Location"]
    asked = query_of(address)
    assert asked["code_challenge_method"] == "S256"
    await desk.come_back(await desk.consent(address))
    (redeemed,) = told.forms("authorization_code")
    digest = hashlib.sha256(redeemed["code_verifier"].encode()).digest()
    assert asked["code_challenge"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert asked["redirect_uri"] == redeemed["redirect_uri"] == f"{desk.running.url}/oauth/callback/notes"


async def test_of_two_people_each_has_notes_of_their_own(desk: Desk) -> None:
    for login in ("carol", "dave"):
        await desk.connect(login, user=login, scopes=["read", "write"])
        answer = await desk.running.call("notes", "add_note", {"text": f"of {login}"}, user=login)
        assert answer.json()["data"]["owner"] == login
    for login in ("carol", "dave"):
        listed = (await desk.running.call("notes", "list_notes", user=login)).json()["data"]["notes"]
        assert [one["text"] for one in listed] == [f"of {login}"]


async def test_disconnecting_ends_the_grant_at_the_server(desk: Desk) -> None:
    connection = await desk.connect("erin")
    assert (await answered(desk, "list_notes"))["status"] == 200
    revoked = desk.server.counts()["revoked"]
    assert (await desk.running.ask("DELETE", f"/v1/connections/{connection}")).status == 204
    assert desk.server.counts()["revoked"] > revoked
    assert (await desk.running.call("notes", "list_notes")).json()["error"] == "integration_not_connected"
