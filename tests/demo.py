"""An integration of the tests' own over a real OAuth server, and the people who connect accounts of it.

    async with demo(tmp_path, server) as desk:
        connection = await desk.connect(login="alice")
        answer = await desk.running.call("demo", "whoami")
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import yarl
from aiohttp import web

from tests.fakes.provider import Provider, browser
from tests.fakes.upstream import Answer as UpstreamAnswer
from tests.fakes.upstream import Asked, Seen, Upstream, json_answer, route
from tests.harness import ROOT, Answer, Org, RunningGateway, environment, gateway, gateway_process, make_org

Definition = dict[str, Any]


def oauth_definition(
    server: Provider, slug: str = "demo", *, oauth: Mapping[str, Any] | None = None, **changes: Any
) -> Definition:
    """An integration whose API and authorization server are `server`; `oauth` changes its OAuth method."""
    method = {
        "name": "oauth",
        "type": "oauth2",
        "title": "OAuth",
        "authorization_url": server.authorization_url,
        "token_url": server.token_url,
        "revocation_url": server.revocation_url,
        "issuer": server.issuer,
        "scopes": {"default": ["read", "profile"]},
        **(oauth or {}),
    }
    machine = {
        "name": "machine",
        "type": "client_credentials",
        "title": "Client of your own",
        "token_url": server.token_url,
        "revocation_url": server.revocation_url,
        "scopes": {"default": ["read"]},
    }
    return {
        "slug": slug,
        "name": slug.capitalize(),
        "description": "Says whose account it is.",
        "base_url": server.issuer,
        "auth": [
            {name: value for name, value in method.items() if value is not None},
            {"name": "token", "type": "bearer", "title": "Access token"},
            machine,
        ],
        "whoami": {"action": "whoami", "account": "login"},
        "actions": {
            "whoami": {
                "description": "Says whose account it is.",
                "request": "GET /api/me",
                "examples": [{"params": {}, "response": {"status": 200, "data": {"login": "alice"}}}],
            }
        },
        **changes,
    }


def keyed_definition(base_url: str, slug: str = "keyed", **changes: Any) -> Definition:
    """An integration whose API takes its key in any place that a definition can name."""
    return {
        "slug": slug,
        "name": slug.capitalize(),
        "description": "Says whose key it is.",
        "base_url": base_url,
        "auth": [
            {"name": "bearer", "type": "bearer", "title": "Token"},
            {"name": "header", "type": "api_key", "title": "Key", "in": "header", "as": "X-Key"},
            {"name": "query", "type": "api_key", "title": "Key", "in": "query", "as": "key"},
            {"name": "body", "type": "api_key", "title": "Key", "in": "body", "as": "apiKey"},
            {"name": "cookie", "type": "api_key", "title": "Key", "in": "cookie", "as": "session"},
            {"name": "basic", "type": "basic", "title": "Username and password"},
        ],
        "whoami": {"action": "whoami", "account": "login"},
        "actions": {
            "whoami": {
                "description": "Says whose key it is.",
                "request": "POST /me",
                "effect": "read",
                "params": {"note": {"type": "string", "description": "Comes back."}},
                "examples": [{"params": {}, "response": {"status": 200, "data": {"login": "alice"}}}],
            }
        },
        **changes,
    }


def write_definitions(folder: Path, *definitions: Definition) -> Path:
    """Writes definitions as files of a folder for `gateway(definitions=…)`."""
    target = folder / "definitions"
    target.mkdir(exist_ok=True)
    for definition in definitions:
        # JSON is YAML.
        (target / f"{definition['slug']}.yaml").write_text(json.dumps(definition))
    return target


class KeyedApi(Upstream):
    """An API that knows two keys and takes them as bearer, header, query, body, cookie or basic."""

    logins: ClassVar[Mapping[str, str]] = {"key-of-alice": "alice", "key-of-bob": "bob"}

    def admit(self, seen: Seen) -> str:
        login = self.logins.get(self._key(seen) or "")
        if login is None:
            raise self.refuse(401, "Who are you?")
        return login

    @route("POST", "/me")
    def me(self, asked: Asked) -> UpstreamAnswer:
        return json_answer({"login": asked.who})

    def _key(self, seen: Seen) -> str | None:
        scheme, _, value = (seen.header("Authorization") or "").partition(" ")
        if scheme == "Bearer":
            return value
        if scheme == "Basic":
            username, _, password = base64.b64decode(value).decode().partition(":")
            return password if username == "someone" else None
        body = seen.json() if seen.body else {}
        return seen.header("X-Key") or dict(seen.query).get("key") or seen.cookie("session") or body.get("apiKey")


@dataclass(slots=True, kw_only=True)
class Desk:
    """A gateway with the demo integration, the OAuth server behind it, and one person's browser."""

    running: RunningGateway
    server: Provider
    session: aiohttp.ClientSession
    environ: Mapping[str, str] = field(repr=False)
    slug: str = "demo"

    async def begin(self, **more: Any) -> Any:
        """`POST /v1/connect`; the answer's body."""
        key = more.pop("key", None)
        answer = await self.running.ask("POST", "/v1/connect", body={"integration": self.slug, **more}, key=key)
        assert answer.status == 200, answer.body
        return answer.json()

    async def consent(
        self, link: str, login: str = "alice", *, approve: bool = True, session: aiohttp.ClientSession | None = None
    ) -> str:
        """What a person does from our page on; the callback's address, not yet visited."""
        return await asyncio.wait_for(
            self.server.consent(link, session or self.session, login, approve=approve), 60
        )

    async def come_back(self, callback: str, session: aiohttp.ClientSession | None = None) -> Landing:
        """Visits the callback; what it answered, and the page it led to."""
        return await visit(session or self.session, callback)

    async def connect(self, login: str = "alice", *, session: aiohttp.ClientSession | None = None, **more: Any) -> str:
        """A whole flow; the connection's id."""
        begun = await self.begin(**more)
        if session is None:
            async with browser() as own:
                await self.come_back(await self.consent(begun["oauth_url"], login, session=own), own)
        else:
            await self.come_back(await self.consent(begun["oauth_url"], login, session=session), session)
        polled = await self.poll(begun["connection_id"], key=more.get("key"))
        assert polled["status"] == "connected", polled
        return str(begun["connection_id"])

    async def poll(self, connection: str, *, wait: int | None = None, key: str | None = None) -> Any:
        query = "" if wait is None else f"?wait={wait}"
        answer = await self.running.ask("GET", f"/v1/connect/{connection}{query}", key=key)
        assert answer.status == 200, answer.body
        return answer.json()

    async def shown(self, connection: str, *, key: str | None = None) -> Any:
        answer = await self.running.ask("GET", f"/v1/connections/{connection}", key=key)
        assert answer.status == 200, answer.body
        return answer.json()

    async def whoami(self, **more: Any) -> Answer:
        return await self.running.call(self.slug, "whoami", **more)

    async def login(self, **more: Any) -> str:
        """The login that a call of `whoami` goes through as."""
        answer = await self.whoami(**more)
        assert answer.status == 200, answer.body
        body = answer.json()
        assert body["status"] == 200, body
        return str(body["data"]["login"])

    async def another_org(self, name: str = "Other") -> Org:
        return await make_org(self.environ, name)

    async def operate(self, *arguments: str, stdin: str = "", **settings: str) -> tuple[int, str, str]:
        """Runs `skillway ARGUMENTS` on this installation; exit code, stdout, stderr."""
        port = str(urlsplit(self.running.url).port)
        return await operate({**self.environ, "SKILLWAY_PORT": port, **settings}, *arguments, stdin=stdin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """What the callback answered, and where that led."""

    status: int
    location: str
    headers: Mapping[str, str]
    #: The page at the end, with its address.
    page: str
    page_status: int
    page_url: str


async def visit(session: aiohttp.ClientSession, url: str) -> Landing:
    """A browser opens an address and follows where it leads, on loopback."""
    async with session.get(yarl.URL(url, encoded=True), allow_redirects=False) as first:
        status, location, headers, page = first.status, first.headers.get("Location", ""), first.headers, await first.text()
    page_status, page_url = status, url
    if location:
        async with session.get(yarl.URL(location, encoded=True), allow_redirects=False) as second:
            page_status, page_url, page = second.status, location, await second.text()
    return Landing(
        status=status, location=location, headers=headers, page=page, page_status=page_status, page_url=page_url
    )


@asynccontextmanager
async def demo(
    folder: Path,
    server: Provider,
    *definitions: Definition,
    clock: Callable[[], float] = time,
    oauth: Mapping[str, Any] | None = None,
    client: bool = True,
    clients: Mapping[str, Mapping[str, str]] | None = None,
    **settings: Any,
) -> AsyncIterator[Desk]:
    """A gateway whose `demo` stands on `server`, with the installation's client there unless `client` is False.

    `clients` are those of further definitions, by slug.
    """
    target = write_definitions(folder, oauth_definition(server, oauth=oauth), *definitions)
    integrations = {**({"demo": client_of(server)} if client else {}), **(clients or {})}
    environ = environment(folder, integrations, target, settings)
    async with gateway(folder, integrations=integrations, definitions=target, clock=clock, **settings) as running:
        server.add_redirect_uri(f"{running.url}/oauth/callback/demo")
        async with browser() as session:
            yield Desk(running=running, server=server, session=session, environ=environ)


@asynccontextmanager
async def demo_processes(
    folder: Path, server: Provider, count: int, **settings: str
) -> AsyncIterator[list[Desk]]:
    """The same as several processes over one database: of one machine on SQLite, of any on PostgreSQL."""
    target = write_definitions(folder, oauth_definition(server))
    integrations = {"demo": client_of(server)}
    environ = environment(folder, integrations, target, settings)
    more: dict[str, Any] = {**settings, "integrations": integrations, "definitions": target}
    async with AsyncExitStack() as stack:
        desks: list[Desk] = []
        for _ in range(count):
            started = gateway_process(folder, org=desks[0].running.org if desks else None, **more)
            running = await stack.enter_async_context(started)
            session = await stack.enter_async_context(browser())
            desks.append(Desk(running=running, server=server, session=session, environ=environ))
            server.add_redirect_uri(f"{running.url}/oauth/callback/demo")
        yield desks


def client_of(server: Provider) -> dict[str, str]:
    """What `skills.yaml` says of the installation's client."""
    return {"client_id": server.client_id, "client_secret": server.client_secret}


async def operate(environ: Mapping[str, str], *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Runs an operator's command as its own process; exit code, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", *arguments, cwd=ROOT, env={**os.environ, **environ},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def listening(*routes: web.RouteDef) -> AsyncIterator[str]:
    """A small server on a free loopback port; its origin."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
