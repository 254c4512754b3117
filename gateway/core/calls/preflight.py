"""A call that is not made: everything that is in its way at once, and the request that it would make."""

from __future__ import annotations

from typing import Any

from gateway.core.calls.budgets import Budgets
from gateway.core.calls.call import Call, Plan
from gateway.core.calls.preparation import Preparation
from gateway.core.requests.redaction import redact, spellings
from gateway.core.requests.request import Pieces, UpstreamRequest
from gateway.core.tenants.access import approval_required, needs_approval
from gateway.core.tenants.limits import Limits

#: How much of a request's body is shown.
_MOST_BODY = 64 * 1024


class Preflight:
    """Answers preflights: the same checks as those of a call, up to the socket. Spends nothing, renews nothing."""

    def __init__(self, preparation: Preparation, limits: Limits, budgets: Budgets) -> None:
        self._preparation = preparation
        self._limits = limits
        self._budgets = budgets

    async def of(self, call: Call) -> dict[str, Any]:
        """`ok`, `problems` as the call would be refused, and the request with its secrets masked."""
        plan, refusals = await self._preparation.blockers(call)
        problems = [refusal.body() for refusal in refusals]
        shown: dict[str, Any] = {"ok": not problems, "problems": problems}
        if plan is None:
            return shown
        left = await self._limits.left(call.principal, plan.skill)
        problems += [refusal.body() for refusal in left.refusals]
        if needs_approval(call.principal, plan.skill, plan.params):
            problems.append(approval_required().body())
        if (paced := await self._budgets.left(plan)) is not None:
            problems.append(paced.body())
        return {
            "ok": not problems,
            "problems": problems,
            "request": _masked(plan.request) if not refusals else None,
            "connection": _connection(plan),
            "scopes": {"required": list(plan.skill.scopes), "granted": _granted(plan)},
            "limits": left.shown,
            "cost": plan.skill.cost,
        }


def _masked(request: UpstreamRequest) -> dict[str, Any]:
    """The request with every occurrence of the credential taken out, and its own headers and parameters hidden."""
    spelled = spellings(request.secrets)

    def hidden(text: str) -> str:
        return redact(text.encode(), spelled)[0].decode(errors="replace")

    def pair(text: str) -> str:
        name, joint, value = text.partition("=")
        return f"{name}{joint}[secret]" if name in request.credential_params and value else hidden(text)

    query = "&".join(pair(one) for one in request.query.split("&"))
    headers = [
        {"name": name, "value": "[secret]" if name.lower() in request.credential_headers else hidden(value)}
        for name, value in request.headers
    ]
    body = None if request.body is None else _text_of(request.body)
    # Masked whole: half a secret at the cut would not be found.
    shown = None if body is None else redact(body, spelled)[0][:_MOST_BODY].decode("utf-8", "replace")
    size = 0 if request.body is None else len(request.body)
    return {
        "method": request.method,
        "url": hidden(f"{request.origin}{request.path}") + (f"?{query}" if query else ""),
        "headers": headers,
        "body": shown,
        **({"body_bytes": size} if size > _MOST_BODY or isinstance(request.body, Pieces) else {}),
    }


def _text_of(body: bytes | Pieces) -> bytes:
    """What of a body can be shown: of a file that is read on sending only what it is."""
    if isinstance(body, bytes):
        return body
    return b"".join(piece if isinstance(piece, bytes) else piece.about.encode() for piece in body.pieces)


def _connection(plan: Plan) -> dict[str, Any] | None:
    if plan.held is None:
        return None
    connection = plan.held.connection
    return {"id": connection.id, "account": connection.account, "label": connection.label, "state": connection.state.value}


def _granted(plan: Plan) -> list[str] | None:
    if plan.held is None or plan.held.connection.scopes is None:
        return None
    return list(plan.held.connection.scopes)
