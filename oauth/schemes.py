"""How a credential goes on a request, and how one is read from what a person or program enters."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from oauth import texts
from oauth.assertions import KEY_LIMIT, KeyRefused, check_key, pem_of
from oauth.connections import Credential
from oauth.oauth1 import Signer
from oauth.secret import Secret

#: Longer than any key or token in use; shorter than what a server takes as one header line.
VALUE_LIMIT = 8192

#: What each type of auth method is connected with.
INPUTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "bearer": ("token",),
        "api_key": ("api_key",),
        "basic": ("username", "password"),
        "client_credentials": ("client_id", "client_secret"),
        "jwt_bearer": ("private_key", "key_id", "key_file"),
        "session": (),
        "none": (),
    }
)
_PATTERN_IS_ABOUT = {
    "bearer": "token",
    "api_key": "api_key",
    "basic": "password",
    "client_credentials": "client_secret",
}
#: Types whose credential is a token that somebody issued.
_TOKEN_TYPES = frozenset({"bearer", "oauth2", "client_credentials", "jwt_bearer", "session"})

_BREAKING = r"\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
_CONTROL = re.compile(f"[{_BREAKING}]")
_PRINTABLE = re.compile(f"[^{_BREAKING}]+")
_ALLOWED: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        # Beyond ASCII the two ends disagree about the encoding; RFC 9110 §5.5 leaves it opaque.
        "header": re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?"),
        # RFC 6265 §4.1.1, cookie-octet
        "cookie": re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+"),
        "query": _PRINTABLE,
        "body": _PRINTABLE,
    }
)

_NOTHING: Mapping[str, str] = MappingProxyType({})
#: Inputs that may be left out: a key file holds the key that would be given by itself.
_OPTIONAL = frozenset({"key_id", "key_file"})


class InputRefused(Exception):
    """What was entered is no credential of this method. `field` names the key; no value is ever in it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class UnsafeCredential(Exception):
    """The stored credential cannot stand where the definition puts it; the request must not be built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """What a credential adds to a request: names and values as they are, not yet escaped."""

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    cookies: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    #: Members of a JSON object or fields of a form.
    body: Mapping[str, str] = field(default_factory=lambda: _NOTHING, repr=False)
    #: The finished request is signed with it.
    signer: Signer | None = None
    #: Spellings of the credential that only this request has: a pair as Basic sends it.
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def __add__(self, other: Injection) -> Injection:
        """What both add."""
        return Injection(
            headers=self.headers + other.headers,
            query=self.query + other.query,
            cookies=self.cookies + other.cookies,
            body={**self.body, **other.body} if other.body else self.body,
            signer=self.signer or other.signer,
            secrets=self.secrets + other.secrets,
        )


def inject(
    kind: str,
    credential: Credential,
    *,
    location: str | None = None,
    name: str | None = None,
    prefix: str | None = None,
    template: str | None = None,
    values: Mapping[str, str] = _NOTHING,
) -> Injection:
    """What the credential of a method of type `kind` adds to a request.

    Without a `location` it goes into the `Authorization` header, as Bearer or (RFC 7617) Basic. A `template` is the
    whole text that goes there, with `{token}` or `{api_key}` and the connection fields of `values`. Raises
    `UnsafeCredential` for a value that would break its place: it never reaches the HTTP library.
    """
    if kind == "none" or location == "path":
        return Injection()
    if kind == "basic":
        return basic(credential.username, credential.password.reveal() if credential.password is not None else None)
    if kind not in _TOKEN_TYPES and kind != "api_key":
        raise ValueError(f"{kind} does not go on a request by placement")
    value = _token(credential)
    if template is not None:
        filled = texts.fill_whole(template, {**values, "api_key" if kind == "api_key" else "token": value})
        if filled is None:
            raise UnsafeCredential("the connection lacks a field that belongs to the credential")
        return _placed(location or "header", name or "Authorization", "", filled)
    if location is None:
        if kind == "api_key":
            raise ValueError("an api_key method says where its key goes")
        return _placed("header", name or "Authorization", "Bearer " if prefix is None else prefix, value)
    if not name:
        raise ValueError("a placement has a name")
    return _placed(location, name, prefix or "", value)


def basic(username: str | None, password: str | None) -> Injection:
    """The `Authorization` header of a user name and password (RFC 7617). Raises `UnsafeCredential`."""
    if username is None or password is None:
        raise UnsafeCredential("the connection holds no username and password")
    pair = f"{username}:{password}"
    if ":" in username or _CONTROL.search(pair):
        raise UnsafeCredential("the username or password has a character that Basic cannot carry")
    encoded = base64.b64encode(pair.encode()).decode()
    return replace(_placed("header", "Authorization", "Basic ", encoded), secrets=(encoded,))


def further(headers: Mapping[str, str], query: Mapping[str, str], values: Mapping[str, str]) -> Injection:
    """What stands beside the credential: texts with connection fields. One whose field is empty is left out."""
    added = Injection()
    for location, named in (("header", headers), ("query", query)):
        for name, text in named.items():
            filled = texts.fill_whole(text, values)
            if filled:
                added += _placed(location, name, "", filled)
    return added


def credential_from_input(
    kind: str,
    given: Mapping[str, object],
    *,
    wanted: Sequence[str] | None = None,
    accepts: Callable[[str], bool] | None = None,
    also: Collection[str] = (),
    now: float = 0.0,
) -> Credential:
    """The credential that somebody entered for a method of type `kind`.

    `wanted` are the inputs that the method asks for, where that is not all of its type. `accepts` says whether a value
    looks like one of this service. `also` names the connection fields that may stand beside it and are read elsewhere.
    Raises `InputRefused`, which names the key that is missing, unknown or wrong, and shows no value.
    """
    wanted = INPUTS.get(kind) if wanted is None else wanted
    if kind not in INPUTS or wanted is None:
        raise InputRefused("credentials", f"a connection of type {kind} is made in the browser, not with a credential")
    expected = ", ".join(f"`{key}`" for key in wanted) or "nothing"
    for key in given:
        if key not in wanted and key not in also:
            raise InputRefused(str(key)[:64], f"unknown key in credentials; expected {expected}")
    for key in wanted:
        if key not in given and key not in _OPTIONAL:
            raise InputRefused(key, f"`{key}` is missing; expected {expected}")

    entered = [key for key in wanted if key in given and key != "key_file" and (given[key] or key not in _OPTIONAL)]
    values = {key: _entered(key, given[key]) for key in entered}
    subject = _PATTERN_IS_ABOUT.get(kind)
    if kind == "basic" and "password" not in wanted:
        # The key is the user name.
        subject = "username"
    if accepts is not None and subject in values and not accepts(values[subject]):
        raise InputRefused(
            subject, f"`{subject}` does not look like one of this service; check that it was copied whole"
        )
    return replace(_credential(kind, values), issued_at=now)


def _credential(kind: str, values: Mapping[str, str]) -> Credential:
    if kind == "bearer":
        return Credential(token=Secret(values["token"]))
    if kind == "api_key":
        return Credential(token=Secret(values["api_key"]))
    if kind == "basic":
        if ":" in values.get("username", ""):
            raise InputRefused("username", "`username` must not contain a colon (RFC 7617)")
        if values and not any(values.values()):
            raise InputRefused(*_EMPTY[tuple(values)])
        password = Secret(values["password"]) if "password" in values else None
        return Credential(username=values.get("username"), password=password)
    if kind == "client_credentials":
        return Credential(client_id=values["client_id"], client_secret=Secret(values["client_secret"]))
    if kind == "jwt_bearer":
        key = Secret(values["private_key"])
        try:
            check_key(key)
        except KeyRefused:
            raise InputRefused(
                "private_key", "`private_key` is no RSA (2048 bits or more) or EC key in PEM, without a passphrase"
            ) from None
        return Credential(private_key=key, key_id=values.get("key_id"))
    return Credential()


#: What is said where nothing was entered, by what was asked for.
_EMPTY = {
    ("username", "password"): ("username", "`username` and `password` are both empty"),
    ("username",): ("username", "`username` is empty"),
    ("password",): ("password", "`password` is empty"),
}


def _entered(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise InputRefused(key, f"`{key}` must be a string")
    if key == "private_key":
        if len(value) > KEY_LIMIT:
            raise InputRefused(key, f"`{key}` is longer than {KEY_LIMIT} characters")
        return pem_of(value)
    # Services put a key in the username or in the password of Basic and leave the other one empty.
    may_be_empty = key in ("username", "password")
    if not may_be_empty:
        # A key is often pasted with the line break behind it. A password may end in a space.
        value = value.strip()
    if not value and not may_be_empty:
        raise InputRefused(key, f"`{key}` is empty")
    if len(value) > VALUE_LIMIT:
        raise InputRefused(key, f"`{key}` is longer than {VALUE_LIMIT} characters")
    if _CONTROL.search(value):
        raise InputRefused(key, f"`{key}` contains a control character or line break")
    return value


def _placed(location: str, name: str, prefix: str, value: str) -> Injection:
    allowed = _ALLOWED.get(location)
    if allowed is None:
        raise ValueError(f"no such place for a credential: {location}")
    if allowed.fullmatch(value) is None:
        raise UnsafeCredential(f"the credential has a character that a {location} cannot carry")
    pair = (name, prefix + value)
    if location == "header":
        return Injection(headers=(pair,))
    if location == "cookie":
        return Injection(cookies=(pair,))
    if location == "query":
        return Injection(query=(pair,))
    return Injection(body=MappingProxyType({name: prefix + value}))


def _token(credential: Credential) -> str:
    if not credential.token:
        raise UnsafeCredential("the connection holds no token")
    return credential.token.reveal()
