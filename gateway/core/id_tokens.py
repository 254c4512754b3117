"""ID tokens as bearers: a member of the OpenID provider asks, without a key."""

from __future__ import annotations

from gateway.core.access import KEY_MEMORY, Orgs, Plans, principal_of_member
from gateway.core.errors import Refusal
from gateway.core.keys import Principal
from gateway.core.members import MemberStore, member_of_identity
from gateway.core.remember import Remembered
from gateway.core.sign_up import checked_identity
from oauth.oidc import OpenIdProvider


class IdTokens:
    """Resolves ID tokens. Like a key's, a look-up is remembered for two seconds."""

    def __init__(self, openid: OpenIdProvider | None, members: MemberStore, orgs: Orgs, plans: Plans) -> None:
        self._openid = openid
        self._members = members
        self._orgs = orgs
        self._plans = plans
        self._known: Remembered[str, Principal] = Remembered(self._look_up, seconds=KEY_MEMORY, size=2000)

    def is_one(self, bearer: str) -> bool:
        """Whether a bearer says that it is one of these, and not a key."""
        return self._openid is not None and bearer.startswith("ey") and self._openid.is_ours(bearer)

    async def principal(self, token: str) -> Principal:
        """The principal of the token's person. Raises `unauthorized`, or `forbidden` for somebody of no org."""
        return await self._known.get(token)

    async def _look_up(self, token: str) -> Principal:
        assert self._openid is not None
        member = await member_of_identity(self._members, await checked_identity(self._openid, token))
        org = await self._orgs.find(member.org) if member is not None else None
        if member is None or org is None:
            raise Refusal("forbidden", "You are no member of an org here. Ask the operator for an invitation.")
        return principal_of_member(member, org, self._plans)
