"""A gateway with the definitions of this folder, and an API that says what a test wants and remembers what it was asked.

    async with desk(tmp_path, "boards") as made:
        await made.connect({"api_key": "key-of-ada"})
        answer = await made.call("viewer")
        assert made.api.last.json() == …
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any

import aiohttp

from gateway.installation import read_catalog
from gateway.settings import load_settings
from skills_catalog.catalog import Catalog
from tests.fakes.provider import browser
from tests.fakes.upstream import Answer, Running, Seen, Upstream, json_answer, serve
from tests.harness import RunningGateway, environment, gateway

DEFINITIONS = Path(__file__).parent / "definitions"


class Anything(Upstream):
    """Answers every request: by its path as `says` has it, else with a name."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.says: dict[str, Answer | Callable[[Seen], Answer]] = {}

    def _answer(self, seen: Seen) -> Answer:
        said = self.says.get(seen.path, json_answer({"name": "Ada", "ok": True, "user": "ada"}))
        return said(seen) if callable(said) else said


@dataclass(slots=True, kw_only=True)
class Desk:
    """The gateway, the API, and one person's browser."""

    slug: str
    running: RunningGateway
    api: Running[Anything]
    session: aiohttp.ClientSession

    @property
    def last(self) -> Seen:
        """The last request that the API got."""
        return self.api.upstream.seen[-1]

    @property
    def says(self) -> dict[str, Answer | Callable[[Seen], Answer]]:
        return self.api.upstream.says

    async def connect(self, credentials: Mapping[str, Any], **more: Any) -> Any:
        """Connects at once; the whole answer's body."""
        body = {"integration": self.slug, "credentials": credentials, **more}
        answer = await self.running.ask("POST", "/v1/connect", body=body)
        return {"http": answer.status, **answer.json()}

    async def call(self, action: str, params: Mapping[str, Any] | None = None, **more: Any) -> Any:
        """Calls an action that is answered; the envelope."""
        answer = await self.running.call(self.slug, action, params, **more)
        assert answer.status == 200, answer.body
        return answer.json()

    async def refused(self, action: str, params: Mapping[str, Any] | None = None, **more: Any) -> Any:
        """Calls an action that is refused before anything is sent; the refusal."""
        before = len(self.api.upstream.seen)
        answer = await self.running.call(self.slug, action, params, **more)
        assert answer.status >= 400, answer.body
        assert len(self.api.upstream.seen) == before
        return answer.json()

    async def connection(self) -> Any:
        """The only connection there is, as the API shows it."""
        (shown,) = (await self.running.ask("GET", "/v1/connections")).json()["connections"]
        return shown


def chosen(folder: Path, integrations: Mapping[str, Mapping[str, Any]]) -> Catalog:
    """The catalog as an operator's `skills.yaml` would have it. Raises `BadSetting`."""
    _, installation = load_settings(environment(folder, integrations, DEFINITIONS, {}))
    return read_catalog(installation)


@asynccontextmanager
async def desk(
    folder: Path,
    slug: str,
    override: Callable[[str], Mapping[str, Any]] | None = None,
    *,
    clock: Callable[[], float] = time,
    **settings: Any,
) -> AsyncIterator[Desk]:
    """`override` makes of the API's address what `skills.yaml` says of the integration; else its base URL alone."""
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(serve(Anything()))
        said = override(api.base_url) if override else {"base_url": api.base_url}
        running = await stack.enter_async_context(
            gateway(folder, integrations={slug: said}, definitions=DEFINITIONS, clock=clock, **settings)
        )
        session = await stack.enter_async_context(browser())
        yield Desk(slug=slug, running=running, api=api, session=session)
