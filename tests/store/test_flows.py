"""Connect flows: every step happens once, in order, in time, and for the org it belongs to."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from gateway.core.connections.flows import Choice, FlowSecrets
from gateway.core.tenants.keys import Org
from gateway.store.database import AlreadyThere, Database
from gateway.store.flows import SqlFlows
from oauth.secret import Secret
from oauth.token_answers import TokenAnswer
from oauth.vault import SealBroken, Vault
from tests.store.samples import Clock, a_flow, flow_secrets, whole_credential


@pytest.fixture
def flows(database: Database, vault: Vault, clock: Clock) -> SqlFlows:
    return SqlFlows(database, vault, clock=clock)


async def test_a_flow_is_found_as_it_was_added(flows: SqlFlows, org: Org, other_org: Org) -> None:
    flow = a_flow(org.id, renews=True)
    await flows.add(flow)
    assert await flows.find(org.id, flow.connection) == flow
    assert await flows.by_link(flow.connection) == flow
    assert await flows.find(other_org.id, flow.connection) is None
    assert await flows.by_link("conn_none") is None


async def test_a_callback_takes_the_flow_and_its_secrets_once(flows: SqlFlows, org: Org, clock: Clock) -> None:
    flow = a_flow(org.id)
    await flows.add(flow)
    assert await flows.take(b"state") is None
    until = clock.now + 600
    assert await flows.start(org.id, flow.connection, state=b"state", secrets=flow_secrets(), expires_at=until)
    taken = await asyncio.gather(*(flows.take(b"state") for _ in range(20)))
    assert [each for each in taken if each is not None] == [
        (replace(flow, expires_at=until), flow_secrets())
    ]


async def test_a_later_click_replaces_an_earlier_one(flows: SqlFlows, org: Org, clock: Clock) -> None:
    flow = a_flow(org.id)
    await flows.add(flow)
    until = clock.now + 600
    await flows.start(org.id, flow.connection, state=b"first", secrets=flow_secrets(), expires_at=until)
    second = flow_secrets(verifier=None, browser=b"other")
    assert await flows.start(org.id, flow.connection, state=b"second", secrets=second, expires_at=until)
    assert await flows.take(b"first") is None
    taken = await flows.take(b"second")
    assert taken is not None and taken[1] == second


async def test_an_expired_flow_is_neither_started_nor_taken(flows: SqlFlows, org: Org, clock: Clock) -> None:
    flow = a_flow(org.id, expires_at=clock.now + 10)
    await flows.add(flow)
    await flows.start(org.id, flow.connection, state=b"state", secrets=flow_secrets(), expires_at=clock.now + 20)
    clock.move(20)
    assert await flows.take(b"state") is None
    assert not await flows.start(
        org.id, flow.connection, state=b"again", secrets=flow_secrets(), expires_at=clock.now + 600
    )
    assert not await flows.park(org.id, flow.connection, handle=b"h", secrets=flow_secrets(), expires_at=clock.now + 9)


async def test_a_parked_code_is_given_out_once_and_to_its_org_only(
    flows: SqlFlows, org: Org, other_org: Org, clock: Clock
) -> None:
    flow = a_flow(org.id)
    await flows.add(flow)
    until = clock.now + 600
    await flows.start(org.id, flow.connection, state=b"state", secrets=flow_secrets(), expires_at=until)
    await flows.take(b"state")
    secrets = flow_secrets(code=Secret("the code"))
    assert await flows.park(org.id, flow.connection, handle=b"handle", secrets=secrets, expires_at=until)
    found = await flows.find(org.id, flow.connection)
    assert found is not None and found.detail == "awaiting_confirmation"
    # A second click does not throw the first one's code away.
    assert not await flows.start(org.id, flow.connection, state=b"x", secrets=flow_secrets(), expires_at=until)
    assert await flows.take_parked(other_org.id, flow.connection, b"handle") is None
    assert await flows.take_parked(org.id, flow.connection, b"wrong") is None
    taken = await asyncio.gather(*(flows.take_parked(org.id, flow.connection, b"handle") for _ in range(20)))
    [(confirmed, opened)] = [each for each in taken if each is not None]
    assert opened == secrets and confirmed.detail is None


async def test_a_parked_code_expires(flows: SqlFlows, org: Org, clock: Clock) -> None:
    flow = a_flow(org.id)
    await flows.add(flow)
    await flows.park(org.id, flow.connection, handle=b"h", secrets=flow_secrets(), expires_at=clock.now + 5)
    clock.move(5)
    assert await flows.take_parked(org.id, flow.connection, b"h") is None


async def test_a_finished_flow_keeps_no_secret_and_stays_finished(
    flows: SqlFlows, org: Org, clock: Clock, database: Database
) -> None:
    flow = a_flow(org.id)
    await flows.add(flow)
    await flows.start(org.id, flow.connection, state=b"s", secrets=flow_secrets(), expires_at=clock.now + 600)
    await flows.finish(org.id, flow.connection, "connected", account="octocat")
    await flows.finish(org.id, flow.connection, "error", error="access_denied", message="They said no.")
    found = await flows.find(org.id, flow.connection)
    assert found is not None
    assert (found.status, found.account, found.error) == ("connected", "octocat", None)
    assert await flows.take(b"s") is None
    assert not await flows.start(org.id, flow.connection, state=b"x", secrets=flow_secrets(), expires_at=clock.now + 9)
    row = await database.fetch_one("SELECT state, handle, secrets FROM flows")
    assert row is not None and (row["state"], row["handle"], row["secrets"]) == (None, None, None)


async def test_a_flow_ends_with_its_error(flows: SqlFlows, org: Org) -> None:
    flow = a_flow(org.id)
    await flows.add(flow)
    await flows.finish(org.id, flow.connection, "error", error="access_denied", message="They said no.")
    found = await flows.find(org.id, flow.connection)
    assert found is not None
    assert (found.status, found.error, found.message) == ("error", "access_denied", "They said no.")


async def test_a_new_flow_of_the_same_connection_replaces_the_old_one(
    flows: SqlFlows, org: Org, other_org: Org, clock: Clock
) -> None:
    flow = a_flow(org.id)
    await flows.add(flow)
    await flows.start(org.id, flow.connection, state=b"old", secrets=flow_secrets(), expires_at=clock.now + 600)
    await flows.finish(org.id, flow.connection, "error", error="access_denied")
    again = replace(flow, label="other", renews=True)
    await flows.add(again)
    assert await flows.find(org.id, flow.connection) == again
    assert await flows.take(b"old") is None
    with pytest.raises(AlreadyThere):
        await flows.add(replace(again, org=other_org.id))
    assert await flows.find(org.id, flow.connection) == again


async def test_secrets_of_one_flow_do_not_open_in_another(
    flows: SqlFlows, org: Org, clock: Clock, database: Database
) -> None:
    mine, theirs = a_flow(org.id), a_flow(org.id)
    for flow, state in ((mine, b"mine"), (theirs, b"theirs")):
        await flows.add(flow)
        await flows.start(org.id, flow.connection, state=state, secrets=flow_secrets(), expires_at=clock.now + 600)
    row = await database.fetch_one("SELECT secrets FROM flows WHERE connection = :id", id=theirs.connection)
    assert row is not None
    await database.execute(
        "UPDATE flows SET secrets = :blob WHERE connection = :id", id=mine.connection, blob=row["secrets"]
    )
    with pytest.raises(SealBroken):
        await flows.take(b"mine")
    assert await flows.take(b"theirs") is not None


async def test_expired_flows_are_purged(flows: SqlFlows, org: Org, clock: Clock) -> None:
    old, new = a_flow(org.id, expires_at=clock.now - 1), a_flow(org.id)
    await flows.add(old)
    await flows.add(new)
    assert await flows.purge(clock.now) == 1
    assert await flows.by_link(old.connection) is None
    assert await flows.by_link(new.connection) == new


def choosing() -> FlowSecrets:
    """What is kept while a person chooses: a whole credential, and what there is to choose from."""
    granted = TokenAnswer(credential=whole_credential(), scopes=("read",), fields={"instance": "eu-1"})
    choices = (Choice(fields={"site": "s-1"}, title="One"), Choice(fields={"site": "s-2"}, title="<Two>"))
    return FlowSecrets(browser=b"\x00browser", granted=granted, choices=choices)


async def test_a_choice_is_kept_shown_and_taken_once(flows: SqlFlows, org: Org, other_org: Org, clock: Clock) -> None:
    flow = a_flow(org.id)
    await flows.add(flow)
    assert await flows.choosing(org.id, flow.connection) is None
    until = clock.now + 600
    await flows.start(org.id, flow.connection, state=b"state", secrets=flow_secrets(), expires_at=until)
    assert await flows.await_choice(org.id, flow.connection, secrets=choosing(), expires_at=until)
    # The state and a second click are of no use any more.
    assert await flows.take(b"state") is None
    assert not await flows.start(org.id, flow.connection, state=b"x", secrets=flow_secrets(), expires_at=until)
    found = await flows.find(org.id, flow.connection)
    assert found is not None and (found.status, found.detail) == ("pending", "awaiting_choice")
    assert await flows.choosing(other_org.id, flow.connection) is None
    assert await flows.take_choosing(other_org.id, flow.connection) is None
    assert await flows.choosing(org.id, flow.connection) == choosing()
    taken = await asyncio.gather(*(flows.take_choosing(org.id, flow.connection) for _ in range(20)))
    (once,) = [each for each in taken if each is not None]
    assert once[1] == choosing()
    assert await flows.choosing(org.id, flow.connection) is None


async def test_a_choice_that_comes_too_late_is_none(flows: SqlFlows, org: Org, clock: Clock) -> None:
    flow = a_flow(org.id)
    await flows.add(flow)
    assert await flows.await_choice(org.id, flow.connection, secrets=choosing(), expires_at=clock.now + 10)
    clock.move(11)
    assert await flows.choosing(org.id, flow.connection) is None
    assert await flows.take_choosing(org.id, flow.connection) is None
    assert not await flows.await_choice(org.id, flow.connection, secrets=choosing(), expires_at=clock.now + 10)


async def test_the_request_token_of_oauth_1_is_kept_with_the_rest(flows: SqlFlows, org: Org, clock: Clock) -> None:
    flow = a_flow(org.id)
    await flows.add(flow)
    secrets = flow_secrets(request_token=Secret("request-token"))
    await flows.start(org.id, flow.connection, state=b"state", secrets=secrets, expires_at=clock.now + 600)
    taken = await flows.take(b"state")
    assert taken is not None and taken[1] == secrets


async def test_what_an_older_version_has_sealed_is_read(
    flows: SqlFlows, database: Database, vault: Vault, org: Org, clock: Clock
) -> None:
    flow = a_flow(org.id)
    await flows.add(flow)
    old: dict[str, object] = {
        "verifier": "v", "context": "github", "redirect_uri": "https://g/cb", "browser": "00ff", "code": None,
        "callback_fields": {},
    }  # fmt: skip
    blob = vault.seal(json.dumps(old).encode(), org=org.id, table="flows", row=flow.connection, column="secrets")
    await database.execute(
        "UPDATE flows SET state = :state, secrets = :blob WHERE connection = :id", state=b"s", blob=blob, id=flow.connection
    )
    taken = await flows.take(b"s")
    assert taken is not None
    assert (taken[1].verifier, taken[1].request_token, taken[1].granted, taken[1].choices) == (Secret("v"), None, None, ())
