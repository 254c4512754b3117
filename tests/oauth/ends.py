"""What the oauth package stands between, for its own tests: a store, leases, a way out, a token endpoint."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
from aiohttp import web

from oauth.connections import Connection, ConnectionState, Credential, Held
from oauth.http_port import HttpAnswer, HttpRequest, Unreached
from oauth.provider import Provider
from oauth.secret import Secret

NOW = 1_800_000_000.0


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


class MemoryConnections:
    """`ConnectionStore` in a dict, with the same compare-and-swap; every method gives way once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.rows: dict[tuple[str, str], Held] = {}
        self.finds = 0
        #: Exceptions that the next writes raise instead.
        self.failures: list[BaseException] = []
        #: Runs before a write: to pause it, or to let somebody else be first.
        self.before_write: Callable[[], Awaitable[None]] | None = None
        self._clock = clock

    def put(self, held: Held) -> None:
        self.rows[held.connection.org, held.connection.id] = held

    def state(self, held: Held) -> ConnectionState:
        return self.now(held).connection.state

    def now(self, held: Held) -> Held:
        return self.rows[held.connection.org, held.connection.id]

    async def find(self, org: str, connection_id: str) -> Held | None:
        self.finds += 1
        await asyncio.sleep(0)
        return self.rows.get((org, connection_id))

    async def candidates(self, org: str, integration: str, user: str) -> Sequence[Held]:
        wanted = (org, integration, user)
        rows = list(self.rows.values())
        return [row for row in rows if (row.connection.org, row.connection.integration, row.connection.user) == wanted]

    async def replace_credential(
        self,
        org: str,
        connection_id: str,
        *,
        version: int,
        credential: Credential,
        scopes: tuple[str, ...] | None,
    ) -> bool:
        await self._about_to_write()
        row = self.rows.get((org, connection_id))
        if row is None or row.connection.version != version or row.connection.state is ConnectionState.REVOKED:
            return False
        connection = replace(
            row.connection,
            version=version + 1,
            state=ConnectionState.ACTIVE,
            scopes=row.connection.scopes if scopes is None else scopes,
            reason=None,
            retry_at=None,
            updated_at=self._clock(),
        )
        self.put(Held(connection=connection, credential=credential))
        return True

    async def set_state(
        self,
        org: str,
        connection_id: str,
        *,
        version: int,
        state: ConnectionState,
        reason: str | None = None,
        retry_at: float | None = None,
    ) -> bool:
        await self._about_to_write()
        row = self.rows.get((org, connection_id))
        if row is None or row.connection.version != version or row.connection.state is ConnectionState.REVOKED:
            return False
        connection = replace(row.connection, state=state, reason=reason, retry_at=retry_at, updated_at=self._clock())
        self.put(replace(row, connection=connection))
        return True

    async def _about_to_write(self) -> None:
        if self.before_write is not None:
            await self.before_write()
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)


class MemoryLeases:
    """`Leases` in a dict."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.rows: dict[str, tuple[str, float]] = {}
        self.refused = 0
        self._clock = clock

    async def acquire(self, name: str, owner: str, seconds: float) -> bool:
        await asyncio.sleep(0)
        holder, until = self.rows.get(name, (owner, 0.0))
        if holder != owner and until > self._clock():
            self.refused += 1
            return False
        self.rows[name] = (owner, self._clock() + seconds)
        return True

    async def release(self, name: str, owner: str) -> None:
        if self.rows.get(name, ("", 0.0))[0] == owner:
            del self.rows[name]


class AiohttpHttp:
    """`oauth.http_port.Http` over a plain aiohttp session."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def exchange(self, request: HttpRequest) -> HttpAnswer:
        try:
            async with self._session.request(
                request.method,
                request.url,
                headers=request.headers,
                data=request.body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=request.timeout),
            ) as answer:
                body = b""
                async for chunk in answer.content.iter_chunked(65536):
                    body += chunk
                    if len(body) > request.limit:
                        break
                return HttpAnswer(status=answer.status, headers=dict(answer.headers), body=body)
        except aiohttp.ClientConnectorError as error:
            raise Unreached(sent=False) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreached(sent=True) from error


@contextlib.asynccontextmanager
async def way_out() -> AsyncIterator[AiohttpHttp]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield AiohttpHttp(session)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A request as it reached the token endpoint."""

    path: str
    headers: Mapping[str, str]
    body: str
    method: str = "POST"
    query: str = ""

    @property
    def form(self) -> dict[str, str]:
        pairs = parse_qsl(self.body, keep_blank_values=True)
        assert len(dict(pairs)) == len(pairs), pairs
        return dict(pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Says:
    """An answer that the token endpoint gives."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: Any, status: int = 200, **headers: str) -> "Says":
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        body = json.dumps(value).encode()
        return cls(status=status, body=body, headers={"Content-Type": "application/json", **named})


class TokenEndpoint:
    """A real loopback server that says what a test wants and remembers what it was asked.

    With no answer planned it plays a provider that rotates: `at-N` and `rt-N`, and `invalid_grant` for any
    refresh token but the newest.
    """

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[Seen] = []
        self.planned: list[Says] = []
        self.issued = 1
        self.lifetime = 3600
        #: Set to let answers wait; a test sets it again to let them go.
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()

    def plan(self, *answers: Says) -> None:
        self.planned.extend(answers)

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.text()
        self.seen.append(
            Seen(
                path=request.path,
                headers=dict(request.headers),
                body=body,
                method=request.method,
                query=request.rel_url.raw_query_string,
            )
        )
        said = self.planned.pop(0) if self.planned else self._rotated(self.seen[-1])
        self.arrived.set()
        await self.gate.wait()
        return web.Response(status=said.status, body=said.body, headers=said.headers)

    def _rotated(self, seen: Seen) -> Says:
        if seen.path == "/revoke":
            return Says()
        form = seen.form
        if form["grant_type"] == "refresh_token" and form["refresh_token"] != f"rt-{self.issued}":
            return Says.json({"error": "invalid_grant"}, 400)
        self.issued += 1
        tokens: dict[str, Any] = {
            "access_token": f"at-{self.issued}",
            "token_type": "Bearer",
            "expires_in": self.lifetime,
        }
        if form["grant_type"] != "client_credentials":
            tokens["refresh_token"] = f"rt-{self.issued}"
        return Says.json(tokens)


@contextlib.asynccontextmanager
async def token_endpoint() -> AsyncIterator[TokenEndpoint]:
    endpoint = TokenEndpoint()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", endpoint.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield endpoint
    finally:
        endpoint.gate.set()
        await runner.cleanup()


def provider_at(url: str, **changes: Any) -> Provider:
    """The authorization server at that address, as a definition without quirks describes it."""
    made = Provider(
        token_url=f"{url}/token",
        authorization_url=f"{url}/authorize",
        revocation_url=f"{url}/revoke",
        client_id="gateway",
        client_secret=Secret("gateway-secret"),
        redirect_uri="http://127.0.0.1:9/oauth/callback/demo",
        timeout=5.0,
    )
    return replace(made, **changes)


def held(clock: Callable[[], float], *, lives: float | None = 3600.0, **changes: Any) -> Held:
    """A connection whose newest pair is at-1 and rt-1, with an access token that lives so many seconds."""
    credential = Credential(
        token=Secret("at-1"),
        refresh_token=Secret("rt-1"),
        expires_at=None if lives is None else clock() + lives,
        issued_at=clock(),
    )
    connection = Connection(
        id="conn_1",
        org="org_1",
        integration="demo",
        user="default",
        method="oauth",
        state=ConnectionState.ACTIVE,
        scopes=("read",),
    )
    return Held(connection=connection, credential=replace(credential, **changes))
