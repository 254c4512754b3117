"""A credential that still works: refreshed once however many ask, in however many processes, and never lost.

Three fences, from cheap to certain: one flight per connection in this process, one lease row among
processes, and compare-and-swap on the connection's version. Whoever comes second looks again and adopts.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from oauth.connections import Connection, ConnectionState, ConnectionStore, Credential, Held, Leases
from oauth.http_port import Http
from oauth.provider import Provider
from oauth.token_answers import ClientRefused, GrantDead, TokenAnswer, TokenError, Transient
from oauth.tokens import is_own_grant, own_token, refresh, revoke

#: Seconds before its end at which a token is renewed; short-lived ones at the last tenth of their life.
MARGIN = 60.0
#: Seconds in which a token that was refused right after its refresh is not refreshed again.
COOL_DOWN = 30.0
#: What a lease outlasts the token endpoint's time-out by: the port's own grace and the commit.
LEASE_GRACE = 10.0
BACKOFF_FIRST = 2.0
BACKOFF_LIMIT = 300.0

_COMMIT_PAUSES = (0.05, 0.25, 1.0, 2.0)
_LOOK_FIRST = 0.05
_LOOK_LIMIT = 0.5
_ROUNDS = 5
_SERVING = frozenset({ConnectionState.ACTIVE, ConnectionState.DEGRADED})

ProviderFor = Callable[[Connection, Credential], Awaitable[Provider | None]]


class NoCredential(Exception):
    """There is no credential to send. `connection` is the id, `reason` a stable word."""

    def __init__(self, connection: str, reason: str) -> None:
        super().__init__(f"{connection}: {reason}")
        self.connection = connection
        self.reason = reason


class NeedsReauth(NoCredential):
    """Only a person can mend it, by connecting again."""


class TemporarilyUnavailable(NoCredential):
    """The old token is of no use and a new one cannot be had now. `retry_at` is in unix seconds."""

    def __init__(self, connection: str, reason: str, retry_at: float) -> None:
        super().__init__(connection, reason)
        self.retry_at = retry_at


class StillRefused(NoCredential):
    """No refresh can help: a static credential, or one that was refused right after its refresh.

    The upstream's 401 is the answer.
    """


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Refreshes of one version that failed in a way that says nothing about the grant."""

    version: int
    failures: int
    retry_at: float
    reason: str


class CredentialSource:
    """Gives out credentials that still work.

    `provider_for` resolves the authorization server of a connection; None means that its credential is
    static; it may raise `ClientRefused` where our client there is missing. `owner_id` is this process's name.
    """

    def __init__(
        self,
        store: ConnectionStore,
        leases: Leases,
        http: Http,
        provider_for: ProviderFor,
        *,
        owner_id: str,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._leases = leases
        self._http = http
        self._provider_for = provider_for
        self._owner_id = owner_id
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._flights: dict[str, asyncio.Task[Held]] = {}
        self._trouble: dict[str, _Trouble] = {}
        self._refused: dict[str, tuple[int, float]] = {}
        #: Pairs that the provider has given and the database has not taken yet, by connection.
        self._unsaved: dict[str, tuple[int, TokenAnswer]] = {}

    async def fresh(self, held: Held) -> Held:
        """The connection with a credential that is good now, refreshed if it is about to end.

        Raises `NeedsReauth` or `TemporarilyUnavailable`.
        """
        _ensure_serving(held.connection)
        if self._is_good(held.credential):
            return held
        if self._waits(held.connection) and self._is_usable(held.credential):
            return held
        if not held.credential.refresh_token and not await self._can_renew(held):
            # Whether it really has ended is for the upstream to say.
            return held
        return await self._newer(held, forced=False)

    async def renew(self, held: Held) -> Held:
        """After an upstream 401: a newer credential than this one, for one repetition of the request.

        Whoever holds an older version than the stored one gets the stored one, without a refresh. If the
        repetition is refused as well, call `refused` with what this returned. Raises `StillRefused`,
        `NeedsReauth` or `TemporarilyUnavailable`.
        """
        _ensure_serving(held.connection)
        if self._is_cooling(held.connection):
            return await self._adopted_instead(held)
        if not held.credential.refresh_token and await self._is_static(held):
            raise StillRefused(held.connection.id, "static")
        newer = await self._newer(held, forced=True)
        if self._is_cooling(newer.connection):
            raise StillRefused(held.connection.id, "refused_after_refresh")
        return newer

    def refused(self, renewed: Held) -> None:
        """A credential that `renew` gave was refused too: no further refresh of this version for a while."""
        now = self._clock()
        for connection in [key for key, (_, until) in self._refused.items() if until <= now]:
            del self._refused[connection]
        self._refused[renewed.connection.id] = (renewed.connection.version, now + COOL_DOWN)

    async def close(self) -> None:
        """Waits for the refreshes under way: what a provider answered is stored before the process ends."""
        while self._flights:
            await asyncio.wait(list(self._flights.values()))
            # Their callbacks, which take them out, run on the next turn of the loop.
            await asyncio.sleep(0)

    # -- one flight per connection -----------------------------------------------------------------

    async def _newer(self, held: Held, *, forced: bool) -> Held:
        connection = held.connection
        while True:
            flight = self._flights.get(connection.id)
            mine = flight is None or flight.done()
            if flight is None or mine:
                flight = self._take_off(connection, forced)
            # A caller that goes away must not take the refresh of all the others with it.
            newer = await asyncio.shield(flight)
            # The flight of another caller may have been content with the version that was refused here.
            if mine or not forced or newer.connection.version > connection.version:
                return newer

    def _take_off(self, connection: Connection, forced: bool) -> asyncio.Task[Held]:
        flight = asyncio.create_task(
            self._fly(connection.org, connection.id, connection.version, forced),
            name=f"refresh {connection.id}",
        )
        self._flights[connection.id] = flight

        def landed(task: asyncio.Task[Held]) -> None:
            # Also when it was cancelled before its first step, which no `finally` inside it would see.
            if self._flights.get(connection.id) is task:
                del self._flights[connection.id]
            if not task.cancelled():
                task.exception()

        flight.add_done_callback(landed)
        return flight

    async def _fly(self, org: str, connection: str, version: int, forced: bool) -> Held:
        """Adopts what is stored if it is newer or good; else refreshes it, or waits for who does."""
        lease, owner = f"refresh:{connection}", f"{self._owner_id}:{secrets.token_hex(6)}"
        pause, waited, rounds, seconds = _LOOK_FIRST, 0.0, 0, 15.0 + LEASE_GRACE
        while rounds < _ROUNDS:
            stored = self._stands(connection, await self._store.find(org, connection))
            if self._adopts(stored, version, forced):
                return stored
            # Moved on, and about to end again: then that is the one to replace.
            version = max(version, stored.connection.version)
            provider = await self._provider_of(stored)
            if isinstance(provider, Provider):
                seconds = provider.timeout + LEASE_GRACE
            if await self._leases.acquire(lease, owner, seconds):
                try:
                    rounds += 1
                    newer = await self._look_and_refresh(org, connection, version, forced, provider)
                finally:
                    with contextlib.suppress(Exception):
                        await self._leases.release(lease, owner)
                if newer is not None:
                    return newer
            elif waited < 2 * seconds:
                wait = pause * (0.5 + self._chance() / 2)
                await self._sleep(wait)
                waited, pause = waited + wait, min(2 * pause, _LOOK_LIMIT)
            else:
                break
        raise TemporarilyUnavailable(connection, "refresh_busy", self._clock() + BACKOFF_FIRST)

    async def _look_and_refresh(
        self, org: str, connection: str, version: int, forced: bool, provider: Provider | ClientRefused | None
    ) -> Held | None:
        """With the lease in hand: the new or adopted credential, or None to look again."""
        stored = self._stands(connection, await self._store.find(org, connection))
        if self._adopts(stored, version, forced):
            return stored
        if isinstance(provider, ClientRefused):
            return await self._later(stored, provider, forced)
        if provider is None:
            if forced:
                raise StillRefused(connection, "static")
            return stored
        if not _is_renewable(provider, stored.credential):
            if not forced:
                return stored
            await self._dead(stored, "no_refresh_token")
            return None
        kept = self._unsaved.pop(connection, None)
        if kept is not None and kept[0] == stored.connection.version:
            return await self._commit(stored, provider, kept[1])
        try:
            answer = await self._ask(provider, stored.credential)
        except GrantDead as error:
            await self._dead(stored, error.reason)
            return None
        except ClientRefused as error:
            if is_own_grant(provider) and _is_users_own(provider, stored.credential):
                # The client or key is the user's own: what they entered no longer counts.
                await self._dead(stored, error.reason)
                return None
            return await self._later(stored, error, forced)
        except Transient as error:
            return await self._later(stored, error, forced)
        return await self._commit(stored, provider, answer)

    async def _ask(self, provider: Provider, credential: Credential) -> TokenAnswer:
        if is_own_grant(provider):
            return await own_token(self._http, provider, credential=credential, now=self._clock())
        return await refresh(self._http, provider, credential, now=self._clock())

    # -- what an answer leads to -------------------------------------------------------------------

    async def _commit(self, stored: Held, provider: Provider, answer: TokenAnswer) -> Held | None:
        """Stores the new pair before anybody may use it. The old refresh token may be spent already, so
        neither a cancellation nor a database that stumbles ends this before it is tried several times."""
        connection = stored.connection
        self._unsaved[connection.id] = (connection.version, answer)
        interrupted = False
        for pause in (*_COMMIT_PAUSES, None):
            try:
                won = await self._store.replace_credential(
                    connection.org,
                    connection.id,
                    version=connection.version,
                    credential=answer.credential,
                    scopes=answer.scopes,
                )
                break
            except asyncio.CancelledError:
                if pause is None:
                    raise
                interrupted = True
            except Exception:
                if pause is None:
                    raise
                with contextlib.suppress(asyncio.CancelledError):
                    await self._sleep(pause)
        self._unsaved.pop(connection.id, None)
        self._trouble.pop(connection.id, None)
        if interrupted:
            raise asyncio.CancelledError
        if not won:
            await self._discard(connection, provider, answer)
            return None
        return Held(
            connection=replace(
                connection,
                version=connection.version + 1,
                state=ConnectionState.ACTIVE,
                scopes=connection.scopes if answer.scopes is None else answer.scopes,
                reason=None,
                retry_at=None,
                updated_at=self._clock(),
            ),
            credential=answer.credential,
        )

    async def _discard(self, connection: Connection, provider: Provider, answer: TokenAnswer) -> None:
        """Somebody disconnected meanwhile: the token that came too late must not live on at the provider."""
        stored = await self._store.find(connection.org, connection.id)
        if stored is None or stored.connection.state is ConnectionState.REVOKED:
            with contextlib.suppress(TokenError):
                await revoke(self._http, provider, answer.credential)

    async def _dead(self, stored: Held, reason: str) -> None:
        """The provider refused the grant. Unless a peer has stored a newer one, a person has to come."""
        connection = stored.connection
        # The version is the fence here too: where a peer was first this changes nothing, and we look again.
        if not await self._store.set_state(
            connection.org,
            connection.id,
            version=connection.version,
            state=ConnectionState.NEEDS_REAUTH,
            reason=reason,
        ):
            return
        self._trouble.pop(connection.id, None)
        raise NeedsReauth(connection.id, reason)

    async def _later(self, stored: Held, error: TokenError, forced: bool) -> Held | None:
        """Nothing is known about the grant: the old token serves until it ends, and the refresh waits."""
        connection, now = stored.connection, self._clock()
        before = self._trouble.get(connection.id)
        failures = before.failures + 1 if before and before.version == connection.version else 1
        ceiling = min(BACKOFF_FIRST * 2 ** min(failures - 1, 16), BACKOFF_LIMIT)
        asked = error.retry_after if isinstance(error, Transient) and error.retry_after else 0.0
        retry_at = now + max(1.0, ceiling * self._chance(), asked)
        self._trouble[connection.id] = _Trouble(connection.version, failures, retry_at, error.reason)
        if not await self._store.set_state(
            connection.org,
            connection.id,
            version=connection.version,
            state=ConnectionState.DEGRADED,
            reason=error.reason,
            retry_at=retry_at,
        ):
            return None
        if not forced and self._is_usable(stored.credential):
            degraded = replace(
                connection,
                state=ConnectionState.DEGRADED,
                reason=error.reason,
                retry_at=retry_at,
                updated_at=now,
            )
            return replace(stored, connection=degraded)
        raise TemporarilyUnavailable(connection.id, error.reason, retry_at)

    async def _adopted_instead(self, held: Held) -> Held:
        """While a version cools down: what a peer has stored since, if anything."""
        connection = held.connection
        stored = self._stands(connection.id, await self._store.find(connection.org, connection.id))
        if stored.connection.version > connection.version and not self._is_cooling(stored.connection):
            return stored
        raise StillRefused(connection.id, "refused_after_refresh")

    # -- looking -----------------------------------------------------------------------------------

    def _stands(self, connection: str, stored: Held | None) -> Held:
        if stored is None:
            self._forget(connection)
            raise NeedsReauth(connection, "disconnected")
        if stored.connection.state not in _SERVING:
            self._forget(connection)
        _ensure_serving(stored.connection)
        return stored

    def _adopts(self, stored: Held, version: int, forced: bool) -> bool:
        """Whether what is stored serves the caller as it is. Raises where there is nothing to do but wait."""
        if forced and stored.connection.version > version:
            return True
        if not forced and self._is_good(stored.credential):
            return True
        if not self._waits(stored.connection):
            return False
        if not forced and self._is_usable(stored.credential):
            return True
        trouble = self._trouble.get(stored.connection.id)
        reason = stored.connection.reason or (trouble.reason if trouble else "degraded")
        raise TemporarilyUnavailable(stored.connection.id, reason, self._retry_at(stored.connection))

    def _waits(self, connection: Connection) -> bool:
        return self._retry_at(connection) > self._clock()

    def _retry_at(self, connection: Connection) -> float:
        trouble = self._trouble.get(connection.id)
        # Ours counts where the database would not take it.
        own = trouble.retry_at if trouble and trouble.version == connection.version else 0.0
        stored = connection.retry_at if connection.state is ConnectionState.DEGRADED else None
        return max(own, stored or 0.0)

    def _is_good(self, credential: Credential) -> bool:
        if credential.token is None:
            return credential.username is not None
        if credential.expires_at is None:
            return True
        lifetime = max(credential.expires_at - credential.issued_at, 0.0)
        return self._clock() < credential.expires_at - min(MARGIN, lifetime / 10)

    def _is_usable(self, credential: Credential) -> bool:
        if credential.token is None:
            return False
        return credential.expires_at is None or self._clock() < credential.expires_at

    def _is_cooling(self, connection: Connection) -> bool:
        version, until = self._refused.get(connection.id, (0, 0.0))
        return version == connection.version and self._clock() < until

    async def _provider_of(self, held: Held) -> Provider | ClientRefused | None:
        try:
            return await self._provider_for(held.connection, held.credential)
        except ClientRefused as error:
            return error

    async def _can_renew(self, held: Held) -> bool:
        provider = await self._provider_of(held)
        if isinstance(provider, ClientRefused):
            # A token without a way to renew it may still work; with no token at all that must be said.
            return held.credential.token is None
        return provider is not None and _is_renewable(provider, held.credential)

    async def _is_static(self, held: Held) -> bool:
        return await self._provider_of(held) is None

    def _forget(self, connection: str) -> None:
        self._trouble.pop(connection, None)
        self._unsaved.pop(connection, None)
        self._refused.pop(connection, None)


def _is_renewable(provider: Provider, credential: Credential) -> bool:
    return is_own_grant(provider) or bool(credential.refresh_token)


def _is_users_own(provider: Provider, credential: Credential) -> bool:
    """Whether the user entered what proves the grant, and no client of ours takes part in it."""
    return provider.grant != "client_credentials" or bool(credential.client_secret)


def _ensure_serving(connection: Connection) -> None:
    if connection.state not in _SERVING:
        raise NeedsReauth(connection.id, connection.reason or connection.state.value)
