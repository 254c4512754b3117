"""The one shape that every vendor's description is read into: operations, what they take, what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from skills_catalog.descriptions.sdl import Schema

Json = Any
Location = Literal["path", "query", "header", "cookie"]


class DescriptionError(Exception):
    """A description that cannot be read; the message names the file and says why."""


class _Nothing:
    """No value at all, where null is one."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final = _Nothing()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter outside the body. Its schema may name `#/$defs/…` of the description."""

    name: str
    location: Location
    schema: Json
    required: bool = False
    description: str = ""
    #: As OpenAPI calls it: form, simple, deepObject, spaceDelimited, pipeDelimited.
    style: str = "form"
    explode: bool = True
    #: A path value that may hold slashes.
    multi_segment: bool = False
    deprecated: bool = False
    #: The value is JSON, written out as text.
    as_json: bool = False
    #: It carries the credential, so no caller gives it.
    credential: bool = False
    examples: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The request's body: a schema for each media type, the one to prefer first."""

    media: Mapping[str, Json]
    required: bool = False
    description: str = ""
    examples: tuple[Json, ...] = ()
    #: In a form: property -> (style, explode) where the description says it.
    encoding: Mapping[str, tuple[str, bool]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One answer: `status` is `200`, `2XX` or `default`; a media type without a schema has None."""

    status: str
    media: Mapping[str, Json] = field(default_factory=dict)
    description: str = ""
    examples: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthFlow:
    kind: Literal["authorization_code", "client_credentials", "implicit", "password"]
    authorization_url: str = ""
    token_url: str = ""
    refresh_url: str = ""
    scopes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityScheme:
    """One way in, as the vendor names it."""

    name: str
    type: Literal["oauth2", "bearer", "basic", "api_key", "other"]
    description: str = ""
    #: api_key: where the key goes, and its name there.
    location: str = ""
    key_name: str = ""
    flows: tuple[OAuthFlow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path."""

    #: The vendor's own id (`operationId`), or empty.
    id: str
    method: str
    #: Template of the path after the server's URL: `/repos/{owner}/{repo}`.
    path: str
    summary: str = ""
    description: str = ""
    docs_url: str = ""
    tags: tuple[str, ...] = ()
    deprecated: bool = False
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    responses: tuple[Response, ...] = ()
    #: Alternatives, each scheme -> scopes that are needed together; empty where nothing is said.
    security: tuple[Mapping[str, tuple[str, ...]], ...] = ()
    #: Whether any one of a scheme's scopes is enough.
    any_scope: bool = False
    #: Its own servers, where they are not the description's.
    servers: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def key(self) -> str:
        """What no other operation has: all of GraphQL's share one path."""
        return f"{self.line} {self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerVariable:
    """A `{name}` of a server's URL."""

    name: str
    default: str = ""
    choices: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A vendor's description as read. `definitions` are the schemas that `#/$defs/name` names."""

    source: str
    kind: str
    title: str
    version: str
    #: SHA-256 of the file.
    digest: str
    description: str = ""
    docs_url: str = ""
    servers: tuple[str, ...] = ()
    variables: Mapping[str, ServerVariable] = field(default_factory=dict)
    operations: tuple[Operation, ...] = ()
    schemes: Mapping[str, SecurityScheme] = field(default_factory=dict)
    definitions: Mapping[str, Json] = field(default_factory=dict, repr=False)
    #: The types, where it is a GraphQL schema.
    graphql: Schema | None = field(default=None, repr=False)
    #: `GET /x` -> why this operation could not be read.
    unreadable: Mapping[str, str] = field(default_factory=dict)
