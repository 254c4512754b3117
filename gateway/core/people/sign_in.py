"""Signing in: by a link that the operator made, or at the OpenID provider, whose people may be members already."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

from gateway.core.errors import Refusal
from gateway.core.events import Actor
from gateway.core.people.sessions import Sessions
from gateway.core.people.sign_up import SignUp
from gateway.core.tenants.access import Orgs, check_serving
from gateway.core.tenants.keys import Org
from gateway.core.tenants.members import Member, MemberStore, member_of_identity
from gateway.core.tries import TryStore, network_of, take
from oauth import flow as oauth_flow
from oauth import tokens
from oauth.flow import CallbackRefused, hash_state
from oauth.http_port import Http
from oauth.oidc import SCOPES, Identity, IdTokenRefused, IssuerUnusable, OpenIdProvider
from oauth.secret import Secret
from oauth.token_answers import TokenError

log = logging.getLogger("skillway.sign_in")

#: Seconds in which a link works, and in which a person comes back from the provider, or names their org.
LINK_LIFETIME = 24 * 3600.0
FLOW_LIFETIME = 600.0
#: Times that people at one address may set out for the provider in an hour: an office, but no flood.
_MOST_BEGUN, _HOUR = 1000, 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInFlow:
    """Somebody on the way to the provider or, with an identity, back from it and of no org yet."""

    #: Hash of the browser's cookie.
    browser: bytes
    #: The page of ours that they came from.
    next: str
    identity: Identity | None = None
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """Where the browser goes, and what it takes along: a session's cookie, or a handle for making an org."""

    next: str
    cookie: Secret | None = None
    handle: str | None = field(default=None, repr=False)


class LinkStore(Protocol):
    """Where sign-in links are kept, one a member, by their hash."""

    async def make(self, member: Member, digest: bytes, *, expires_at: float, by: Actor) -> None:
        """Replaces the one before."""
        ...

    async def find(self, digest: bytes) -> Member | None: ...

    async def take(self, digest: bytes) -> Member | None:
        """Uses it up: given out once, and never when it is over."""
        ...


class SignInFlowStore(Protocol):
    """Where sign-in flows are kept, by the hash of their state or handle."""

    async def add(self, flow: SignInFlow, digest: bytes) -> None: ...

    async def find(self, digest: bytes) -> SignInFlow | None: ...

    async def take(self, digest: bytes) -> SignInFlow | None:
        """Uses it up: given out once, and never when it is over."""
        ...


class SignIn:
    """What the sign-in pages ask for. Raises `Refusal` wherever nobody is let in."""

    def __init__(
        self,
        *,
        members: MemberStore,
        orgs: Orgs,
        sessions: Sessions,
        links: LinkStore,
        flows: SignInFlowStore,
        sign_up: SignUp,
        tries: TryStore,
        openid: OpenIdProvider | None,
        http: Http,
        public_url: str,
        key: bytes,
        clock: Callable[[], float],
    ) -> None:
        self._members = members
        self._orgs = orgs
        self._sessions = sessions
        self._links = links
        self._flows = flows
        self._sign_up = sign_up
        self._tries = tries
        self._openid = openid
        self._http = http
        self._redirect_uri = redirect_uri(public_url)
        self._key = key
        self._clock = clock

    @property
    def has_provider(self) -> bool:
        """Whether people can come by an OpenID provider."""
        return self._openid is not None

    async def link(self, token: str) -> tuple[Member, Org]:
        """Whom a link signs in, and for which org. Nothing is used up."""
        member = await self._links.find(hash_state(token))
        if member is None:
            raise _link_over()
        return member, await self._serving(member)

    async def use_link(self, token: str, *, instead_of: str | None) -> Secret:
        """The cookie of a new session, for a link that works once."""
        # First: a link of an org that is suspended is still good afterwards.
        await self.link(token)
        member = await self._links.take(hash_state(token))
        if member is None:
            raise _link_over()
        return await self._sessions.start(member, instead_of=instead_of)

    async def begin(self, next: str, browser: str, *, address: str | None) -> str:
        """The provider's address for this browser to go to. Raises `rate_limited`."""
        openid = self._provider()
        message = "Too many sign-ins were begun from your address. Try again later."
        await take(self._tries, f"sign-ins {network_of(address)}", _MOST_BEGUN, _HOUR, message)
        state = Secret(secrets.token_urlsafe(32))
        try:
            provider = await openid.provider(self._redirect_uri)
        except IssuerUnusable as error:
            raise _unusable(error) from error
        provider = replace(provider, authorize_params={"nonce": self._derived("nonce", state.reveal())})
        begun = oauth_flow.begin(provider, SCOPES, state=state, verifier=self._verifier(state.reveal()))
        flow = SignInFlow(browser=hash_state(browser), next=next, expires_at=self._clock() + FLOW_LIFETIME)
        await self._flows.add(flow, hash_state(state.reveal()))
        return begun.url

    async def come_back(
        self, query: Iterable[tuple[str, str]], browser: str | None, *, instead_of: str | None
    ) -> Arrival:
        """The provider sent the browser back: signed in, or known and without an org."""
        pairs = list(query)
        state = next((value for name, value in pairs if name == "state"), "")
        flow = await self._flows.take(hash_state(state)) if state else None
        if flow is None or flow.identity is not None or not _is_same(browser, flow):
            raise _flow_over()
        identity = await self._identity(pairs, state)
        member = await member_of_identity(self._members, identity)
        if member is not None:
            await self._serving(member)
            return Arrival(next=flow.next, cookie=await self._sessions.start(member, instead_of=instead_of))
        if not self._sign_up.is_for_identities:
            raise Refusal("forbidden", "No org has invited you yet. Ask the operator, or a member, for an invitation.")
        handle = secrets.token_urlsafe(32)
        known = replace(flow, identity=identity, expires_at=self._clock() + FLOW_LIFETIME)
        await self._flows.add(known, hash_state(handle))
        return Arrival(next=flow.next, handle=handle)

    async def newcomer(self, handle: str, browser: str | None) -> Identity:
        """Who is about to make an org. Nothing is used up."""
        flow = await self._flows.find(hash_state(handle))
        if flow is None or flow.identity is None or not _is_same(browser, flow):
            raise _flow_over()
        return flow.identity

    async def sign_up(
        self, handle: str, browser: str | None, org_name: str, *, instead_of: str | None
    ) -> Arrival:
        """The org of a newcomer, who is its first member and signed in."""
        await self.newcomer(handle, browser)
        flow = await self._flows.take(hash_state(handle))
        if flow is None or flow.identity is None:
            raise _flow_over()
        member = await self._sign_up.by_identity(flow.identity, org_name)
        return Arrival(next=flow.next, cookie=await self._sessions.start(member, instead_of=instead_of))

    async def _identity(self, pairs: list[tuple[str, str]], state: str) -> Identity:
        openid = self._provider()
        try:
            provider = await openid.provider(self._redirect_uri)
            if any(name == "iss" for name, _ in pairs):
                provider = replace(provider, issuer=openid.issuer)
            back = oauth_flow.check_callback(provider, pairs)
            answer = await tokens.exchange_code(
                self._http, provider, back.code, self._verifier(state), now=self._clock()
            )
            if answer.id_token is None or answer.credential.token is None:
                raise IdTokenRefused("missing")
            identity = await openid.identity(answer.id_token.reveal(), nonce=self._derived("nonce", state))
            return await openid.described(identity, answer.credential.token)
        except CallbackRefused as refused:
            detail = f" Your provider says: “{refused.detail}”" if refused.detail else ""
            raise Refusal("forbidden", f"{refused}{detail}") from None
        except IssuerUnusable as error:
            raise _unusable(error) from error
        except (IdTokenRefused, TokenError) as error:
            log.warning("a sign-in was refused: %s", error.reason)
            raise Refusal("forbidden", "What your provider said of you cannot be trusted. Try again.") from None

    async def _serving(self, member: Member) -> Org:
        org = await self._orgs.find(member.org)
        assert org is not None
        check_serving(org)
        return org

    def _provider(self) -> OpenIdProvider:
        if self._openid is None:
            raise Refusal("forbidden", "This gateway has no OpenID provider to sign in with.")
        return self._openid

    def _verifier(self, state: str) -> Secret:
        return Secret(self._derived("verifier", state))

    def _derived(self, what: str, state: str) -> str:
        """Made of the state by a key that never leaves the process: it need not be stored, and nobody can guess it."""
        made = hmac.digest(self._key, f"{what}\0{state}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(made).rstrip(b"=").decode()


def redirect_uri(public_url: str) -> str:
    """What to register at the OpenID provider."""
    return f"{public_url}/sign-in/callback"


def _is_same(browser: str | None, flow: SignInFlow) -> bool:
    return browser is not None and hmac.compare_digest(hash_state(browser), flow.browser)


def _link_over() -> Refusal:
    return Refusal("flow_expired", "This link was used, is too old, or was replaced by a newer one.")


def _flow_over() -> Refusal:
    return Refusal("flow_expired", "This sign-in is over, was already used, or belongs to another browser. Start again.")


def _unusable(error: IssuerUnusable) -> Refusal:
    log.error("the OpenID provider cannot be used: %s", error)
    return Refusal("upstream_unreachable", "Your provider cannot be reached. Try again in a moment.", outcome="not_sent")
