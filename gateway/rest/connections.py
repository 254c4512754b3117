"""Connect, poll, confirm; connections as resources; the org's return URLs."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.core.connections.wishes import Wish
from gateway.core.errors import Refusal
from gateway.core.tenants.access import check_scope, user_of
from gateway.core.tenants.keys import Principal
from gateway.rest.fields import CONNECTION_ID, USER
from gateway.rest.shapes import BEGUN, CONNECTION, FLOW, REDIRECT_URLS
from gateway.web.answers import json_answer, tagged
from gateway.web.context import services
from gateway.web.operations import ANYTHING, SLUG, Answer, Asked, Field, number, operation, strings, text
from gateway.web.shapes import listed, shape

_CONNECTING, _GROUP = "Connecting", "Connections"
_MOST_SCOPES = 200
_MOST_URLS = 20
_STRING = {"type": "string"}
_ID = {"path": {"id": "conn_01cf"}}
_CONNECTED = {"status": "connected", "integration": "github", "user": "u_42", "account": "ada"}
_CONNECTION: dict[str, Any] = {
    "id": "conn_01cf",
    "integration": "github",
    "user": "u_42",
    "auth": "oauth",
    "state": "active",
    "label": None,
    "account": "ada",
    "scopes": ["repo"],
    "fields": {},
    "created_at": "2026-11-28T10:00:00Z",
    "updated_at": "2026-11-28T10:00:00Z",
}
_URLS = {"redirect_urls": ["https://app.example.com/connected"]}
_SEEN = ["scope_not_allowed", "not_found"]


@operation(
    "begin_connect",
    "Connect an account",
    group=_CONNECTING,
    about="Send the person to `oauth_url`, then poll. A whole credential in `credentials` connects at once.",
    body=[
        Field(name="integration", about="Slug of the integration.", schema=SLUG, required=True),
        USER,
        Field(name="auth", about="Name of the auth method; left out, the first that can be used.", schema=_STRING),
        strings("scopes", "OAuth scopes to ask for; left out, the definition's.", most=_MOST_SCOPES),
        text("label", "A name for the connection, where a user has several."),
        Field(
            name="credentials",
            about="Connection fields, and a credential by the names that `GET /v1/skills/{integration}` lists.",
            schema=ANYTHING,
        ),
        Field(name="connection", about="Id of a connection to renew; it keeps its id.", schema=_STRING),
        Field(name="redirect_url", about="Where the browser goes afterwards: one of the org's.", schema=_STRING),
    ],
    answers={
        200: Answer(
            about="The flow is begun, or the connection made.",
            schema=BEGUN,
            example={
                "connection_id": "conn_01cf",
                "status": "pending",
                "expires_at": "2026-11-28T10:10:00Z",
                "oauth_url": "https://skillway.example.com/connect/conn_01cf",
            },
            links={
                name: {"id": "/connection_id"}
                for name in ("poll_connect", "confirm_connect", "get_connection", "disconnect")
            },
        )
    },
    refuses=[
        "scope_not_allowed",
        "plan_limit_reached",
        "not_found",
        "account_changed",
        "conflict",
        "flow_expired",
        "token_expired",
        "upstream_unreachable",
        "upstream_timeout",
        "upstream_invalid_response",
        "upstream_rate_limited",
    ],
    example={"body": {"integration": "github", "user": "u_42"}},
)
async def connect(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    body = asked.body
    slug, user = body["integration"], body.get("user")
    check_scope(who, slug)
    if "connection" in body:
        _check_seen(
            who, await services(request).connecting.connection(who.org, body["connection"]), body["connection"]
        )
        user = user if user is None else user_of(who, user)
    elif who.grant.connections is not None:
        raise Refusal("forbidden", "This key is for certain connections, and makes no new one.")
    else:
        user = user_of(who, user)
    return json_answer(
        await services(request).connecting.begin(
            Wish(
                org=who.org,
                by=who.actor,
                integration=slug,
                user=user,
                method=body.get("auth"),
                scopes=tuple(dict.fromkeys(body["scopes"])) if "scopes" in body else None,
                label=body.get("label"),
                credentials=body.get("credentials", {}),
                connection=body.get("connection"),
                redirect_url=body.get("redirect_url"),
            )
        )
    )


@operation(
    "poll_connect",
    "See how far connecting is",
    group=_CONNECTING,
    about="`pending`, then `connected` or `error`. A flow lives ten minutes.",
    path=[CONNECTION_ID],
    query=[
        number("wait", "Seconds to wait for its end, as far as the operator lets callers wait.", low=0, high=3600, default=0)
    ],
    answers={200: Answer(about="The flow.", schema=FLOW, example=_CONNECTED)},
    refuses=_SEEN,
    example={**_ID, "query": {"wait": "60"}},
)
async def poll(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    wait = min(asked.query["wait"], services(request).settings.sync_ceiling)
    connecting, connection = services(request).connecting, request.match_info["id"]
    _check_seen(who, await connecting.status(who.org, connection), connection)
    return json_answer(await connecting.status(who.org, connection, wait=wait))


@operation(
    "confirm_connect",
    "Say who finished connecting",
    group=_CONNECTING,
    about="With VERIFY_CONNECT=redirect nothing is redeemed until your backend, which knows its user, says so.",
    path=[CONNECTION_ID],
    body=[
        Field(name="user", about="Who came back, by your own session.", schema=_STRING, required=True),
        Field(name="handle", about="What the browser brought in its address.", schema=_STRING, required=True),
    ],
    answers={200: Answer(about="The flow.", schema=FLOW, example=_CONNECTED)},
    refuses=[
        *_SEEN,
        "flow_expired",
        "account_changed",
        "conflict",
        "plan_limit_reached",
        "token_expired",
        "upstream_unreachable",
        "upstream_timeout",
        "upstream_invalid_response",
        "upstream_rate_limited",
    ],
    example={**_ID, "body": {"user": "u_42", "handle": "q8kA"}},
)
async def confirm(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    connecting, connection = services(request).connecting, request.match_info["id"]
    _check_seen(who, await connecting.status(who.org, connection), connection)
    user, handle = asked.body["user"], asked.body["handle"]
    return json_answer(await connecting.confirm(who.org, connection, user=user, handle=handle))


@operation(
    "list_connections",
    "List the connections",
    group=_GROUP,
    about="All that this key may use.",
    query=[text("user", "Only this user's."), text("integration", "Only of this integration.")],
    answers={
        200: Answer(
            about="The connections.",
            schema=shape(connections=listed(CONNECTION)),
            example={"connections": [_CONNECTION]},
            headers=("ETag",),
        ),
        304: Answer(about="You have it already.", headers=("ETag",)),
    },
)
async def list_connections(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    found = await services(request).connecting.connections(
        who.org, asked.query.get("user"), asked.query.get("integration")
    )
    return tagged(request, {"connections": [shown for shown in found if _may_see(who, shown, shown["id"])]})


@operation(
    "get_connection",
    "Look at a connection",
    group=_GROUP,
    about="`active`, `degraded` (trouble, still used), or `needs_reauth`: then `action_url` renews it.",
    path=[CONNECTION_ID],
    answers={
        200: Answer(about="The connection.", schema=CONNECTION, example=_CONNECTION, headers=("ETag",)),
        304: Answer(about="You have it already.", headers=("ETag",)),
    },
    refuses=_SEEN,
    example=_ID,
)
async def show(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    connection = request.match_info["id"]
    shown = await services(request).connecting.connection(who.org, connection)
    _check_seen(who, shown, connection)
    return tagged(request, shown)


@operation(
    "disconnect",
    "Disconnect an account",
    group=_GROUP,
    about="Forgets the credential, and revokes it at the provider where it can.",
    path=[CONNECTION_ID],
    answers={204: Answer(about="It is gone.")},
    refuses=_SEEN,
    example=_ID,
)
async def disconnect(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    connecting, connection = services(request).connecting, request.match_info["id"]
    _check_seen(who, await connecting.connection(who.org, connection), connection)
    await connecting.disconnect(who.org, connection, by=who.actor)
    return web.Response(status=204)


@operation(
    "get_redirect_urls",
    "See where browsers may return to",
    group=_CONNECTING,
    answers={200: Answer(about="The URLs.", schema=REDIRECT_URLS, example=_URLS)},
)
async def return_urls(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    return json_answer({"redirect_urls": await services(request).connecting.redirect_urls(who.org)})


@operation(
    "set_redirect_urls",
    "Set where browsers may return to",
    group=_CONNECTING,
    about="All of them: what was there before and is not among them goes.",
    body=[
        strings(
            "redirect_urls",
            "https, or http on loopback.",
            most=_MOST_URLS,
            each={"type": "string", "format": "return-url"},
            required=True,
        )
    ],
    answers={200: Answer(about="The URLs as they are now.", schema=REDIRECT_URLS, example=_URLS)},
    example={"body": _URLS},
)
async def set_return_urls(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    urls = tuple(dict.fromkeys(asked.body["redirect_urls"]))
    kept = await services(request).connecting.set_redirect_urls(who.org, urls, by=who.actor)
    return json_answer({"redirect_urls": kept})


def _may_see(who: Principal, shown: dict[str, Any], connection_id: str) -> bool:
    """A test key has no connections; any other those of its scopes, its users, its connections."""
    grant = who.grant
    return (
        who.mode == "live"
        and grant.allows_integration(shown["integration"])
        and grant.allows_user(shown["user"])
        and grant.allows_connection(connection_id)
    )


def _check_seen(who: Principal, shown: dict[str, Any], connection_id: str) -> None:
    if who.mode == "test":
        raise Refusal("not_found", "Connection not found.")
    check_scope(who, shown["integration"])
    if not _may_see(who, shown, connection_id):
        raise Refusal("forbidden", "This key is not for this connection.")
