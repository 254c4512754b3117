"""Who asks, and may they: a key becomes a principal, a principal's grant is held against a call."""

from __future__ import annotations

from collections.abc import Callable

from gateway.core import keys
from gateway.core.errors import Refusal
from gateway.core.keys import ApiKey, KeyStore, Org, Principal
from gateway.core.remember import Remembered

#: How long a revoked key may still work on another replica, seconds.
KEY_MEMORY = 2.0


class Access:
    """Resolves keys. A look-up is remembered for two seconds: so long may a revoked key still work."""

    def __init__(self, store: KeyStore, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._known: Remembered[bytes, tuple[ApiKey, Org] | None] = Remembered(store.find_by_hash, seconds=KEY_MEMORY)
        self._clock = clock

    async def principal(self, key: str) -> Principal:
        """The principal of a key's text. Raises `Refusal` with `api_key_invalid`, `_revoked` or `_expired`."""
        digest = keys.digest(key)
        found = self._known.peek(digest)
        # The checksum first: noise costs no look-up.
        if found is None and keys.is_well_formed(key):
            found = await self._known.get(digest)
        if found is None:
            raise Refusal("api_key_invalid", "Invalid API key. Check that it was copied whole.")
        api_key, org = found
        if api_key.revoked_at is not None:
            raise Refusal("api_key_revoked", "This API key has been revoked.")
        if api_key.expires_at is not None and api_key.expires_at <= self._clock():
            raise Refusal("api_key_expired", "This API key has expired.")
        if org.suspended_at is not None:
            raise Refusal("forbidden", "This organisation is suspended. Ask the operator of this gateway.")
        self._store.note_use(org.id, api_key.id)
        return Principal(org=org.id, org_name=org.name, key=api_key)


def check_live(principal: Principal) -> None:
    """Raises `forbidden` for a test key: what it may do reaches no upstream and no account."""
    if principal.mode == "test":
        raise Refusal(
            "forbidden", "A test key connects no accounts: its calls are answered without one. Use a live key."
        )


def check_scope(principal: Principal, slug: str) -> None:
    """Raises `scope_not_allowed` where the key's grant leaves the integration out."""
    if not principal.grant.allows_integration(slug):
        raise Refusal("scope_not_allowed", f"API key does not have access to the {slug} integration.")
