"""The authorization code flow with PKCE: what the browser is sent with, and what it may come back with."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from oauth.provider import Provider
from oauth.secret import Secret
from oauth.tokens import filled

#: Characters of a provider's text that are shown to a person.
TEXT_LIMIT = 200

_RANDOM_BYTES = 32
_CODE_LIMIT = 4096
#: RFC 6749 appendix A.11: a code is VSCHAR.
_CODE_TEXT = re.compile(r"[\x20-\x7e]+")
#: Also the marks that turn the reading direction: they can make a text say something else.
_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+")
#: Extra params of a definition never replace what the safety of the flow stands on.
_OURS = frozenset({"response_type", "client_id", "redirect_uri", "state", "code_challenge", "code_challenge_method"})

#: Error codes of RFC 6749 §4.1.2.1 and OpenID Connect Core §3.1.2.6, and what they mean to the person.
REFUSALS: Mapping[str, str] = MappingProxyType(
    {
        "access_denied": "Access was not granted.",
        "invalid_request": "The provider did not understand our request; the operator has to look at it.",
        "unauthorized_client": "The provider does not let our client do this; the operator has to look at it.",
        "unsupported_response_type": "The provider does not offer this kind of flow to our client.",
        "invalid_scope": "The provider does not know or grant one of the scopes that were asked for.",
        "server_error": "The provider had an error; try again.",
        "temporarily_unavailable": "The provider is busy; try again in a few minutes.",
        "interaction_required": "The provider wants something from you first; try again and follow it.",
        "login_required": "Sign in at the provider first, then try again.",
        "account_selection_required": "Choose an account at the provider, then try again.",
        "consent_required": "The provider needs your consent; try again.",
        "invalid_target": "The provider does not know the API that was asked for.",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A flow that was begun: where the browser goes, and what is kept until it comes back."""

    #: Holds the state; not for a log.
    url: str = field(repr=False)
    #: Kept only as `hash_state(state)`.
    state: Secret
    #: PKCE, None for a provider that cannot; of OAuth 1.0a the secret of the request token.
    verifier: Secret | None
    #: OAuth 1.0a: what the callback must come back with.
    request_token: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """What the browser came back with, checked: the code, and connection fields such as `realmId`."""

    code: Secret
    fields: Mapping[str, str] = field(default_factory=dict)


class CallbackRefused(Exception):
    """The browser came back without a code we may redeem.

    `error` is a stable word; `str()` a sentence of ours; `detail` the provider's own text, cut to
    `TEXT_LIMIT` characters and free of control characters, to be shown escaped and set apart.
    """

    def __init__(self, error: str, message: str, *, detail: str | None = None) -> None:
        super().__init__(message)
        self.error = error
        self.detail = detail


def begin(
    provider: Provider, scopes: Sequence[str], *, state: Secret | None = None, verifier: Secret | None = None
) -> Begun:
    """Makes the address that asks a person for consent, with a state and a PKCE verifier: fresh ones, unless given."""
    if provider.authorization_url is None:
        raise ValueError("this provider has no authorization endpoint")
    state = state or Secret(_random())
    more: dict[str, str] = {}
    if provider.pkce == "off":
        verifier = None
    else:
        verifier = verifier or Secret(_random())
        more |= {"code_challenge": challenge(verifier), "code_challenge_method": "S256"}
    extra = filled(provider, provider.authorize_params)
    # An empty `scope` there leaves the parameter out: some providers know no scopes.
    extra.setdefault(provider.scope_param, provider.separator.join(dict.fromkeys(scopes)))
    scope = extra.pop("scope", "")
    more |= {name: value for name, value in extra.items() if name not in _OURS and value != ""}
    url = prepare_grant_uri(
        without(provider.authorization_url, {"state", "client_id", "response_type", "redirect_uri", "scope", *more}),
        provider.client_id,
        "code",
        redirect_uri=provider.redirect_uri,
        scope=scope or None,
        state=state.reveal(),
        **more,
    )
    # A space as `+` is right in a form, and read literally by some providers in a query.
    return Begun(url=url.replace("+", "%20"), state=state, verifier=verifier)


def check_callback(provider: Provider, query: Mapping[str, str] | Iterable[tuple[str, str]]) -> Callback:
    """The code in a callback's query. Raises `CallbackRefused`.

    The caller has already found the flow by its state, taken it, and compared cookie and context: an
    error response without a valid state means nothing.
    """
    pairs = list(query.items() if isinstance(query, Mapping) else query)
    given = dict(pairs)
    # RFC 6749 §3.1: no parameter more than once. Which of two codes would be the person's?
    for name in ("code", "state", "iss", "error"):
        if sum(1 for key, _ in pairs if key == name) > 1:
            raise CallbackRefused("invalid_callback", f"The provider's answer has `{name}` more than once.")
    # RFC 9207 §2.4: before anything in the answer is believed, its errors too.
    if provider.issuer is not None and given.get("iss") != provider.issuer:
        raise CallbackRefused("issuer_mismatch", "The answer does not come from the provider that was asked.")
    if given.get("error"):
        raise _refused(given["error"], given.get("error_description"))
    code = given.get("code", "")
    if not code:
        raise CallbackRefused("invalid_callback", "The provider's answer has no code.")
    if len(code) > _CODE_LIMIT or _CODE_TEXT.fullmatch(code) is None:
        raise CallbackRefused("invalid_callback", "The provider's answer has a code that cannot be one.")
    fields = {
        name: given[param][:2048]
        for name, param in provider.copy_from_callback.items()
        if given.get(param) and not _UNSHOWN.search(given[param])
    }
    return Callback(code=Secret(code), fields=fields)


def hash_state(state: str) -> bytes:
    """How a state, a handle or a browser cookie is stored: one that leaks from the database is of no use."""
    return hashlib.sha256(state.encode("utf-8", "surrogatepass")).digest()


def challenge(verifier: Secret) -> str:
    """The S256 code challenge (RFC 7636 §4.2)."""
    return str(create_s256_code_challenge(verifier.reveal()))


def missing_scopes(
    granted: Iterable[str] | None, wanted: Iterable[str], implies: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """The wanted scopes that were not granted; none where nobody knows what was granted.

    `implies` is followed through: `admin` that includes `write` that includes `read` includes `read`.
    """
    if granted is None:
        return ()
    held = _with_implied(granted, implies)
    return tuple(dict.fromkeys(scope for scope in wanted if scope not in held))


def shown(text: str | None) -> str | None:
    """Somebody else's text as it may be shown: one line, no control characters, at most `TEXT_LIMIT` long."""
    cleaned = " ".join(_UNSHOWN.sub(" ", (text or "")[: 4 * TEXT_LIMIT]).split())
    if len(cleaned) > TEXT_LIMIT:
        cleaned = cleaned[: TEXT_LIMIT - 1] + "…"
    return cleaned or None


def _refused(error: str, description: str | None) -> CallbackRefused:
    word = error if error in REFUSALS else "provider_error"
    message = REFUSALS.get(error, "The provider refused.")
    return CallbackRefused(word, message, detail=shown(description) or (shown(error) if word != error else None))


def _with_implied(granted: Iterable[str], implies: Mapping[str, Sequence[str]]) -> set[str]:
    held: set[str] = set()
    waiting = list(granted)
    while waiting:
        scope = waiting.pop()
        if scope not in held:
            held.add(scope)
            waiting.extend(implies.get(scope, ()))
    return held


def without(url: str, names: Collection[str]) -> str:
    """RFC 6749 §3.1: what the address has as a query stays, but for names that we give; it has no fragment."""
    parts = urlsplit(url)
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in names]
    return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(kept, quote_via=quote), ""))


def _random() -> str:
    """256 bits as 43 characters: within the length that RFC 7636 §4.1 allows a verifier."""
    return secrets.token_urlsafe(_RANDOM_BYTES)
