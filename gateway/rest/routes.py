"""Every REST route in one table. Slugs share `/v1/` with them: fixed names stand first, and are reserved."""

from __future__ import annotations

from aiohttp import web

from gateway.rest import calls, connections, discovery, keys
from skills_catalog.names import RESERVED_SLUGS

#: Not a reserved slug: what a fixed route does not take is 405 there, and no unknown integration.
_INTEGRATION = "{integration:(?!(?:" + "|".join(sorted(RESERVED_SLUGS)) + ")/)[^{}/]+}"


def routes() -> list[web.RouteDef]:
    return [
        web.get("/v1/skills", discovery.integrations),
        web.get("/v1/skills/search", discovery.search),
        web.get("/v1/skills/{integration}", discovery.integration),
        web.get("/v1/skills/{integration}/{action}", discovery.action),
        web.get("/v1/verify", keys.verify),
        web.post("/v1/connect", connections.connect),
        web.get("/v1/connect/{id}", connections.poll),
        web.post("/v1/connect/{id}/confirm", connections.confirm),
        web.get("/v1/connections", connections.list_connections),
        web.get("/v1/connections/{id}", connections.show),
        web.delete("/v1/connections/{id}", connections.disconnect),
        web.get("/v1/org/redirect-urls", connections.return_urls),
        web.put("/v1/org/redirect-urls", connections.set_return_urls),
        web.get(f"/v1/{_INTEGRATION}/download", discovery.download),
        web.post(f"/v1/{_INTEGRATION}/{{action}}", calls.execute),
    ]
