"""Why there is no answer to give: one exception with a stable code, one table of the codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["not_sent", "unknown", "answered"]


@dataclass(frozen=True, slots=True)
class Code:
    """A stable error code: its HTTP status, and what it tells the reader to do."""

    status: int
    meaning: str
    fix: str


#: Every code a client can meet. The README's table is compared with this one by a test.
CODES: Mapping[str, Code] = {
    "bad_request": Code(400, "The request cannot be used as it is.", "Change the field that the message names."),
    "flow_expired": Code(
        400,
        "The connect flow or sign-in is over, was used, or is not this browser's.",
        "Start again: a connection with POST /v1/connect.",
    ),
    "authorization_pending": Code(
        400, "Nobody has approved the device yet.", "Poll again after `interval` seconds."
    ),
    "slow_down": Code(400, "The device polls too fast.", "Wait five seconds longer between polls from now on."),
    "access_denied": Code(400, "The device was denied.", "Begin again with POST /auth/device/code."),
    "expired_token": Code(
        400, "Nobody approved the device within 15 minutes.", "Begin again with POST /auth/device/code."
    ),
    "already_used": Code(
        400, "The device's key was given out before; that happens once.", "Begin again with POST /auth/device/code."
    ),
    "unauthorized": Code(
        401,
        "No key, or not in the form of one; an ID token that is not accepted.",
        "Send `Authorization: Bearer sk_live_gw_…` or `X-API-Key`.",
    ),
    "api_key_invalid": Code(401, "Nobody has this key.", "Check that it was copied whole."),
    "api_key_revoked": Code(401, "This key was revoked.", "Create a new key."),
    "api_key_expired": Code(401, "This key has expired.", "Create a new key."),
    "token_expired": Code(401, "The provider no longer accepts the connection.", "Connect again at `action_url`."),
    "forbidden": Code(403, "This key or setting does not allow it.", "Use a key that may, or ask the operator."),
    "integration_not_connected": Code(
        403, "The user has no connection that can serve this.", "Connect at `action_url`."
    ),
    "missing_scopes": Code(
        403, "The provider granted the connection less than the action needs.", "Connect once more at `action_url`."
    ),
    "plan_limit_reached": Code(
        403, "The org's plan has no room for it, or does not hold it.", "Raise the plan at `action_url`, or make room."
    ),
    "approval_required": Code(
        403, "A person has to approve this call first.", "Give `action_url` to a member of the org; poll the run."
    ),
    "scope_not_allowed": Code(403, "The key may not use this integration.", "Use a key with that scope."),
    "not_found": Code(
        404, "There is no such thing, or it is not yours.", "Check the name; `hint` has the nearest."
    ),
    "method_not_allowed": Code(405, "The route does not take this method.", "See the `Allow` header."),
    "unsupported_media_type": Code(
        415, "The body is not plain JSON.", "Send `Content-Type: application/json`, not compressed."
    ),
    "conflict": Code(409, "It exists already, or is in another state.", "Look at it again, then decide."),
    "ambiguous_connection": Code(409, "Several connections fit.", "Send one of `details.choices` as `connection`."),
    "idempotency_conflict": Code(
        409, "This Idempotency-Key was used for another body.", "Take a new key for a new call."
    ),
    "sync_timeout_upgrade_async": Code(
        408, "The call takes longer than a caller waits, and goes on as a run.", "Poll the run; do not send it again."
    ),
    "account_changed": Code(
        409, "Another account was chosen on reconnecting.", "Choose the old account, or make a new connection."
    ),
    "payload_too_large": Code(413, "The body is over the limit.", "Send less."),
    "rate_limited": Code(
        429,
        "The key has used its requests or calls of this minute or hour; or too many tries.",
        "Wait as long as `Retry-After` says.",
    ),
    "daily_limit_reached": Code(
        429, "The org has used its calls of the day.", "Wait for midnight UTC, or raise the plan at `action_url`."
    ),
    "allowance_exhausted": Code(
        429, "The org has used its credits of the month.", "Raise the plan at `action_url`, or wait for the next month."
    ),
    "upstream_rate_limited": Code(
        429, "The upstream takes no more calls of this connection for now.", "Wait as long as `Retry-After` says."
    ),
    "internal": Code(
        500, "Our mistake; the message holds a reference.", "Try again; then tell the operator the reference."
    ),
    "shutting_down": Code(503, "The gateway is stopping.", "Try again in a moment."),
    "overloaded": Code(503, "Too many large requests or answers are under way.", "Wait as long as `Retry-After` says."),
    "storage_unavailable": Code(503, "The database refused; nothing was sent.", "Try again in a moment."),
    "upstream_unreachable": Code(
        502, "The upstream could not be reached.", "Try again; the operator's log has the cause."
    ),
    "upstream_invalid_response": Code(
        502, "The upstream's answer was not HTTP.", "Look at the upstream before repeating a write."
    ),
    "response_too_large": Code(502, "The streamed answer went over the limit.", "Ask the upstream for less."),
    "upstream_timeout": Code(
        504, "The upstream did not answer in time.", "Look at the upstream before repeating a write."
    ),
}


class Refusal(Exception):
    """We have no answer to give. Surfaces render it; nothing in it is secret.

    `outcome` says what became of the upstream request: `not_sent`, `unknown` (it may have happened) or
    `answered`. It is on every `upstream_*` error.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        action_url: str | None = None,
        hint: str | None = None,
        retryable: bool | None = None,
        retry_after_ms: int | None = None,
        details: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        outcome: Outcome | None = None,
        upstream_status: int | None = None,
        poll_url: str | None = None,
    ) -> None:
        super().__init__(message)
        assert code in CODES, code
        self.code = code
        self.message = message
        self.action_url = action_url
        self.hint = hint
        self.retryable = retryable
        self.retry_after_ms = retry_after_ms
        self.details = details
        self.run_id = run_id
        self.outcome = outcome
        self.upstream_status = upstream_status
        self.poll_url = poll_url
        #: The upstream was asked and answered, though this is not its answer. Not shown.
        self.reached = False

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Refusal:
        """The refusal that `body` was made of."""
        known = {name: value for name, value in body.items() if name not in ("error", "message")}
        return cls(body["error"], body["message"], **known)

    @property
    def status(self) -> int:
        return CODES[self.code].status

    def body(self) -> dict[str, Any]:
        """Envelope 2 of the contract: `error`, `message` and whatever else is known."""
        body: dict[str, Any] = {"error": self.code, "message": self.message}
        for name in (
            "action_url",
            "hint",
            "retryable",
            "retry_after_ms",
            "details",
            "run_id",
            "outcome",
            "upstream_status",
            "poll_url",
        ):
            value = getattr(self, name)
            if value is not None:
                body[name] = value
        return body


def bad_param(path: str, keyword: str, message: str) -> Refusal:
    """`bad_request` that names the param: where in it (`labels/0`), and which keyword of a schema it is nearest to."""
    field = {"path": path, "keyword": keyword, "message": message}
    return Refusal("bad_request", message, details={"fields": [field]})
