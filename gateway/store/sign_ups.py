"""Sign-ups: an org, its first member and its first key in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.core.events import Actor
from gateway.core.ids import new_id
from gateway.core.people.sign_up import NewOrg
from gateway.core.tenants.grants import Grant
from gateway.core.tenants.keys import Org
from gateway.core.tenants.members import Member, Taken, email_of
from gateway.store.database import AlreadyThere, Database
from gateway.store.keys import insert_key, new_key
from gateway.store.members import insert_member
from gateway.store.orgs import insert_org
from oauth.oidc import Identity


class SqlSignUps:
    """Sign-ups in the database; implements `SignUpStore`."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

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
        now = self._clock()
        org = Org(id=new_id("org"), name=org_name, plan=plan, created_at=now)
        first = None if member is None else _first(org, member, now)
        actor = by or (first.actor if first is not None else None)
        assert actor is not None
        key, text = (None, None) if key_name is None else new_key(org.id, key_name, "live", Grant(), now=now)
        try:
            async with self._database.transaction() as transaction:
                await insert_org(transaction, org, by=actor, **({"contact": contact} if contact else {}))
                if first is not None:
                    await insert_member(transaction, first, by=by)
                if key is not None and text is not None:
                    await insert_key(transaction, key, text, by=actor)
        except AlreadyThere:
            raise Taken from None
        return NewOrg(org=org, member=first, key=key, text=text)


def _first(org: Org, identity: Identity, now: float) -> Member:
    return Member(
        id=new_id("mem"),
        org=org.id,
        email=email_of(identity.email or ""),
        name=identity.name,
        issuer=identity.issuer or None,
        subject=identity.subject or None,
        created_at=now,
    )
