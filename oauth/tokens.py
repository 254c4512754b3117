"""What is asked of a token endpoint: exchange, refresh, client credentials, revocation. `token_answers.py` reads the answers."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

from oauth import assertions, texts
from oauth.assertions import KeyRefused
from oauth.connections import Credential
from oauth.http_port import ANSWER_LIMIT, Http, HttpAnswer, HttpRequest, Unreached
from oauth.provider import Provider
from oauth.secret import Secret
from oauth.token_answers import (
    DEAD_GRANTS,
    ClientRefused,
    GrantDead,
    TokenAnswer,
    TokenError,
    Transient,
    error_words,
    failure_of,
    granted,
    parsed_answer,
    says_no,
)

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
#: RFC 7523 §2.1.
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


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
    return granted(answer, provider, Credential(), now)


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
    return granted(answer, provider, credential, now)


async def own_token(http: Http, provider: Provider, *, credential: Credential | None = None, now: float) -> TokenAnswer:
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
    return granted(answer, provider, credential or Credential(), now)


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
    words = [word for word, _ in error_words(parsed_answer(answer) or {}, failed=True)]
    # RFC 7009 §2.2.1: this kind of token cannot be revoked there. A token that is already gone is no failure.
    if answer.status < 500 and ("unsupported_token_type" in words or any(word in DEAD_GRANTS for word in words)):
        return
    raise failure_of(answer)


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
        failure = failure_of(answer)
        if provider.grant == "session" and isinstance(failure, Transient) and answer.status in (401, 403):
            # A login has no standard words for "no", only the status.
            raise GrantDead("login_refused")
        raise failure
    parsed = parsed_answer(answer)
    if parsed is None:
        raise Transient("answer_not_understood")
    if says_no(parsed):
        raise failure_of(answer)
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
