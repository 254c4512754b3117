"""What an org has others told: its webhooks, what became of their deliveries, and what signs its callbacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.core.entered import bad_field
from gateway.core.errors import Refusal
from gateway.core.events import KINDS
from gateway.core.ids import new_id
from gateway.core.messages.deliveries import DeliveryStore
from gateway.core.messages.delivering import Post
from gateway.core.messages.signing import SigningSecretStore, new_secret
from gateway.core.messages.webhook import PATTERN, Webhook, WebhookStore
from gateway.core.tenants.access import Plans
from gateway.core.tenants.keys import KeyStore, Principal, TooMany
from oauth.secret import Secret
from skills_catalog.names import nearest

Json = dict[str, Any]

#: Webhooks of one org.
MOST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookWish:
    """A webhook that somebody wants."""

    url: str = field(repr=False)
    events: Sequence[str]
    description: str | None = None


class Webhooks:
    """What the webhook routes ask for, all by principals of full access.

    A member, and a key that the operator or a member made, see all webhooks of their org; a key that was made by
    a key sees those that it or its own keys made. Test keys see those of test keys.
    """

    def __init__(
        self,
        *,
        store: WebhookStore,
        deliveries: DeliveryStore,
        signing_secrets: SigningSecretStore,
        keys: KeyStore,
        plans: Plans,
        post: Post,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._deliveries = deliveries
        self._signing_secrets = signing_secrets
        self._keys = keys
        self._plans = plans
        self._post = post
        self._clock = clock

    async def create(self, principal: Principal, wish: WebhookWish) -> tuple[Json, Secret]:
        """The new webhook, and its secret, which nobody sees a second time. Raises `bad_request` for a URL or a
        pattern that cannot be used, `plan_limit_reached` where the org has too many."""
        self.check_url(wish.url, "url")
        for position, pattern in enumerate(wish.events):
            _check_pattern(pattern, f"events/{position}")
        webhook = Webhook(
            id=new_id("whk"),
            org=principal.org,
            mode=principal.mode,
            url=wish.url,
            events=tuple(wish.events),
            description=wish.description,
            grant=principal.grant,
            key=principal.key.id if principal.key else None,
            by=principal.actor,
            created_at=self._clock(),
        )
        secret = new_secret()
        try:
            await self._store.add(webhook, secret, most=MOST)
        except TooMany:
            raise self._plans.reached(MOST, "webhooks") from None
        return webhook.shown(), secret

    async def list(self, principal: Principal) -> list[Json]:
        """Those that the principal sees, oldest first."""
        return [webhook.shown() for webhook in await self._seen(principal)]

    async def remove(self, principal: Principal, webhook_id: str) -> None:
        """Raises `not_found`, also for another's."""
        await self._find(principal, webhook_id)
        if not await self._store.remove(principal.org, webhook_id, by=principal.actor):
            raise _unknown()

    async def rotate(self, principal: Principal, webhook_id: str) -> tuple[Json, Secret]:
        """A new secret, shown this once; the old one still signs beside it for a day."""
        webhook = await self._find(principal, webhook_id)
        secret = await self._store.rotate(principal.org, webhook_id, by=principal.actor)
        if secret is None:
            raise _unknown()
        return webhook.shown(), secret

    async def enable(self, principal: Principal, webhook_id: str) -> Json:
        """It hears again, from now on what the principal may see."""
        await self._find(principal, webhook_id)
        await self._store.enable(
            principal.org,
            webhook_id,
            grant=principal.grant,
            key=principal.key.id if principal.key else None,
            by=principal.actor,
        )
        return (await self._find(principal, webhook_id)).shown()

    async def deliveries(self, principal: Principal, webhook_id: str, *, limit: int, cursor: str | None) -> Json:
        """What was sent to it and what will be, newest first."""
        await self._find(principal, webhook_id)
        found, following = await self._deliveries.list(principal.org, webhook_id, limit=limit, cursor=cursor)
        shown = {"deliveries": [delivery.shown() for delivery in found]}
        return shown if following is None else {**shown, "next_cursor": following}

    async def replay(self, principal: Principal, webhook_id: str, delivery_id: str) -> Json:
        """Sends it again, under the same id. Raises `conflict` while it is being sent or the webhook is disabled."""
        webhook = await self._find(principal, webhook_id)
        if not webhook.active:
            raise Refusal(
                "conflict",
                f"This webhook is disabled ({webhook.disabled_reason}).",
                hint=f"POST /v1/webhooks/{webhook_id}/enable, then replay.",
            )
        delivery = (
            await self._deliveries.replay(principal.org, webhook_id, delivery_id) if delivery_id.isprintable() else None
        )
        if delivery is None:
            raise Refusal("not_found", "Delivery not found.")
        return delivery.shown()

    async def rotate_signing_secret(self, principal: Principal) -> Secret:
        """A new secret for the org's callbacks, shown this once; the one before still signs beside it for a day."""
        return await self._signing_secrets.rotate(principal.org, principal.mode, by=principal.actor)

    def check_url(self, url: str, field: str) -> None:
        """Raises `bad_request` for a URL that nothing could be sent to; names are judged when something is."""
        mistake = self._post.check(url)
        if mistake is not None:
            raise bad_field(field, f"The field {field!r} cannot be used: {mistake}.")

    async def _find(self, principal: Principal, webhook_id: str) -> Webhook:
        for webhook in await self._seen(principal):
            if webhook.id == webhook_id:
                return webhook
        raise _unknown()

    async def _seen(self, principal: Principal) -> Sequence[Webhook]:
        found = [one for one in await self._store.list(principal.org) if principal.mode in ("live", one.mode)]
        if principal.key is None or principal.key.parent is None:
            return found
        mine, known = {principal.key.id}, 0
        keys = await self._keys.list(principal.org)
        while len(mine) > known:
            known = len(mine)
            mine |= {key.id for key in keys if key.parent in mine}
        return [webhook for webhook in found if webhook.key in mine]


def _check_pattern(pattern: str, path: str) -> None:
    if not PATTERN.fullmatch(pattern):
        raise bad_field(path, "An event looks like `connection.needs_reauth`, `run.*` or `*`.")
    kind = pattern.partition(".")[0]
    if kind != "*" and kind not in KINDS:
        near = nearest(kind, KINDS)
        raise bad_field(path, f"There are no events of the kind {kind!r}." + (f" Did you mean {near!r}?" if near else ""))


def _unknown() -> Refusal:
    return Refusal("not_found", "Webhook not found.")
