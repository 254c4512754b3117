"""Signing up: an org and its first key in one step, for whomever the operator lets."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from gateway.core.entered import bad_field
from gateway.core.errors import Refusal
from gateway.core.events import OPERATOR, Actor
from gateway.core.tenants.api_keys import shown
from gateway.core.tenants.keys import ApiKey, Org
from gateway.core.tenants.members import Member, MemberStore, Taken, email_of, member_of_identity
from gateway.core.times import iso
from gateway.core.tries import TryStore, network_of, take
from oauth.oidc import Identity, IdTokenRefused, IssuerUnusable, OpenIdProvider
from oauth.secret import Secret

Json = dict[str, Any]
#: Who may make an org: nobody, who has the operator's token, people of the OpenID provider, anybody.
SignUpBy = Literal["off", "operator", "oidc", "open"]

#: Orgs that one address may make in an hour where anybody may.
_MOST = 5
_HOUR = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SignUpWish:
    """The org that somebody wants."""

    org_name: str
    key_name: str | None = None
    email: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrg:
    """What signing up made."""

    org: Org
    member: Member | None
    key: ApiKey | None
    text: Secret | None


class SignUpStore(Protocol):
    """Makes all of it together, or nothing."""

    async def sign_up(
        self,
        org_name: str,
        *,
        plan: str | None,
        by: Actor | None,
        member: Identity | None = None,
        key_name: str | None = None,
        contact: str | None = None,
    ) -> NewOrg:
        """`member` without a subject is one who is invited by their address. `by` None is the member. Raises `Taken`."""
        ...


class SignUp:
    """What `POST /v1/signup` and the page for newcomers ask for."""

    def __init__(
        self,
        *,
        by: SignUpBy,
        token: Secret | None,
        plan: str | None,
        openid: OpenIdProvider | None,
        members: MemberStore,
        store: SignUpStore,
        tries: TryStore,
        clock: Callable[[], float],
    ) -> None:
        self._by = by
        self._token = token
        self._plan = plan
        self._openid = openid
        self._members = members
        self._store = store
        self._tries = tries
        self._clock = clock

    @property
    def is_for_identities(self) -> bool:
        """Whether people of the OpenID provider whom no org knows may make one."""
        return self._by == "oidc"

    async def by_request(self, wish: SignUpWish, *, bearer: str | None, address: str | None) -> Json:
        """An org and its first key, for whoever may. Raises `forbidden`, `unauthorized`, `conflict`, `rate_limited`."""
        email = email_of(wish.email) if wish.email is not None else None
        if wish.email is not None and email is None:
            raise bad_field("email", "The field 'email' must be an address such as ada@example.com.")
        key_name = wish.key_name or "first key"
        match self._by:
            case "off":
                raise Refusal("forbidden", "Sign-up is off here. Ask the operator of this gateway for an org.")
            case "operator":
                self._check_token(bearer)
                member = Identity(issuer="", subject="", email=email) if email else None
                made = await self._made(wish.org_name, by=OPERATOR, member=member, key_name=key_name)
            case "oidc":
                identity = await self._identity(bearer)
                if email is not None and email != email_of(identity.email or ""):
                    raise bad_field("email", "Your provider does not vouch for this address. Leave `email` out.")
                made = await self._made(wish.org_name, by=None, member=identity, key_name=key_name)
            case "open":
                message = "Too many orgs were made from your address. Try again in an hour."
                await take(self._tries, f"sign-up {network_of(address)}", _MOST, _HOUR, message)
                # Nobody knows whose address it is: it makes no member, who could be somebody else.
                somebody = Actor(kind="user", name=email)
                made = await self._made(wish.org_name, by=somebody, key_name=key_name, contact=email)
        return self._shown(made)

    async def by_identity(self, identity: Identity, org_name: str) -> Member:
        """The org of somebody who signed in at the provider; they make keys themselves."""
        if not self.is_for_identities:
            raise Refusal("forbidden", "Sign-up is off here. Ask the operator of this gateway for an org.")
        made = await self._made(org_name, by=None, member=identity)
        assert made.member is not None
        return made.member

    async def _made(self, org_name: str, *, by: Actor | None, member: Identity | None = None, **more: Any) -> NewOrg:
        if member is not None and member.subject and await member_of_identity(self._members, member) is not None:
            raise _conflict()
        try:
            return await self._store.sign_up(org_name, plan=self._plan, by=by, member=member, **more)
        except Taken:
            raise _conflict() from None

    def _check_token(self, bearer: str | None) -> None:
        assert self._token is not None
        if bearer is None or not hmac.compare_digest(_bytes(bearer), _bytes(self._token.reveal())):
            raise Refusal("unauthorized", "Signing up takes the operator's token: `Authorization: Bearer <token>`.")

    async def _identity(self, bearer: str | None) -> Identity:
        assert self._openid is not None
        if bearer is None:
            message = f"Signing up takes an ID token of {self._openid.issuer}: `Authorization: Bearer <token>`."
            raise Refusal("unauthorized", message)
        return await checked_identity(self._openid, bearer)

    def _shown(self, made: NewOrg) -> Json:
        assert made.key is not None and made.text is not None
        org, member = made.org, made.member
        answer: Json = {
            "org": {"id": org.id, "name": org.name, "plan": org.plan, "created_at": iso(org.created_at)},
            "api_key": shown(made.key, self._clock()),
            "full_key": made.text.reveal(),
            "warning": "Save this key now: it is not shown again.",
        }
        if member is not None:
            answer["member"] = {"id": member.id, "email": member.email, "name": member.name}
        return answer


async def checked_identity(openid: OpenIdProvider, token: str) -> Identity:
    """Whoever an ID token is about that came with a request. Raises `unauthorized` or `upstream_unreachable`."""
    return await _checked(openid.identity(token, nonce=None), "ID token")


async def checked_bearer(openid: OpenIdProvider, token: str, audience: str) -> Identity:
    """Whoever an access token is about that was made for `audience`. Raises the same."""
    return await _checked(openid.bearer(token, audience=audience), "access token")


async def _checked(identity: Awaitable[Identity], what: str) -> Identity:
    try:
        return await identity
    except IdTokenRefused as refused:
        raise Refusal("unauthorized", f"This {what} is not accepted: {refused.reason.replace('_', ' ')}.") from None
    except IssuerUnusable as error:
        raise Refusal(
            "upstream_unreachable", "The OpenID provider cannot be reached.", outcome="not_sent", retryable=True
        ) from error


def _bytes(text: str) -> bytes:
    # A header may hold bytes that are no UTF-8.
    return text.encode(errors="surrogateescape")


def _conflict() -> Refusal:
    return Refusal("conflict", "This person is a member of an org already. Sign in instead.")
