"""The description of the API: for everybody the routes, for a key also the actions that it may use."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from gateway.core.discovery import Discovery
from gateway.core.tenants.keys import Principal
from gateway.web.openapi import describe
from gateway.web.operations import Route, Schema
from skills_catalog.model import Integration

#: Bytes of descriptions that are kept; one of the shipped catalog has half a megabyte.
_KEPT = 64 * 1024 * 1024
#: With more actions than that a description is written in a thread: a call shall not wait for it.
_AT_ONCE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A description as it is sent, and its entity tag."""

    body: bytes
    tag: str


class Description:
    """Describes the routes of this gateway. A description is written when it is first asked for."""

    def __init__(
        self, routes: Sequence[Route], shapes: Mapping[str, Schema], discovery: Discovery, *, public_url: str
    ) -> None:
        self.routes = routes
        self.public_url = public_url
        self._shapes = shapes
        self._discovery = discovery
        self._known: dict[object, Page] = {}
        self._under_way: dict[object, asyncio.Future[Page]] = {}

    async def page(self, who: Principal | None) -> Page:
        """The description for everybody, or for one key."""
        view = None if who is None else self._discovery.view(who)
        page = self._known.pop(view, None)
        if page is None:
            page = await self._written(view, who)
        # What was asked for last is given up last.
        self._known[view] = page
        while len(self._known) > 1 and sum(len(one.body) for one in self._known.values()) > _KEPT:
            del self._known[next(iter(self._known))]
        return page

    async def _written(self, view: object, who: Principal | None) -> Page:
        """Whoever asks for the same one meanwhile gets the same."""
        under_way = self._under_way.get(view)
        if under_way is None:
            actions = None if who is None else self._discovery.usable(who)
            under_way = asyncio.ensure_future(self._write(actions))
            self._under_way[view] = under_way
            under_way.add_done_callback(lambda _: self._under_way.pop(view, None))
        return await asyncio.shield(under_way)

    async def _write(self, actions: Sequence[Integration] | None) -> Page:
        if sum(len(one.skills) for one in actions or ()) <= _AT_ONCE:
            return self.write(actions)
        return await asyncio.to_thread(self.write, actions)

    def write(self, actions: Sequence[Integration] | None = None) -> Page:
        """The document as JSON text."""
        body = orjson.dumps(describe(self.routes, self._shapes, public_url=self.public_url, actions=actions))
        return Page(body=body, tag=f'"{hashlib.sha256(body).hexdigest()[:32]}"')
