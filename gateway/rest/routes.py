"""Every REST route in one table. Slugs share `/v1/` with them: fixed names stand first, and are reserved."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from gateway.rest import (
    calls,
    connections,
    description,
    devices,
    discovery,
    events,
    files,
    hooks,
    keys,
    llms,
    runs,
    sandbox,
    sign_up,
    tools,
    usage,
    webhooks,
)
from gateway.web.operations import Route
from gateway.web.routing import mounted
from skills_catalog.names import RESERVED_SLUGS

#: Not a reserved slug: what a fixed route does not take is 405 there, and no unknown integration.
_INTEGRATION = "{integration:(?!(?:" + "|".join(sorted(RESERVED_SLUGS)) + ")/)[^{}/]+}"

ROUTES: Sequence[Route] = (
    Route("GET", "/v1/skills", discovery.integrations, "read_only"),
    Route("GET", "/v1/skills/search", discovery.search, "read_only"),
    Route("GET", "/v1/skills/{integration}", discovery.integration, "read_only"),
    Route("GET", "/v1/skills/{integration}/{action}", discovery.action, "read_only"),
    Route("GET", "/v1/tools", tools.list_tools, "read_only"),
    # What the action does to the world decides which level it takes.
    Route("POST", "/v1/tools/call", tools.call_tool, "read_only"),
    Route("GET", "/v1/verify", keys.verify, "read_only"),
    Route("GET", "/v1/usage", usage.usage, "read_only"),
    Route("GET", "/v1/ledger", usage.ledger, "read_only"),
    Route("POST", "/v1/preflight", calls.preflight, "read_only"),
    Route("POST", "/v1/sandbox/reset", sandbox.reset, "read_only"),
    Route("GET", "/v1/runs", runs.list_runs, "read_only"),
    Route("GET", "/v1/runs/{id}", runs.show, "read_only"),
    Route("POST", "/v1/runs/{id}/cancel", runs.cancel, "read_write"),
    Route("POST", "/v1/runs/{id}/retry", runs.retry, "read_write"),
    Route("GET", "/v1/results/{id}", runs.result, "read_only"),
    Route("POST", "/v1/files", files.add, "read_write"),
    Route("GET", "/v1/files/{id}", files.read, "read_only"),
    Route("DELETE", "/v1/files/{id}", files.delete, "full_access"),
    Route("GET", "/v1/events", events.list_events, "read_only"),
    Route("POST", "/v1/connect", connections.connect, "read_write", live_only=True),
    Route("GET", "/v1/connect/{id}", connections.poll, "read_only"),
    Route("POST", "/v1/connect/{id}/confirm", connections.confirm, "read_write", live_only=True),
    Route("GET", "/v1/connections", connections.list_connections, "read_only"),
    Route("GET", "/v1/connections/{id}", connections.show, "read_only"),
    Route("DELETE", "/v1/connections/{id}", connections.disconnect, "full_access", live_only=True),
    Route("GET", "/v1/webhooks", webhooks.list_webhooks, "full_access"),
    Route("POST", "/v1/webhooks", webhooks.create, "full_access"),
    Route("DELETE", "/v1/webhooks/{id}", webhooks.remove, "full_access"),
    Route("POST", "/v1/webhooks/{id}/rotate", webhooks.rotate, "full_access"),
    Route("POST", "/v1/webhooks/{id}/enable", webhooks.enable, "full_access"),
    Route("GET", "/v1/webhooks/{id}/deliveries", webhooks.list_deliveries, "full_access"),
    Route("POST", "/v1/webhooks/{id}/deliveries/{delivery}/replay", webhooks.replay, "full_access"),
    Route("POST", "/v1/org/signing-secret", webhooks.rotate_signing_secret, "full_access"),
    Route("GET", "/v1/hooks", hooks.list_hooks, "full_access"),
    Route("POST", "/v1/hooks", hooks.create, "full_access"),
    Route("PUT", "/v1/hooks/{id}", hooks.set_secret, "full_access"),
    Route("DELETE", "/v1/hooks/{id}", hooks.remove, "full_access"),
    Route("GET", "/v1/org/redirect-urls", connections.return_urls, "read_only"),
    Route("PUT", "/v1/org/redirect-urls", connections.set_return_urls, "full_access", live_only=True),
    Route("GET", "/api-keys", keys.list_keys, "full_access", session=True),
    Route("POST", "/api-keys", keys.create, "full_access", session=True),
    Route("DELETE", "/api-keys/{id}", keys.revoke, "full_access", session=True),
    Route("POST", "/v1/signup", sign_up.sign_up, None),
    Route("POST", "/auth/device/code", devices.code, None),
    Route("POST", "/auth/device/token", devices.token, None),
    Route("POST", "/auth/device/authorize", devices.authorize, "full_access", live_only=True, session=True),
    Route("POST", "/hooks/{token}", hooks.receive, None),
    Route("GET", "/hooks/{token}", hooks.challenge, None),
    Route("GET", "/openapi.json", description.description, None),
    Route("GET", "/llms.txt", llms.llms, None),
    Route("GET", f"/v1/{_INTEGRATION}/download", discovery.download, "read_only"),
    Route("POST", f"/v1/{_INTEGRATION}/{{action}}", calls.execute, "read_only"),
)


def routes() -> list[web.RouteDef]:
    return mounted(ROUTES)
