"""`Gateway.call` for tools: made once, as asked; and where an account is missing, the person is asked to connect it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from gateway.core.calls.call import Call
from gateway.core.errors import Refusal
from gateway.core.ids import random_hex
from gateway.core.runs.once import Accepted
from gateway.mcp.asked import Asked, Json
from gateway.mcp.eras import LATEST_HANDSHAKE
from gateway.mcp.jsonrpc import INVALID_PARAMS, URL_ELICITATION_REQUIRED, RpcError
from gateway.mcp.rendering import of_accepted, of_refusal, of_result
from gateway.mcp.tasks import created, may_be_task, takes_long
from gateway.web.tool_options import call_of

#: What a person mends by connecting an account.
_MENDED = ("integration_not_connected", "token_expired", "missing_scopes")
#: A client asks again at once once its person agreed to open the page: seconds that one request then waits for the
#: account, and how often. Clients give up after ten rounds.
WAIT, ROUNDS = 20.0, 8
_PAUSE = 0.5
#: Key of the one thing that we ask for, and what the client brings back with it.
_CONNECT = "connect"
_STATE = re.compile(r"connect\.([1-9])")


async def call(asked: Asked, slug: str, action: str, params: Mapping[str, Any], options: Mapping[str, Any]) -> Json:
    """The answer of a tool that is an action. What the gateway refuses is an answer too."""
    ours = asked.ours
    made = call_of(asked.who, slug, action, params, options, ceiling=ours.settings.sync_ceiling)
    is_task = may_be_task(asked)
    if is_task and made.wait is None and not made.is_async:
        skill = ours.catalogs.current.find(slug, action)
        if skill is not None and takes_long(skill):
            made = call_of(asked.who, slug, action, params, {**options, "async": True}, ceiling=0)
    try:
        answer = await _connected(asked, made)
    except Refusal as refusal:
        if is_task and refusal.run_id and refusal.code in ("approval_required", "sync_timeout_upgrade_async"):
            return await created(asked, refusal.run_id)
        return of_refusal(refusal)
    if isinstance(answer, dict):
        return answer
    if isinstance(answer, Accepted):
        return (
            await created(asked, answer.run_id) if is_task else of_accepted(answer, ours.runs.poll_url(answer.run_id))
        )
    return of_result(answer)


async def _connected(asked: Asked, made: Call) -> Any:
    """The call; where an account is missing, whatever this era and client have to ask for it."""
    round = _round(asked)
    loop = asyncio.get_running_loop()
    until = loop.time() + (WAIT if round else 0)
    while True:
        try:
            return await asked.ours.gateway.call(made)
        except Refusal as refusal:
            if refusal.code not in _MENDED or refusal.action_url is None or _declined(asked):
                raise
            if loop.time() >= until:
                return _asking(asked, refusal, refusal.action_url, round)
        # Nothing was sent: only the look for a connection is done again.
        await asyncio.sleep(_PAUSE)


def _asking(asked: Asked, refusal: Refusal, page: str, round: int) -> Json:
    message = f"{refusal.message} Open the page, connect the account, and come back."
    if asked.era.version == LATEST_HANDSHAKE and not asked.ignores_pages:
        elicitation = {"mode": "url", "elicitationId": f"elic_{random_hex(8)}", "url": page, "message": message}
        # The text is what clients show that know nothing of it.
        text = f"{refusal.message} Open {page} and connect the account; then make the same call again."
        raise RpcError(URL_ELICITATION_REQUIRED, text, {"elicitations": [elicitation], **refusal.body()})
    if not asked.era.is_modern or not asked.era.opens_pages or round >= ROUNDS:
        raise refusal
    answer: Json = {"resultType": "input_required", "requestState": f"{_CONNECT}.{round + 1}"}
    if round == 0:
        elicit = {"method": "elicitation/create", "params": {"mode": "url", "message": message, "url": page}}
        answer["inputRequests"] = {_CONNECT: elicit}
    return answer


def _round(asked: Asked) -> int:
    """How often the client has come back. It decides about nothing but how long we wait."""
    state = asked.params.get("requestState")
    if state is None:
        return 0
    found = _STATE.fullmatch(state) if isinstance(state, str) else None
    if found is None or not asked.era.is_modern:
        raise RpcError(INVALID_PARAMS, "requestState is not one that we gave.")
    return int(found[1])


def _declined(asked: Asked) -> bool:
    responses = asked.params.get("inputResponses")
    answer = responses.get(_CONNECT) if isinstance(responses, dict) else None
    return isinstance(answer, dict) and answer.get("action") != "accept"
