"""Talking to a token endpoint: exchange, refresh, client credentials, revocation, and what each answer means.

Nothing here opens a socket: `Http` does, through the same door as every upstream request.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, quote_plus, urlencode

import jmespath
import jmespath.exceptions

from oauth import assertions, texts
from oauth.assertions import KeyRefused
from oauth.connections import Credential
from oauth.provider import Provider
from oauth.secret import Secret

#: Bytes of a token endpoint's answer that are read; real ones have under 10 kB.
ANSWER_LIMIT = 1024 * 1024

_RETRY_AFTER_LIMIT = 3600.0
_TOKEN_LIMIT = 64 * 1024
_FIELD_LIMIT = 2048
#: Beyond a hundred years a lifetime is a mistake or a way to say "never".
_LIFETIME_LIMIT = 100 * 365 * 86400
#: RFC 6749 appendix A.12: tokens are VSCHAR.
_TOKEN_TEXT = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_BUSY_STATUS = frozenset({408, 425, 429})
#: Tokens that a bearer header cannot carry (RFC 9449, the MAC and PoP drafts).
_UNUSABLE_TOKEN_TYPES = frozenset({"mac", "dpop", "pop", "n_a"})
#: RFC 7523 §2.1.
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"

#: What providers call a grant that no longer stands, and the reason that a connection then shows.
#: RFC 6749 §5.2 has `invalid_grant` alone; OpenID Connect Core §3.1.2.6 adds those that need the person.
DEAD_GRANTS: Mapping[str, str] = MappingProxyType(
    {
        "invalid_grant": "invalid_grant",
        "interaction_required": "interaction_required",
        "login_required": "login_required",
        "consent_required": "consent_required",
        # GitHub, with HTTP 200
        "bad_refresh_token": "bad_refresh_token",
        "bad_verification_code": "bad_verification_code",
        # Slack, with HTTP 200 and ok: false
        "invalid_refresh_token": "invalid_refresh_token",
        "token_revoked": "token_revoked",
        "token_expired": "token_expired",
        "invalid_code": "invalid_code",
        "code_already_used": "code_already_used",
        "account_inactive": "account_inactive",
        # HubSpot, in `status`
        "bad_auth_code": "bad_verification_code",
        # Strava, in `errors`
        "refreshtoken.invalid": "invalid_grant",
        "authorizationcode.invalid": "invalid_grant",
        # Meta, in `error.type` and `error.code`
        "oauthexception.190": "invalid_grant",
        # Twitch, in `message`
        "invalid refresh token": "invalid_refresh_token",
    }
)
#: Errors that say "dead" only by their description: X for a used refresh token, Atlassian for an unknown one.
DEAD_DESCRIPTIONS: Sequence[tuple[str, str]] = (
    ("invalid_request", "value passed for the token was invalid"),
    ("unauthorized_client", "refresh_token is invalid"),
    ("unauthorized_client", "unknown or invalid refresh token"),
)
#: Our registration or our request is wrong: only the operator can mend it, and no connection dies of it.
CLIENT_ERRORS: frozenset[str] = frozenset(
    {
        "invalid_client",
        "unauthorized_client",
        "invalid_request",
        "invalid_scope",
        "unsupported_grant_type",
        "unsupported_token_type",
        "unsupported_response_type",
        "invalid_target",
        "incorrect_client_credentials",
        "redirect_uri_mismatch",
        "application_suspended",
        "bad_client_secret",
        "bad_client_id",
        "bad_redirect_uri",
        "invalid_client_id",
        "invalid_client_secret",
        "invalid_redirect_uri",
        "invalid_grant_type",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request to an authorization server. It is not to be redirected, retried or logged."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    #: Seconds for the whole exchange.
    timeout: float
    #: Bytes of the decoded answer worth reading; more may be cut off behind `limit + 1`.
    limit: int = ANSWER_LIMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Unreached(Exception):
    """No answer came. `sent`: the request may have arrived."""

    def __init__(self, *, sent: bool) -> None:
        super().__init__("no answer after the request was sent" if sent else "the request was not sent")
        self.sent = sent


class Http(Protocol):
    """The way out: the door that skills use too."""

    async def exchange(self, request: HttpRequest) -> HttpAnswer:
        """Sends it once and follows no redirect. Raises `Unreached`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAnswer:
    """What an authorization server granted."""

    credential: Credential
    #: None where it did not say.
    scopes: tuple[str, ...] | None = None
    #: Values of connection fields that `copy_from_token` found.
    fields: Mapping[str, str] = field(default_factory=dict)
    #: What an OpenID provider says of the person, not yet checked.
    id_token: Secret | None = None


class TokenError(Exception):
    """There is no token. `reason` is a stable word of ours; nothing of the provider's text is in it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class GrantDead(TokenError):
    """The code or refresh token no longer stands: a person has to connect again."""


class ClientRefused(TokenError):
    """The provider does not take our client or our request: the operator's to mend."""


class Transient(TokenError):
    """Nothing is known about the grant; ask again later."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        #: Seconds the provider asked us to wait.
        self.retry_after = retry_after


async def exchange_code(
    http: Http, provider: Provider, code: Secret, verifier: Secret | None, *, now: float
) -> TokenAnswer:
    """Redeems an authorization code (RFC 6749 §4.1.3, RFC 7636 §4.5). `now` is in unix seconds."""
    params = {
        "grant_type": "authorization_code",
        "code": code.reveal(),
        "redirect_uri": provider.redirect_uri,
    }
    if verifier is not None:
        params["code_verifier"] = verifier.reveal()
    answer = await _ask(http, provider, provider.token_url, params, provider.token_params)
    return _granted(answer, provider, Credential(), now)


async def refresh(http: Http, provider: Provider, credential: Credential, *, now: float) -> TokenAnswer:
    """A new access token for a refresh token (RFC 6749 §6).

    `scope` is not sent: it may only narrow, and providers refuse what was not granted. Where no new
    refresh token comes back, the old one stands.
    """
    if not credential.refresh_token:
        raise GrantDead("no_refresh_token")
    params = {"grant_type": "refresh_token", "refresh_token": credential.refresh_token.reveal()}
    url = provider.refresh_url or provider.token_url
    answer = await _ask(http, provider, url, params, provider.refresh_params)
    return _granted(answer, provider, credential, now)


async def own_token(
    http: Http, provider: Provider, *, credential: Credential | None = None, now: float
) -> TokenAnswer:
    """A token for what proves itself, without a person: a client (RFC 6749 §4.4), a key (RFC 7523), a login.

    `credential` is what the token is added to.
    """
    params: dict[str, str] = {}
    if provider.grant == "client_credentials":
        params["grant_type"] = "client_credentials"
        if wanted := _scopes_of(provider):
            params["scope"] = wanted
    elif provider.grant == "jwt_bearer":
        params = {"grant_type": JWT_BEARER, "assertion": _grant_assertion(provider)}
    assertion = params.get("assertion", "")
    answer = await _ask(http, provider, provider.token_url, params, provider.token_params, assertion=assertion)
    return _granted(answer, provider, credential or Credential(), now)


def is_own_grant(provider: Provider) -> bool:
    """Whether `own_token` gets its tokens, as often as one is needed."""
    return provider.grant in ("client_credentials", "jwt_bearer", "session")


async def revoke(http: Http, provider: Provider, credential: Credential) -> bool:
    """Revokes the refresh token and the access token (RFC 7009); False where the provider has no way to.

    Both are tried before an error is raised. `Transient` asks for another attempt later.
    """
    if provider.revocation_url is None:
        return False
    failure: TokenError | None = None
    for hint, token in (("refresh_token", credential.refresh_token), ("access_token", credential.token)):
        if not token:
            continue
        try:
            await _revoke_one(http, provider, provider.revocation_url, token, hint)
        except TokenError as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return True


async def _revoke_one(http: Http, provider: Provider, url: str, token: Secret, hint: str) -> None:
    request = _request(provider, url, {"token": token.reveal(), "token_type_hint": hint}, {})
    answer = await exchange(http, request)
    if 200 <= answer.status < 300:
        return
    words = [word for word, _ in _error_words(_parsed(answer) or {}, failed=True)]
    # RFC 7009 §2.2.1: this kind of token cannot be revoked there. A token that is already gone is no failure.
    if answer.status < 500 and ("unsupported_token_type" in words or any(word in DEAD_GRANTS for word in words)):
        return
    raise _failure(answer)


async def _ask(
    http: Http,
    provider: Provider,
    url: str,
    params: Mapping[str, str],
    extra: Mapping[str, Any],
    *,
    assertion: str = "",
) -> Mapping[str, Any]:
    """Sends a token request; the answer's object where it is a success. Raises a `TokenError`."""
    answer = await exchange(http, _request(provider, url, params, extra, assertion=assertion))
    if not 200 <= answer.status < 300:
        failure = _failure(answer)
        if provider.grant == "session" and isinstance(failure, Transient) and answer.status in (401, 403):
            # A login has no standard words for "no", only the status.
            raise GrantDead("login_refused")
        raise failure
    parsed = _parsed(answer)
    if parsed is None:
        raise Transient("answer_not_understood")
    if _says_no(parsed):
        raise _failure(answer)
    return parsed


async def exchange(http: Http, request: HttpRequest) -> HttpAnswer:
    """Sends a request to an authorization server; what goes wrong on the way is `Transient`."""
    try:
        # The port has its own time-out; this one makes sure that a lease outlasts even a port that hangs.
        async with asyncio.timeout(request.timeout + 1):
            answer = await http.exchange(request)
    except Unreached as error:
        raise Transient("no_answer" if error.sent else "not_reached") from error
    except TimeoutError as error:
        raise Transient("no_answer") from error
    if len(answer.body) > ANSWER_LIMIT:
        raise Transient("answer_too_large")
    return answer


# -- the request -----------------------------------------------------------------------------------


def _request(
    provider: Provider,
    url: str,
    params: Mapping[str, str],
    extra: Mapping[str, Any],
    *,
    assertion: str = "",
) -> HttpRequest:
    auth_headers, auth_body = _client_auth(provider)
    body: dict[str, Any] = dict(params) | filled(provider, extra, assertion=assertion) | auth_body
    body = {name: value for name, value in body.items() if value != ""}
    own = {name: texts.fill(value, _values(provider, assertion)) for name, value in provider.token_headers.items()}
    if any(_CONTROL.search(value) for value in own.values()):
        raise ClientRefused("unusable_header")
    method, media_type, encoded = provider.token_method, "application/x-www-form-urlencoded", b""
    if method == "GET":
        url += ("&" if "?" in url else "?") + urlencode(_plain(body), quote_via=quote)
    elif provider.token_body == "json":
        media_type, encoded = "application/json", json.dumps(body).encode()
    else:
        encoded = urlencode(_plain(body)).encode()
    typed = {"Content-Type": media_type} if method != "GET" else {}
    headers = _merged({"Accept": "application/json"}, own, typed, auth_headers)
    return HttpRequest(method=method, url=url, headers=headers, body=encoded, timeout=provider.timeout)


def _plain(params: Mapping[str, Any]) -> dict[str, str]:
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in params.items()}


def _merged(*layers: Mapping[str, str]) -> dict[str, str]:
    """Headers of all layers; of one name, in whatever case, the last stands."""
    named = {name.lower(): (name, value) for layer in layers for name, value in layer.items()}
    return dict(named.values())


def filled(provider: Provider, params: Mapping[str, Any], *, assertion: str = "") -> dict[str, Any]:
    """Extra params of a definition with their names filled in; an empty value stays and leaves the param out."""
    values = _values(provider, assertion)
    return {name: texts.fill_json(value, values) for name, value in params.items()}


def _values(provider: Provider, assertion: str = "") -> dict[str, str]:
    return {
        **provider.fields,
        "client_id": provider.client_id or provider.fields.get("client_id", ""),
        "redirect_uri": provider.redirect_uri,
        "token_url": provider.token_url,
        "scopes": _scopes_of(provider),
        "assertion": assertion,
    }


def _scopes_of(provider: Provider) -> str:
    return provider.separator.join(dict.fromkeys((*provider.scopes, *provider.always)))


def _client_auth(provider: Provider) -> tuple[dict[str, str], dict[str, str]]:
    """Headers and body params that say who we are: one way, never two (RFC 6749 §2.3)."""
    if provider.token_auth == "private_key_jwt":
        return {}, {
            "client_id": provider.client_id,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": _client_assertion(provider),
        }
    secret = provider.client_secret.reveal() if provider.client_secret else ""
    if provider.token_auth == "none" or not secret:
        # A key or a login proves itself; that there is no client needs no saying.
        return {}, {"client_id": provider.client_id} if provider.grant not in ("jwt_bearer", "session") else {}
    if provider.token_auth == "post":
        return {}, {"client_id": provider.client_id, "client_secret": secret}
    # RFC 6749 §2.3.1: both parts are form-encoded before they are joined.
    pair = f"{quote_plus(provider.client_id)}:{quote_plus(secret)}"
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}, {}


def _client_assertion(provider: Provider) -> str:
    """A signed statement of who we are, for one server alone (RFC 7523 §3): `aud` has one value."""
    who = {"iss": provider.client_id, "sub": provider.client_id}
    return _signed(provider, {**who, "aud": provider.issuer or provider.token_url})


def _grant_assertion(provider: Provider) -> str:
    """A signed statement of whom the key acts for; a claim whose field is empty is left out."""
    claims = filled(provider, provider.claims)
    named = {name: value for name, value in claims.items() if value != ""}
    return _signed(provider, {"aud": provider.issuer or provider.token_url, **named})


def _signed(provider: Provider, claims: Mapping[str, Any]) -> str:
    try:
        return assertions.signed(claims, provider.private_key, provider.key_id)
    except KeyRefused as error:
        raise ClientRefused(error.reason) from error


# -- the answer ------------------------------------------------------------------------------------


def _granted(answer: Mapping[str, Any], provider: Provider, old: Credential, now: float) -> TokenAnswer:
    holder = _search(provider.token_path, answer) if provider.token_path else answer
    if not isinstance(holder, Mapping):
        raise Transient("no_token_in_answer")
    holder = {**holder, **{name: _search(path, holder) for name, path in provider.token_answer.items()}}
    token = _token(holder.get("access_token"))
    if token is None:
        raise Transient("no_token_in_answer")
    kind = holder.get("token_type")
    if isinstance(kind, str) and kind.strip().lower() in _UNUSABLE_TOKEN_TYPES:
        raise ClientRefused("unusable_token_type")

    lifetime = _lifetime(holder.get("expires_in"))
    if lifetime is None and "expires_at" in provider.token_answer:
        lifetime = _lifetime(_until(holder.get("expires_at"), now))
    if lifetime is None:
        lifetime = provider.lifetime
    credential = replace(
        old,
        token=token,
        refresh_token=_token(holder.get("refresh_token")) or old.refresh_token,
        expires_at=None if lifetime is None else now + lifetime,
        issued_at=now,
    )
    return TokenAnswer(
        credential=credential,
        scopes=_scopes(holder.get("scope"), provider.answer_separator or provider.separator),
        fields=copied(answer, provider.copy_from_token),
        id_token=_token(holder.get("id_token")),
    )


def _token(value: object) -> Secret | None:
    if not isinstance(value, str) or len(value) > _TOKEN_LIMIT or _TOKEN_TEXT.fullmatch(value) is None:
        return None
    return Secret(value)


def _lifetime(value: object) -> float | None:
    """Seconds, or None where the answer does not say. Zero and less are how some say "does not expire"."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 < value <= _LIFETIME_LIMIT else None


def _until(value: object, now: float) -> object:
    """The seconds until a moment, which is a date or unix seconds; None where it is neither."""
    if isinstance(value, str) and not value.isdigit():
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, str):
        value = float(value[:15])
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    # So many seconds lie in the year 5138: then it is milliseconds.
    return (value / 1000 if value > 1e11 else value) - now


def _scopes(value: object, separator: str) -> tuple[str, ...] | None:
    """Granted scopes, or None where the answer does not say; an empty text is not a scope list (§3.3)."""
    if isinstance(value, str):
        parts = value.split(separator.strip() or None)
    elif isinstance(value, list) and all(isinstance(part, str) for part in value):
        parts = value
    else:
        return None
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip())) or None


def copied(answer: Any, wanted: Mapping[str, str]) -> dict[str, str]:
    """The texts and numbers that JMESPaths find in an answer, by the name of the connection field."""
    found = {}
    for name, path in wanted.items():
        value = _search(path, answer)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, str) and 0 < len(value) <= _FIELD_LIMIT and not _CONTROL.search(value):
            found[name] = value
    return found


def _search(path: str, answer: Any) -> Any:
    try:
        return jmespath.search(path, answer)
    except jmespath.exceptions.JMESPathError:
        # The loader checks the expression; what is left are answers that a function in it cannot take.
        return None


def _parsed(answer: HttpAnswer) -> Mapping[str, Any] | None:
    """The answer's object: JSON, or a form (GitHub without `Accept`); None for anything else."""
    try:
        text = answer.body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    try:
        parsed = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return _form(text)
    return parsed if isinstance(parsed, dict) else None


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _form(text: str) -> Mapping[str, Any] | None:
    try:
        pairs = parse_qsl(text.strip(), strict_parsing=True, max_num_fields=100)
    except ValueError:
        return None
    form = dict(pairs)
    return form if len(form) == len(pairs) and ("access_token" in form or "error" in form) else None


def _says_no(parsed: Mapping[str, Any]) -> bool:
    return bool(parsed.get("error")) or parsed.get("ok") is False or bool(parsed.get("errors"))


def _failure(answer: HttpAnswer) -> TokenError:
    """Which kind of "no" it is. Only a refusal that is surely about the grant may end it."""
    wait = retry_after(answer.headers)
    if answer.status in _BUSY_STATUS or answer.status >= 500:
        return Transient(f"http_{answer.status}", wait)
    if 300 <= answer.status < 400:
        return Transient("redirected")

    found = list(_error_words(_parsed(answer) or {}, failed=answer.status >= 400))
    for word, description in found:
        if word in DEAD_GRANTS:
            return GrantDead(DEAD_GRANTS[word])
        if any(word == error and part in description for error, part in DEAD_DESCRIPTIONS):
            return GrantDead("invalid_grant")
    for word, _ in found:
        if word in CLIENT_ERRORS:
            return ClientRefused(word)
    return Transient("answer_not_understood" if not found else "unknown_error", wait)


def _error_words(parsed: Mapping[str, Any], *, failed: bool) -> Iterator[tuple[str, str]]:
    """Whatever in an answer may be an error code, in lower case, each with its description."""
    description = _text(parsed.get("error_description"))
    error = parsed.get("error")
    if isinstance(error, str):
        yield _text(error), description
    elif isinstance(error, dict):
        yield from _nested(error)
    errors = parsed.get("errors")
    if isinstance(errors, list):
        for each in errors[:8]:
            if isinstance(each, dict):
                yield from _nested(each)
    if failed:
        # In an answer of 200 these words are not about an error.
        for name in ("status", "code", "error_code", "message"):
            if isinstance(parsed.get(name), str):
                yield _text(parsed[name]), description


def _nested(error: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    description = _text(error.get("message")) or _text(error.get("description"))
    kind = error.get("type") or error.get("resource")
    if isinstance(kind, str) and isinstance(error.get("code"), (str, int)):
        yield _text(f"{kind}.{error['code']}"), description
    for name in ("error", "errorType", "type", "code", "status"):
        if isinstance(error.get(name), str):
            yield _text(error[name]), description


def _text(value: object) -> str:
    return value[:500].strip().lower() if isinstance(value, str) else ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks us to wait, within reason; None where it does not."""
    value = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), _RETRY_AFTER_LIMIT)
    try:
        seconds = parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), _RETRY_AFTER_LIMIT)
