"""Device login (RFC 8628): a program without a browser shows a code, a member approves it, the program gets a key."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast, get_args
from urllib.parse import quote

from gateway.core.errors import Refusal
from gateway.core.events import Actor
from gateway.core.ids import new_id
from gateway.core.tenants.access import Orgs, Plans, check_level, principal_of, principal_of_member
from gateway.core.tenants.api_keys import ApiKeys, KeyWish
from gateway.core.tenants.grants import Level
from gateway.core.tenants.keys import KeyStore, Principal
from gateway.core.tenants.members import MemberStore
from gateway.core.tries import TryStore, network_of, take
from oauth.flow import hash_state

Json = dict[str, Any]
DeviceStatus = Literal["pending", "approved", "denied", "used"]

#: Seconds that a code lives, and between two polls.
LIFETIME = 900
PACE = 5
#: Letters that make no words and are not mistaken for others (RFC 8628 §6.1): 20 of them, 8 in a code, 34.6 bits.
ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
_LETTERS = 8
#: What is left out of a code as it was typed.
_BETWEEN = str.maketrans("", "", " -\u2010\u2011\u2012\u2013\u2014\t")
LONGEST_DEVICE = 64
#: What a key may do unless its approver says otherwise.
USUAL_LEVEL: Level = "read_write"

#: Wrong codes that a member may type before they wait, and that all at one address may.
_MOST_WRONG, _WAIT = 5, 900.0
_MOST_WRONG_HERE, _WAIT_HERE = 30, 3600.0
#: Flows that one address may begin in an hour.
_MOST_BEGUN, _HOUR = 100, 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFlow:
    """One device that asks to be let in. Times are unix seconds."""

    id: str
    #: What it calls itself, and where it asked from: shown to whoever approves, and believed by nobody.
    device: str
    address: str | None = None
    status: DeviceStatus = "pending"
    org: str | None = None
    #: Who approved, a member or a key, and how much the new key may do.
    approver: Actor | None = None
    level: Level = USUAL_LEVEL
    #: Seconds between polls; and whether the last came too early.
    pace: int = PACE
    hurried: bool = False
    created_at: float = 0.0
    expires_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """What a device is given: the long code is its own, the short one it shows."""

    device_code: str = field(repr=False)
    user_code: str = field(repr=False)


class DeviceFlowStore(Protocol):
    """Where device flows are kept, by hashes of their codes. Each step is one atomic statement."""

    async def add(self, flow: DeviceFlow, device_code: bytes, user_code: bytes) -> bool:
        """False where the short code is in use."""
        ...

    async def by_user_code(self, user_code: bytes) -> DeviceFlow | None:
        """One that waits for somebody to decide, and is not over."""
        ...

    async def decide(self, user_code: bytes, org: str, by: Actor, level: Level | None) -> DeviceFlow | None:
        """Approves at a level, or denies with None; once. None where nothing waits under the code."""
        ...

    async def poll(self, device_code: bytes) -> DeviceFlow | None:
        """Notes a poll; a `hurried` one makes the device wait five seconds longer from then on."""
        ...

    async def redeem(self, device_code: bytes) -> DeviceFlow | None:
        """Uses up what was approved: given out once."""
        ...

    async def give_back(self, flow: DeviceFlow) -> None:
        """What was used up made no key: it is approved as before."""
        ...


class Devices:
    """What the device routes and the device page ask for."""

    def __init__(
        self,
        *,
        flows: DeviceFlowStore,
        tries: TryStore,
        api_keys: ApiKeys,
        keys: KeyStore,
        members: MemberStore,
        orgs: Orgs,
        plans: Plans,
        public_url: str,
        key: bytes,
        clock: Callable[[], float],
    ) -> None:
        self._flows = flows
        self._tries = tries
        self._api_keys = api_keys
        self._keys = keys
        self._members = members
        self._orgs = orgs
        self._plans = plans
        self._public_url = public_url
        self._key = key
        self._clock = clock

    async def begin(self, *, device: str, address: str | None) -> Json:
        """The two codes for a device, and where its user goes (RFC 8628 §3.2). Raises `rate_limited`."""
        message = "Too many devices were begun from your address. Try again later."
        await take(self._tries, f"devices {network_of(address)}", _MOST_BEGUN, _HOUR, message)
        now = self._clock()
        flow = DeviceFlow(
            id=new_id("dev"), device=device, address=address, created_at=now, expires_at=now + LIFETIME
        )
        codes = _new_codes()
        while not await self._flows.add(flow, hash_state(codes.device_code), self._hidden(codes.user_code)):
            codes = _new_codes()
        page = f"{self._public_url}/device"
        return {
            "device_code": codes.device_code,
            "user_code": codes.user_code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={quote(codes.user_code)}",
            "expires_in": LIFETIME,
            "interval": PACE,
        }

    async def poll(self, device_code: str) -> Json:
        """The new key, once somebody approved; until then one of the refusals of RFC 8628 §3.5."""
        digest = hash_state(device_code)
        flow = await self._flows.poll(digest)
        if flow is None:
            raise Refusal("not_found", "There is no such device code.")
        if flow.status == "used":
            raise Refusal("already_used", "This device code was used: its key was given out once.")
        if flow.expires_at <= self._clock():
            raise Refusal("expired_token", "Nobody approved in time. Begin again.")
        if flow.status == "denied":
            raise Refusal("access_denied", "The request was denied.")
        if flow.status == "pending" and flow.hurried:
            message = f"Too fast: wait {flow.pace} seconds between two polls."
            raise Refusal("slow_down", message, retryable=True, retry_after_ms=flow.pace * 1000)
        if flow.status == "pending":
            raise Refusal("authorization_pending", "Nobody has approved yet.", retryable=True)
        redeemed = await self._flows.redeem(digest)
        if redeemed is None:
            raise Refusal("already_used", "This device code was used: its key was given out once.")
        return await self._completed(redeemed)

    async def waiting(self, principal: Principal, typed: str, *, address: str | None) -> DeviceFlow:
        """The flow behind a code that somebody typed. Raises `bad_request` for a wrong one, which counts, and
        `rate_limited` after too many."""
        check_level(principal, "full_access")
        counted = await self._count(principal, address)
        flow = await self._flows.by_user_code(self._hidden(typed))
        if flow is None:
            raise _wrong_code()
        for name in counted:
            await self._tries.give_back(name)
        return flow

    async def decide(
        self, principal: Principal, typed: str, level: str | None, *, address: str | None
    ) -> DeviceFlow:
        """Approves at a level, or denies with None. Raises as `waiting` does, and `plan_limit_reached`."""
        if principal.mode == "test":
            raise Refusal("forbidden", "A test key approves no device. Use a live key.")
        if level is not None and level not in get_args(Level):
            raise Refusal("bad_request", f"The level must be one of {', '.join(get_args(Level))}.")
        await self.waiting(principal, typed, address=address)
        if level is not None:
            # Better said to the person now than to the device later.
            await self._api_keys.check_room(principal)
        chosen = cast(Level | None, level)
        decided = await self._flows.decide(self._hidden(typed), principal.org, principal.actor, chosen)
        if decided is None:
            raise _wrong_code()
        return decided

    async def _count(self, principal: Principal, address: str | None) -> list[str]:
        """Counts a wrong code before it is known that it is one, so that many at once do not slip through."""
        limits = (
            (f"codes {principal.actor.id}", _MOST_WRONG, _WAIT, "Too many wrong codes. Try again in 15 minutes."),
            (
                f"codes {network_of(address)}",
                _MOST_WRONG_HERE,
                _WAIT_HERE,
                "Too many wrong codes from your address. Try again in an hour.",
            ),
        )
        counted: list[str] = []
        for name, most, seconds, message in limits:
            try:
                await take(self._tries, name, most, seconds, message)
            except Refusal:
                for before in counted:
                    await self._tries.give_back(before)
                raise
            counted.append(name)
        return counted

    async def _completed(self, flow: DeviceFlow) -> Json:
        """The key is made at this moment, if whoever approved still may."""
        try:
            principal = await self._approver(flow)
            wish = KeyWish(name=flow.device, level=flow.level)
            key, text = await self._api_keys.create(principal, wish)
        except Exception:
            await self._flows.give_back(flow)
            raise
        member = principal.member
        return {
            "status": "complete",
            "user": {
                "email": member.email if member else None,
                "display_name": member.shown_name if member else principal.org_name,
            },
            "api_keys_url": f"{self._public_url}/keys",
            "access_token": text.reveal(),
            "token_type": "Bearer",
            "scope": key["level"],
        }

    async def _approver(self, flow: DeviceFlow) -> Principal:
        """Who approved, as they are now: a member who was removed, or a key that was revoked, approves nothing."""
        approver = flow.approver
        assert flow.org is not None and approver is not None and approver.id is not None
        org = await self._orgs.find(flow.org)
        if org is not None and approver.kind == "member":
            member = await self._members.find(org.id, approver.id)
            if member is not None:
                return principal_of_member(member, org, self._plans)
        elif org is not None:
            key = await self._keys.find(org.id, approver.id)
            if key is not None and key.revoked_at is None and not key.is_expired(self._clock()):
                return principal_of(key, org, self._plans)
        raise Refusal("access_denied", "Whoever approved may no longer do so.")

    def _hidden(self, user_code: str) -> bytes:
        """How a short code is kept: under a key, or a copy of the database could be searched for it in an hour."""
        letters = user_code.translate(_BETWEEN).upper()
        return hmac.digest(self._key, b"user code\0" + letters.encode("utf-8", "surrogatepass"), hashlib.sha256)


def as_device(text: str | None) -> str | None:
    """What a device calls itself, fit to be shown and to name a key; None where nothing of it is."""
    cleaned = " ".join("".join(char if char.isprintable() else " " for char in (text or "")[:1024]).split())
    return cleaned[:LONGEST_DEVICE].strip() or None


def _new_codes() -> Codes:
    letters = "".join(secrets.choice(ALPHABET) for _ in range(_LETTERS))
    half = _LETTERS // 2
    return Codes(device_code=secrets.token_urlsafe(32), user_code=f"{letters[:half]}-{letters[half:]}")


def _wrong_code() -> Refusal:
    return Refusal("bad_request", "This code is wrong, was used, or is too old.", hint="It stands on the device's screen.")
