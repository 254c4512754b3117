"""A real OAuth authorization server as a child process, one interface over two implementations.

`oidc` is the npm package oidc-provider (needs `node` and, once, `npm`); `dot` is django-oauth-toolkit. Both
require PKCE S256, rotate refresh tokens, and kill a whole grant when an old refresh token comes back.

    async with provider("oidc", redirect_uris=[callback]) as server, browser() as session:
        landed = await server.consent(authorization_url, session)
"""

import asyncio
import contextlib
import http.client
import importlib.util
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import IO, Any, TypedDict, Unpack
from urllib.parse import urljoin, urlsplit

import aiohttp
import yarl

from tests.fakes import npm

HERE = Path(__file__).resolve().parent
#: How long a child may take until it answers; a loaded machine starts Django in some seconds.
START_SECONDS = 60
#: A login and a consent with all their redirects take fewer than ten steps.
MOST_STEPS = 20


class ProviderUnavailable(RuntimeError):
    """This machine cannot run that authorization server; the message says what it lacks."""


class ConsentFailed(AssertionError):
    """The browser got stuck on its way to the redirect URI; the message names the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthClient:
    """A confidential client; the server takes its secret by basic authentication and in the body."""

    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAnswer:
    """What the token endpoint is to say instead of its own answer."""

    status: int = 200
    body: str = "{}"
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


def available_providers() -> list[str]:
    """The kinds this machine has what it takes for, in order of preference; starts and installs nothing."""
    kinds: list[str] = []
    if shutil.which("node") and npm.is_at_hand(HERE / "oidc"):
        kinds.append("oidc")
    if importlib.util.find_spec("oauth2_provider") and importlib.util.find_spec("waitress"):
        kinds.append("dot")
    return kinds


class Options(TypedDict, total=False):
    """How an authorization server is to behave; each has a default that suits most tests."""

    redirect_uris: Iterable[str]
    #: The scopes it knows: openid, profile, read and write.
    scopes: Sequence[str]
    #: Seconds: 3600.
    access_token_ttl: int
    #: Whether a refresh uses up its refresh token: yes.
    rotate: bool
    #: Whether the answer to a refresh names a refresh token: yes.
    repeat_refresh_token: bool
    #: The parameter of RFC 9207: the truth, none (`False`), or that string instead.
    iss: bool | str
    #: Seconds between its decision and its answer: tokens are issued, and nobody knows them yet.
    token_delay: float
    #: Of `oidc`: whether ID tokens have name and address in them (else userinfo alone: no), and whether it says that
    #: the address, `login@example.com`, is verified (yes).
    id_token_claims: bool
    email_verified: bool


@contextlib.asynccontextmanager
async def provider(kind: str | None = None, **options: Unpack[Options]) -> AsyncIterator["Provider"]:
    """Runs an authorization server on a free loopback port; without a kind, the first that starts here."""
    started = await asyncio.to_thread(_start, kind, options)
    try:
        yield started
    finally:
        await asyncio.to_thread(started.stop)


@contextlib.contextmanager
def provider_process(kind: str | None = None, **options: Unpack[Options]) -> Iterator["Provider"]:
    """The same without an event loop: for a fixture of a whole session."""
    started = _start(kind, options)
    try:
        yield started
    finally:
        started.stop()


@contextlib.asynccontextmanager
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    """A session with a cookie jar of its own, which keeps cookies of an address as browsers do."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


class Provider:
    """A running authorization server: where its endpoints are, who its clients are, and what it saw."""

    def __init__(self, kind: str, options: Options) -> None:
        self.kind = kind
        self.redirect_uris = list(options.get("redirect_uris", ()))
        self.client = OAuthClient(id="gateway", secret=secrets.token_urlsafe(24))
        self.second_client = OAuthClient(id="neighbour", secret=secrets.token_urlsafe(24))
        command = _command(kind)
        self._folder = tempfile.TemporaryDirectory(prefix="skillway-provider-")
        config = {
            "access_token_ttl": 3600,
            "rotate": True,
            "repeat_refresh_token": True,
            "iss": True,
            "scopes": ("openid", "profile", "read", "write"),
            "token_delay": 0,
            "id_token_claims": False,
            "email_verified": True,
            **options,
            "redirect_uris": self.redirect_uris,
            "clients": [{"id": one.id, "secret": one.secret} for one in (self.client, self.second_client)],
            "folder": self._folder.name,
        }
        self._child = _Child(command, Path(self._folder.name) / "log")
        try:
            port = self._child.introduce(config)
        except BaseException:
            self.stop()
            raise
        self._port = port
        self.issuer = f"http://127.0.0.1:{port}"
        routes = _ROUTES[kind]
        self.authorization_url = self.issuer + routes.authorization
        self.token_url = self.issuer + routes.token
        self.revocation_url = self.issuer + routes.revocation
        self.device_authorization_url = self.issuer + routes.device
        #: An API behind a bearer token: `{"login", "name", "scope"}`, 401 without a valid one.
        self.resource_url = self.issuer + "/api/me"

    @property
    def client_id(self) -> str:
        return self.client.id

    @property
    def client_secret(self) -> str:
        return self.client.secret

    @property
    def userinfo_url(self) -> str:
        return self.resource_url

    @property
    def pid(self) -> int:
        return self._child.pid

    def counts(self) -> dict[str, int]:
        """What the server counted.

        Requests: `token`, of these `code` and `refresh`; `resource`. Outcomes: `invalid_grant` answers,
        revocation requests that it agreed to (`revoked`), calls of the resource it refused (`unauthorized`).
        """
        return dict(self._ask("counts"))

    def requests(self) -> list[dict[str, Any]]:
        """Token, revocation and resource requests as they came: `method path query headers body`.

        Header names are in lower case.
        """
        return list(self._ask("requests"))

    def log(self) -> str:
        """What the server wrote to stderr: the traceback behind a 500."""
        return Path(self._folder.name, "log").read_text(errors="replace")

    def expire_access_tokens(self) -> None:
        """Makes every access token issued so far invalid; refresh tokens stay good."""
        self._ask("expire")

    def revoke_all(self) -> None:
        """Kills every grant: access tokens, refresh tokens and codes."""
        self._ask("revoke")

    def plan_token_answers(self, *answers: TokenAnswer) -> None:
        """The next token requests get these answers instead; they count as `token` and change nothing."""
        plans = [{"status": one.status, "body": one.body, "headers": one.headers} for one in answers]
        self._ask("plan", answers=plans)

    def add_redirect_uri(self, uri: str) -> None:
        """Registers one more redirect URI for both clients: the gateway's port may be known only later."""
        self._ask("redirect-uri", uri=uri)
        self.redirect_uris.append(uri)

    async def consent(
        self,
        authorization_url: str,
        session: aiohttp.ClientSession,
        login: str = "alice",
        *,
        approve: bool = True,
    ) -> str:
        """Does what a person in a browser does from this page on; returns the callback URL, unvisited.

        Follows redirects, signs in as `login` where asked and agrees (or, without `approve`, declines). The
        page may as well be one of ours that leads here through a form. One session is one person: it stays
        signed in, and `oidc` does not ask again for what that person has already granted.
        """
        url, form = authorization_url, None
        for _ in range(MOST_STEPS):
            if any(url.startswith(uri) for uri in self.redirect_uris):
                return url
            status, location, page = await _visit(session, url, form)
            if location is not None:
                url, form = urljoin(url, location), None
            elif (leave := page.way_out()) and not approve:
                url, form = urljoin(url, leave), None
            elif status < 400 and page.forms:
                url, form = page.forms[0].filled(url, login=login, approve=approve)
            else:
                raise ConsentFailed(f"no way on from {url}: status {status}, {page.text()[:300]!r}")
        raise ConsentFailed(f"still at {url} after {MOST_STEPS} steps; is it a session of `browser()`?")

    def stop(self) -> None:
        self._child.stop()
        self._folder.cleanup()

    def _ask(self, verb: str, **message: Any) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            body = json.dumps(message)
            connection.request("POST", f"/control/{verb}", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{verb}: {answer.status} {text[:300]!r}")
            return json.loads(text)
        finally:
            connection.close()


def _start(kind: str | None, options: Options) -> Provider:
    candidates = [kind] if kind else available_providers()
    if not candidates:
        raise ProviderUnavailable("neither node with npm nor django-oauth-toolkit with waitress is installed")
    refusals = []
    for candidate in candidates:
        try:
            return Provider(candidate, options)
        except ProviderUnavailable as refusal:
            refusals.append(str(refusal))
    raise ProviderUnavailable("; ".join(refusals))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Routes:
    authorization: str
    token: str
    revocation: str
    device: str


_ROUTES = {
    "oidc": _Routes(
        authorization="/auth", token="/token", revocation="/token/revocation", device="/device/auth"
    ),
    "dot": _Routes(
        authorization="/o/authorize/",
        token="/o/token/",
        revocation="/o/revoke_token/",
        device="/o/device-authorization/",
    ),
}


def _command(kind: str) -> list[str]:
    if kind not in available_providers():
        raise ProviderUnavailable(f"{kind!r} cannot run here")
    if kind == "dot":
        return [sys.executable, str(HERE / "dot" / "serve.py")]
    return [str(shutil.which("node")), str(HERE / "oidc" / "op.mjs"), str(_package())]


def _package() -> Path:
    try:
        return npm.installed(HERE / "oidc")
    except npm.NpmFailed as failed:
        raise ProviderUnavailable(str(failed)) from failed


class _Child:
    """A process that reads its configuration from stdin, says its port on stdout, and ends with stdin."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def introduce(self, config: dict[str, Any]) -> int:
        # A pipe says sooner than polling that the child is ready, or dead; the timer is for one that hangs.
        stdin, stdout = self._pipes()
        timer = threading.Timer(START_SECONDS, self._process.kill)
        timer.start()
        try:
            with contextlib.suppress(BrokenPipeError):
                stdin.write(json.dumps(config).encode() + b"\n")
                stdin.flush()
            line = stdout.readline()
        finally:
            timer.cancel()
        if not line:
            tail = self._log.read_text(errors="replace")[-2000:]
            raise ProviderUnavailable(f"{self._process.args!r} did not start: {tail}")
        return int(json.loads(line)["port"])

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in self._pipes():
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the child was started without pipes")
        return stdin, stdout


async def _visit(
    session: aiohttp.ClientSession, url: str, form: dict[str, str] | None
) -> tuple[int, str | None, "_Page"]:
    if urlsplit(url).hostname != "127.0.0.1":
        raise ConsentFailed(f"the browser was sent away from this machine, to {url}")
    method = "GET" if form is None else "POST"
    async with session.request(
        method, yarl.URL(url, encoded=True), data=form, allow_redirects=False
    ) as answer:
        page = _Page()
        page.feed(await answer.text())
        redirected = answer.status in (301, 302, 303, 307, 308)
        return answer.status, answer.headers.get("Location") if redirected else None, page


@dataclass(slots=True, kw_only=True)
class _Form:
    action: str
    fields: dict[str, str]
    #: The buttons with a name: pressing one sends it, and the button that declines has none.
    buttons: dict[str, str]

    def filled(self, page: str, *, login: str, approve: bool) -> tuple[str, dict[str, str]]:
        typed = {"login": login, "username": login, "password": "any password will do"}
        values = {name: typed.get(name, value) for name, value in self.fields.items()}
        return urljoin(page, self.action), values | (self.buttons if approve else {})


class _Page(HTMLParser):
    """The forms, links and words of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[_Form] = []
        self._links: list[str] = []
        self._words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        if tag == "form" and has.get("method", "").lower() == "post":
            self.forms.append(_Form(action=has.get("action", ""), fields={}, buttons={}))
        if tag == "a":
            self._links.append(has.get("href", ""))
        if tag not in ("input", "button") or not self.forms or not has.get("name"):
            return
        is_button = tag == "button" or has.get("type") == "submit"
        target = self.forms[-1].buttons if is_button else self.forms[-1].fields
        target[has["name"]] = has.get("value", "")

    def handle_data(self, data: str) -> None:
        self._words.append(data)

    def way_out(self) -> str | None:
        return next((link for link in self._links if link.endswith("/abort")), None)

    def text(self) -> str:
        return " ".join(" ".join(self._words).split())
