"""The counterpart of SKYCOT: projects, builds that progress with each look, their files, and token usage."""

import io
import time
import zipfile
from dataclasses import dataclass
from typing import Any

from .upstream import (
    Answer,
    Asked,
    Clock,
    Fault,
    Field,
    Refused,
    Seen,
    Spent,
    Upstream,
    Window,
    iso,
    json_answer,
    opaque,
    route,
)

TIERS = ("starter", "pro", "business", "enterprise")
REQUESTS_A_MINUTE = {"starter": 60, "pro": 60, "business": 120, "enterprise": 1000}
CODES = {
    400: "validation_error",
    401: "unauthorized",
    403: "insufficient_tier",
    404: "not_found",
    409: "conflict",
    413: "payload_too_large",
    429: "rate_limit_exceeded",
    500: "internal_error",
}
#: What the polls of a build show, one after the other: status, percent, finished sessions.
STEPS = (("compiling", 5, 0), ("building", 40, 3), ("verifying", 85, 7), ("completed", 100, 8))
SESSIONS = ("schema", "auth", "api", "pages", "components", "integrations", "tests", "polish")
ESTIMATED_TOKENS = 45_000
#: The seed gives this refusal no status; of the statuses that it lists, this one is nearest.
TOKEN_LIMIT_STATUS = 403

ICON = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489") + bytes(range(256))
#: Every build makes these: text, JSON, bytes that are no text, nothing at all, and names that need escaping.
FILES: dict[str, tuple[str, bytes]] = {
    "README.md": ("text/markdown; charset=utf-8", b"# Kanban board\n\nMade by SKYCOT.\n"),
    "package.json": ("application/json", b'{"name": "kanban", "private": true, "version": "1.0"}\n'),
    "src/app/page.tsx": ("text/plain; charset=utf-8", b"export default () => <main>Board</main>;\n"),
    "src/app/cards/[id]/page.tsx": ("text/plain; charset=utf-8", b"export default () => <p>Card</p>;\n"),
    "src/components/Drag & Drop (v2).tsx": ("text/plain; charset=utf-8", "// größer\n".encode()),
    "public/icon.png": ("image/png", ICON),
    "public/.gitkeep": ("application/octet-stream", b""),
}


@dataclass(slots=True, kw_only=True)
class Account:
    """Every key of an account shares its tier, its allowance and its request window."""

    name: str
    tier: str = "business"
    tokens_used: int = 2_500_000
    tokens_limit: int = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    account: Account
    #: "live" or "test"; what one makes, the other does not see.
    mode: str

    @property
    def owner(self) -> tuple[str, str]:
        return self.account.name, self.mode


class SkyCot(Upstream):
    prefix = "/api/v1"

    def __init__(self, *, clock: Clock = time.time, tier: str = "enterprise") -> None:
        super().__init__(clock=clock)
        self.account = Account(name="acme", tier=tier)
        self.keys: dict[str, Caller] = {}
        self.projects: dict[str, dict[str, Any]] = {}
        self.builds: dict[str, dict[str, Any]] = {}
        self.deployments: list[dict[str, Any]] = []
        self._window = Window(0, 60)
        self.live_key = self.add_key(self.account)
        self.test_key = self.add_key(self.account, mode="test")

    # What a test prepares

    def add_key(self, account: Account, *, mode: str = "live") -> str:
        """A new key of the account; five may be active."""
        if sum(caller.account is account for caller in self.keys.values()) >= 5:
            raise ValueError(f"{account.name} has five active keys already")
        raw = f"sk_{mode}_" + opaque(f"skycot key {len(self.keys)}", 32)
        self.keys[raw] = Caller(account=account, mode=mode)
        return raw

    def revoke_key(self, raw: str) -> None:
        del self.keys[raw]

    # Projects

    @route("POST", "/projects")
    def create_project(self, asked: Asked) -> Answer:
        given = self.read_fields(
            asked,
            {
                "name": Field(required=True, least=1, most=200),
                "description": Field(),
                "archetype_hint": Field(),
            },
        )
        project = {
            "id": self.new_id("proj_", 12),
            "name": given["name"],
            "description": given.get("description"),
            "archetype": given.get("archetype_hint") or "general",
            "status": "created",
            "created_at": iso(self.clock()),
            "owner": asked.who.owner,
        }
        self.projects[project["id"]] = project
        return json_answer(_open(project), 201)

    @route("GET", "/projects")
    def list_projects(self, asked: Asked) -> Answer:
        mine = [_open(p) for p in self.projects.values() if p["owner"] == asked.who.owner]
        return json_answer({"projects": mine, "total": len(mine)})

    @route("GET", "/projects/{id}")
    def get_project(self, asked: Asked) -> Answer:
        project = self._project(asked)
        history = [
            {"build_id": build["id"], "status": _progress(build)[0], "created_at": build["created_at"]}
            for build in self.builds.values()
            if build["project_id"] == project["id"]
        ]
        return json_answer({**_open(project), "builds": history})

    # Builds

    @route("POST", "/projects/{id}/builds")
    def trigger_build(self, asked: Asked) -> Answer:
        project = self._project(asked)
        given = self.read_fields(
            asked,
            {
                "requirements": Field(required=True, least=1),
                "model_preference": Field(),
                "integrations": Field(kind=list),
            },
        )
        account = asked.who.account
        if account.tokens_used + ESTIMATED_TOKENS > account.tokens_limit:
            raise self.refuse(
                TOKEN_LIMIT_STATUS,
                "Monthly token allowance exhausted. Upgrade your plan or wait for the next billing cycle.",
                code="token_limit_exceeded",
                details={
                    "tokens_used": account.tokens_used,
                    "tokens_limit": account.tokens_limit,
                    "overage_rate": "8.00 per 1M tokens",
                },
            )
        build = {
            "id": self.new_id("bld_", 12),
            "project_id": project["id"],
            "requirements": given["requirements"],
            "integrations": given.get("integrations") or [],
            "step": 0,
            "created_at": iso(self.clock()),
        }
        self.builds[str(build["id"])] = build
        project["status"] = "building"
        return json_answer(
            {
                "build_id": build["id"],
                "status": "compiling",
                "estimated_tokens": ESTIMATED_TOKENS,
                "estimated_sessions": len(SESSIONS),
                "poll_url": f"/api/v1/builds/{build['id']}",
            },
            202,
        )

    @route("GET", "/builds/{id}")
    def get_build(self, asked: Asked) -> Answer:
        """Every look moves the build one step on; requirements that hold `[fail]` end failed."""
        build = self._build(asked)
        status, progress, finished = _progress(build)
        shown = {
            "id": build["id"],
            "project_id": build["project_id"],
            "status": status,
            "progress": progress,
            "sessions": [
                {"name": name, "status": "completed" if number < finished else "pending"}
                for number, name in enumerate(SESSIONS)
            ],
            "token_usage": {"used": ESTIMATED_TOKENS * progress // 100, "estimated": ESTIMATED_TOKENS},
            "created_at": build["created_at"],
        }
        self._advance(build, asked.who.account)
        return json_answer(shown)

    @route("GET", "/builds/{id}/files")
    def list_files(self, asked: Asked) -> Answer:
        files = [
            {"path": path, "size": len(content), "type": content_type.partition(";")[0]}
            for path, (content_type, content) in self._output(self._build(asked)).items()
        ]
        return json_answer({"files": files, "total": len(files)})

    @route("GET", "/builds/{id}/files/{path...}")
    def get_file(self, asked: Asked) -> Answer:
        output = self._output(self._build(asked))
        if asked.params["path"] not in output:
            raise self.refuse(404, "File not found in this build")
        content_type, content = output[asked.params["path"]]
        return Answer(body=content, headers={"Content-Type": content_type})

    @route("GET", "/builds/{id}/download")
    def download_build(self, asked: Asked) -> Answer:
        build = self._build(asked)
        output = self._output(build)
        if not output:
            raise self.refuse(404, "This build has no output yet")
        disposition = f'attachment; filename="{build["id"]}.zip"'
        headers = {"Content-Type": "application/zip", "Content-Disposition": disposition}
        return Answer(body=_zip(output), headers=headers)

    @route("POST", "/builds/{id}/deploy")
    def deploy_build(self, asked: Asked) -> Answer:
        self._need_tier(asked.who, "business")
        build = self._build(asked)
        if not self._output(build):
            raise self.refuse(400, "Only a completed build can be deployed")
        deployment = {
            "deployment_id": self.new_id("dpl_", 12),
            "build_id": build["id"],
            "status": "deploying",
            "targets": ["vercel", "supabase"],
            "url": f"https://{str(build['id'])[4:]}.vercel.app",
        }
        self.deployments.append(deployment)
        return json_answer(deployment, 202)

    @route("GET", "/usage")
    def get_usage(self, asked: Asked) -> Answer:
        account = asked.who.account
        month = iso(self.clock())[:7]
        return json_answer(
            {
                "period_start": f"{month}-01T00:00:00Z",
                "tier": account.tier,
                "tokens_used": account.tokens_used,
                "tokens_limit": account.tokens_limit,
                "tokens_remaining": max(0, account.tokens_limit - account.tokens_used),
            }
        )

    # Who is let in, and how a refusal looks

    def admit(self, seen: Seen) -> Caller:
        caller = self.keys.get(seen.bearer() or "")
        if caller is None:
            raise self.refuse(401, "Missing or invalid API key")
        return caller

    def meter(self, seen: Seen, who: Caller) -> dict[str, str]:
        spent = self._window.take(who.account.name, self.clock(), REQUESTS_A_MINUTE[who.account.tier])
        if spent.refused:
            refused = self.refuse(429, "Rate limit exceeded")
            raise Refused(refused.answer.with_headers(_rate_headers(spent)))
        # The lowest tier that may use the API at all is Pro.
        try:
            self._need_tier(who, "pro")
        except Refused as refused:
            raise Refused(refused.answer.with_headers(_rate_headers(spent))) from None
        return _rate_headers(spent)

    def refuse(self, status: int, message: str, *, code: str = "", details: object = None) -> Refused:
        error: dict[str, object] = {"code": code or CODES.get(status, "error"), "message": message}
        if details is not None:
            error["details"] = details
        return Refused(json_answer({"error": error}, status))

    def refuse_fields(self, faults: list[Fault], given: object) -> Refused:
        issues = [
            {"path": [fault.name], "code": f"invalid_{fault.kind}", "message": fault.message}
            for fault in faults
        ]
        return self.refuse(400, "Invalid request body", details={"issues": issues})

    def _need_tier(self, caller: Caller, least: str) -> None:
        if TIERS.index(caller.account.tier) < TIERS.index(least):
            raise self.refuse(
                403,
                f"This endpoint needs the {least.capitalize()} plan or above",
                details={"required_tier": least, "current_tier": caller.account.tier},
            )

    # State

    def _project(self, asked: Asked) -> dict[str, Any]:
        project = self.projects.get(asked.params["id"])
        if project is None or project["owner"] != asked.who.owner:
            raise self.refuse(404, "Project not found")
        return project

    def _build(self, asked: Asked) -> dict[str, Any]:
        build = self.builds.get(asked.params["id"])
        if build is None or self.projects[build["project_id"]]["owner"] != asked.who.owner:
            raise self.refuse(404, "Build not found")
        return build

    def _advance(self, build: dict[str, Any], account: Account) -> None:
        if build["step"] + 1 == len(STEPS):
            return
        build["step"] += 1
        status, progress, _ = _progress(build)
        if status in ("completed", "failed"):
            account.tokens_used += ESTIMATED_TOKENS * progress // 100
            self.projects[build["project_id"]]["status"] = status

    def _output(self, build: dict[str, Any]) -> dict[str, tuple[str, bytes]]:
        """Nothing until the build is done."""
        return FILES if _progress(build)[0] == "completed" else {}


def _progress(build: dict[str, Any]) -> tuple[str, int, int]:
    status, progress, finished = STEPS[build["step"]]
    if status == "completed" and "[fail]" in build["requirements"]:
        return "failed", 85, 7
    return status, progress, finished


def _open(project: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in project.items() if name != "owner"}


def _rate_headers(spent: Spent) -> dict[str, str]:
    """There is no Limit header here."""
    return {"X-RateLimit-Remaining": str(spent.remaining), "X-RateLimit-Reset": str(spent.reset)}


def _zip(files: dict[str, tuple[str, bytes]]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, (_, content) in files.items():
            # A fixed date: the same build is the same bytes each time.
            archive.writestr(zipfile.ZipInfo(path, (2026, 3, 15, 10, 30, 0)), content)
    return packed.getvalue()
