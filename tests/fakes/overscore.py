"""The counterpart of Overscore: registered queries under a key in the body, and deploys under a session."""

import time
from dataclasses import dataclass, field
from typing import Any

from .upstream import (
    Answer,
    Asked,
    Clock,
    Field,
    Refused,
    Seen,
    Upstream,
    Window,
    iso,
    json_answer,
    opaque,
    route,
)

BUNDLE_LIMIT = 50 * 1024 * 1024
GZIP_MAGIC = b"\x1f\x8b"
ROWS = [
    {"month": "2025-01", "total_revenue": 52400},
    {"month": "2025-02", "total_revenue": 61300},
    {"month": "2025-03", "total_revenue": 58900},
]
SIGN_IN = "Authentication required. Run 'overscore login' to sign in."


@dataclass(slots=True, kw_only=True)
class Query:
    """A registered query: its rows, or the reason why BigQuery fails it."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    broken: str | None = None
    #: Seconds that a result is kept; none means that it is not.
    cache_ttl: int | None = None
    kept_until: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    email: str
    #: Role by project slug: owner, admin or viewer.
    roles: dict[str, str]
    expires_at: float


class Overscore(Upstream):
    prefix = "/api"

    def __init__(self, *, clock: Clock = time.time, cookie_name: str = "session") -> None:
        super().__init__(clock=clock)
        self.cookie_name = cookie_name
        self.query_window = Window(100, 60)
        self.deploy_window = Window(10, 3600)
        self.bundle_limit = BUNDLE_LIMIT
        #: Project slug by API key.
        self.keys: dict[str, str] = {}
        self.sessions: dict[str, Session] = {}
        self.queries: dict[tuple[str, str, str], Query] = {}
        self.deployments: list[dict[str, Any]] = []
        self.key = self.add_key("acme")
        self.session = self.add_session("owner@acme.example", {"acme": "owner"})
        self.viewer_session = self.add_session("viewer@acme.example", {"acme": "viewer"})
        self.register("acme", "sales-dashboard", "revenue_by_month", Query(rows=ROWS))
        self.register("acme", "sales-dashboard", "cached_revenue", Query(rows=ROWS[:2], cache_ttl=3600))
        missing = "Table not found: my-project.analytics.orders"
        self.register("acme", "sales-dashboard", "broken_orders", Query(broken=missing))

    # What a test prepares

    def add_key(self, project: str) -> str:
        key = "os_live_" + opaque(f"overscore key {len(self.keys)}", 32)
        self.keys[key] = project
        return key

    def add_session(self, email: str, roles: dict[str, str], *, seconds: float = 86400) -> str:
        token = opaque(f"overscore session {len(self.sessions)}", 40)
        self.sessions[token] = Session(email=email, roles=roles, expires_at=self.clock() + seconds)
        return token

    def register(self, project: str, dashboard: str, name: str, query: Query) -> None:
        self.queries[project, dashboard, name] = query

    # Endpoints

    @route("POST", "/query")
    def run_query(self, asked: Asked) -> Answer:
        given = self.read_object(asked)
        project, dashboard, name = (given.get(key) for key in ("projectSlug", "dashboardSlug", "queryName"))
        key = given.get("apiKey")
        if not isinstance(key, str) or key not in self.keys:
            raise self.refuse(401, "Invalid API key")
        required = Field(required=True, least=1)
        self.check(given, {"projectSlug": required, "dashboardSlug": required, "queryName": required})
        # A key opens its own project and no other.
        if self.keys[key] != project:
            raise self.refuse(401, "Invalid API key")
        self._count(self.query_window, str(project), "Query rate limit exceeded")
        query = self.queries.get((str(project), str(dashboard), str(name)))
        if query is None:
            raise self.refuse(404, f"Query '{name}' is not registered for dashboard '{dashboard}'")
        if query.broken:
            raise self.refuse(500, "Query execution failed", details=f"BigQuery error: {query.broken}")
        path = f"{project}/{dashboard}/{name}"
        return json_answer({"data": query.rows, "metadata": self._metadata(query, path)})

    @route("POST", "/deploy")
    def deploy(self, asked: Asked) -> Answer:
        session = self._session(asked.seen)
        parts = self.read_parts(asked)
        for name in ("projectSlug", "dashboardSlug", "bundle"):
            if name not in parts:
                raise self.refuse(400, f"{name} is required")
        project = parts["projectSlug"].content.decode("utf-8", "replace")
        dashboard = parts["dashboardSlug"].content.decode("utf-8", "replace")
        bundle = parts["bundle"]
        if session.roles.get(project) not in ("owner", "admin"):
            raise self.refuse(403, "You do not have permission to deploy to this project")
        self._count(self.deploy_window, project, "Deployment rate limit exceeded")
        if len(bundle.content) > self.bundle_limit:
            raise self.refuse(413, "Bundle size exceeds the 50MB limit")
        if bundle.filename is None or not bundle.content.startswith(GZIP_MAGIC):
            raise self.refuse(400, "bundle must be a gzipped tar file")
        deployment = {
            "id": self.new_id("dep_", 12),
            "createdAt": iso(self.clock()),
            "sizeBytes": len(bundle.content),
        }
        self.deployments.append({**deployment, "project": project, "dashboard": dashboard})
        url = f"https://{project}.overscore.dev/{dashboard}/"
        return json_answer({"success": True, "url": url, "deployment": deployment})

    # Who is let in, and how a refusal looks

    def refuse(self, status: int, message: str, *, code: str = "", details: object = None) -> Refused:
        body = {"error": message}
        if isinstance(details, str):
            body["detail"] = details
        return Refused(json_answer(body, status))

    def _session(self, seen: Seen) -> Session:
        token = seen.bearer() or seen.cookie(self.cookie_name)
        session = self.sessions.get(token or "")
        if session is None or session.expires_at <= self.clock():
            raise self.refuse(401, SIGN_IN)
        return session

    def _count(self, window: Window, project: str, message: str) -> None:
        spent = window.take(project, self.clock())
        if spent.refused:
            wait = max(1, -int(-(spent.reset - self.clock()) // 1))
            refused = self.refuse(429, message)
            raise Refused(refused.answer.with_headers({"Retry-After": str(wait)}))

    def _metadata(self, query: Query, path: str) -> dict[str, Any]:
        """The first request fills the cache; while it is fresh, two more fields are told."""
        cached = self.clock() < query.kept_until
        metadata: dict[str, Any] = {
            "rowCount": len(query.rows),
            "executionTimeMs": 12 if cached else 1240,
            "cached": cached,
            "cacheUrl": f"https://overscore.dev/cache/{path}.parquet" if cached else None,
        }
        if cached:
            metadata.update(cacheTtl=query.cache_ttl, cacheExpiresAt=iso(query.kept_until))
        elif query.cache_ttl is not None:
            query.kept_until = self.clock() + query.cache_ttl
        return metadata
