"""OAuth 1.0a (RFC 5849): request token, consent, access token, and the signature of every request."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from authlib.oauth1.rfc5849.parameters import prepare_headers
from authlib.oauth1.rfc5849.signature import hmac_sha1_signature, normalize_base_string_uri, normalize_parameters
from authlib.oauth1.rfc5849.util import escape

from oauth.connections import Credential
from oauth.flow import Begun, Callback, CallbackRefused, shown, without
from oauth.http_port import Http, HttpAnswer, HttpRequest
from oauth.provider import Provider, SignatureMethod
from oauth.secret import Secret
from oauth.token_answers import ClientRefused, GrantDead, TokenAnswer, TokenError, Transient, copied, retry_after
from oauth.tokens import exchange, filled

FORM = "application/x-www-form-urlencoded"
#: RFC 5849 says nothing of how tokens look; what cannot stand in a header or a form is none.
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Whose requests they are: our client at the provider, and the token that it was given."""

    client_id: str
    client_secret: Secret | None = None
    token: Secret | None = None
    token_secret: Secret | None = None
    method: SignatureMethod = "HMAC-SHA1"

    def authorization(
        self,
        method: str,
        url: str,
        *,
        form: bytes | None = None,
        callback: str | None = None,
        verifier: Secret | None = None,
    ) -> str:
        """The `Authorization` header of one request; `form` is its body where that is a form, else nothing of it.

        Every call has a nonce and a time of its own (RFC 5849 §3.3).
        """
        protocol = [
            ("oauth_consumer_key", self.client_id),
            ("oauth_nonce", secrets.token_urlsafe(16)),
            ("oauth_signature_method", self.method),
            ("oauth_timestamp", str(int(time.time()))),
            ("oauth_version", "1.0"),
            *((name, value) for name, value in _optional(self.token, callback, verifier) if value),
        ]
        # §3.4.1.3.1: the query, the protocol's own params, and the body where it is a form.
        query = parse_qsl(urlsplit(url).query, keep_blank_values=True)
        sent = parse_qsl(form.decode(), keep_blank_values=True) if form else []
        base = "&".join(
            escape(part)
            for part in (method.upper(), normalize_base_string_uri(url), normalize_parameters([*query, *sent, *protocol]))
        )
        signature = self._signed(base)
        return str(prepare_headers([*protocol, ("oauth_signature", signature)])["Authorization"])

    def _signed(self, base: str) -> str:
        client, token = _text(self.client_secret), _text(self.token_secret)
        if self.method == "HMAC-SHA1":
            return str(hmac_sha1_signature(base, client, token))
        key = f"{escape(client)}&{escape(token)}".encode()
        return base64.b64encode(hmac.digest(key, base.encode(), hashlib.sha256)).decode()


async def begin(http: Http, provider: Provider, scopes: Iterable[str]) -> Begun:
    """Asks for a request token and makes the address that asks a person for consent (§2.1, §2.2).

    The callback carries a state of ours: it binds the flow to the browser as firmly as with OAuth 2, whatever the
    provider's tokens look like. Raises a `TokenError`.
    """
    if provider.authorization_url is None or provider.request_token_url is None:
        raise ValueError("this provider has no OAuth 1.0a endpoints")
    state = Secret(secrets.token_urlsafe(32))
    callback = f"{provider.redirect_uri}?{urlencode({'state': state.reveal()})}"
    answer = await _ask(http, provider, provider.request_token_url, _signer(provider), callback=callback)
    if answer.get("oauth_callback_confirmed") != "true":
        # Without it the server speaks the first 1.0, which a session can be fixed with.
        raise ClientRefused("callback_not_confirmed")
    token, token_secret = _pair(answer)
    given = {"oauth_token": token.reveal(), **filled(provider, provider.authorize_params)}
    scope = provider.separator.join(dict.fromkeys(scopes))
    if scope and provider.scope_param not in given:
        given[provider.scope_param] = scope
    given = {name: value for name, value in given.items() if value != ""} | {"oauth_token": token.reveal()}
    address = without(provider.authorization_url, given)
    joint = "&" if urlsplit(address).query else "?"
    return Begun(
        url=f"{address}{joint}{urlencode(given, quote_via=quote)}", state=state, verifier=token_secret, request_token=token
    )


def check_callback(
    provider: Provider, request_token: Secret, query: Mapping[str, str] | Iterable[tuple[str, str]]
) -> Callback:
    """The verifier in a callback's query. Raises `CallbackRefused`.

    The caller has already found the flow by its state, taken it, and compared cookie and context.
    """
    pairs = list(query.items() if isinstance(query, Mapping) else query)
    given = dict(pairs)
    for name in ("oauth_token", "oauth_verifier", "state", "denied"):
        if sum(1 for key, _ in pairs if key == name) > 1:
            raise CallbackRefused("invalid_callback", f"The provider's answer has `{name}` more than once.")
    token = given.get("oauth_token") or given.get("denied", "")
    if not hmac.compare_digest(token.encode("utf-8", "surrogatepass"), request_token.reveal().encode()):
        raise CallbackRefused("issuer_mismatch", "The answer does not belong to the token that was asked for.")
    verifier = given.get("oauth_verifier", "")
    if given.get("denied") or not verifier:
        # The standard has no word for "no": some say `denied`, some `oauth_problem`, some nothing.
        detail = shown(given.get("oauth_problem"))
        raise CallbackRefused("access_denied", "Access was not granted.", detail=detail)
    if _TOKEN.fullmatch(verifier) is None:
        raise CallbackRefused("invalid_callback", "The provider's answer has a verifier that cannot be one.")
    fields = {
        name: given[param][:2048]
        for name, param in provider.copy_from_callback.items()
        if given.get(param) and shown(given[param]) == given[param]
    }
    return Callback(code=Secret(verifier), fields=fields)


async def exchange_verifier(
    http: Http, provider: Provider, request_token: Secret, token_secret: Secret, verifier: Secret, *, now: float
) -> TokenAnswer:
    """The access token for a request token that a person has agreed to (§2.3). Raises a `TokenError`."""
    signer = _signer(provider, token=request_token, token_secret=token_secret)
    answer = await _ask(http, provider, provider.token_url, signer, verifier=verifier)
    token, secret = _pair(answer)
    credential = Credential(token=token, token_secret=secret, issued_at=now)
    return TokenAnswer(credential=credential, fields=copied(answer, provider.copy_from_token))


def signer_of(method: SignatureMethod, credential: Credential) -> Signer:
    """What requests of a connection are signed with; the credential holds our client beside the token."""
    return Signer(
        client_id=credential.client_id or "",
        client_secret=credential.client_secret,
        token=credential.token,
        token_secret=credential.token_secret,
        method=method,
    )


def _signer(provider: Provider, *, token: Secret | None = None, token_secret: Secret | None = None) -> Signer:
    return Signer(
        client_id=provider.client_id,
        client_secret=provider.client_secret,
        token=token,
        token_secret=token_secret,
        method=provider.signature,
    )


async def _ask(
    http: Http,
    provider: Provider,
    url: str,
    signer: Signer,
    *,
    callback: str | None = None,
    verifier: Secret | None = None,
) -> Mapping[str, Any]:
    header = signer.authorization("POST", url, callback=callback, verifier=verifier)
    request = HttpRequest(
        method="POST",
        url=url,
        headers={"Accept": FORM, "Authorization": header},
        body=b"",
        timeout=provider.timeout,
    )
    answer = await exchange(http, request)
    if not 200 <= answer.status < 300:
        raise _failure(answer, has_token=signer.token is not None)
    try:
        pairs = parse_qsl(answer.body.decode("ascii").strip(), strict_parsing=True, max_num_fields=100)
    except ValueError:
        raise Transient("answer_not_understood") from None
    if len(dict(pairs)) != len(pairs):
        raise Transient("answer_not_understood")
    return dict(pairs)


def _failure(answer: HttpAnswer, *, has_token: bool) -> TokenError:
    """RFC 5849 §3.2: 400 for what was asked wrongly, 401 for who asked. What else it says has no form."""
    if answer.status in (400, 401, 403):
        # With a token in hand it may be the token, which is used up, or its person who said no.
        return GrantDead("token_rejected") if has_token else ClientRefused("consumer_key_rejected")
    if 300 <= answer.status < 400:
        return Transient("redirected")
    return Transient(f"http_{answer.status}", retry_after(answer.headers))


def _pair(answer: Mapping[str, Any]) -> tuple[Secret, Secret]:
    token, secret = answer.get("oauth_token", ""), answer.get("oauth_token_secret", "")
    if _TOKEN.fullmatch(token) is None or not (secret == "" or _TOKEN.fullmatch(secret)):
        raise Transient("no_token_in_answer")
    return Secret(token), Secret(secret)


def _optional(token: Secret | None, callback: str | None, verifier: Secret | None) -> list[tuple[str, str]]:
    return [("oauth_token", _text(token)), ("oauth_callback", callback or ""), ("oauth_verifier", _text(verifier))]


def _text(secret: Secret | None) -> str:
    return secret.reveal() if secret is not None else ""
