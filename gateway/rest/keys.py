"""`GET /v1/verify`: who am I; `/api-keys`: the keys of an org."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.approval_rules import (
    EFFECTS,
    LONGEST_EXPRESSION,
    MOST_CONDITIONS,
    ApprovalRule,
    RuleMistake,
    read_rule,
)
from gateway.core.errors import Refusal
from gateway.core.tenants.api_keys import KeyWish, shown
from gateway.core.tenants.grants import LEVELS
from gateway.core.tenants.keys import Principal
from gateway.patterns import LONGEST, PATTERN
from gateway.rest.fields import KEY_ID
from gateway.rest.shapes import API_KEY, IDENTITY, MADE_KEY
from gateway.web.answers import json_answer
from gateway.web.bodies import bad_field
from gateway.web.context import services
from gateway.web.operations import PRINTABLE, SLUG, Answer, Asked, Field, choice, number, operation, strings, text
from gateway.web.shapes import listed
from skills_catalog.validation import pointer

_GROUP = "API keys"
_MOST_LISTED = 200
_PATTERNS = {"type": "string", "maxLength": LONGEST, "pattern": f"^{PATTERN.pattern}$"}
_USERS = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": PRINTABLE}
_CREATE = [
    text("name", "What it is for; shown in lists.", required=True),
    choice("mode", "A test key is answered from examples. Left out, as the key that makes it.", ["live", "test"]),
    strings(
        "scopes",
        "Slugs of the integrations that it may use, or `*` for all. Left out, those of the key that makes it.",
        least=1,
        most=_MOST_LISTED,
        each={"anyOf": [{"const": "*"}, SLUG]},
    ),
    choice("level", "How much it may change.", LEVELS),
    strings("allow", "Patterns of the only actions that it may use.", least=1, most=_MOST_LISTED, each=_PATTERNS),
    strings("deny", "Patterns of actions that it may not use.", most=_MOST_LISTED, each=_PATTERNS),
    strings("users", "The only users that it may act for.", least=1, most=_MOST_LISTED, each=_USERS),
    strings("connections", "Ids of the only connections that may serve its calls.", least=1, most=_MOST_LISTED),
    Field(
        name="approval",
        about="Calls that a member has to approve first: of these effects, or where the params make `if` (JMESPath) true.",
        schema={
            "type": "object",
            "properties": {
                "effects": {"type": "array", "items": {"enum": list(EFFECTS)}, "maxItems": len(EFFECTS)},
                "when": {
                    "type": "array",
                    "maxItems": MOST_CONDITIONS,
                    "items": {
                        "type": "object",
                        "properties": {
                            "action": _PATTERNS,
                            "if": {
                                "type": "string",
                                "minLength": 1,
                                "maxLength": LONGEST_EXPRESSION,
                                "format": "jmespath",
                            },
                        },
                        "required": ["action"],
                        "additionalProperties": False,
                    },
                },
            },
            "additionalProperties": False,
        },
    ),
    number("expires_in_days", "After so many days it stops; left out, with the key that makes it.", low=1, high=3650),
]
_LISTS = ("scopes", "allow", "deny", "users", "connections")
KEY_EXAMPLE = {
    "id": "key_90d2",
    "name": "issue bot",
    "key_prefix": "sk_live_gw_Vt7Qe",
    "masked_key": "sk_live_gw_Vt7Qe…",
    "mode": "live",
    "scopes": ["github"],
    "level": "read_write",
    "scope_description": "Also creates, updates, sends and connects; deletes nothing.",
    "allow": None,
    "deny": [],
    "users": ["u_42"],
    "connections": None,
    "approval": {"effects": ["send"], "when": [{"action": "shop.refund", "if": "amount > `100`"}]},
    "parent": "key_11aa",
    "active": True,
    "expired": False,
    "expires_at": "2026-12-28T10:00:00Z",
    "last_used_at": None,
    "revoked_at": None,
    "request_count": 0,
    "created_at": "2026-11-28T10:00:00Z",
}


@operation(
    "verify_key",
    "See whose key this is",
    group=_GROUP,
    about="The org, and the key with all that it may do.",
    answers={
        200: Answer(
            about="Who asks.",
            schema=IDENTITY,
            example={"org": {"id": "org_5494", "name": "Acme", "plan": "free"}, "api_key": KEY_EXAMPLE},
        )
    },
)
async def verify(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    answer: dict[str, Any] = {"org": {"id": who.org, "name": who.org_name, "plan": who.plan.name}}
    if who.key is not None:
        answer["api_key"] = shown(who.key, services(request).clock())
    elif who.member is not None:
        answer["member"] = {"id": who.member.id, "email": who.member.email, "name": who.member.name}
    return json_answer(answer)


@operation(
    "list_keys",
    "List the keys",
    group=_GROUP,
    about="Revoked ones too, the oldest first. A key that was made by a key sees itself and what it made.",
    answers={200: Answer(about="The keys.", schema=listed(API_KEY), example=[KEY_EXAMPLE])},
)
async def list_keys(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    return json_answer(await services(request).api_keys.list(who))


@operation(
    "create_key",
    "Make a key",
    group=_GROUP,
    about="It may do as much as the key that makes it, or less; what it may do never changes.",
    body=_CREATE,
    answers={
        201: Answer(
            about="The key and, this once, its text.",
            schema=MADE_KEY,
            example={
                "api_key": KEY_EXAMPLE,
                "full_key": "sk_live_gw_Vt7QeX…",
                "warning": "Save this key now: it is not shown again.",
            },
            links={"revoke_key": {"id": "/api_key/id"}},
        )
    },
    refuses=["plan_limit_reached", "not_found"],
    example={"body": {"name": "issue bot", "level": "read_write", "users": ["u_42"], "expires_in_days": 30}},
)
async def create(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    days = asked.body.get("expires_in_days")
    wish = KeyWish(
        name=asked.body["name"],
        mode=asked.body.get("mode"),
        level=asked.body.get("level"),
        expires_in_days=None if days is None else int(days),
        approval=_rule(asked.body["approval"]) if "approval" in asked.body else None,
        **{name: tuple(dict.fromkeys(asked.body[name])) for name in _LISTS if name in asked.body},
    )
    made, full_key = await services(request).api_keys.create(who, wish)
    warning = "Save this key now: it is not shown again."
    return json_answer({"api_key": made, "full_key": full_key.reveal(), "warning": warning}, status=201)


def _rule(value: Any) -> ApprovalRule:
    try:
        return read_rule(value)
    except RuleMistake as wrong:
        path = pointer(["approval", *wrong.path])
        raise bad_field(path, "format", f"The field {path!r}: {wrong}.") from None


@operation(
    "revoke_key",
    "Revoke a key",
    group=_GROUP,
    about="It stops at once, and all keys that it made with it.",
    path=[KEY_ID],
    answers={204: Answer(about="It is revoked.")},
    refuses=["not_found"],
    example={"path": {"id": "key_90d2"}},
)
async def revoke(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    key_id = request.match_info["id"]
    if not key_id.isprintable():
        raise Refusal("not_found", "API key not found.")
    await services(request).api_keys.revoke(who, key_id)
    return web.Response(status=204)
