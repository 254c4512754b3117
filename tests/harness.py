"""A whole gateway for a test: in this process on a real socket, or as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Any

import aiohttp
from aiohttp import web

from gateway.app import bind, make_web_app, open_gateway
from gateway.installation import open_installation
from gateway.settings import load_settings
from gateway.store.keys import SqlKeys
from gateway.store.orgs import SqlOrgs
from gateway.web.context import Services
from gateway.web.server import Listener
from skills_catalog.loader import load_catalog
from skills_catalog.mistakes import CatalogError
from tests.conformance import assert_described

ROOT = Path(__file__).resolve().parents[1]
#: Upstreams and OAuth servers of the tests live on loopback.
LOOPBACK = "127.0.0.0/8,::1/128"
#: The shipped integrations that processes have, where a test does not say which.
FEW = ("github", "overscore", "overskill", "overten", "skycot")


@dataclass(slots=True, kw_only=True)
class Answer:
    """What the gateway answered, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True, kw_only=True)
class Org:
    """An org with a live key and a test key."""

    id: str
    live: str = field(repr=False)
    test: str = field(repr=False)


@dataclass(slots=True, kw_only=True)
class RunningGateway:
    """A gateway that listens; requests are made as `org` unless another key is given."""

    url: str
    org: Org
    session: aiohttp.ClientSession
    data_dir: Path
    services: Services | None = None
    process: asyncio.subprocess.Process | None = None

    async def ask(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        body: Any = None,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request. `key=""` sends none; `body` is sent as JSON, `raw` as it is.

        Whatever comes back must be as `/openapi.json` describes it.
        """
        sent = dict(headers or {})
        key = self.org.live if key is None else key
        if key:
            sent.setdefault("Authorization", f"Bearer {key}")
        if body is not None:
            raw = json.dumps(body).encode()
        if raw is not None:
            sent.setdefault("Content-Type", "application/json")
        async with self.session.request(
            method, self.url + path, data=raw, headers=sent, allow_redirects=False
        ) as response:
            answer = Answer(status=response.status, headers=response.headers, body=await response.read())
        assert_described(method, path, answer.status, answer.headers, answer.body)
        return answer

    async def call(self, integration: str, action: str, params: Any = None, **more: Any) -> Answer:
        """Executes an action: `POST /v1/{integration}/{action}`."""
        key = more.pop("key", None)
        headers = more.pop("headers", None)
        body = {"params": params or {}, **more}
        return await self.ask("POST", f"/v1/{integration}/{action}", body=body, key=key, headers=headers)

    def forget_pace(self) -> None:
        """What was learnt of the pace that upstreams take: another test's 429 is not this one's."""
        assert self.services is not None
        self.services.gateway._carrier._budgets._scopes.clear()

    def forget_failures(self) -> None:
        """That upstreams were away: none is left alone for now because of what was asked before."""
        assert self.services is not None
        self.services.gateway._carrier._repeats._circuits.clear()

    async def forget_answers(self) -> None:
        """What is kept for later reads: each call asks its upstream again."""
        assert self.services is not None
        # The answer of a run is kept for others after its end was told.
        if tasks := self.services.stop_taking.__self__._tasks:  # type: ignore[attr-defined]
            await asyncio.wait(tasks)
        await self.services.gateway._queue.withdraw(self.org.id, "")  # type: ignore[attr-defined]

    async def connect(self, integration: str, credentials: Mapping[str, str], **more: Any) -> str:
        """Connects at once with a credential; gives back the connection's id."""
        answer = await self.ask(
            "POST", "/v1/connect", body={"integration": integration, "credentials": credentials, **more}
        )
        assert answer.status == 200, answer.body
        return str(answer.json()["connection_id"])


@asynccontextmanager
async def gateway(
    folder: Path,
    *,
    integrations: Mapping[str, Mapping[str, Any]] | None = None,
    definitions: Path | None = None,
    plans: Mapping[str, Any] | None = None,
    plan: str | None = None,
    clock: Callable[[], float] = time,
    **settings: str,
) -> AsyncIterator[RunningGateway]:
    """A gateway in this process. `integrations` are overrides as in `skills.yaml`, `plans` its plans, of which the
    org has `plan`; `settings` by lower-case name."""
    environ = environment(folder, integrations, definitions, settings, plans)
    loaded, installation = load_settings(environ, port=0)
    org = await make_org(environ, plan=plan)
    listening = bind(loaded)
    port = listening.getsockname()[1]
    async with open_gateway(loaded, installation, port=port, clock=clock) as services:
        listener = Listener(make_web_app(services), drain=2.0)
        await listener.setup()
        await web.SockSite(listener, listening).start()
        try:
            async with browser() as session:
                yield RunningGateway(
                    url=f"http://127.0.0.1:{port}",
                    org=org,
                    session=session,
                    data_dir=loaded.data_dir,
                    services=services,
                )
        finally:
            await listener.cleanup()


@asynccontextmanager
async def gateway_process(
    folder: Path,
    *,
    integrations: Mapping[str, Mapping[str, Any]] | None = None,
    definitions: Path | None = None,
    plans: Mapping[str, Any] | None = None,
    plan: str | None = None,
    org: Org | None = None,
    program: tuple[str, ...] = ("-m", "gateway", "serve", "--port", "0"),
    arguments: tuple[str, ...] = (),
    catalog: Sequence[str] | None = FEW,
    **settings: str,
) -> AsyncIterator[RunningGateway]:
    """The same as a process of its own, started by `python -m gateway serve --port 0` or what else `program` says.

    `catalog` names the shipped integrations that are on, None all of them: to read those is most of a start.
    """
    slugs = None if catalog is None else _chosen(catalog, integrations, definitions)
    environ = {**os.environ, **environment(folder, integrations, definitions, settings, plans, slugs)}
    org = org or await make_org(environ, plan=plan)
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *program,
            *arguments,
            cwd=ROOT,
            env=environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
        assert line.startswith("listening on "), (line, (folder / "log").read_text())
        async with browser() as session:
            yield RunningGateway(
                url=line.removeprefix("listening on ").strip(),
                org=org,
                session=session,
                data_dir=Path(environ["SKILLWAY_DATA_DIR"]),
                process=process,
            )
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), 15)
            except TimeoutError:
                process.kill()
                await process.wait()


def browser() -> aiohttp.ClientSession:
    """A client with cookies of its own, as one person's browser has."""
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))


async def make_org(environ: Mapping[str, str], name: str = "Acme", *, plan: str | None = None) -> Org:
    """An org with its two keys, in the database that `environ` names."""
    settings, _ = load_settings({k: v for k, v in environ.items() if k.startswith("SKILLWAY_")})
    async with open_installation(settings) as opened:
        org = await SqlOrgs(opened.database).create(name, plan=plan)
        keys = SqlKeys(opened.database)
        _, live = await keys.create(org.id, "live", "live")
        _, test = await keys.create(org.id, "test", "test")
    return Org(id=org.id, live=live.reveal(), test=test.reveal())


def _chosen(
    catalog: Sequence[str], integrations: Mapping[str, Any] | None, definitions: Path | None
) -> Sequence[str] | None:
    """Those that are asked for, those that the test says more of, and its own."""
    try:
        own = load_catalog([definitions]).integrations if definitions else ()
    except CatalogError:
        # It is to fail at the start, whatever else there is.
        return None
    return sorted({*catalog, *(integrations or ()), *own})


def environment(
    folder: Path,
    integrations: Mapping[str, Mapping[str, Any]] | None,
    definitions: Path | None,
    settings: Mapping[str, str],
    plans: Mapping[str, Any] | None = None,
    catalog: Sequence[str] | None = None,
) -> dict[str, str]:
    """The settings of a gateway whose files all lie in `folder`; `catalog` are the integrations that are on, None all."""
    config = folder / "skills.yaml"
    # JSON is YAML.
    config.write_text(
        json.dumps(
            {
                "catalog": {"integrations": catalog or "all", "paths": [str(definitions)] if definitions else []},
                "integrations": dict(integrations or {}),
                "plans": dict(plans or {}),
            }
        )
    )
    given = {"data_dir": str(folder / "data"), "config": str(config), "allowed_private_networks": LOOPBACK, **settings}
    return {f"SKILLWAY_{name.upper()}": value for name, value in given.items()}
