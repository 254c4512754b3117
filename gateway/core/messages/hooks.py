"""What upstreams tell us: a URL for each, messages proven by its definition, every one an event, once."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.core.catalogs import Catalogs
from gateway.core.connections.connections import Connections
from gateway.core.entered import bad_field
from gateway.core.errors import Refusal
from gateway.core.events import Actor, Event
from gateway.core.ids import new_id
from gateway.core.messages.hook_challenges import (
    ACKNOWLEDGED,
    LONGEST_IN_QUERY,
    RECEIVED,
    Reply,
    answered,
    challenges_of,
    echo,
    search,
    verify_token,
)
from gateway.core.messages.hook_signatures import Message, NotSigned, key_of, verify, waste
from gateway.core.strict_json import NotStrictJson, parse
from gateway.core.tenants.access import Plans, check_scope
from gateway.core.tenants.keys import Mode, Principal, TooMany
from gateway.core.times import iso
from oauth.secret import Secret
from skills_catalog.model import Integration

Json = dict[str, Any]

#: Hooks of one org.
MOST = 200
#: Bytes of a message.
MOST_BODY = 1024 * 1024
#: Seconds for which the same message is known again.
_REMEMBERED = 86400.0
_LONGEST_NAME = 100
#: What may stand in an event's type.
_UNUSUAL = re.compile(r"[^A-Za-z0-9._:/-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """Where one upstream tells an org what happens there. Times are unix seconds."""

    id: str
    org: str
    mode: Mode
    integration: str
    #: The connection that its events are about, and that one's user; None where they are about the whole org.
    connection: str | None = None
    user: str | None = None
    by: Actor
    created_at: float
    has_secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A hook by its URL, with what the upstream signs with."""

    hook: Hook
    secret: Secret | None = field(repr=False)
    suspended: bool = False


class HookStore(Protocol):
    """Where hooks are kept. Every change leaves an event in the same transaction."""

    async def add(self, hook: Hook, token: bytes, secret: Secret | None, *, most: int) -> None:
        """`token` is a hash. Raises `TooMany` where the org has `most`."""
        ...

    async def list(self, org: str) -> Sequence[Hook]:
        """Oldest first."""
        ...

    async def set_secret(self, org: str, hook_id: str, secret: Secret, *, by: Actor) -> bool: ...

    async def remove(self, org: str, hook_id: str, *, by: Actor) -> bool: ...

    async def by_token(self, token: bytes) -> Found | None:
        """Only this has no org: it is what finds the org."""
        ...

    async def keep(self, hook: Hook, event: Event, names: Sequence[str], *, seconds: float) -> bool:
        """Keeps what came in, in one transaction with the names that it is known by from now on.

        False, and keeps nothing, where it is known by one of them already.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HookWish:
    """A hook that somebody wants."""

    integration: str
    connection: str | None = None
    secret: Secret | None = None


class Hooks:
    """What the hook routes ask for, and what upstreams send."""

    def __init__(
        self,
        *,
        store: HookStore,
        catalogs: Catalogs,
        connections: Connections,
        plans: Plans,
        public_url: str,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._catalogs = catalogs
        self._connections = connections
        self._plans = plans
        self._public_url = public_url
        self._clock = clock

    async def create(self, principal: Principal, wish: HookWish) -> Json:
        """The new hook with its URL, which is shown this once.

        Raises `bad_request` where the integration sends nothing that is described, or the secret is none.
        """
        check_scope(principal, wish.integration)
        integration = self._integration(wish.integration)
        _check_secret(integration, wish.secret)
        user = await self._user(principal, wish)
        token = secrets.token_urlsafe(32)
        hook = Hook(
            id=new_id("hook"),
            org=principal.org,
            mode=principal.mode,
            integration=wish.integration,
            connection=wish.connection,
            user=user,
            by=principal.actor,
            created_at=self._clock(),
            has_secret=wish.secret is not None,
        )
        try:
            await self._store.add(hook, _digest(token), wish.secret, most=MOST)
        except TooMany:
            raise self._plans.reached(MOST, "hooks") from None
        shown = {**self._shown(hook), "url": self._url(token), "warning": "Save this URL now: it is not shown again."}
        if any("token_param" in challenge for challenge in challenges_of(integration)):
            shown["verify_token"] = verify_token(token)
        return shown

    async def list(self, principal: Principal) -> list[Json]:
        """Those that the principal's grant reaches, oldest first."""
        return [self._shown(hook) for hook in await self._of(principal) if _may_see(principal, hook)]

    async def set_secret(self, principal: Principal, hook_id: str, secret: Secret) -> Json:
        """What the upstream signs with from now on. Raises `not_found`, `forbidden`, `bad_request`."""
        hook = await self._find(principal, hook_id)
        _check_secret(self._integration(hook.integration), secret)
        if not await self._store.set_secret(principal.org, hook_id, secret, by=principal.actor):
            raise _unknown()
        return self._shown(await self._find(principal, hook_id))

    async def remove(self, principal: Principal, hook_id: str) -> None:
        """Its URL is unknown from now on. Raises `not_found`, `forbidden`."""
        await self._find(principal, hook_id)
        if not await self._store.remove(principal.org, hook_id, by=principal.actor):
            raise _unknown()

    async def receive(
        self, token: str, method: str, query: Mapping[str, str], headers: Mapping[str, Sequence[str]], body: bytes
    ) -> Reply:
        """Takes in what an upstream sent; when it returns, that is durable. Gives back what it has to be answered.

        Raises `not_found` for a URL that nobody has, `unauthorized` for what the upstream did not sign.
        """
        found, integration = await self._of_token(token)
        if found is None or integration is None or integration.webhooks is None:
            waste(body)
            raise _unknown()
        if found.suspended:
            raise Refusal("forbidden", "This organisation is suspended. Ask the operator of this gateway.")
        message = Message(method=method, url=self._url(token), headers=headers, body=body)
        challenges = [one for one in challenges_of(integration) if one["method"] == "POST"]
        for challenge in challenges:
            if query.get(challenge.get("answer_param", "")):
                return Reply(text=echo(query[challenge["answer_param"]], LONGEST_IN_QUERY))
        bringing = [one for one in challenges if "secret" in one or "secret_header" in one]
        if (
            found.secret is None
            and bringing
            and (reply := await self._agreed(bringing, found.hook, integration, message))
        ):
            return reply
        names = self._proven(integration, found.secret, message)
        payload = _payload(message)
        for challenge in challenges:
            if "when" in challenge and search(challenge["when"], payload):
                return answered(challenge.get("answer"), payload, found.secret)
        await self._keep(found.hook, integration, message, payload, names)
        return ACKNOWLEDGED[integration.webhooks.get("acknowledge", "json")]

    async def _agreed(
        self, challenges: Sequence[Mapping[str, Any]], hook: Hook, integration: Integration, message: Message
    ) -> Reply | None:
        """The answer to an upstream that says itself what it will sign with; None where it does not."""
        payload = _payload(message)
        for challenge in challenges:
            if given := message.header(challenge.get("secret_header")):
                await self._store.set_secret(hook.org, hook.id, Secret(echo(given)), by=hook.by)
                return Reply(header=(challenge["secret_header"], given))
            if "secret" in challenge and (given := search(challenge["secret"], payload)):
                await self._store.set_secret(hook.org, hook.id, Secret(echo(given)), by=hook.by)
                # Some person has to type it in there: it is told like any event.
                await self._keep(hook, integration, message, payload, _names(message, message.body, None))
                return RECEIVED
        return None

    async def _keep(
        self, hook: Hook, integration: Integration, message: Message, payload: Any, names: Sequence[str]
    ) -> None:
        await self._store.keep(hook, self._event(hook, integration, message, payload), names, seconds=_REMEMBERED)

    async def knock(self, token: str) -> None:
        """An upstream looks whether the URL is there. Raises `not_found` where its definition knows of no such look."""
        _, integration = await self._of_token(token)
        if integration is None or not any(one["method"] == "HEAD" for one in challenges_of(integration)):
            raise _unknown()

    async def challenge(self, token: str, asked: Mapping[str, str]) -> str:
        """The answer to an upstream that tries out the URL before it uses it. Raises `not_found`, `unauthorized`."""
        _, integration = await self._of_token(token)
        for challenge in challenges_of(integration) if integration is not None else ():
            if challenge["method"] == "GET" and challenge["answer_param"] in asked:
                given = asked.get(challenge.get("token_param", ""), "")
                if "token_param" in challenge and not secrets.compare_digest(
                    given.encode(errors="replace"), verify_token(token).encode()
                ):
                    raise _unproven("verify_token_wrong")
                return echo(asked[challenge["answer_param"]])
        raise _unknown()

    async def _of_token(self, token: str) -> tuple[Found | None, Integration | None]:
        found = await self._store.by_token(_digest(token))
        return found, None if found is None else self._catalogs.current.get(found.hook.integration)

    def _proven(self, integration: Integration, secret: Secret | None, message: Message) -> Sequence[str]:
        """The names that a message is known by; raises `unauthorized` where it is not the upstream's."""
        spec = integration.webhooks or {}
        signature = spec.get("signature")
        content, message_id = message.body, _delivery(spec, message)
        if signature is not None:
            if secret is None:
                waste(message.body)
                raise _unproven("secret_missing")
            try:
                signed = verify(signature, secret, message, self._clock())
            except NotSigned as error:
                raise _unproven(error.reason) from None
            content, message_id = signed.content, signed.id or message_id
            if message_id and signature.get("algorithm") == "token":
                # Nothing is signed, and many messages have the same body, or none: the id alone tells them apart.
                return [_id_name(message_id)]
        return _names(message, content, message_id)

    def _event(self, hook: Hook, integration: Integration, message: Message, payload: Any) -> Event:
        spec = integration.webhooks or {}
        name = _name(search(spec["event"], payload) if "event" in spec else None)
        name = name or _name(message.header(spec.get("event_header")))
        cleaned = _UNUSUAL.sub("_", name) if name else ""
        about: Json = {"hook": hook.id, "integration": hook.integration, "event": name, "payload": payload}
        if hook.connection is not None:
            about |= {"connection": hook.connection, "user": hook.user}
        type = f"hook.{hook.integration}" + (f".{cleaned}" if cleaned else "")
        return Event.now(hook.org, type, self._clock(), mode=hook.mode, **about)

    def _integration(self, slug: str) -> Integration:
        catalog = self._catalogs.current
        integration = catalog.get(slug)
        if integration is None:
            near = catalog.nearest_integration(slug)
            hint = f" Did you mean {near!r}?" if near else ""
            raise bad_field("integration", f"There is no integration {slug[:64]!r}.{hint}")
        if integration.webhooks is None:
            raise bad_field("integration", f"The definition of {slug} describes no webhooks.")
        return integration

    async def _user(self, principal: Principal, wish: HookWish) -> str | None:
        """Whose connection it is about, where it is about one."""
        grant = principal.grant
        if wish.connection is None:
            if grant.users is not None or grant.connections is not None:
                raise Refusal(
                    "forbidden", "This key is for certain users or connections; say which one as `connection`."
                )
            return None
        known = await self._connections.list(principal.org) if principal.mode == "live" else ()
        for connection in known:
            if connection.id == wish.connection and connection.integration == wish.integration:
                if not (grant.allows_connection(connection.id) and grant.allows_user(connection.user)):
                    raise Refusal("forbidden", "This key is not for this connection.")
                return connection.user
        raise bad_field("connection", f"There is no connection {wish.connection[:64]!r} of {wish.integration}.")

    async def _of(self, principal: Principal) -> Sequence[Hook]:
        return [hook for hook in await self._store.list(principal.org) if principal.mode in ("live", hook.mode)]

    async def _find(self, principal: Principal, hook_id: str) -> Hook:
        for hook in await self._of(principal):
            if hook.id == hook_id:
                check_scope(principal, hook.integration)
                if not _may_see(principal, hook):
                    raise Refusal("forbidden", "This key is not for this hook.")
                return hook
        raise _unknown()

    def _shown(self, hook: Hook) -> Json:
        integration = self._catalogs.current.get(hook.integration)
        spec = (integration.webhooks if integration is not None else None) or {}
        return {
            "id": hook.id,
            "integration": hook.integration,
            "connection": hook.connection,
            "mode": hook.mode,
            "events": [event["name"] for event in spec.get("events", ())],
            "signed": "signature" in spec,
            "has_secret": hook.has_secret,
            "created_by": hook.by.shown(),
            "created_at": iso(hook.created_at),
        }

    def _url(self, token: str) -> str:
        return f"{self._public_url}/hooks/{token}"


def _names(message: Message, content: bytes, message_id: str | None) -> list[str]:
    """What a message is known by. An id that is not signed can be changed by whoever sends it again; its content cannot."""
    names = [f"digest {hashlib.sha256(content).hexdigest()}"]
    return [*names, _id_name(message_id)] if message_id else names


def _id_name(message_id: str) -> str:
    return f"id {hashlib.sha256(message_id.encode(errors='surrogateescape')).hexdigest()}"


def _delivery(spec: Mapping[str, Any], message: Message) -> str | None:
    """The message's id, put together where it stands in several headers; None where one of them is missing."""
    named = spec.get("delivery_header")
    if not isinstance(named, list):
        return message.header(named)
    values = [message.header(name) for name in named]
    return "\n".join(value for value in values if value) if all(values) else None


def _may_see(principal: Principal, hook: Hook) -> bool:
    grant = principal.grant
    if not grant.allows_integration(hook.integration):
        return False
    if hook.connection is None or hook.user is None:
        return grant.users is None and grant.connections is None
    return grant.allows_connection(hook.connection) and grant.allows_user(hook.user)


def _check_secret(integration: Integration, secret: Secret | None) -> None:
    signature = (integration.webhooks or {}).get("signature")
    if secret is None:
        return
    if signature is None:
        raise bad_field("secret", f"{integration.name} does not sign what it sends: the URL alone is the proof.")
    try:
        key_of(signature, secret)
    except ValueError:
        raise bad_field("secret", f"This cannot be a secret of {integration.name}.") from None


def _payload(message: Message) -> Any:
    """JSON as it is; a text, and what only claims to be JSON, as a string; other bytes in base64."""
    try:
        text = message.body.decode()
    except UnicodeDecodeError:
        content = base64.b64encode(message.body).decode()
        return {"encoding": "base64", "content_type": message.header("content-type"), "content": content}
    if "json" in (message.header("content-type") or "").lower():
        try:
            return parse(message.body)
        except NotStrictJson:
            return text
    return text


def _name(found: Any) -> str | None:
    if not isinstance(found, str):
        return None
    return "".join(char for char in found[:_LONGEST_NAME] if char.isprintable()) or None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()


def _unproven(reason: str) -> Refusal:
    return Refusal(
        "unauthorized",
        "The message does not carry the signature that this hook expects.",
        details={"reason": reason},
    )


def _unknown() -> Refusal:
    return Refusal("not_found", "Hook not found.")
