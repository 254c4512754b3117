"""The shapes of the catalog: an integration, its skills, and where each param of a skill goes on the wire."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Literal

from skills_catalog.names import HATCH

Effect = Literal["read", "create", "update", "delete", "send"]
Location = Literal["path", "query", "header", "body", "form", "file"]
AuthType = Literal[
    "oauth2", "client_credentials", "bearer", "api_key", "basic", "oauth1", "jwt_bearer", "session", "none"
]
#: How an array or object becomes names and values of a query or form.
Style = Literal["repeat", "comma", "space", "pipe", "json", "brackets", "indices", "dots"]
#: `null` is the literal of that name, `none` no body at all.
Body = Literal["json", "form", "multipart", "related", "null", "none"]
Json = Any

_ACTION = re.compile(r"(?:[a-z][a-z0-9_]*\.)?[a-z][a-z0-9_]*")
#: What each type of auth method is connected with, apart from connection fields. A `key_file` holds the other two.
INPUTS: Mapping[str, tuple[str, ...]] = {
    "bearer": ("token",),
    "api_key": ("api_key",),
    "basic": ("username", "password"),
    "client_credentials": ("client_id", "client_secret"),
    "jwt_bearer": ("private_key", "key_id", "key_file"),
}


def secret_name(kind: str) -> str:
    """The name by which the credential of a type stands in a text: `{token}`, `{api_key}`."""
    return "api_key" if kind == "api_key" else "token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a credential goes on a request: `prefix` and the secret, under `name`, in one location.

    With a `template` its text goes there, the secret and `{field}`s of the connection filled in. In the location
    `path` it stands in the base URL, as the `{field}` of that name.
    """

    location: Literal["header", "query", "body", "cookie", "path"]
    name: str
    prefix: str = ""
    template: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scopes:
    """The OAuth scopes of a method and how its provider spells lists of them (RFC 6749 §3.3)."""

    default: tuple[str, ...] = ()
    separator: str = " "
    #: How the token answer separates granted scopes; None means as in the request.
    answer_separator: str | None = None
    #: scope -> the scopes that it includes, as the provider documents them.
    implies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: Asked for whatever else is (`offline_access`).
    always: tuple[str, ...] = ()
    #: The parameter of the authorization URL that carries them (Slack's `user_scope`).
    param: str = "scope"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """Connection fields that an action tells right after connecting: which site, which tenant.

    Where it tells of several things, the person chooses one by its `title`.
    """

    action: str
    #: connection field -> JMESPath in one item.
    fields: Mapping[str, str]
    #: JMESPath of the items; None means the answer itself, a list or one object.
    items: str | None = None
    #: JMESPath in one item of the name that a person knows it by.
    title: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthMethod:
    """One way an integration lets us in. URLs, headers and params may hold `{field}`s of the connection."""

    name: str
    type: AuthType
    title: str
    help_url: str | None = None
    #: A stored credential that does not match is refused when it is entered.
    pattern: str | None = None
    #: input -> its name for people, where the usual one misleads (`password: API token`).
    inputs: Mapping[str, str] = field(default_factory=dict)
    #: None only for `none` and `oauth1`.
    placement: Placement | None = None
    #: Replaces the integration's for connections of this method.
    base_url: str | None = None
    #: Further parts of the credential: sent with every request, and never to another origin.
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    #: basic: what is fixed or made of connection fields is not asked for.
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    #: oauth2, client_credentials, jwt_bearer, session, oauth1
    request_token_url: str | None = None
    authorization_url: str | None = None
    token_url: str | None = None
    refresh_url: str | None = None
    revocation_url: str | None = None
    scopes: Scopes = Scopes()
    pkce: Literal["S256", "off"] = "S256"
    token_auth: Literal["basic", "post", "none", "private_key_jwt"] = "post"
    token_method: Literal["POST", "PUT", "GET"] = "POST"
    token_body: Literal["form", "json"] = "form"
    token_headers: Mapping[str, str] = field(default_factory=dict)
    authorize_params: Mapping[str, str] = field(default_factory=dict)
    token_params: Mapping[str, Json] = field(default_factory=dict)
    refresh_params: Mapping[str, Json] = field(default_factory=dict)
    #: JMESPath of the object that holds `access_token` in the token answer; None means the top.
    token_path: str | None = None
    #: access_token, refresh_token, expires_in, expires_at or scope -> JMESPath in that object, where it is called otherwise.
    token_answer: Mapping[str, str] = field(default_factory=dict)
    #: connection field -> JMESPath in the token answer (Salesforce `instance_url`).
    copy_from_token: Mapping[str, str] = field(default_factory=dict)
    #: connection field -> query parameter of the callback (`realmId`).
    copy_from_callback: Mapping[str, str] = field(default_factory=dict)
    #: connection field -> separator: the field is what stands behind its last occurrence in the credential.
    copy_from_credential: Mapping[str, str] = field(default_factory=dict)
    lookup: Lookup | None = None
    #: Seconds an access token lives where the answer does not say.
    lifetime: int | None = None
    #: What `iss` must equal in the callback (RFC 9207); required there once it is declared.
    issuer: str | None = None
    #: oauth1: how requests are signed.
    signature: Literal["HMAC-SHA1", "HMAC-SHA256"] = "HMAC-SHA1"
    #: jwt_bearer: claims of the assertion beside `iat`, `exp` and `jti`.
    claims: Mapping[str, Json] = field(default_factory=dict)
    #: jwt_bearer: `private_key`, `key_id` or a connection field -> JMESPath in the key file that is given whole.
    key_file: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_oauth(self) -> bool:
        """Whether a person gives consent in a browser, to an OAuth client of ours."""
        return self.type in ("oauth2", "oauth1")

    @property
    def asks(self) -> tuple[str, ...]:
        """The inputs that it is connected with, apart from connection fields; what it fixes is not asked for."""
        fixed = {name for name, text in (("username", self.username), ("password", self.password)) if text is not None}
        if not self.key_file:
            fixed.add("key_file")
        return tuple(name for name in INPUTS.get(self.type, ()) if name not in fixed)

    @property
    def is_own_grant(self) -> bool:
        """Whether the credential itself is exchanged for tokens, again and again, without a person."""
        return self.type in ("client_credentials", "jwt_bearer", "session")

    @property
    def told(self) -> frozenset[str]:
        """The connection fields that the provider or the upstream tells on connecting."""
        looked_up = self.lookup.fields if self.lookup else {}
        return frozenset({*self.copy_from_token, *self.copy_from_callback, *looked_up})

    @property
    def filled_in(self) -> frozenset[str]:
        """The connection fields that connecting itself finds out: those that are told, and those of the credential."""
        return self.told | ({*self.copy_from_credential, *self.key_file} - {"private_key", "key_id"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionField:
    """A value that a connection fills in: `{instance}` of the base URL, a default for a param."""

    name: str
    title: str
    schema: Mapping[str, Json]
    required: bool = True
    #: Set where the field stands in a host: one DNS label, or a whole domain name.
    host: Literal["label", "domain"] | None = None
    secret: bool = False
    default: str | None = None
    #: The param that takes this value where the caller leaves it out.
    default_for: str | None = None
    #: Names of the auth methods whose connections have it; None means all.
    auth: tuple[str, ...] | None = None

    def serves(self, method: AuthMethod) -> bool:
        """Whether connections of that method have it."""
        return self.auth is None or method.name in self.auth


@dataclass(frozen=True, slots=True, kw_only=True)
class Whoami:
    """The action that checks a new connection, and where its answer names the account."""

    action: str
    #: JMESPath on the upstream's body.
    account: str
    #: JMESPath of an id that stays the same when the account is renamed.
    account_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """One param of a skill, or a constant that is sent and never shown."""

    name: str
    location: Location
    #: Name on the wire; more than one part nests (`as: a.b`). Empty for the whole body.
    wire: tuple[str, ...]
    schema: Mapping[str, Json]
    required: bool = False
    #: The value is the whole body.
    whole: bool = False
    #: How an array or object is spelled in a query or form.
    style: Style = "repeat"
    #: What is done to the value before it is sent, in this order.
    encode: tuple[str, ...] = ()
    #: Media type of the body, or of its part, that the value becomes.
    content_type: str | None = None
    #: The value is this member of a JSON object which is the text that goes there, with others of the same name.
    member: tuple[str, ...] = ()
    #: The members of the object stand where the object would, side by side with other params.
    spread: bool = False
    #: Not a param at all: this value is always sent.
    const: Json = None
    is_const: bool = False
    #: The connection field that fills the param where the caller leaves it out.
    default_from: str | None = None

    @property
    def explode(self) -> bool:
        """Whether each item of an array is sent under a name of its own, rather than all of them as one text."""
        return self.style in ("repeat", "brackets", "indices", "dots")


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of a path as the definition wrote it, already percent-encoded."""

    text: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A piece of a path that a param fills, or a connection field; `keep_slash` is `{+name}`."""

    name: str
    keep_slash: bool = False
    is_field: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTemplate:
    """`POST /repos/{+repo}/issues`, split once at load. The path is relative to the base URL."""

    method: str
    path: str
    #: One tuple of pieces for each `/`-separated segment of the path.
    segments: tuple[tuple[Text | Variable, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorHint:
    """What an upstream's refusal means and what to do about it."""

    status: int | None = None
    code: str | None = None
    description: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A call and the answer the upstream gives to it; feeds docs, the sandbox and the contract tests."""

    params: Mapping[str, Json]
    status: int
    data: Json
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deprecation:
    """Since when an action is not to be used any more, after which day it may be gone, and what is used instead."""

    since: date
    sunset: date | None = None
    #: Another action, or words.
    use: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """A page of prose that belongs to an integration (authentication, pagination, a workflow)."""

    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """One operation of an integration: what it takes, where that goes, and what it does to the world."""

    integration: str
    name: str
    title: str
    category: str
    description: str
    effect: Effect
    idempotent: bool
    #: All of them are needed; or all of one of `other_scopes`.
    scopes: tuple[str, ...]
    #: Names of the auth methods that may serve it.
    auth: tuple[str, ...]
    request: RequestTemplate
    params: Mapping[str, Param]
    constants: tuple[Param, ...] = ()
    #: What callers see: a closed JSON Schema object (draft 2020-12), without constants.
    input_schema: Mapping[str, Json]
    #: What `data` of a success is, where the definition says so: to be read, no answer is held against it.
    output: Mapping[str, Json] | None = None
    other_scopes: tuple[tuple[str, ...], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Name of the server that it goes to instead of the base URL.
    server: str | None = None
    body: Body = "json"
    #: A query or mutation whose variables the params of the body are.
    graphql: str | None = None
    #: Name of the operator's code that the request passes through.
    hook: str | None = None
    response: Literal["auto", "json", "binary", "text"] = "auto"
    #: Whether the upstream's redirects are followed (never with the credential to another origin).
    redirect: bool = False
    #: Seconds the upstream may take; None means the gateway's default.
    timeout: float | None = None
    cost: int = 1
    requires_plan: str | None = None
    lifecycle: str | None = None
    deprecated: Deprecation | None = None
    errors: tuple[ErrorHint, ...] = ()
    #: JMESPath that is true of a body with a status of success that says no all the same.
    error_when: str | None = None
    examples: tuple[Example, ...] = ()
    synonyms: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    #: Read by later stages as declared: pages, polling, cache, brief view, resource group, idempotency header.
    page: Mapping[str, Json] | None = None
    poll: Mapping[str, Json] | None = None
    cache: Mapping[str, Json] | None = None
    brief: str | None = None
    resource: str | None = None
    idempotency: Mapping[str, Json] | None = None
    #: What others made of the skill (a compiled schema, a strict one); kept here so that it lives as long as the skill.
    compiled: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    #: Whether any of its params is a file, or holds files.
    takes_files: bool = field(init=False, default=False, compare=False)

    def __post_init__(self) -> None:
        takes = any(
            param.location == "file" or "mail" in param.encode or "file" in param.encode for param in self.params.values()
        )
        object.__setattr__(self, "takes_files", takes)

    @property
    def id(self) -> str:
        return f"{self.integration}.{self.name}"

    @property
    def is_hatch(self) -> bool:
        """Whether it is the escape hatch: a request that the caller made up."""
        return self.name == HATCH

    @property
    def successor(self) -> str | None:
        """`integration.action` of what is used instead of a deprecated one, where it names an action."""
        use = self.deprecated.use if self.deprecated else None
        if use is None or not _ACTION.fullmatch(use):
            return None
        return use if "." in use else f"{self.integration}.{use}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Integration:
    """A third-party API: its base URL, how it lets us in, and its skills by name."""

    slug: str
    name: str
    description: str
    base_url: str
    auth: tuple[AuthMethod, ...]
    skills: Mapping[str, Skill]
    #: Actions that were imported and that nobody reviewed: left out of `skills` where calls are made.
    unreviewed: Mapping[str, Skill] = field(default_factory=dict)
    categories: tuple[str, ...] = ()
    version: str = "0.1.0"
    docs_url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Further base URLs by name, for actions that live elsewhere.
    servers: Mapping[str, str] = field(default_factory=dict)
    fields: tuple[ConnectionField, ...] = ()
    whoami: Whoami | None = None
    redirect: bool = False
    upstream_limits: Mapping[str, Json] | None = None
    webhooks: Mapping[str, Json] | None = None
    guides: tuple[Guide, ...] = ()
    workflows: tuple[Guide, ...] = ()
    synonyms: tuple[str, ...] = ()
    lifecycle: str | None = None
    #: The file it was read from, for messages to the operator.
    source: str = ""
    #: SHA-256 of what the file says; comments and layout do not change it.
    digest: str = ""
    #: Whether any of its actions is answered from earlier answers.
    has_cache: bool = field(init=False, default=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "has_cache", any(skill.cache for skill in self.skills.values()))

    def reviewed(self) -> Integration:
        """The same without the actions that nobody reviewed."""
        unreviewed = {name: skill for name, skill in self.skills.items() if skill.lifecycle == "unreviewed"}
        if not unreviewed:
            return self
        skills = {name: skill for name, skill in self.skills.items() if name not in unreviewed}
        return replace(self, skills=skills, unreviewed=unreviewed)

    def method(self, name: str) -> AuthMethod | None:
        """The auth method of that name, if there is one."""
        # A loop, for it is asked several times a call.
        for method in self.auth:
            if method.name == name:
                return method
        return None

    def fields_for(self, method: AuthMethod) -> Sequence[ConnectionField]:
        """The fields that connections of a method have."""
        return [item for item in self.fields if item.serves(method)]

    def base_url_for(self, skill: Skill, method: AuthMethod | None) -> str:
        """What the requests of a skill start with, made with a connection of that method."""
        if skill.server is not None:
            return self.servers[skill.server]
        return (method.base_url if method else None) or self.base_url

    def methods_for(self, skill: Skill) -> Sequence[AuthMethod]:
        """The auth methods that may serve a skill, in the definition's order."""
        return [method for method in self.auth if method.name in skill.auth]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a call's params: where (`labels/0`), which keyword, and what was expected."""

    path: str
    keyword: str
    message: str
    #: The nearest known name, for a param that does not exist.
    suggestion: str | None = None
