"""The base of every counterpart: a real loopback server that records requests and answers from its state."""

import asyncio
import hashlib
import hmac
import json
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.message import Message
from typing import Any, ClassVar, Generic, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlencode

from aiohttp import web
from aiohttp.typedefs import Handler as WebHandler

#: Unix seconds, now.
Clock = Callable[[], float]

JSON_TYPE = "application/json; charset=utf-8"


class HandClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: float = 1_766_484_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


def iso(moment: float) -> str:
    """Unix seconds as ISO 8601 in UTC, whole seconds, as the seed systems write it."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# What arrived


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a multipart body, its name and filename as they were written."""

    name: str
    filename: str | None
    content_type: str | None
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request exactly as it came over the wire; nothing is decoded unless asked for."""

    method: str
    #: The request target, undecoded, with its query.
    raw_path: str
    #: In the order and the case in which they were sent.
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def path(self) -> str:
        return self.raw_path.partition("?")[0]

    @property
    def query(self) -> list[tuple[str, str]]:
        return parse_qsl(self.raw_path.partition("?")[2], keep_blank_values=True)

    def header(self, name: str) -> str | None:
        """The first header of that name, whatever its case."""
        return next(iter(self.headers_named(name)), None)

    def headers_named(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def cookie(self, name: str) -> str | None:
        for line in self.headers_named("Cookie"):
            for pair in line.split(";"):
                key, _, value = pair.strip().partition("=")
                if key == name:
                    return value
        return None

    def bearer(self) -> str | None:
        scheme, _, value = (self.header("Authorization") or "").partition(" ")
        return value.strip() if scheme.lower() == "bearer" and value.strip() else None

    def json(self) -> Any:
        return json.loads(self.body)

    def form(self) -> list[tuple[str, str]]:
        return parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=bool(self.body))

    def parts(self) -> list[Part]:
        """The parts of a multipart body (RFC 7578); ValueError if it is not one."""
        return _parse_parts(self.header("Content-Type") or "", self.body)


# What is answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def with_headers(self, headers: Mapping[str, str]) -> "Answer":
        return replace(self, headers={**self.headers, **headers})


def json_answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    # Half of a surrogate pair, which a caller may have sent, has no bytes in UTF-8.
    body = json.dumps(value, ensure_ascii=False).encode(errors="replace")
    return Answer(status=status, body=body, headers={"Content-Type": JSON_TYPE, **(headers or {})})


NO_CONTENT = Answer(status=204)


class Refused(Exception):
    """The counterpart says no, in its own words."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status, answer.body[:200])
        self.answer = answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that was let in: its path params decoded, and whoever its credential names."""

    seen: Seen
    params: Mapping[str, str]
    who: Any

    def query(self, name: str) -> str | None:
        return dict(reversed(self.seen.query)).get(name)


Handler = Callable[[Any, Asked], Answer]
_declared: dict[Handler, list[tuple[str, str]]] = {}


def route(method: str, template: str) -> Callable[[Handler], Handler]:
    """Declares a method as an endpoint; `{x}` is one segment, `{x...}` is the rest with its slashes."""

    def declare(handler: Handler) -> Handler:
        _declared.setdefault(handler, []).append((method, template))
        return handler

    return declare


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    method: str
    template: str
    handler: Handler

    def match(self, segments: Sequence[str]) -> dict[str, str] | None:
        """The params of a path that was split before decoding, so that `%2F` stays inside its segment."""
        params: dict[str, str] = {}
        wanted = self.template.split("/")
        for position, want in enumerate(wanted):
            if want.endswith("...}"):
                rest = "/".join(unquote(segment) for segment in segments[position:])
                return {**params, want[1:-4]: rest} if rest else None
            if position >= len(segments) or (not segments[position] and want):
                return None
            if want.startswith("{"):
                params[want[1:-1]] = unquote(segments[position])
            elif want != unquote(segments[position]):
                return None
        return params if len(segments) == len(wanted) else None

    @property
    def breadth(self) -> list[int]:
        """Sorts literal segments before params, and params before the rest."""
        return [2 if s.endswith("...}") else 1 if s.startswith("{") else 0 for s in self.template.split("/")]


# What a body may hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    kind: type | tuple[type, ...] = str
    required: bool = False
    choices: tuple[str, ...] = ()
    #: Bounds of a number, or of the length of a text or list.
    least: int | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    name: str
    #: missing, type, choice, low or high
    kind: str
    message: str
    field: Field
    given: object = None


def find_faults(given: Mapping[str, Any], fields: Mapping[str, Field]) -> list[Fault]:
    found = []
    for name, wanted in fields.items():
        value = given.get(name)
        if name not in given or value is None:
            if wanted.required:
                found.append(Fault(name=name, kind="missing", message=f"{name} is required", field=wanted))
            continue
        if told := _fault_of(name, value, wanted):
            found.append(Fault(name=name, kind=told[0], message=told[1], field=wanted, given=value))
    return found


def _fault_of(name: str, value: Any, wanted: Field) -> tuple[str, str] | None:
    kinds = wanted.kind if isinstance(wanted.kind, tuple) else (wanted.kind,)
    # To Python a boolean is an integer; to every API here it is not.
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        return "type", f"{name} must be of type {' or '.join(kind.__name__ for kind in kinds)}"
    if wanted.choices and value not in wanted.choices:
        return "choice", f"{name} must be one of {', '.join(wanted.choices)}"
    size: float = len(value) if isinstance(value, str | list) else value  # type: ignore[assignment]
    if wanted.least is not None and size < wanted.least:
        return "low", f"{name} must be at least {wanted.least}"
    if wanted.most is not None and size > wanted.most:
        return "high", f"{name} must be at most {wanted.most}"
    return None


# Rate limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    limit: int
    remaining: int
    #: Unix seconds of the next window.
    reset: int
    refused: bool


class Window:
    """A fixed window, aligned to the clock, counted by name."""

    def __init__(self, limit: int, seconds: int) -> None:
        self.limit = limit
        self.seconds = seconds
        self._taken: dict[tuple[str, int], int] = {}

    def take(self, name: str, now: float, limit: int | None = None) -> Spent:
        limit = self.limit if limit is None else limit
        turn = int(now // self.seconds)
        taken = self._taken.get((name, turn), 0)
        refused = taken >= limit
        if not refused:
            taken += 1
            self._taken[name, turn] = taken
        return Spent(limit=limit, remaining=limit - taken, reset=(turn + 1) * self.seconds, refused=refused)


# The server


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a test wants the next answer to be; without an answer, only its delay."""

    answer: Answer | None
    delay: float


class Upstream:
    """A stateful API: subclasses declare endpoints, and say who is let in and how a refusal looks."""

    #: Stands before every template.
    prefix: ClassVar[str] = ""
    endpoints: ClassVar[list[Endpoint]] = []
    #: A second origin that holds files, served together with this one.
    storage: "Storage | None" = None

    def __init_subclass__(cls) -> None:
        own = [
            Endpoint(method=method, template=cls.prefix + template, handler=handler)
            for handler in vars(cls).values()
            if callable(handler)
            for method, template in _declared.get(handler, [])
        ]
        cls.endpoints = sorted([*own, *cls.endpoints], key=lambda endpoint: endpoint.breadth)

    def __init__(self, *, clock: Clock = time.time) -> None:
        self.clock = clock
        self.base_url = ""
        self.seen: list[Seen] = []
        self.planned: deque[Planned] = deque()
        #: Set and forgotten as soon as a request has arrived.
        self.watchers: list[asyncio.Event] = []
        self._issued = 0

    @property
    def app(self) -> web.Application:
        """A new application over this state, so that a counterpart can be stopped and started again."""

        @web.middleware
        async def take(request: web.Request, handler: WebHandler) -> web.StreamResponse:
            return await self._take(request)

        # Zero is no limit: a counterpart that has one refuses in its own shape.
        return web.Application(middlewares=[take], client_max_size=0)

    def admit(self, seen: Seen) -> Any:
        """Whoever the credential names; raises what `refuse` gives when nobody."""
        return None

    def meter(self, seen: Seen, who: Any) -> dict[str, str]:
        """Counts the request; the headers that every answer carries."""
        return {}

    def refuse(self, status: int, message: str, *, code: str = "", details: object = None) -> Refused:
        """This system's own error shape."""
        return Refused(json_answer({"error": message}, status))

    def refuse_fields(self, faults: list[Fault], given: object) -> Refused:
        return self.refuse(400, "; ".join(fault.message for fault in faults), details=faults)

    def refuse_malformed(self, reason: str) -> Refused:
        return self.refuse(400, reason)

    def refuse_route(self, seen: Seen) -> Refused:
        return self.refuse(404, f"No route for {seen.method} {seen.path}")

    def read_object(
        self, asked: Asked, *, any_type: bool = False, may_be_empty: bool = False
    ) -> dict[str, Any]:
        """The JSON object of the body."""
        if may_be_empty and not asked.seen.body:
            return {}
        kind = (asked.seen.header("Content-Type") or "").partition(";")[0].strip().lower()
        if not any_type and kind != "application/json":
            raise self.refuse_malformed("Content-Type must be application/json")
        try:
            given = asked.seen.json()
        except ValueError as error:
            raise self.refuse_malformed("The body is not valid JSON") from error
        if not isinstance(given, dict):
            raise self.refuse_malformed("The body must be a JSON object")
        return given

    def read_fields(self, asked: Asked, fields: Mapping[str, Field]) -> dict[str, Any]:
        """The JSON object of the body, its fields checked; unknown ones are let through."""
        given = self.read_object(asked)
        self.check(given, fields)
        return given

    def read_parts(self, asked: Asked) -> dict[str, Part]:
        try:
            return {part.name: part for part in asked.seen.parts()}
        except ValueError as error:
            raise self.refuse_malformed(str(error)) from error

    def check(self, given: Mapping[str, Any], fields: Mapping[str, Field]) -> None:
        if faults := find_faults(given, fields):
            raise self.refuse_fields(faults, given)

    def new_id(self, start: str, length: int) -> str:
        """An opaque name that differs each time and is the same in every run of the tests."""
        self._issued += 1
        return start + opaque(f"{type(self).__name__}/{self._issued}", length)

    async def _take(self, request: web.Request) -> web.StreamResponse:
        seen = await self._record(request)
        if self.planned:
            planned = self.planned.popleft()
            await asyncio.sleep(planned.delay)
            if planned.answer:
                return _as_response(planned.answer)
        return _as_response(self._answer(seen))

    async def _record(self, request: web.Request) -> Seen:
        """Before anything is judged, and even if the body breaks off: a test may ask that nothing arrived."""
        body = bytearray()
        try:
            async for chunk in request.content.iter_any():
                body += chunk
        finally:
            headers = [(_text(key), _text(value)) for key, value in request.raw_headers]
            seen = Seen(method=request.method, raw_path=request.raw_path, headers=headers, body=bytes(body))
            self.seen.append(seen)
            while self.watchers:
                self.watchers.pop().set()
        return seen

    def _answer(self, seen: Seen) -> Answer:
        headers: dict[str, str] = {}
        try:
            who = self.admit(seen)
            headers = self.meter(seen, who)
            handler, params = self._find(seen)
            answer = handler(self, Asked(seen=seen, params=params, who=who))
        except Refused as refused:
            answer = refused.answer
        return answer.with_headers({**headers, **answer.headers})

    def _find(self, seen: Seen) -> tuple[Handler, dict[str, str]]:
        segments = seen.path.split("/")
        for endpoint in self.endpoints:
            if endpoint.method == seen.method and (params := endpoint.match(segments)) is not None:
                return endpoint.handler, params
        raise self.refuse_route(seen)


class Storage(Upstream):
    """Signed file storage on an origin of its own; it takes a signature in the query and nothing else."""

    def __init__(self, *, clock: Clock = time.time) -> None:
        super().__init__(clock=clock)
        self._files: dict[str, tuple[bytes, str]] = {}

    def keep(self, name: str, content: bytes, content_type: str) -> None:
        self._files[_plain(name)] = (content, content_type)

    def sign(self, name: str, *, seconds: int) -> str:
        """An absolute URL that opens the file until then."""
        name, expires = _plain(name), str(int(self.clock()) + seconds)
        query = urlencode({"Expires": expires, "Signature": _signature(name, expires)})
        return f"{self.base_url}/bucket/{quote(name)}?{query}"

    @route("GET", "/bucket/{name...}")
    def fetch(self, asked: Asked) -> Answer:
        name = asked.params["name"]
        expires = asked.query("Expires") or ""
        # Real object stores refuse a request that is authorised in two ways, which is how a leak shows.
        if asked.seen.header("Authorization") or asked.seen.header("X-API-Key"):
            raise self.refuse(400, "Only one way to authorise a request is allowed", code="InvalidArgument")
        if not same(_signature(name, expires), asked.query("Signature") or ""):
            raise self.refuse(403, "The signature does not match", code="SignatureDoesNotMatch")
        if self.clock() > int(expires):
            raise self.refuse(403, "The request has expired", code="AccessDenied")
        if name not in self._files:
            raise self.refuse(404, "There is no such key", code="NoSuchKey")
        content, content_type = self._files[name]
        headers = {"Content-Type": content_type, "Content-Disposition": _attachment(name.rpartition("/")[2])}
        return Answer(body=content, headers=headers)

    def refuse(self, status: int, message: str, *, code: str = "", details: object = None) -> Refused:
        code = code or "InvalidRequest"
        body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
        return Refused(Answer(status=status, body=body.encode(), headers={"Content-Type": "application/xml"}))


AnyUpstream = TypeVar("AnyUpstream", bound=Upstream)


@dataclass(slots=True, kw_only=True)
class Running(Generic[AnyUpstream]):
    """A counterpart that listens: its address, what it saw, and a say in what it answers next."""

    upstream: AnyUpstream
    #: Without a trailing slash.
    base_url: str
    #: How often somebody connected, whether or not a request followed.
    connections: int = 0
    #: Its second origin, where it has one.
    second: "Running[Storage] | None" = None

    @property
    def seen(self) -> list[Seen]:
        return self.upstream.seen

    @property
    def last(self) -> Seen:
        return self.upstream.seen[-1]

    async def arrival(self, count: int = 1, *, within: float = 10) -> Seen:
        """Waits until that many requests have arrived; the last of them, which may not be answered yet."""
        async with asyncio.timeout(within):
            while len(self.seen) < count:
                news = asyncio.Event()
                self.upstream.watchers.append(news)
                await news.wait()
        return self.seen[count - 1]

    @property
    def storage(self) -> "Running[Storage]":
        if self.second is None:
            raise LookupError(f"{type(self.upstream).__name__} has no second origin")
        return self.second

    def next(
        self,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        body: bytes | None = None,
        delay: float = 0,
    ) -> None:
        """Plans one answer, whatever is asked; more calls queue more. A delay alone delays the true one."""
        if status is None and headers is None and json is None and body is None:
            self.upstream.planned.append(Planned(answer=None, delay=delay))
            return
        answer = Answer(status=status or 200, body=body or b"", headers=headers or {})
        if body is None and json is not None:
            answer = json_answer(json, status or 200, headers)
        self.upstream.planned.append(Planned(answer=answer, delay=delay))

    def refuse_next(
        self,
        status: int,
        message: str = "Planned by a test",
        *,
        code: str = "",
        details: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Plans one refusal in this system's own error shape."""
        answer = self.upstream.refuse(status, message, code=code, details=details).answer
        self.upstream.planned.append(Planned(answer=answer.with_headers(headers or {}), delay=0))


@asynccontextmanager
async def serve(upstream: AnyUpstream, *, port: int = 0) -> AsyncIterator[Running[AnyUpstream]]:
    """Listens on 127.0.0.1 until the block ends; the state outlives it."""
    async with AsyncExitStack() as stack:
        second = await stack.enter_async_context(serve(upstream.storage)) if upstream.storage else None
        # Bodies stay as they came, compressed ones too; open handlers are not waited for.
        runner = web.AppRunner(upstream.app, auto_decompress=False, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        running = Running(upstream=upstream, base_url="", second=second)

        def accept() -> asyncio.Protocol:
            running.connections += 1
            assert runner.server is not None
            return runner.server()

        listener = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", port)
        stack.callback(listener.close)
        running.base_url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        upstream.base_url = running.base_url
        yield running


def opaque(seed: str, length: int) -> str:
    """Lower-case letters and digits drawn from a seed."""
    number = int.from_bytes(hashlib.shake_256(seed.encode()).digest(length), "big")
    digits = "abcdefghijklmnopqrstuvwxyz0123456789"
    drawn = []
    for _ in range(length):
        number, rest = divmod(number, len(digits))
        drawn.append(digits[rest])
    return "".join(drawn)


def _plain(name: str) -> str:
    """A name that survives the way through a URL."""
    return name.encode(errors="replace").decode()


def same(one: str, other: str) -> bool:
    """Whether two secrets are equal; takes whatever came in a header, text or not."""
    return hmac.compare_digest(*(text.encode("utf-8", "surrogateescape") for text in (one, other)))


def _attachment(filename: str) -> str:
    """A Content-Disposition that takes any name (RFC 6266 §4.3)."""
    if re.fullmatch(r"[\w. ()-]+", filename, re.ASCII):
        return f'attachment; filename="{filename}"'
    return f"attachment; filename*=UTF-8''{quote(filename, safe='')}"


def _signature(name: str, expires: str) -> str:
    return hmac.new(
        b"storage of the tests", f"{name}\n{expires}".encode("utf-8", "surrogateescape"), "sha256"
    ).hexdigest()


def _as_response(answer: Answer) -> web.Response:
    return web.Response(status=answer.status, body=answer.body or None, headers=answer.headers)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _parse_parts(content_type: str, body: bytes) -> list[Part]:
    outer = Message()
    outer["Content-Type"] = content_type
    boundary = outer.get_boundary()
    if outer.get_content_type() != "multipart/form-data" or not boundary:
        raise ValueError("The body must be multipart/form-data with a boundary")
    _, *chunks = (b"\r\n" + body).split(b"\r\n--" + boundary.encode())
    if not chunks or not chunks[-1].startswith(b"--"):
        raise ValueError("The multipart body is not closed")
    return [_parse_part(chunk) for chunk in chunks[:-1]]


def _parse_part(chunk: bytes) -> Part:
    head, gap, content = chunk.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    fields = Message()
    for line in head.decode("utf-8", "surrogateescape").split("\r\n"):
        key, _, value = line.partition(":")
        fields[key.strip()] = value.strip()
    name = fields.get_param("name", header="Content-Disposition")
    if not gap or not isinstance(name, str):
        raise ValueError("A part of the multipart body has no name")
    return Part(
        name=name,
        filename=fields.get_filename(),
        content_type=fields.get_content_type() if "Content-Type" in fields else None,
        content=content,
    )
