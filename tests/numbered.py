"""An authorization server that numbers its tokens and waits where a test wants it to, with an API behind them.

It has no reuse detection: what a test sees here is which refresh token we keep, not whether a provider
forgives us.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import yarl
from aiohttp import web

from tests.demo import listening, query_of
from tests.harness import RunningGateway


@dataclass(slots=True)
class Hold:
    """A token request that was decided and is not answered before `release`."""

    decided: asyncio.Event = field(default_factory=asyncio.Event)
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        self._released.set()

    async def wait(self) -> None:
        self.decided.set()
        await self._released.wait()


class Numbered:
    """`at-1`/`rt-1`, `at-2`/`rt-2`, …; the API takes the access tokens that are `good`."""

    def __init__(self, *, start: str = "") -> None:
        self.base_url = ""
        self.start = start
        self.issued = 0
        self.good: set[str] = set()
        #: Codes and refresh tokens in the order they were presented, and each whole form.
        self.presented: list[str] = []
        self.forms: list[dict[str, str]] = []
        self.revoked: list[str] = []
        #: The access tokens that the API saw.
        self.used: list[str] = []
        #: Whether the API refuses even good tokens.
        self.refuses = False
        self.lifetime: int | None = 3600
        #: Whether an answer names a refresh token.
        self.names_refresh_token = True
        self._holds: deque[Hold] = deque()

    def hold(self) -> Hold:
        """Holds the answer to the next token request back."""
        made = Hold()
        self._holds.append(made)
        return made

    def expire(self) -> None:
        """Every access token issued so far is no longer good."""
        self.good.clear()

    def expire_used(self) -> None:
        """Every access token that has served a request is no longer good; one that is on its way for the first time
        is, so that a repetition after a refresh is never refused by chance."""
        self.good.difference_update(self.used)

    def definition(self, slug: str = "demo") -> dict[str, Any]:
        """The integration that stands on this server."""
        example = {"params": {}, "response": {"status": 200, "data": {"login": "alice"}}}
        return {
            "slug": slug,
            "name": slug.capitalize(),
            "description": "Says whose account it is.",
            "base_url": self.base_url,
            "auth": [
                {
                    "name": "oauth", "type": "oauth2", "title": "OAuth", "authorization_url": f"{self.base_url}/authorize",
                    "token_url": f"{self.base_url}/token", "revocation_url": f"{self.base_url}/revoke",
                    "scopes": {"default": ["read"]},
                }
            ],
            "whoami": {"action": "whoami", "account": "login"},
            "actions": {
                "whoami": {"description": "Says who.", "request": "GET /api/me", "examples": [example]},
                "create": {"description": "Makes one.", "request": "POST /api/me", "effect": "create", "examples": [example]},
            },
        }

    async def token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.forms.append(form)
        self.presented.append(form.get("refresh_token") or form.get("code") or "")
        self.issued += 1
        number = f"{self.start}{self.issued}"
        self.good.add(f"at-{number}")
        answer = {"access_token": f"at-{number}", "token_type": "bearer"}
        if self.names_refresh_token:
            answer["refresh_token"] = f"rt-{number}"
        if self.lifetime is not None:
            answer["expires_in"] = str(self.lifetime)
        if self._holds:
            await self._holds.popleft().wait()
        return web.json_response(answer)

    async def revoke(self, request: web.Request) -> web.Response:
        self.revoked.append(str((await request.post())["token"]))
        return web.Response()

    async def me(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.used.append(token)
        if self.refuses or token not in self.good:
            return web.json_response({"message": "Bad credentials"}, status=401)
        return web.json_response({"login": "alice"})


@asynccontextmanager
async def numbered(*, start: str = "") -> AsyncIterator[Numbered]:
    """Runs one on a free loopback port."""
    server = Numbered(start=start)
    routes = (
        web.post("/token", server.token),
        web.post("/revoke", server.revoke),
        web.get("/api/me", server.me),
        web.post("/api/me", server.me),
    )
    async with listening(*routes) as origin:
        server.base_url = origin
        yield server


async def connect(running: RunningGateway, code: str = "the-code", slug: str = "demo", **more: Any) -> str:
    """Clicks on our page and comes back with a code, as a browser whose person has agreed; the connection's id."""
    begun = await running.ask("POST", "/v1/connect", body={"integration": slug, **more})
    assert begun.status == 200, begun.body
    link, connection = begun.json()["oauth_url"], str(begun.json()["connection_id"])
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        async with session.post(link, allow_redirects=False) as clicked:
            sent = query_of(clicked.headers["Location"])
        back = yarl.URL(sent["redirect_uri"]).with_query(code=code, state=sent["state"])
        async with session.get(back, allow_redirects=False) as landed:
            assert landed.status == 303
    polled = await running.ask("GET", f"/v1/connect/{connection}")
    assert polled.json()["status"] == "connected", polled.body
    return connection
