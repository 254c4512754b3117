"""What a route takes and answers, said once beside its handler: its checks and its description are made of it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from aiohttp import web
from jsonschema_rs import Draft202012Validator

from gateway.core.tenants.grants import Level
from skills_catalog.validation import compile_schema, expectation, keyword_of, pointer

Schema = Mapping[str, Any]

#: No control and format signs, no separators but the plain space, nothing for private use. Written out as ranges,
#: since the engines that read descriptions do not agree on how classes of letters are spelled.
PRINTABLE = (
    r"^[^\u0000-\u001f\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e"
    r"\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ue000-\uf8ff\ufeff\ufff0-\ufffb"
    "\U000e0000-\U0010ffff]*$"
)
#: How integrations and actions are called.
NAME: Schema = {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,63}$"}
#: The same, of an integration that is asked for: the description for a key lists those that it may use.
SLUG: Schema = {**NAME}
ANYTHING: Schema = {"type": "object"}
#: The headings that operations stand under, in the order of a first visit.
GROUPS = (
    *("Calls", "Tools", "Runs", "Files", "Discovery", "Connecting", "Connections", "API keys", "Signing up and in"),
    *("Usage", "Events", "Webhooks", "Hooks", "The gateway itself"),
)
#: How long a deprecated route goes on at least: 12 months.
NOTICE = timedelta(days=365)

_PATTERN = re.compile(r"\{(\w+):[^{}]*(?:\{[^{}]*\}[^{}]*)*\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One named value of a path, a query or a body: what it means, and the JSON Schema that it is held against."""

    name: str
    #: For the description: a sentence.
    about: str
    schema: Schema
    required: bool = False
    #: What a wrong value is told, to stand after its name; None says it as the schema does.
    must: str | None = None
    #: What it is where it is left out, by its schema.
    default: Any = field(init=False, repr=False, compare=False)
    _check: Draft202012Validator | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "default", self.schema.get("default"))
        # An object that may hold anything is told by its type: no large value need be walked through for it.
        check = None if self.schema == ANYTHING else compile_schema(self.schema)
        object.__setattr__(self, "_check", check)

    def takes(self, value: Any) -> bool:
        return isinstance(value, dict) if self._check is None else self._check.is_valid(value)

    def problem(self, value: Any) -> tuple[str, str, str]:
        """Where a value that it does not take is wrong, by which keyword, and what it must be instead."""
        if self._check is None:
            return self.name, "type", "must be an object"
        error = next(iter(self._check.iter_errors(value)))
        kind = keyword_of(error)
        if kind == "required" and self.must is None:
            missing: Any = error.kind
            return pointer([self.name, *error.instance_path, missing.property]), kind, "is missing"
        says = "must have one of its forms" if kind == "anyOf" else expectation(error)
        return pointer([self.name, *error.instance_path]), kind, self.must or says


def text(name: str, about: str, *, most: int = 128, required: bool = False) -> Field:
    """A short, printable string: a user, a label, a name."""
    schema = {"type": "string", "minLength": 1, "maxLength": most, "pattern": PRINTABLE}
    return Field(
        name=name, about=about, schema=schema, required=required, must=f"must be 1 to {most} printable characters"
    )


def number(name: str, about: str, *, low: int, high: int, default: int | None = None) -> Field:
    """A whole number between two bounds."""
    schema: dict[str, Any] = {"type": "integer", "minimum": low, "maximum": high}
    if default is not None:
        schema["default"] = default
    return Field(name=name, about=about, schema=schema, must=f"must be a whole number from {low} to {high}")


def switch(name: str, about: str) -> Field:
    """On or off, in a query."""
    schema = {"type": "string", "enum": ["1", "true", "0", "false"], "default": "0"}
    return Field(name=name, about=about, schema=schema, must="must be 1 or 0")


def choice(name: str, about: str, values: Sequence[str], *, default: str | None = None) -> Field:
    """One of some words."""
    schema: dict[str, Any] = {"type": "string", "enum": list(values)}
    if default is not None:
        schema["default"] = default
    return Field(name=name, about=about, schema=schema)


def strings(
    name: str, about: str, *, most: int, least: int = 0, each: Schema | None = None, required: bool = False
) -> Field:
    """An array of strings; one that stands there twice counts once."""
    schema: dict[str, Any] = {"type": "array", "items": each or {"type": "string"}, "maxItems": most}
    if least:
        schema["minItems"] = least
    return Field(name=name, about=about, schema=schema, required=required)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What comes back with one status: a JSON body of a schema, with an example; or no body."""

    about: str
    schema: Schema | None = None
    example: Any = None
    #: Names of the headers that it carries beside those of every answer; see `openapi.HEADERS`.
    headers: Sequence[str] = ()
    #: Content types other than JSON that it may have as well.
    also: Sequence[str] = ()
    #: What can be done with it: id of an operation -> its path field -> where the answer has the value.
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says, checked: values by name, with the defaults of what was left out."""

    query: Mapping[str, Any]
    body: Mapping[str, Any]


#: With a request, a principal where the route needs a key, and what was asked.
Handler = Callable[..., Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A handler together with all that can be said of it but for its method and path."""

    #: The name that generated clients call it by; it never changes.
    id: str
    summary: str
    about: str
    #: The heading that it stands under.
    group: str
    handler: Handler
    path: Sequence[Field]
    query: Mapping[str, Field]
    #: Whoever asks sends query parameters of its own, which the handler reads by itself.
    any_query: bool
    #: Headers that it reads beside the key.
    headers: Sequence[Field]
    #: Bodies that the handler reads by itself: content type -> schema.
    takes: Mapping[str, Schema]
    #: None where no JSON body is read.
    body: Mapping[str, Field] | None
    answers: Mapping[int, Answer]
    #: Codes that it may refuse with beside those of every route.
    refuses: Sequence[str]
    #: A call as it may be made: values of the path, of the query, of the body.
    example: Mapping[str, Any]
    #: A key makes a difference, though none is needed.
    takes_key: bool


def operation(
    id: str,
    summary: str,
    *,
    group: str,
    answers: Mapping[int, Answer],
    about: str = "",
    path: Sequence[Field] = (),
    query: Sequence[Field] = (),
    any_query: bool = False,
    headers: Sequence[Field] = (),
    takes: Mapping[str, Schema] | None = None,
    body: Sequence[Field] | None = None,
    refuses: Sequence[str] = (),
    example: Mapping[str, Any] | None = None,
    takes_key: bool = False,
) -> Callable[[Handler], Operation]:
    """Says of the handler below it what it takes and answers."""

    assert group in GROUPS, group

    def describe(handler: Handler) -> Operation:
        return Operation(
            id=id,
            summary=summary,
            about=about,
            group=group,
            handler=handler,
            path=path,
            query={one.name: one for one in query},
            any_query=any_query,
            headers=headers,
            takes=takes or {},
            body=None if body is None else {one.name: one for one in body},
            answers=answers,
            refuses=refuses,
            example=example or {},
            takes_key=takes_key,
        )

    return describe


@dataclass(frozen=True, slots=True, kw_only=True)
class Retiring:
    """A route that a later version of the API will not have."""

    since: date
    #: From then on it may be gone; 12 months later at the earliest.
    sunset: date
    #: The path of the route to use instead.
    use: str | None = None

    def __post_init__(self) -> None:
        assert self.sunset - self.since >= NOTICE, "a route is deprecated for at least 12 months"


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path, for whoever has a key of at least `level`; None is for everybody, without a key."""

    method: str
    path: str
    operation: Operation
    level: Level | None
    #: A test key may not: what it asks for needs an account.
    live_only: bool = False
    #: A member who is signed in in a browser may as well.
    session: bool = False
    deprecated: Retiring | None = None

    @property
    def shown_path(self) -> str:
        """The path as people and descriptions write it, without patterns."""
        return _PATTERN.sub(r"{\1}", self.path)
