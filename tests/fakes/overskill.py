"""The counterpart of OverSkill: apps, generation jobs, app users, webhooks and keys of one workspace."""

import time
from dataclasses import dataclass
from datetime import datetime
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

PLANS = {"free": 60, "pro": 300, "enterprise": 1000}
TIERS = ("free", "basic", "pro", "premium", "enterprise")
STATUSES = ("draft", "generating", "published")
SCOPES = {
    "read_only": "Read access to apps, users and analytics",
    "read_write": "Read and write access to apps",
    "full_access": "Full access, including deletion and administration",
}
EVENTS = (
    "app.created",
    "app.updated",
    "app.deleted",
    "app.generation.started",
    "app.generation.progress",
    "app.generation.completed",
    "app.generation.failed",
    "app.deployment.completed",
    "app.user.created",
    "app.user.access_granted",
    "app.user.access_revoked",
)
TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    413: "Payload Too Large",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    500: "Internal Server Error",
}
#: What the polls of a generation show, one after the other: status, percent, message.
STEPS = (
    ("queued", 0, "Waiting to start"),
    ("processing", 35, "Planning the app..."),
    ("processing", 65, "Generating components..."),
    ("completed", 100, "Generation finished"),
)


@dataclass(slots=True, kw_only=True)
class Key:
    """An API key or an OAuth token; both are worth the same."""

    id: int
    name: str
    raw: str
    scope: str
    created_at: float
    expires_at: float | None = None
    last_used_at: float | None = None
    request_count: int = 0
    active: bool = True


class OverSkill(Upstream):
    prefix = "/api/v1"

    def __init__(self, *, clock: Clock = time.time, plan: str = "enterprise") -> None:
        super().__init__(clock=clock)
        self.window = Window(PLANS[plan], 60)
        self.key = "os_" + opaque("overskill key", 48)
        self.token = opaque("overskill oauth token", 43)
        self.keys: list[Key] = []
        self.tokens: dict[str, Key] = {}
        self.apps: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.app_users: list[dict[str, Any]] = []
        self.webhooks: list[dict[str, Any]] = []
        self.deployments: list[dict[str, Any]] = []
        self.add_key("Production Key", "full_access", raw=self.key)
        self.add_token(self.token)

    # What a test prepares

    def add_key(
        self, name: str, scope: str, *, raw: str | None = None, expires_at: float | None = None
    ) -> Key:
        number = len(self.keys) + 1
        key = Key(
            id=number,
            name=name,
            raw=raw or "os_" + opaque(f"overskill key {number}", 48),
            scope=scope,
            created_at=self.clock(),
            expires_at=expires_at,
        )
        self.keys.append(key)
        return key

    def add_token(self, raw: str, *, scope: str = "full_access", expires_at: float | None = None) -> None:
        """Lets an OAuth token in."""
        self.tokens[raw] = Key(
            id=0, name="OAuth", raw=raw, scope=scope, created_at=self.clock(), expires_at=expires_at
        )

    def add_app(self, name: str, *, status: str = "published", visibility: str = "public") -> dict[str, Any]:
        return self._make_app({"name": name, "visibility": visibility}, status)

    # Apps

    @route("GET", "/managed_apps")
    def list_apps(self, asked: Asked) -> Answer:
        status, name = asked.query("status"), asked.query("name")
        if status is not None and status not in STATUSES:
            raise self.refuse(400, f"Invalid status. Must be one of: {', '.join(STATUSES)}")
        found = [
            self._show(app, "id name status visibility preview_url production_url created_at updated_at")
            for app in self.apps.values()
            if (status is None or app["status"] == status)
            and (name is None or name.lower() in app["name"].lower())
        ]
        return self._page(asked, "apps", found)

    @route("GET", "/managed_apps/{id}")
    def get_app(self, asked: Asked) -> Answer:
        return json_answer({"app": self._full_app(self._app(asked.params["id"]))})

    @route("POST", "/managed_apps")
    def create_app(self, asked: Asked) -> Answer:
        given = self.read_fields(
            asked,
            {
                "name": Field(required=True, least=1),
                "prompt": Field(),
                "visibility": Field(),
                "ai_model": Field(),
                "auto_generate": Field(kind=bool),
            },
        )
        queued = bool(given.get("prompt")) and given.get("auto_generate") is not False
        app = self._make_app(given, "generating" if queued else "draft")
        if queued:
            self._make_job(app, given["prompt"])
        message = "App created and generation queued" if queued else "App created"
        shown = self._show(app, "id name status preview_url created_at")
        return json_answer({"app": shown, "message": message}, 201)

    @route("POST", "/managed_apps/{id}/deploy")
    def deploy_app(self, asked: Asked) -> Answer:
        app = self._app(asked.params["id"])
        deployment = {"deployment_id": 42 + len(self.deployments), "app_id": app["id"], "status": "queued"}
        self.deployments.append(deployment)
        app["status"], app["published_at"] = "published", iso(self.clock())
        app["production_url"] = f"https://{app['id']}.overskill.app"
        shown = self._show(deployment, "deployment_id status")
        return json_answer({**shown, "message": "Production deployment queued"}, 202)

    # Generation

    @route("POST", "/generation_queue")
    def queue_generation(self, asked: Asked) -> Answer:
        given = self.read_fields(
            asked,
            {
                "prompt": Field(required=True, least=1),
                "app_id": Field(),
                "callback_url": Field(),
                "name": Field(),
                "ai_model": Field(),
                "metadata": Field(kind=dict),
            },
        )
        app_id = given.get("app_id")
        app = self._app(app_id) if app_id else self._make_app({"name": "Untitled app", **given}, "generating")
        job = self._make_job(app, given["prompt"], given.get("callback_url"), given.get("metadata"))
        return json_answer(
            {
                **self._show(job, "job_id app_id message_id"),
                "status": "queued",
                "estimated_time_seconds": 45,
                "webhook_events": [event for event in EVENTS if event.startswith("app.generation.")],
                "status_url": f"{self.base_url}/api/v1/generation_queue/{job['job_id']}",
            },
            202,
        )

    @route("GET", "/generation_queue/{id}")
    def get_generation(self, asked: Asked) -> Answer:
        """Every look moves the job one step on; a prompt that holds `[fail]` ends failed."""
        job = self.jobs.get(asked.params["id"])
        if job is None:
            raise self.refuse(404, "Generation job not found")
        status, progress, message = STEPS[min(job["polls"], len(STEPS) - 1)]
        job["polls"] += 1
        if status == "completed" and "[fail]" in job["prompt"]:
            status, progress, message = "failed", 65, "Generation failed: the prompt could not be built"
        if status != "queued" and job["started_at"] is None:
            job["started_at"] = iso(self.clock())
        if status in ("completed", "failed") and job["completed_at"] is None:
            job["completed_at"] = iso(self.clock())
            if status == "completed":
                self._finish_generation(self.apps[job["app_id"]])
        shown = {"status": status, "progress": progress, "message": message}
        return json_answer(
            {**self._show(job, "job_id app_id"), **shown, **self._show(job, "started_at completed_at")}
        )

    # App users

    @route("GET", "/managed_users")
    def list_app_users(self, asked: Asked) -> Answer:
        app_id, tier, email = asked.query("app_id"), asked.query("tier"), asked.query("email")
        found = [
            self._show(
                user,
                "id app_id email access_tier tier_granted_at tier_expires_at revoked"
                " first_accessed_at last_accessed_at access_count",
            )
            for user in self.app_users
            if (app_id is None or user["app_id"] == app_id)
            and (tier is None or user["access_tier"] == tier)
            and (email is None or email.lower() in user["email"].lower())
        ]
        return self._page(asked, "app_users", found)

    @route("POST", "/managed_users/grant_access")
    def grant_access(self, asked: Asked) -> Answer:
        given = self.read_fields(
            asked,
            {
                "app_id": Field(required=True),
                "email": Field(required=True, least=3),
                "tier": Field(choices=TIERS),
                "expires_at": Field(),
            },
        )
        if given.get("expires_at") and not _is_moment(given["expires_at"]):
            raise self.refuse(400, "expires_at must be an ISO 8601 date and time")
        app = self._app(given["app_id"])
        user = self._app_user(app["id"], given["email"])
        user.update(
            access_tier=given.get("tier") or "free",
            tier_granted_at=iso(self.clock()),
            tier_expires_at=given.get("expires_at"),
            revoked=False,
            revoked_at=None,
        )
        shown = self._show(user, "id app_id email access_tier tier_granted_at tier_expires_at")
        return json_answer({"app_user": shown, "message": "Access granted successfully"}, 201)

    @route("POST", "/managed_users/{id}/revoke")
    def revoke_access(self, asked: Asked) -> Answer:
        user = next((user for user in self.app_users if str(user["id"]) == asked.params["id"]), None)
        if user is None:
            raise self.refuse(404, "App user not found")
        user.update(revoked=True, revoked_at=iso(self.clock()))
        shown = self._show(user, "id app_id email access_tier revoked revoked_at")
        return json_answer({"app_user": shown, "message": "Access revoked"})

    # Webhooks

    @route("GET", "/webhooks")
    def list_webhooks(self, asked: Asked) -> Answer:
        fields = "id url name events enabled source created_at"
        return self._page(asked, "webhooks", [self._show(webhook, fields) for webhook in self.webhooks])

    @route("POST", "/webhooks")
    def create_webhook(self, asked: Asked) -> Answer:
        given = self.read_fields(
            asked,
            {
                "url": Field(required=True),
                "name": Field(),
                "events": Field(kind=list, required=True, least=1),
            },
        )
        if unknown := [event for event in given["events"] if event not in EVENTS]:
            raise self.refuse(400, f"Unknown events: {', '.join(map(str, unknown))}")
        if not given["url"].startswith(("http://", "https://")):
            raise self.refuse(400, "url must be an http or https URL")
        webhook = {
            "id": len(self.webhooks) + 1,
            "url": given["url"],
            "name": given.get("name"),
            "events": given["events"],
            "enabled": True,
            "source": "api",
            "created_at": iso(self.clock()),
        }
        self.webhooks.append(webhook)
        secret = "whsec_" + opaque(f"overskill webhook {webhook['id']}", 32)
        return json_answer({"webhook": webhook, "signing_secret": secret, "message": "Webhook created"}, 201)

    # Keys

    @route("GET", "/api_keys")
    def list_api_keys(self, asked: Asked) -> Answer:
        return self._page(asked, "api_keys", [self._full_key(key) for key in self.keys])

    @route("POST", "/api_keys")
    def create_api_key(self, asked: Asked) -> Answer:
        given = self.read_fields(
            asked,
            {
                "name": Field(required=True, least=1),
                "scope": Field(choices=tuple(SCOPES)),
                "expires_in_days": Field(kind=int, least=1),
            },
        )
        days = given.get("expires_in_days")
        expires_at = self.clock() + days * 86400 if days else None
        key = self.add_key(given["name"], given.get("scope") or "read_only", expires_at=expires_at)
        shown = self._show(self._full_key(key), "id name key_prefix scope active expires_at created_at")
        warning = "Save this key now! It will not be shown again."
        return json_answer({"raw_key": key.raw, "api_key": shown, "warning": warning}, 201)

    # Who is let in, and how a refusal looks

    def admit(self, seen: Seen) -> Key:
        key = self._find_key(seen)
        if key is None or not key.active or (key.expires_at is not None and key.expires_at <= self.clock()):
            raise self._with_rate_headers(self.refuse(401, "Invalid or expired API key"))
        key.last_used_at = self.clock()
        key.request_count += 1
        if not self._may(key, seen):
            raise self._with_rate_headers(
                self.refuse(403, f"This key's scope, {key.scope}, does not allow this")
            )
        return key

    def meter(self, seen: Seen, who: Key) -> dict[str, str]:
        spent = self.window.take("workspace", self.clock())
        headers = {
            "X-RateLimit-Limit": str(spent.limit),
            "X-RateLimit-Remaining": str(spent.remaining),
            "X-RateLimit-Reset": str(spent.reset),
        }
        if spent.refused:
            refused = self.refuse(429, "Rate limit exceeded")
            raise Refused(refused.answer.with_headers(headers))
        return headers

    def refuse(self, status: int, message: str, *, code: str = "", details: object = None) -> Refused:
        return Refused(json_answer({"error": TITLES.get(status, "Error"), "message": message}, status))

    def _find_key(self, seen: Seen) -> Key | None:
        raw = seen.header("X-API-Key")
        if raw is not None:
            return next((key for key in self.keys if key.raw == raw), None)
        return self.tokens.get(seen.bearer() or "")

    def _may(self, key: Key, seen: Seen) -> bool:
        if key.scope == "full_access" or seen.method == "GET":
            return True
        return key.scope == "read_write" and not seen.path.endswith(("/webhooks", "/api_keys"))

    def _with_rate_headers(self, refused: Refused) -> Refused:
        """Every answer carries them, a refusal too; it spends nothing."""
        window = self.window
        reset = (int(self.clock() // window.seconds) + 1) * window.seconds
        return Refused(
            refused.answer.with_headers(
                {
                    "X-RateLimit-Limit": str(window.limit),
                    "X-RateLimit-Remaining": str(window.limit),
                    "X-RateLimit-Reset": str(reset),
                }
            )
        )

    # State

    def _app(self, app_id: str) -> dict[str, Any]:
        if app_id not in self.apps:
            raise self.refuse(404, "App not found")
        return self.apps[app_id]

    def _make_app(self, given: dict[str, Any], status: str) -> dict[str, Any]:
        app_id = self.new_id("", 6)
        app = {
            "id": app_id,
            "name": given["name"],
            "description": given.get("prompt"),
            "status": status,
            "visibility": given.get("visibility") or "private",
            "ai_model": given.get("ai_model") or "claude-sonnet-4-5",
            "preview_url": None if status == "generating" else f"https://preview-{app_id}.overskill.app",
            "production_url": f"https://{app_id}.overskill.app" if status == "published" else None,
            "published_at": iso(self.clock()) if status == "published" else None,
            "versions_count": 1,
            "created_at": iso(self.clock()),
            "updated_at": iso(self.clock()),
        }
        self.apps[app_id] = app
        return app

    def _full_app(self, app: dict[str, Any]) -> dict[str, Any]:
        shown = self._show(
            app,
            "id name description status visibility ai_model preview_url production_url published_at",
        )
        return {
            **shown,
            "creator": {"id": 42, "email": "maker@acme.example"},
            "versions_count": app["versions_count"],
            "files_count": 24,
            "users_count": sum(user["app_id"] == app["id"] for user in self.app_users),
            "urls": {
                "editor": f"https://overskill.com/account/apps/{app['id']}/edit",
                "preview": app["preview_url"],
                "production": app["production_url"],
            },
            **self._show(app, "created_at updated_at"),
        }

    def _make_job(
        self, app: dict[str, Any], prompt: str, callback_url: str | None = None, metadata: object = None
    ) -> dict[str, Any]:
        job = {
            "job_id": self.new_id("jid_", 6),
            "app_id": app["id"],
            "message_id": 456 + len(self.jobs),
            "prompt": prompt,
            "callback_url": callback_url,
            "metadata": metadata,
            "polls": 0,
            "started_at": None,
            "completed_at": None,
        }
        self.jobs[str(job["job_id"])] = job
        return job

    def _finish_generation(self, app: dict[str, Any]) -> None:
        app["versions_count"] += 1
        app["updated_at"] = iso(self.clock())
        if app["status"] == "generating":
            app["status"], app["preview_url"] = "draft", f"https://preview-{app['id']}.overskill.app"

    def _app_user(self, app_id: str, email: str) -> dict[str, Any]:
        for user in self.app_users:
            if (user["app_id"], user["email"]) == (app_id, email):
                return user
        user = {
            "id": 789 + len(self.app_users),
            "app_id": app_id,
            "email": email,
            "first_accessed_at": None,
            "last_accessed_at": None,
            "access_count": 0,
        }
        self.app_users.append(user)
        return user

    def _full_key(self, key: Key) -> dict[str, Any]:
        expired = key.expires_at is not None and key.expires_at <= self.clock()
        return {
            "id": key.id,
            "name": key.name,
            "key_prefix": key.raw[:12],
            "masked_key": f"{key.raw[:12]}...{key.raw[-3:]}",
            "scope": key.scope,
            "scope_description": SCOPES[key.scope],
            "active": key.active and not expired,
            "expired": expired,
            "expires_at": iso(key.expires_at) if key.expires_at else None,
            "last_used_at": iso(key.last_used_at) if key.last_used_at else None,
            "request_count": key.request_count,
            "created_at": iso(key.created_at),
        }

    def _page(self, asked: Asked, name: str, found: list[dict[str, Any]]) -> Answer:
        page = self._whole_number(asked, "page", 1)
        per_page = min(self._whole_number(asked, "per_page", 25), 100)
        meta = {
            "current_page": page,
            "total_pages": max(1, -(-len(found) // per_page)),
            "total_count": len(found),
            "per_page": per_page,
        }
        return json_answer({name: found[(page - 1) * per_page : page * per_page], "meta": meta})

    def _whole_number(self, asked: Asked, name: str, default: int) -> int:
        given = asked.query(name)
        if given is None:
            return default
        if not (given.isascii() and given.isdigit() and len(given) < 10 and int(given) > 0):
            raise self.refuse(400, f"{name} must be a positive integer")
        return int(given)

    def _show(self, record: dict[str, Any], names: str) -> dict[str, Any]:
        return {name: record[name] for name in names.split()}


def _is_moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
