"""Tokens of the OpenID provider as bearers: a member asks, without a key."""

from __future__ import annotations

from gateway.core.errors import Refusal
from gateway.core.people.sign_up import checked_bearer, checked_identity
from gateway.core.remember import Remembered
from gateway.core.tenants.access import KEY_MEMORY, Orgs, Plans, principal_of_member
from gateway.core.tenants.keys import Principal
from gateway.core.tenants.members import MemberStore, member_of_identity
from oauth.oidc import Identity, OpenIdProvider


def resource_of(public_url: str) -> str:
    """What access tokens are made for (RFC 8707): the address that MCP clients ask."""
    return f"{public_url}/mcp"


class IdTokens:
    """Resolves ID tokens, and access tokens made for us. Like a key's, a look-up is remembered for two seconds."""

    def __init__(
        self, openid: OpenIdProvider | None, members: MemberStore, orgs: Orgs, plans: Plans, resource: str
    ) -> None:
        self._openid = openid
        self._members = members
        self._orgs = orgs
        self._plans = plans
        #: What an access token must be made for: the address that MCP clients ask.
        self._resource = resource
        self._known: Remembered[str, Principal] = Remembered(self._of_id_token, seconds=KEY_MEMORY, size=2000)
        self._bearers: Remembered[str, Principal] = Remembered(self._of_bearer, seconds=KEY_MEMORY, size=2000)

    def is_one(self, bearer: str) -> bool:
        """Whether a bearer says that it is one of these, and not a key."""
        return self._openid is not None and bearer.startswith("ey") and self._openid.is_ours(bearer)

    async def principal(self, token: str) -> Principal:
        """The principal of the token's person. Raises `unauthorized`, or `forbidden` for somebody of no org."""
        return await self._known.get(token)

    async def bearer(self, token: str) -> Principal:
        """The principal of an access token's person. Raises the same."""
        return await self._bearers.get(token)

    async def _of_id_token(self, token: str) -> Principal:
        assert self._openid is not None
        return await self._member(await checked_identity(self._openid, token))

    async def _of_bearer(self, token: str) -> Principal:
        assert self._openid is not None
        return await self._member(await checked_bearer(self._openid, token, self._resource))

    async def _member(self, identity: Identity) -> Principal:
        member = await member_of_identity(self._members, identity)
        org = await self._orgs.find(member.org) if member is not None else None
        if member is None or org is None:
            raise Refusal("forbidden", "You are no member of an org here. Ask the operator for an invitation.")
        return principal_of_member(member, org, self._plans)
