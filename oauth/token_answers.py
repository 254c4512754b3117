"""What an answer of a token endpoint means: a token, a grant that is dead, a client that is refused, or nothing yet."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl

import jmespath
import jmespath.exceptions

from oauth.connections import Credential
from oauth.http_port import HttpAnswer
from oauth.provider import Provider
from oauth.secret import Secret

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


def granted(answer: Mapping[str, Any], provider: Provider, old: Credential, now: float) -> TokenAnswer:
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


def parsed_answer(answer: HttpAnswer) -> Mapping[str, Any] | None:
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


def says_no(parsed: Mapping[str, Any]) -> bool:
    return bool(parsed.get("error")) or parsed.get("ok") is False or bool(parsed.get("errors"))


def failure_of(answer: HttpAnswer) -> TokenError:
    """Which kind of "no" it is. Only a refusal that is surely about the grant may end it."""
    wait = retry_after(answer.headers)
    if answer.status in _BUSY_STATUS or answer.status >= 500:
        return Transient(f"http_{answer.status}", wait)
    if 300 <= answer.status < 400:
        return Transient("redirected")

    found = list(error_words(parsed_answer(answer) or {}, failed=answer.status >= 400))
    for word, description in found:
        if word in DEAD_GRANTS:
            return GrantDead(DEAD_GRANTS[word])
        if any(word == error and part in description for error, part in DEAD_DESCRIPTIONS):
            return GrantDead("invalid_grant")
    for word, _ in found:
        if word in CLIENT_ERRORS:
            return ClientRefused(word)
    return Transient("answer_not_understood" if not found else "unknown_error", wait)


def error_words(parsed: Mapping[str, Any], *, failed: bool) -> Iterator[tuple[str, str]]:
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
