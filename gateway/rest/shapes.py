"""What the answers of the REST routes look like: the schemas that descriptions name."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.core.tenants.grants import LEVELS
from gateway.web.operations import NAME, SLUG
from gateway.web.shapes import (
    AMOUNT,
    ANY,
    ANY_OBJECT,
    COUNT,
    DAY,
    LINK,
    TEXT,
    WHEN,
    YES_OR_NO,
    Schema,
    described,
    listed,
    one_of,
    or_null,
    shape,
)
from oauth.connections import ConnectionState

LIFECYCLE = one_of(["planned", "alpha", "beta", "stable"])
EFFECT = one_of(["read", "create", "update", "delete", "send"])

INTEGRATION_LISTED = shape(
    "One integration as the list shows it.",
    slug=NAME,
    name=TEXT,
    description=TEXT,
    categories=listed(TEXT),
    auth=described(listed(TEXT), "Names of the auth methods."),
    connected=described(YES_OR_NO, "Whether the user has a connection that serves calls."),
    available=described(YES_OR_NO, "Whether it can be connected here."),
    skill_count=described(COUNT, "Actions that this key may use."),
    version=TEXT,
    optional={"unavailable_reason": described(TEXT, "What the operator has to do."), "lifecycle": LIFECYCLE},
)
AUTH_METHOD = shape(
    "One way in.",
    name=TEXT,
    type=TEXT,
    title=TEXT,
    credentials=described(listed(TEXT), "Names that `credentials` takes; none for OAuth."),
    fields=listed(shape(name=TEXT, title=TEXT, required=YES_OR_NO)),
)
INTEGRATION = shape(
    "One integration and its actions.",
    integration=NAME,
    name=TEXT,
    description=TEXT,
    connected=YES_OR_NO,
    auth=listed(AUTH_METHOD),
    skills=listed(
        shape(
            name=NAME,
            title=TEXT,
            method=TEXT,
            category=TEXT,
            description=TEXT,
            effect=EFFECT,
            optional={"lifecycle": LIFECYCLE},
        )
    ),
)
ACTION = shape(
    "Everything about one action.",
    integration=NAME,
    name=NAME,
    title=TEXT,
    method=TEXT,
    path=described(TEXT, "Template of the upstream's path."),
    category=TEXT,
    description=TEXT,
    effect=EFFECT,
    idempotent=described(YES_OR_NO, "Whether it may be repeated safely."),
    scopes=described(listed(TEXT), "OAuth scopes that it needs."),
    auth=described(listed(TEXT), "Auth methods that may serve it."),
    parameters=described(ANY_OBJECT, "JSON Schema (draft 2020-12) of `params`."),
    examples=listed(shape(cli=TEXT, params=ANY_OBJECT, response=shape(status=COUNT, data=ANY))),
    errors=listed(shape(code=TEXT, status=or_null(COUNT), description=TEXT, fix=TEXT)),
    optional={
        "output": described(ANY_OBJECT, "JSON Schema of `data` of a success, where the definition has one."),
        "requires_plan": described(TEXT, "The upstream's plan that the account must have."),
        "lifecycle": LIFECYCLE,
        "deprecated": shape(
            since=DAY,
            sunset=described(or_null(DAY), "The day after which it may be gone."),
            use=described(or_null(TEXT), "What to use instead."),
        ),
    },
)
FOUND = shape(
    "An action that the search found.",
    integration=NAME,
    action=NAME,
    description=TEXT,
    effect=EFFECT,
    score={"type": "number", "minimum": 0, "maximum": 1},
    connected=YES_OR_NO,
)
SKILL_FILES = shape(
    "The files of an Agent Skill, SKILL.md first.",
    slug=NAME,
    name=described(TEXT, "Of the skill, and of the folder that it has to be in."),
    files=listed(shape(file_path=TEXT, content=TEXT)),
)
TOOLS = shape(
    "Actions as tools.",
    tools=described(listed(ANY_OBJECT), "As the vendor's API takes them under that name."),
    optional={
        "not_strict": described(
            listed(shape(name=TEXT, integration=NAME, action=NAME, reason=TEXT)),
            "With `openai-strict`: the tools that strict mode cannot say; their `strict` is false.",
        ),
        "next_cursor": TEXT,
    },
)

RESULT = shape(
    "The upstream answered, whatever it said.",
    status=described({"type": "integer", "minimum": 100, "maximum": 999}, "The upstream's own."),
    data=described(ANY, "The upstream's body as it came: JSON, a string for text, null for none, base64 in an object for other bytes."),
    optional={
        "meta": shape(
            "What we know beside the answer.",
            optional={
                "run_id": TEXT,
                "account": described(TEXT, "Which connection answered."),
                "sandbox": described(YES_OR_NO, "A test key: answered from an example."),
                "hint": described(TEXT, "What to do about the refusal, or instead of what is deprecated."),
                "redacted": described(YES_OR_NO, "The credential stood in the answer and was taken out."),
                "upstream": described(ANY_OBJECT, "Headers of the upstream that a caller can act on."),
                "replayed": described(YES_OR_NO, "The answer of an earlier call with the same Idempotency-Key."),
                "cached": described(YES_OR_NO, "Kept from an earlier read."),
                "cache_ttl": described(COUNT, "Seconds that such an answer is kept."),
                "cache_expires_at": WHEN,
                "pages": described(ANY_OBJECT, "How many pages were joined, and where to go on if not all."),
                "truncated": described(YES_OR_NO, "Only the first whole items; the rest is kept."),
                "result_id": described(TEXT, "What the whole is read by."),
                "total": described(COUNT, "Items that the shortened array has."),
                "shape": described(ANY, "The types of the whole by name."),
                "next": described(LINK, "Where the rest is read."),
            },
        )
    },
)

ACCEPTED = shape(
    "A run that was begun.",
    run_id=TEXT,
    status=one_of(["queued", "running", "completed", "failed", "cancelled", "awaiting_approval", "unknown"]),
    poll_url=LINK,
)
_RUN = {
    "run_id": TEXT,
    "status": described(
        one_of(["queued", "running", "completed", "failed", "cancelled", "awaiting_approval", "unknown"]),
        "`completed`: the upstream answered, whatever its status; `unknown`: nobody knows whether it was done.",
    ),
    "integration": NAME,
    "action": NAME,
    "user": TEXT,
    "connection": or_null(TEXT),
    "upstream_status": or_null(COUNT),
    "progress": described(ANY, "How far the upstream says it is."),
    "error": described(or_null(ANY_OBJECT), "Why there is no answer, as the call would have been refused."),
    "outcome": one_of(["not_sent", "unknown", "answered", None]),
    "credits_used": or_null(AMOUNT),
    "created_at": WHEN,
    "finished_at": or_null(WHEN),
    "poll_url": LINK,
}
_AT_PAGE = {"action_url": described(LINK, "Where a person approves it.")}
RUN_LISTED = shape("A run as the list shows it.", optional=_AT_PAGE, **_RUN)
RUN = shape(
    "A call as it went.",
    optional=_AT_PAGE,
    **_RUN,
    result={"anyOf": [RESULT, {"type": "null"}], "description": "The upstream's answer, while it is kept."},
)
PIECE = shape(
    "A piece of an answer.",
    data=described(listed(ANY), "Items, or one piece of a text, or the one value there is."),
    total=described(COUNT, "How many items or letters there are."),
    optional={"next": described(COUNT, "The offset of what follows.")},
)
PREFLIGHT = shape(
    "What a call would do.",
    ok=described(YES_OR_NO, "Nothing here is in its way: only the upstream can still say no."),
    problems=described(listed(ANY_OBJECT), "Each as the call would be refused."),
    optional={
        "request": described(or_null(ANY_OBJECT), "What would be sent, without secrets."),
        "connection": described(or_null(ANY_OBJECT), "Whose account would serve it."),
        "scopes": shape(required=listed(TEXT), granted=or_null(listed(TEXT))),
        "limits": described(
            listed(shape(what=TEXT, limit=COUNT, used=COUNT, resets_at=WHEN)), "What it would be counted in."
        ),
        "cost": described(COUNT, "Credits."),
    },
)
FILE = shape(
    "A file that is kept for a while.",
    file_id=TEXT,
    url=LINK,
    content_type=TEXT,
    filename=or_null(TEXT),
    size=COUNT,
    expires_at=WHEN,
)

BEGUN = shape(
    "A connect flow that was begun, or a connection that was made at once.",
    connection_id=TEXT,
    status=one_of(["pending", "connected"]),
    expires_at=WHEN,
    oauth_url=described(or_null(LINK), "Our page, for a person to open; null where nobody need."),
    optional={"account": TEXT},
)
FLOW = shape(
    "How far a connect flow is.",
    status=one_of(["pending", "connected", "error"]),
    integration=NAME,
    user=TEXT,
    optional={
        "detail": described(TEXT, "`awaiting_confirmation`: your backend has to say who finished."),
        "account": TEXT,
        "error": TEXT,
        "message": TEXT,
    },
)
CONNECTION = shape(
    "One account of one integration; never its credential.",
    id=TEXT,
    integration=NAME,
    user=TEXT,
    auth=described(TEXT, "Name of the auth method."),
    state=one_of([state.value for state in ConnectionState]),
    label=or_null(TEXT),
    account=or_null(TEXT),
    scopes=or_null(listed(TEXT)),
    fields={"type": "object", "additionalProperties": TEXT},
    created_at=WHEN,
    updated_at=WHEN,
    optional={"reason": TEXT, "retry_at": WHEN, "action_url": described(LINK, "Where a person connects it again.")},
)
REDIRECT_URLS = shape("Where browsers may return to.", redirect_urls=listed(TEXT))

APPROVAL = shape(
    "Calls that a person has to approve first.",
    effects=listed(EFFECT),
    when=listed(shape(action=TEXT, optional={"if": TEXT})),
)
API_KEY = shape(
    "A key, never its text.",
    id=TEXT,
    name=TEXT,
    key_prefix=TEXT,
    masked_key=TEXT,
    mode=one_of(["live", "test"]),
    scopes=described(listed(TEXT), "Slugs of integrations, or `*` for all."),
    level=one_of(LEVELS),
    scope_description=TEXT,
    allow=or_null(listed(TEXT)),
    deny=listed(TEXT),
    users=or_null(listed(TEXT)),
    connections=or_null(listed(TEXT)),
    approval=described(or_null(APPROVAL), "Calls that a person has to approve first; beside these, those of the plan."),
    parent=described(or_null(TEXT), "The key that made it."),
    active=YES_OR_NO,
    expired=YES_OR_NO,
    expires_at=or_null(WHEN),
    last_used_at=or_null(WHEN),
    revoked_at=or_null(WHEN),
    request_count=COUNT,
    created_at=WHEN,
)
MADE_KEY = shape(
    "A new key.", api_key=API_KEY, full_key=described(TEXT, "Its text, which nobody sees a second time."), warning=TEXT
)
MEMBER = shape("Somebody of an org.", id=TEXT, email=or_null(TEXT), name=or_null(TEXT))
IDENTITY = shape(
    "Whose key this is.",
    org=shape(id=TEXT, name=TEXT, plan=or_null(TEXT)),
    optional={"api_key": API_KEY, "member": MEMBER},
)
SIGNED_UP = shape(
    "A new org and its first key.",
    org=shape(id=TEXT, name=TEXT, plan=or_null(TEXT), created_at=WHEN),
    api_key=API_KEY,
    full_key=described(TEXT, "Its text, which nobody sees a second time."),
    warning=TEXT,
    optional={"member": MEMBER},
)
BEGUN_DEVICE = shape(
    "A device's two codes, and where its user goes (RFC 8628 §3.2).",
    device_code=described(TEXT, "For the device alone."),
    user_code=described(TEXT, "What its user types, or sees and compares."),
    verification_uri=LINK,
    verification_uri_complete=LINK,
    expires_in=described(COUNT, "Seconds."),
    interval=described(COUNT, "Seconds between two polls."),
)
DEVICE_KEY = shape(
    "The key of a device that was let in (RFC 6749 §5.1).",
    status={"const": "complete"},
    access_token=described(TEXT, "The key's text, which nobody sees a second time."),
    token_type={"const": "Bearer"},
    scope=one_of(LEVELS),
    user=shape(email=or_null(TEXT), display_name=or_null(TEXT)),
    api_keys_url=LINK,
)

_LEFT = {"limit": or_null(COUNT), "used": COUNT, "left": or_null(COUNT)}
_USED = {"calls": COUNT, "credits": AMOUNT}
USAGE = shape(
    "What was used, and what is left; a limit of null is none.",
    plan=or_null(TEXT),
    period=shape(start=WHEN, end=WHEN),
    credits=shape(
        limit=or_null(AMOUNT),
        used=AMOUNT,
        left=or_null(COUNT),
        balance=AMOUNT,
        overage=or_null(COUNT),
        overage_rate=or_null(TEXT),
    ),
    calls=shape(used=COUNT),
    calls_today=shape(**_LEFT, resets_at=WHEN),
    requests_per_minute=or_null(COUNT),
    connections=shape(**_LEFT),
    api_keys=shape(**_LEFT),
    by_integration=listed(shape(integration=or_null(TEXT), **_USED)),
    by_key=listed(shape(api_key=or_null(TEXT), name=or_null(TEXT), **_USED)),
)
ENTRY = shape(
    "One movement of credits; the sum of all is the balance.",
    id=TEXT,
    type=one_of(["call", "allowance", "adjustment", "period_end"]),
    at=WHEN,
    amount=AMOUNT,
    run_id=or_null(TEXT),
    api_key=or_null(TEXT),
    integration=or_null(TEXT),
    action=or_null(TEXT),
    note=or_null(TEXT),
)
EVENT = shape(
    "One thing that happened.",
    id=TEXT,
    type=described(TEXT, "What stands before the dot is its kind."),
    created_at=WHEN,
    data=ANY_OBJECT,
    optional={
        "actor": {
            "anyOf": [
                shape(
                    type=one_of(["api_key", "member", "user", "operator"]), id=or_null(TEXT), name=or_null(TEXT)
                ),
                {"type": "null"},
            ],
            "description": "Who did it; shown to keys of level full_access.",
        }
    },
)
_WHO = shape(
    "Who did it.",
    type=one_of(["api_key", "member", "user", "operator"]),
    id=or_null(TEXT),
    name=or_null(TEXT),
)
_WEBHOOK = {
    "id": TEXT,
    "url": TEXT,
    "events": described(listed(TEXT), "Types of events, all of a kind as `run.*`, or `*`."),
    "description": or_null(TEXT),
    "mode": one_of(["live", "test"]),
    "active": YES_OR_NO,
    "disabled_reason": described(or_null(TEXT), "Why it hears nothing: `gone`, `failing`, `key_revoked`, `key_expired`."),
    "disabled_at": or_null(WHEN),
    "failing_since": described(or_null(WHEN), "Since when every attempt has failed."),
    "created_by": _WHO,
    "created_at": WHEN,
}
_NEW_SECRET = {"secret": described(TEXT, "What signs deliveries, which nobody sees a second time."), "warning": TEXT}
WEBHOOK = shape("Who is told what happens.", **_WEBHOOK)
MADE_WEBHOOK = shape("A webhook with a new secret.", **_WEBHOOK, **_NEW_SECRET)
NEW_SECRET = shape("A new secret.", **_NEW_SECRET)
DELIVERY = shape(
    "One event on its way to a webhook.",
    id=TEXT,
    event=shape(id=TEXT, type=TEXT),
    state=described(
        one_of(["pending", "failed", "delivered", "dead"]),
        "`failed`: the last attempt was, and there will be another; `dead`: given up.",
    ),
    attempts=COUNT,
    last_status=or_null(COUNT),
    last_error=or_null(TEXT),
    last_answer=described(or_null(TEXT), "How it began, where it was a text."),
    created_at=WHEN,
    last_attempt_at=or_null(WHEN),
    next_attempt_at=or_null(WHEN),
    finished_at=or_null(WHEN),
)
_HOOK = {
    "id": TEXT,
    "integration": NAME,
    "connection": or_null(TEXT),
    "mode": one_of(["live", "test"]),
    "events": described(listed(TEXT), "Names of events that the definition knows."),
    "signed": described(YES_OR_NO, "Whether the upstream signs what it sends."),
    "has_secret": YES_OR_NO,
    "created_by": _WHO,
    "created_at": WHEN,
}
HOOK = shape("Where an upstream tells what happens there.", **_HOOK)
MADE_HOOK = shape(
    "A new hook.",
    **_HOOK,
    url=described(LINK, "What is entered at the upstream, which nobody sees a second time."),
    warning=TEXT,
    optional={"verify_token": described(TEXT, "What the upstream is to send with its challenge.")},
)
HEALTH = shape("How it is.", status=TEXT)

#: By the names that generated clients call them.
SHAPES: Mapping[str, Schema] = {
    "IntegrationSlug": SLUG,
    "IntegrationListed": INTEGRATION_LISTED,
    "AuthMethod": AUTH_METHOD,
    "Integration": INTEGRATION,
    "Action": ACTION,
    "FoundAction": FOUND,
    "SkillFiles": SKILL_FILES,
    "Tools": TOOLS,
    "Result": RESULT,
    "AcceptedRun": ACCEPTED,
    "ListedRun": RUN_LISTED,
    "Run": RUN,
    "ResultPiece": PIECE,
    "Preflight": PREFLIGHT,
    "File": FILE,
    "BegunFlow": BEGUN,
    "Flow": FLOW,
    "Connection": CONNECTION,
    "RedirectUrls": REDIRECT_URLS,
    "Approval": APPROVAL,
    "ApiKey": API_KEY,
    "MadeKey": MADE_KEY,
    "Identity": IDENTITY,
    "Member": MEMBER,
    "SignedUp": SIGNED_UP,
    "BegunDevice": BEGUN_DEVICE,
    "DeviceKey": DEVICE_KEY,
    "Usage": USAGE,
    "Entry": ENTRY,
    "Event": EVENT,
    "Webhook": WEBHOOK,
    "MadeWebhook": MADE_WEBHOOK,
    "NewSecret": NEW_SECRET,
    "Delivery": DELIVERY,
    "Hook": HOOK,
    "MadeHook": MADE_HOOK,
}
