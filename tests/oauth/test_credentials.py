"""A refresh happens once however many ask, is never lost, and only a real refusal ends a connection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from oauth.connections import Connection, ConnectionState, Credential, Held
from oauth.credentials import (
    BACKOFF_LIMIT,
    COOL_DOWN,
    CredentialSource,
    NeedsReauth,
    StillRefused,
    TemporarilyUnavailable,
)
from oauth.provider import Provider
from oauth.secret import Secret
from oauth.token_answers import ClientRefused
from tests.oauth.ends import (
    AiohttpHttp,
    Clock,
    MemoryConnections,
    MemoryLeases,
    Says,
    TokenEndpoint,
    held,
    provider_at,
    token_endpoint,
    way_out,
)

INVALID_GRANT = Says.json({"error": "invalid_grant"}, 400)
BUSY = Says(status=503)


@dataclass
class World:
    """One store, one token endpoint, and as many processes as a test asks for."""

    clock: Clock
    store: MemoryConnections
    leases: MemoryLeases
    endpoint: TokenEndpoint
    http: AiohttpHttp
    provider: Provider | ClientRefused | None
    #: What a chance of 0..1 comes out as.
    chance: float = 1.0
    processes: int = 0

    def source(self, *, sleep: Callable[[float], Awaitable[object]] | None = None) -> CredentialSource:
        self.processes += 1
        return CredentialSource(
            self.store,
            self.leases,
            self.http,
            self.provider_for,
            owner_id=f"process-{self.processes}",
            clock=self.clock,
            sleep=sleep or self.sleep,
            chance=lambda: self.chance,
        )

    async def sleep(self, seconds: float) -> None:
        """Gives way for a moment: what is waited for happens in other tasks."""
        await asyncio.sleep(0.001)

    async def provider_for(self, connection: Connection, credential: Credential) -> Provider | None:
        if isinstance(self.provider, ClientRefused):
            raise self.provider
        return self.provider

    def connected(self, **changes: Any) -> Held:
        made = held(self.clock, **changes)
        self.store.put(made)
        return made

    def kept(self) -> Held:
        (only,) = self.store.rows.values()
        return only

    @property
    def asked(self) -> int:
        return len(self.endpoint.seen)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock = Clock()
    async with token_endpoint() as endpoint, way_out() as http:
        yield World(
            clock=clock,
            store=MemoryConnections(clock),
            leases=MemoryLeases(clock),
            endpoint=endpoint,
            http=http,
            provider=provider_at(endpoint.url),
        )


def token(found: Held) -> str:
    assert found.credential.token is not None
    return found.credential.token.reveal()


# -- fresh -----------------------------------------------------------------------------------------


async def test_a_good_token_costs_neither_a_request_nor_a_look(world: World) -> None:
    connected = world.connected()
    assert await world.source().fresh(connected) is connected
    assert (world.asked, world.store.finds) == (0, 0)


@pytest.mark.parametrize(
    ("lives", "passed", "refreshes"), [(3600, 3539, 0), (3600, 3541, 1), (100, 89, 0), (100, 91, 1)]
)
async def test_a_token_is_renewed_a_little_before_its_end(
    world: World, lives: float, passed: float, refreshes: int
) -> None:
    connected = world.connected(lives=lives)
    world.clock.move(passed)
    await world.source().fresh(connected)
    assert world.asked == refreshes


async def test_a_token_without_an_end_is_left_alone(world: World) -> None:
    connected = world.connected(lives=None)
    world.clock.move(10**9)
    assert await world.source().fresh(connected) is connected


async def test_200_calls_at_expiry_refresh_once(world: World) -> None:
    connected = world.connected()
    world.clock.move(3600)
    source = world.source()
    found = await asyncio.gather(*(source.fresh(connected) for _ in range(200)))
    assert {token(each) for each in found} == {"at-2"}
    assert world.asked == 1
    kept = world.kept()
    assert kept.connection.version == 2
    assert kept.connection.state is ConnectionState.ACTIVE
    assert kept.connection.scopes == ("read",)
    assert kept.credential.refresh_token == Secret("rt-2")
    assert {each.connection.version for each in found} == {2}
    assert world.leases.rows == {}
    # One flight for all of them: the others did not even go to the database.
    assert (world.leases.refused, world.store.finds) == (0, 2)


async def test_four_processes_at_expiry_refresh_once_over_and_over(world: World) -> None:
    world.connected()
    sources = [world.source() for _ in range(4)]
    for expiry in range(25):
        before = world.kept()
        world.clock.move(3600)
        found = await asyncio.gather(*(source.fresh(before) for source in sources for _ in range(10)))
        assert {token(each) for each in found} == {f"at-{expiry + 2}"}
    assert world.asked == 25
    assert world.kept().connection.state is ConnectionState.ACTIVE


async def test_an_old_copy_of_the_connection_adopts_what_is_stored(world: World) -> None:
    old = world.connected()
    world.clock.move(3600)
    await world.source().fresh(old)
    world.clock.move(10)
    assert token(await world.source().fresh(old)) == "at-2"
    assert world.asked == 1


async def test_granted_scopes_are_stored_with_the_token(world: World) -> None:
    connected = world.connected()
    world.clock.move(3600)
    world.endpoint.plan(Says.json({"access_token": "a", "scope": "read write"}))
    found = await world.source().fresh(connected)
    assert found.connection.scopes == world.kept().connection.scopes == ("read", "write")
    assert found.credential.refresh_token == Secret("rt-1")


@pytest.mark.parametrize("state", [ConnectionState.NEEDS_REAUTH, ConnectionState.REVOKED, ConnectionState.PENDING])
async def test_a_connection_that_does_not_serve_gives_no_credential(world: World, state: ConnectionState) -> None:
    connected = world.connected()
    connected = replace(connected, connection=replace(connected.connection, state=state))
    for attempt in (world.source().fresh, world.source().renew):
        with pytest.raises(NeedsReauth):
            await attempt(connected)
    assert (world.asked, world.store.finds) == (0, 0)


async def test_a_connection_that_was_deleted_meanwhile_is_not_refreshed(world: World) -> None:
    connected = world.connected()
    world.clock.move(3600)
    world.store.rows.clear()
    with pytest.raises(NeedsReauth, match="disconnected"):
        await world.source().fresh(connected)
    assert world.asked == 0


async def test_an_oauth_token_without_a_refresh_token_is_the_upstreams_to_judge(world: World) -> None:
    connected = world.connected(refresh_token=None)
    world.clock.move(10**6)
    assert await world.source().fresh(connected) is connected
    assert world.store.finds == 0


async def test_a_username_and_password_are_always_fresh(world: World) -> None:
    world.provider = None
    connected = world.connected(token=None, refresh_token=None, username="u", password=Secret("p"), expires_at=None)
    assert await world.source().fresh(connected) is connected
    with pytest.raises(StillRefused):
        await world.source().renew(connected)


# -- what the provider may say ---------------------------------------------------------------------


async def test_a_dead_grant_needs_a_person_and_is_asked_about_once(world: World) -> None:
    connected = world.connected()
    world.clock.move(3600)
    world.endpoint.plan(INVALID_GRANT)
    source = world.source()
    refused = await asyncio.gather(*(source.fresh(connected) for _ in range(50)), return_exceptions=True)
    assert {type(each) for each in refused} == {NeedsReauth}
    assert world.kept().connection.state is ConnectionState.NEEDS_REAUTH
    assert world.kept().connection.reason == "invalid_grant"
    for _ in range(60):
        world.clock.move(60)
        with pytest.raises(NeedsReauth, match="invalid_grant"):
            await source.fresh(connected)
        with pytest.raises(NeedsReauth):
            await world.source().renew(world.kept())
    assert world.asked == 1


@pytest.mark.parametrize(
    "says",
    [
        Says(status=500),
        Says(status=503, body=b"<h1>busy</h1>"),
        Says(status=429, headers={"Retry-After": "5"}),
        Says(status=408),
        Says(body=b"<html>", headers={"Content-Type": "text/html"}),
        Says.json({"error": "temporarily_unavailable"}, 400),
        Says.json({"error": "invalid_client"}, 401),
        Says.json({"error": "invalid_grant"}, 502),
        Says.json({"no": "token"}),
        Says(status=302, headers={"Location": "http://127.0.0.1:9/"}),
        Says(body=b" " * 2_000_000),
    ],
    ids=lambda says: f"{says.status} {says.body[:30].decode()}",
)
async def test_no_passing_trouble_ends_a_connection(world: World, says: Says) -> None:
    connected = world.connected()
    source = world.source()
    world.clock.move(3550)
    world.endpoint.plan(says)
    found = await source.fresh(connected)
    assert token(found) == "at-1"
    assert found.connection.state is ConnectionState.DEGRADED
    assert world.kept().connection == found.connection
    assert world.kept().connection.reason
    assert world.asked == 1

    # Until it is tried again the old token serves, and nobody asks.
    assert token(await source.fresh(connected)) == "at-1"
    assert token(await world.source().fresh(connected)) == "at-1"
    assert world.asked == 1

    world.clock.move(60)
    found = await source.fresh(connected)
    assert (token(found), found.connection.state, world.asked) == ("at-2", ConnectionState.ACTIVE, 2)
    assert (world.kept().connection.reason, world.kept().connection.retry_at) == (None, None)


async def test_an_expired_token_and_a_busy_provider_mean_wait_until(world: World) -> None:
    connected = world.connected()
    source = world.source()
    world.clock.move(3600)
    world.endpoint.plan(Says(status=503, headers={"Retry-After": "40"}))
    refused = await asyncio.gather(*(source.fresh(connected) for _ in range(50)), return_exceptions=True)
    for each in refused:
        assert isinstance(each, TemporarilyUnavailable)
        assert (each.retry_at, each.reason) == (world.clock() + 40, "http_503")
    world.clock.move(39)
    for asker in (source, world.source()):
        with pytest.raises(TemporarilyUnavailable):
            await asker.fresh(connected)
    assert world.asked == 1
    world.clock.move(2)
    assert token(await source.fresh(connected)) == "at-2"


async def test_waiting_doubles_up_to_a_limit(world: World) -> None:
    connected = world.connected()
    source = world.source()
    world.clock.move(3600)
    waits = []
    for _ in range(12):
        world.endpoint.plan(BUSY)
        with pytest.raises(TemporarilyUnavailable) as caught:
            await source.fresh(connected)
        waits.append(caught.value.retry_at - world.clock())
        world.clock.now = caught.value.retry_at
    assert waits[:4] == [2, 4, 8, 16]
    assert waits[-1] == BACKOFF_LIMIT
    assert world.asked == 12


async def test_an_endpoint_that_is_gone_or_hangs_is_passing_trouble(world: World) -> None:
    connected = world.connected()
    world.clock.move(3600)
    async with token_endpoint() as gone:
        world.provider = provider_at(gone.url)
    with pytest.raises(TemporarilyUnavailable, match="not_reached"):
        await world.source().fresh(connected)
    world.clock.move(100)
    world.endpoint.gate.clear()
    world.provider = provider_at(world.endpoint.url, timeout=0.05)
    with pytest.raises(TemporarilyUnavailable, match="no_answer"):
        await world.source().fresh(connected)
    assert world.kept().connection.state is ConnectionState.DEGRADED


async def test_a_client_that_is_missing_here_degrades_and_heals(world: World) -> None:
    connected = world.connected()
    world.clock.move(3600)
    there, world.provider = world.provider, ClientRefused("client_missing")
    with pytest.raises(TemporarilyUnavailable, match="client_missing"):
        await world.source().fresh(connected)
    world.clock.move(10)
    world.provider = there
    assert token(await world.source().fresh(connected)) == "at-2"


async def test_invalid_grant_after_a_peer_was_first_adopts_the_peers_token(world: World) -> None:
    connected = world.connected()
    world.clock.move(3600)
    world.endpoint.gate.clear()
    world.endpoint.plan(INVALID_GRANT)
    late = asyncio.create_task(world.source().fresh(connected))
    await world.endpoint.arrived.wait()
    # The peer's lease ran out while it was paused, and its commit comes before our answer.
    peers = replace(
        connected.credential,
        token=Secret("peer-at"),
        expires_at=world.clock() + 3600,
        issued_at=world.clock(),
    )
    assert await world.store.replace_credential("org_1", "conn_1", version=1, credential=peers, scopes=None)
    world.endpoint.gate.set()
    assert token(await late) == "peer-at"
    assert world.kept().connection.state is ConnectionState.ACTIVE
    assert world.asked == 1


async def test_a_holder_that_was_paused_beyond_its_lease_changes_nothing(world: World) -> None:
    connected = world.connected()
    world.clock.move(3600)
    paused, go_on = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        world.store.before_write = None
        paused.set()
        await go_on.wait()

    world.store.before_write = pause
    slow = asyncio.create_task(world.source().fresh(connected))
    await paused.wait()
    world.clock.move(120)
    world.endpoint.plan(Says.json({"access_token": "newer", "refresh_token": "newer-rt", "expires_in": 3600}))
    assert token(await world.source().fresh(connected)) == "newer"
    go_on.set()
    assert token(await slow) == "newer"
    assert world.kept().credential.refresh_token == Secret("newer-rt")
    assert world.kept().connection.version == 2
    assert [seen.path for seen in world.endpoint.seen] == ["/token", "/token"]


async def test_a_lease_of_somebody_who_died_runs_out(world: World) -> None:
    connected = world.connected()
    world.clock.move(3600)
    await world.leases.acquire("refresh:conn_1", "dead process", 25)

    async def sleep(seconds: float) -> None:
        world.clock.move(seconds)
        await asyncio.sleep(0)

    assert token(await world.source(sleep=sleep).fresh(connected)) == "at-2"
    assert world.leases.refused > 0


async def test_a_lease_that_never_ends_is_not_waited_for_forever(world: World) -> None:
    connected = world.connected()
    world.clock.move(3600)
    await world.leases.acquire("refresh:conn_1", "stuck process", 10**9)
    with pytest.raises(TemporarilyUnavailable, match="refresh_busy"):
        await world.source().fresh(connected)
    assert (world.asked, world.kept().connection.state) == (0, ConnectionState.ACTIVE)


# -- nothing is lost -------------------------------------------------------------------------------


async def test_a_caller_that_goes_away_takes_nothing_with_it(world: World) -> None:
    connected = world.connected()
    world.clock.move(3600)
    world.endpoint.gate.clear()
    source = world.source()
    first, second = (asyncio.create_task(source.fresh(connected)) for _ in range(2))
    await world.endpoint.arrived.wait()
    first.cancel()
    world.endpoint.gate.set()
    assert token(await second) == "at-2"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_closing_waits_for_an_answer_to_be_stored_even_if_nobody_wants_it(world: World) -> None:
    connected = world.connected()
    world.clock.move(3600)
    world.endpoint.gate.clear()
    source = world.source()
    only = asyncio.create_task(source.fresh(connected))
    await world.endpoint.arrived.wait()
    only.cancel()
    closing = asyncio.create_task(source.close())
    await asyncio.sleep(0)
    assert not closing.done()
    world.endpoint.gate.set()
    await closing
    assert world.kept().credential.refresh_token == Secret("rt-2")
    await source.close()


async def test_a_cancellation_between_answer_and_commit_comes_after_the_commit(world: World) -> None:
    connected = world.connected()
    world.clock.move(3600)
    committing, go_on = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        committing.set()
        await go_on.wait()

    world.store.before_write = pause
    source = world.source()
    caller = asyncio.create_task(source.fresh(connected))
    await committing.wait()
    # What the end of an event loop does to every task that is left.
    for task in asyncio.all_tasks():
        if task.get_name() == "refresh conn_1":
            task.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert world.kept().credential.refresh_token == Secret("rt-2")
    assert world.kept().connection.version == 2
    world.store.before_write = None
    assert token(await source.fresh(world.kept())) == "at-2"
    assert world.asked == 1


async def test_a_database_that_stumbles_does_not_lose_the_pair(world: World) -> None:
    connected = world.connected()
    world.clock.move(3600)
    world.store.failures = [ConnectionError("gone"), ConnectionError("gone")]
    assert token(await world.source().fresh(connected)) == "at-2"
    assert world.asked == 1


async def test_a_database_that_is_down_gets_the_same_pair_later(world: World) -> None:
    connected = world.connected()
    world.clock.move(3600)
    source = world.source()
    world.store.failures = [ConnectionError("gone")] * 5
    with pytest.raises(ConnectionError):
        await source.fresh(connected)
    assert token(world.kept()) == "at-1"
    assert token(await source.fresh(connected)) == "at-2"
    assert world.asked == 1
    assert world.kept().credential.refresh_token == Secret("rt-2")


async def test_a_flight_always_clears(world: World) -> None:
    connected = world.connected()
    world.clock.move(3600)
    source = world.source()

    class Broken(Exception):
        pass

    async def broken(connection: Connection, credential: Credential) -> Provider | None:
        raise Broken

    source._provider_for = broken
    for _ in range(3):
        refused = await asyncio.gather(*(source.fresh(connected) for _ in range(5)), return_exceptions=True)
        assert {type(each) for each in refused} == {Broken}
    source._provider_for = world.provider_for
    assert token(await source.fresh(connected)) == "at-2"
    assert world.leases.rows == {}


async def test_a_token_for_a_connection_that_was_removed_meanwhile_is_revoked(world: World) -> None:
    connected = world.connected()
    world.clock.move(3600)
    world.endpoint.gate.clear()
    late = asyncio.create_task(world.source().fresh(connected))
    await world.endpoint.arrived.wait()
    world.store.rows.clear()
    world.endpoint.gate.set()
    with pytest.raises(NeedsReauth):
        await late
    revoked = [seen.form["token"] for seen in world.endpoint.seen if seen.path == "/revoke"]
    assert revoked == ["rt-2", "at-2"]
    assert world.store.rows == {}


async def test_trouble_that_the_database_cannot_note_still_causes_no_storm(world: World) -> None:
    connected = world.connected()
    world.clock.move(3600)
    source = world.source()
    world.endpoint.plan(Says(status=503, headers={"Retry-After": "30"}))
    world.store.failures = [ConnectionError("read-only")]
    with pytest.raises(ConnectionError):
        await source.fresh(connected)
    for _ in range(20):
        with pytest.raises(TemporarilyUnavailable, match="http_503"):
            await source.fresh(connected)
    assert world.asked == 1


# -- renew -----------------------------------------------------------------------------------------


async def test_200_upstream_401s_refresh_once(world: World) -> None:
    connected = world.connected()
    source = world.source()
    found = await asyncio.gather(*(source.renew(connected) for _ in range(200)))
    assert {token(each) for each in found} == {"at-2"}
    assert world.asked == 1


async def test_whoever_holds_an_older_version_adopts_without_a_refresh(world: World) -> None:
    connected = world.connected()
    await world.source().renew(connected)
    found = await asyncio.gather(*(world.source().renew(connected) for _ in range(4)))
    assert {token(each) for each in found} == {"at-2"}
    assert world.asked == 1


async def test_a_401_on_the_newest_token_refreshes_again_however_soon(world: World) -> None:
    source, current = world.source(), world.connected()
    for number in range(2, 7):
        current = await source.renew(current)
        assert token(current) == f"at-{number}"
    assert world.asked == 5


async def test_renewals_of_two_versions_at_once_refresh_twice(world: World) -> None:
    source, first = world.source(), world.connected()
    second = await source.renew(first)
    found = await asyncio.gather(*(source.renew(each) for each in [first, second] * 20))
    assert {token(each) for each in found} <= {"at-2", "at-3"}
    assert {token(each) for each in found[1::2]} == {"at-3"}
    assert world.asked == 2


async def test_a_refused_renewal_cools_down_and_then_tries_again(world: World) -> None:
    source, connected = world.source(), world.connected()
    renewed = await source.renew(connected)
    source.refused(renewed)
    for attempt in (renewed, connected):
        with pytest.raises(StillRefused):
            await source.renew(attempt)
    assert token(await source.fresh(renewed)) == "at-2"
    world.clock.move(COOL_DOWN - 1)
    with pytest.raises(StillRefused):
        await source.renew(renewed)
    assert world.asked == 1
    world.clock.move(2)
    assert token(await source.renew(renewed)) == "at-3"
    assert world.asked == 2


async def test_a_cool_down_is_of_one_version_only(world: World) -> None:
    source, connected = world.source(), world.connected()
    renewed = await source.renew(connected)
    source.refused(renewed)
    peers = await world.source().renew(renewed)
    assert token(await source.renew(renewed)) == token(peers) == "at-3"


async def test_a_401_with_nothing_to_refresh_with_needs_a_person(world: World) -> None:
    connected = world.connected(refresh_token=None)
    with pytest.raises(NeedsReauth, match="no_refresh_token"):
        await world.source().renew(connected)
    assert world.kept().connection.state is ConnectionState.NEEDS_REAUTH
    assert world.asked == 0


async def test_a_401_on_a_static_credential_is_passed_through(world: World) -> None:
    world.provider = None
    connected = world.connected(refresh_token=None, expires_at=None)
    with pytest.raises(StillRefused):
        await world.source().renew(connected)
    assert (world.kept().connection.state, world.store.finds) == (ConnectionState.ACTIVE, 0)


async def test_a_401_and_a_dead_grant_need_a_person(world: World) -> None:
    connected = world.connected()
    world.endpoint.plan(INVALID_GRANT)
    with pytest.raises(NeedsReauth, match="invalid_grant"):
        await world.source().renew(connected)
    assert world.kept().connection.reason == "invalid_grant"


async def test_a_401_and_a_busy_provider_mean_wait_until(world: World) -> None:
    connected = world.connected()
    world.endpoint.plan(BUSY)
    source = world.source()
    with pytest.raises(TemporarilyUnavailable):
        await source.renew(connected)
    with pytest.raises(TemporarilyUnavailable):
        await source.renew(connected)
    assert world.asked == 1
    assert world.kept().connection.state is ConnectionState.DEGRADED


async def test_a_401_during_a_refresh_before_the_end_joins_it(world: World) -> None:
    connected = world.connected()
    world.clock.move(3550)
    source = world.source()
    found = await asyncio.gather(source.fresh(connected), source.renew(connected), source.fresh(connected))
    assert {token(each) for each in found} == {"at-2"}
    assert world.asked == 1


# -- client credentials ----------------------------------------------------------------------------


async def test_a_client_gets_its_first_token_and_the_next_ones_the_same_way(world: World) -> None:
    world.provider = provider_at(world.endpoint.url, grant="client_credentials", scopes=("read",))
    connected = world.connected(
        token=None, refresh_token=None, expires_at=None, client_id="c", client_secret=Secret("s")
    )
    source = world.source()
    found = await asyncio.gather(*(source.fresh(connected) for _ in range(50)))
    assert {token(each) for each in found} == {"at-2"}
    world.clock.move(3600)
    assert token(await source.fresh(world.kept())) == "at-3"
    assert token(await source.renew(world.kept())) == "at-4"
    assert world.asked == 3
    assert {seen.form["grant_type"] for seen in world.endpoint.seen} == {"client_credentials"}
    kept = world.kept().credential
    assert (kept.client_id, kept.client_secret, kept.refresh_token) == ("c", Secret("s"), None)


async def test_a_client_of_the_users_own_that_is_refused_needs_a_person(world: World) -> None:
    world.provider = provider_at(world.endpoint.url, grant="client_credentials")
    connected = world.connected(token=None, refresh_token=None, client_id="c", client_secret=Secret("s"))
    world.endpoint.plan(Says.json({"error": "invalid_client"}, 401))
    with pytest.raises(NeedsReauth, match="invalid_client"):
        await world.source().fresh(connected)
    assert world.kept().connection.state is ConnectionState.NEEDS_REAUTH


@pytest.mark.parametrize("grant", ["jwt_bearer", "session"])
async def test_a_key_or_login_is_exchanged_once_by_four_processes_over_and_over(world: World, grant: Any) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    world.provider = provider_at(
        world.endpoint.url, grant=grant, token_auth="none", client_id="", claims={"iss": "robot"},
        private_key=Secret(pem), token_params={"grant_type": "client_credentials"} if grant == "session" else {},
    )  # fmt: skip
    connected = world.connected(token=None, refresh_token=None, expires_at=None, private_key=Secret(pem))
    # This endpoint issues no refresh token to them.
    for number in range(2, 8):
        world.endpoint.plan(Says.json({"access_token": f"at-{number}", "expires_in": 3600}))
    sources = [world.source() for _ in range(4)]
    for turn in range(1, 6):
        asking = world.kept() if turn > 1 else connected
        found = await asyncio.gather(*(source.fresh(asking) for source in sources for _ in range(25)))
        assert {token(each) for each in found} == {f"at-{turn + 1}"}
        assert world.asked == turn
        world.clock.move(3600)
    kept = world.kept().credential
    assert (kept.private_key, kept.refresh_token) == (Secret(pem), None)


@pytest.mark.parametrize(
    ("grant", "answer", "reason"),
    [
        ("jwt_bearer", Says.json({"error": "invalid_grant"}, 400), "invalid_grant"),
        ("jwt_bearer", Says.json({"error": "unauthorized_client"}, 401), "unauthorized_client"),
        ("session", Says.json({"message": "no"}, 401), "login_refused"),
        ("session", Says.json({"message": "no"}, 403), "login_refused"),
    ],
)
async def test_a_key_or_login_that_is_refused_needs_its_person_and_is_not_asked_with_again(
    world: World, grant: Any, answer: Says, reason: str
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
    world.provider = provider_at(world.endpoint.url, grant=grant, token_auth="none", private_key=pem)
    connected = world.connected(token=None, refresh_token=None, private_key=pem)
    world.endpoint.plan(answer)
    source = world.source()
    for _ in range(3):
        with pytest.raises(NeedsReauth, match=reason):
            await source.fresh(connected)
    assert world.asked == 1


async def test_no_error_shows_a_secret(world: World) -> None:
    connected = world.connected()
    world.clock.move(3600)
    world.endpoint.plan(Says.json({"error": "invalid_grant", "error_description": "rt-1 is dead"}, 400))
    with pytest.raises(NeedsReauth) as caught:
        await world.source().fresh(connected)
    assert "rt-1" not in f"{caught.value!r} {caught.value} {connected!r}"
