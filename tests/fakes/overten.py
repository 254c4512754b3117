"""The counterpart of Overten: orgs, keys, files, generators, tasks, runs, signed downloads, webhooks."""

import base64
import hmac
import json
import time
from dataclasses import dataclass
from typing import Any

from .upstream import (
    NO_CONTENT,
    Answer,
    Asked,
    Clock,
    Fault,
    Field,
    Part,
    Refused,
    Seen,
    Storage,
    Upstream,
    Window,
    iso,
    json_answer,
    opaque,
    route,
    same,
)

FORMATS = {
    "excel": ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    "word": ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    "slides": ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
}
EXPORTS = {
    "excel": ("pdf", "csv", "png", "html"),
    "word": ("pdf", "html", "txt", "odt"),
    "slides": ("pdf", "png", "odp"),
}
EXPORT_TYPES = {
    "pdf": "application/pdf",
    "csv": "text/csv",
    "png": "image/png",
    "html": "text/html",
    "txt": "text/plain",
    "odt": "application/vnd.oasis.opendocument.text",
    "odp": "application/vnd.oasis.opendocument.presentation",
}
EVENTS = ("run.completed", "run.failed")
CODES = {
    400: "invalid_request",
    401: "invalid_api_key",
    402: "insufficient_credits",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "sync_timeout_upgrade_async",
    409: "conflict",
    410: "gone",
    413: "payload_too_large",
    429: "rate_limited",
    500: "internal_error",
    501: "not_implemented",
    502: "bad_gateway",
    503: "service_unavailable",
}
#: What the polls of a task show, one after the other: status, phase.
STEPS = (("queued", None), ("running", "planning"), ("running", "rendering"), ("completed", None))
COST = 10
SYNC_CEILING = 300
PROMPT = Field(required=True, least=1, most=10_000)
MODE = Field(choices=("action", "ask"))
ASSETS = {
    "context_files": Field(kind=list),
    "data_sources": Field(kind=list),
    "image_assets": Field(kind=list),
    "brand": Field(kind=dict),
}
GENERATE = {
    "prompt": PROMPT,
    "mode": MODE,
    "run_id": Field(),
    "init_file": Field(),
    **ASSETS,
    "async": Field(kind=bool),
    "webhook_url": Field(),
    "idempotency_key": Field(),
    "file_name": Field(),
    "timeout_ms": Field(kind=int, least=10_000, most=1_800_000),
}


@dataclass(slots=True, kw_only=True)
class Org:
    id: str
    name: str
    tier: str
    #: Firebase user ids of its members.
    members: set[str]
    webhook_secret: str
    credits: int = 1_000


@dataclass(slots=True, kw_only=True)
class Key:
    id: str
    org: Org
    name: str
    raw: str
    created_at: float
    last_used_at: float | None = None
    revoked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody whom Firebase vouches for."""

    uid: str
    email: str


class Overten(Upstream):
    prefix = "/api/v1"
    storage: Storage

    def __init__(self, *, clock: Clock = time.time, requests_per_minute: int = 1000) -> None:
        super().__init__(clock=clock)
        self.storage = Storage(clock=clock)
        self.window = Window(requests_per_minute, 60)
        self.upload_limit = 100 * 1024 * 1024
        #: The seed says 408 for a promoted call, another page of theirs 202.
        self.promotion_status = 408
        #: Once set, every answer says that this version ends then.
        self.sunset: str | None = None
        self.orgs: dict[str, Org] = {}
        self.keys: list[Key] = []
        self.files: dict[str, dict[str, Any]] = {}
        self.images: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.tasks: dict[str, dict[str, Any]] = {}
        self.webhooks: list[dict[str, Any]] = []
        #: Every movement of credits: (org, run, amount).
        self.ledger: list[tuple[str, str, int]] = []
        self._kept: dict[tuple[str, str], tuple[dict[str, Any], Answer]] = {}
        self.org = self.add_org("Acme", "uid_ada")
        self.key = self.add_key(self.org, "Production").raw
        self.id_token = self.sign_in("uid_ada", "ada@acme.example")

    # What a test prepares

    def add_org(self, name: str, uid: str, *, tier: str = "free") -> Org:
        org_id = self.new_id("org_", 12)
        secret = "whsec_" + opaque(org_id, 32)
        org = Org(id=org_id, name=name, tier=tier, members={uid}, webhook_secret=secret)
        self.orgs[org_id] = org
        return org

    def add_key(self, org: Org, name: str) -> Key:
        key = Key(
            id=self.new_id("key_", 12),
            org=org,
            name=name,
            raw="sk_live_" + opaque(f"overten key {len(self.keys)}", 28),
            created_at=self.clock(),
        )
        self.keys.append(key)
        return key

    def sign_in(self, uid: str, email: str, *, seconds: float = 3600) -> str:
        """A Firebase ID token of that person, in the form of a JWT."""
        head = _packed({"alg": "HS256", "typ": "JWT"})
        claims = _packed(
            {"iss": "https://securetoken.google.com/overten", "aud": "overten", "sub": uid, "email": email}
            | {"iat": int(self.clock()), "exp": int(self.clock() + seconds)}
        )
        return f"{head}.{claims}.{_id_signature(f'{head}.{claims}')}"

    # Orgs and keys

    @route("POST", "/signup")
    def sign_up(self, asked: Asked) -> Answer:
        given = self.read_fields(
            asked,
            {
                "org_name": Field(least=1),
                "existing_org_id": Field(),
                "tier": Field(choices=("free", "pro", "enterprise")),
                "key_name": Field(),
            },
        )
        if given.get("existing_org_id"):
            org = self._member_org(asked, given["existing_org_id"])
        elif given.get("org_name"):
            org = self.add_org(given["org_name"], asked.who.uid, tier=given.get("tier") or "free")
        else:
            raise self.refuse(400, "Either org_name or existing_org_id is required")
        key = self.add_key(org, given.get("key_name") or "Default")
        return json_answer(
            {
                "success": True,
                "org_id": org.id,
                "org_name": org.name,
                "tier": org.tier,
                "key_id": key.id,
                "secret": key.raw,
                "webhook_secret": org.webhook_secret,
            },
            201,
        )

    @route("POST", "/organizations/{org_id}/api-keys")
    def mint_key(self, asked: Asked) -> Answer:
        org = self._member_org(asked, asked.params["org_id"])
        given = self.read_fields(asked, {"name": Field(least=1)})
        key = self.add_key(org, given.get("name") or "Default")
        return json_answer({**_show_key(key), "secret": key.raw}, 201)

    @route("GET", "/organizations/{org_id}/api-keys")
    def list_keys(self, asked: Asked) -> Answer:
        org = self._member_org(asked, asked.params["org_id"])
        return json_answer({"api_keys": [_show_key(key) for key in self.keys if key.org is org]})

    @route("DELETE", "/organizations/{org_id}/api-keys/{key_id}")
    def revoke_key(self, asked: Asked) -> Answer:
        org = self._member_org(asked, asked.params["org_id"])
        for key in self.keys:
            if key.id == asked.params["key_id"] and key.org is org and not key.revoked:
                key.revoked = True
                return NO_CONTENT
        raise self.refuse(404, "API key not found")

    @route("GET", "/verify")
    def verify(self, asked: Asked) -> Answer:
        key: Key = asked.who
        return json_answer(
            {
                "valid": True,
                "key_id": key.id,
                "org_id": key.org.id,
                "org_name": key.org.name,
                "tier": key.org.tier,
                "credits_remaining": key.org.credits,
                "webhook_secret": key.org.webhook_secret,
            }
        )

    # Assets

    @route("POST", "/preflight")
    def preflight(self, asked: Asked) -> Answer:
        """Judges a request as the generators would, and spends nothing."""
        choice = Field(required=True, choices=tuple(FORMATS))
        given = self.read_fields(asked, {"format": choice, "prompt": PROMPT, "mode": MODE, **ASSETS})
        self._need_assets(asked.who.org, given)
        return json_answer({"ok": True, "format": given["format"], "estimated_credits": COST, "missing": []})

    @route("POST", "/files")
    def upload_file(self, asked: Asked) -> Answer:
        parts, part = self._upload(asked)
        purpose = parts["purpose"].content.decode() if "purpose" in parts else "context"
        return self._keep_asset(asked.who.org, self.files, "file", part, {"purpose": purpose})

    @route("POST", "/images")
    def upload_image(self, asked: Asked) -> Answer:
        parts, part = self._upload(asked)
        if not (part.content_type or "").startswith("image/"):
            raise self.refuse(400, "The file must be an image")
        tags = [tag.strip() for tag in _text_of(parts, "tags").split(",") if tag.strip()]
        more = {"tags": tags, "caption": _text_of(parts, "caption") or None}
        return self._keep_asset(asked.who.org, self.images, "image", part, more)

    @route("GET", "/images")
    def list_images(self, asked: Asked) -> Answer:
        return self._page(asked, "images", [_public(i) for i in self._mine(asked, self.images)])

    @route("GET", "/images/{id}")
    def get_image(self, asked: Asked) -> Answer:
        return json_answer(_public(self._own(asked, self.images, asked.params["id"], "Image")))

    @route("DELETE", "/images/{id}")
    def delete_image(self, asked: Asked) -> Answer:
        """The row goes at once; the bytes would be reaped a day later."""
        del self.images[self._own(asked, self.images, asked.params["id"], "Image")["image_id"]]
        return NO_CONTENT

    # Generators

    @route("POST", "/excel/generate")
    def generate_excel(self, asked: Asked) -> Answer:
        return self._generate(asked, "excel")

    @route("POST", "/word/generate")
    def generate_word(self, asked: Asked) -> Answer:
        return self._generate(asked, "word")

    @route("POST", "/slides/generate")
    def generate_slides(self, asked: Asked) -> Answer:
        return self._generate(asked, "slides")

    @route("POST", "/excel/analyze")
    def analyze_excel(self, asked: Asked) -> Answer:
        """Takes the workbook itself in a multipart body, or the id of one that was uploaded before."""
        if (asked.seen.header("Content-Type") or "").startswith("multipart/"):
            parts, part = self._upload(asked)
            prompt, name = _text_of(parts, "prompt"), part.filename
            self.check({"prompt": prompt or None}, {"prompt": PROMPT})
        else:
            given = self.read_fields(asked, {"prompt": PROMPT, "file_id": Field(), **ASSETS})
            self._need_assets(asked.who.org, given)
            chosen = [given.get("file_id"), given.get("init_file"), *_asset_ids(given)]
            file_id = next((one for one in chosen if one), None)
            if file_id is None:
                raise self.refuse(400, "A workbook is required: file_id or a multipart file")
            name = self._own(asked, self.files, file_id, "File")["file_name"]
            prompt = given["prompt"]
        self._spend(asked.who.org, "analysis", 2)
        told = f"{name} has one sheet; revenue comes to 172600."
        answer = {
            "run_id": self.new_id("analyze_", 12),
            "question": prompt,
            "answer": told,
            "credits_used": 2,
        }
        return self._deliver(asked, {"prompt": prompt}, answer)

    @route("POST", "/slides/outline")
    def outline_slides(self, asked: Asked) -> Answer:
        count_field = Field(kind=int, least=1, most=30)
        fields = {"prompt": PROMPT, "slide_count": count_field, "async": Field(kind=bool), **ASSETS}
        given = self.read_fields(asked, fields)
        self._need_assets(asked.who.org, given)
        count = given.get("slide_count") or 3
        outline = [{"slide": n, "title": f"Slide {n}", "bullets": ["Point"]} for n in range(1, count + 1)]
        return self._deliver(asked, given, {"outline": outline, "slide_count": count, "credits_used": 0})

    @route("GET", "/tasks/{task_id}")
    def get_task(self, asked: Asked) -> Answer:
        """Every look moves the task one step on; a prompt that holds `[fail]` ends failed."""
        task = self._own(asked, self.tasks, asked.params["task_id"], "Task")
        run = self.runs.get(task["run_id"] or "")
        shown: dict[str, Any] = {"task_id": task["task_id"], "run_id": task["run_id"]}
        if self.clock() > task["made_at"] + 86400 and task["step"] == 0:
            return json_answer({**shown, "status": "expired"})
        status, phase = STEPS[task["step"]]
        task["step"] = min(task["step"] + 1, len(STEPS) - 1)
        if status == "running" and run is not None:
            run["status"] = "running"
        if status != "completed":
            return json_answer({**shown, "status": status, "phase": phase})
        if run is None:
            return json_answer({**shown, "status": "completed", "result": task["answer"]})
        if not task["finished"]:
            self._finish(run, task)
        if run["status"] == "failed":
            error = {"error": "generation_failed", "message": run["error"]}
            return json_answer({**shown, "status": "failed", "error": error, "credits_used": 0})
        return json_answer({**shown, "status": "completed", "result": self._result(run, task)})

    # Runs

    @route("GET", "/runs")
    def list_runs(self, asked: Asked) -> Answer:
        return self._page(asked, "runs", [self._show_run(run) for run in self._mine(asked, self.runs)])

    @route("GET", "/runs/{id}")
    def get_run(self, asked: Asked) -> Answer:
        return json_answer(self._show_run(self._own(asked, self.runs, asked.params["id"], "Run")))

    @route("GET", "/runs/{id}/download")
    def download_run(self, asked: Asked) -> Answer:
        run = self._finished_run(asked)
        return Answer(status=302, headers={"Location": self.storage.sign(run["output"], seconds=86400)})

    @route("POST", "/runs/{id}/export")
    def export_run(self, asked: Asked) -> Answer:
        run = self._finished_run(asked)
        wanted = self.read_fields(asked, {"format": Field(required=True)})["format"].lower()
        if wanted not in EXPORTS[run["format"]]:
            allowed = ", ".join(EXPORTS[run["format"]])
            raise self.refuse(400, f"A run of {run['format']} exports to: {allowed}")
        name = f"{run['run_id']}/export.{wanted}"
        self.storage.keep(name, f"{wanted} of {run['run_id']}\n".encode(), EXPORT_TYPES[wanted])
        return json_answer(
            {
                "run_id": run["run_id"],
                "format": wanted,
                "download_url": self.storage.sign(name, seconds=3600),
                "expires_at": iso(self.clock() + 3600),
            }
        )

    # Webhooks

    @route("POST", "/webhooks")
    def subscribe(self, asked: Asked) -> Answer:
        given = self.read_fields(
            asked,
            {
                "url": Field(required=True, least=1),
                "events": Field(kind=list, required=True, least=1),
                "description": Field(),
            },
        )
        if unknown := [event for event in given["events"] if event not in EVENTS]:
            raise self.refuse(400, f"Unknown events: {', '.join(map(str, unknown))}")
        webhook = {
            "org": asked.who.org.id,
            "webhook_id": self.new_id("whk_", 12),
            "url": given["url"],
            "events": given["events"],
            "description": given.get("description"),
            "active": True,
            "created_at": iso(self.clock()),
        }
        self.webhooks.append(webhook)
        secret = "whsec_" + opaque(webhook["webhook_id"], 32)
        return json_answer({**_public(webhook), "secret": secret}, 201)

    @route("GET", "/webhooks")
    def list_webhooks(self, asked: Asked) -> Answer:
        mine = [_public(webhook) for webhook in self.webhooks if webhook["org"] == asked.who.org.id]
        return json_answer({"webhooks": mine})

    @route("DELETE", "/webhooks")
    def unsubscribe(self, asked: Asked) -> Answer:
        """There is no id in the path: it comes in the query or in a JSON body, as `webhook_id` or `id`."""
        given = self.read_object(asked, may_be_empty=True)
        named = [source(name) for source in (asked.query, given.get) for name in ("webhook_id", "id")]
        webhook_id = next((one for one in named if one), None)
        if webhook_id is None:
            raise self.refuse(400, "webhook_id is required")
        for webhook in self.webhooks:
            if (webhook["webhook_id"], webhook["org"]) == (webhook_id, asked.who.org.id):
                self.webhooks.remove(webhook)
                return NO_CONTENT
        raise self.refuse(404, "Webhook not found")

    # Who is let in, and how a refusal looks

    def admit(self, seen: Seen) -> Key | Person:
        if seen.path == "/api/v1/signup" or seen.path.startswith("/api/v1/organizations/"):
            return self._person(seen)
        raw = seen.header("X-API-Key") or seen.bearer()
        for key in self.keys:
            if key.raw == raw and not key.revoked:
                key.last_used_at = self.clock()
                return key
        raise self.refuse(401, "The API key is missing, unknown or revoked")

    def meter(self, seen: Seen, who: Key | Person) -> dict[str, str]:
        headers = {"X-Deprecated": "true", "Sunset": self.sunset} if self.sunset else {}
        spent = self.window.take(who.org.id if isinstance(who, Key) else who.uid, self.clock())
        if spent.refused:
            wait = max(1, -int(-(spent.reset - self.clock()) // 1))
            refused = self.refuse(429, f"Too many requests. Try again in {wait} s.")
            raise Refused(refused.answer.with_headers({**headers, "Retry-After": str(wait)}))
        return headers

    def refuse(self, status: int, message: str, *, code: str = "", details: object = None) -> Refused:
        """Two shapes: FastAPI's own for 422, and the one of the house for all else."""
        if status == 422:
            told = {"loc": ["body"], "msg": message, "type": code or "value_error", "input": {}, "ctx": {}}
            return Refused(json_answer({"detail": details or [told]}, 422))
        body = {"success": False, "error": code or CODES.get(status, "error"), "message": message}
        return Refused(json_answer({**body, **(details if isinstance(details, dict) else {})}, status))

    def refuse_fields(self, faults: list[Fault], given: object) -> Refused:
        return self.refuse(422, "", details=[_detail(fault, given) for fault in faults])

    def refuse_malformed(self, reason: str) -> Refused:
        told = {"loc": ["body"], "msg": reason, "type": "json_invalid", "input": {}, "ctx": {"error": reason}}
        return self.refuse(422, "", details=[told])

    def refuse_route(self, seen: Seen) -> Refused:
        return self.refuse(404, f"No such endpoint: {seen.method} {seen.path}")

    def _person(self, seen: Seen) -> Person:
        head, dot, signature = (seen.bearer() or "").rpartition(".")
        if not dot or not same(_id_signature(head), signature):
            raise self.refuse(401, "A Firebase ID token is required", code="invalid_id_token")
        packed = head.partition(".")[2]
        claims = json.loads(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
        if claims["exp"] <= self.clock():
            raise self.refuse(401, "The Firebase ID token has expired", code="id_token_expired")
        return Person(uid=claims["sub"], email=claims["email"])

    def _member_org(self, asked: Asked, org_id: str) -> Org:
        org = self.orgs.get(org_id)
        if org is None or asked.who.uid not in org.members:
            raise self.refuse(404, "Organization not found")
        return org

    # Work

    def _generate(self, asked: Asked, kind: str) -> Answer:
        given = self.read_fields(asked, GENERATE)
        org: Org = asked.who.org
        kept_as = org.id, str(given.get("idempotency_key"))
        if given.get("idempotency_key") and kept_as in self._kept:
            before, answer = self._kept[kept_as]
            if before != given:
                raise self.refuse(
                    409, "This idempotency_key was used with another body", code="idempotency_conflict"
                )
            return answer
        self._need_assets(org, given)
        if org.credits < COST:
            raise self.refuse(402, "Not enough credits for this generation")
        run, task = self._begin(asked, kind, given)
        answer = self._reply(given, run, task)
        if given.get("idempotency_key"):
            self._kept[kept_as] = given, answer
        return answer

    def _reply(self, given: dict[str, Any], run: dict[str, Any], task: dict[str, Any]) -> Answer:
        """In time, queued as asked, or, for a prompt that holds `[slow]`, promoted; then the work goes on."""
        ids = {"run_id": run["run_id"], "task_id": task["task_id"]}
        if later := self._put_off(given, ids):
            return later
        task["step"] = len(STEPS) - 1
        self._finish(run, task)
        if run["status"] == "failed":
            return self.refuse(500, run["error"], code="generation_failed", details=ids).answer
        return json_answer(self._result(run, task))

    def _deliver(self, asked: Asked, given: dict[str, Any], answer: dict[str, Any]) -> Answer:
        """The same for work that makes no document: a task of its own keeps the answer."""
        if not given.get("async") and "[slow]" not in given["prompt"]:
            return json_answer(answer)
        task = self._add_task(asked.who.org.id, None, given)
        task["answer"] = answer
        return self._put_off(given, {"task_id": task["task_id"]}) or json_answer(answer)

    def _put_off(self, given: dict[str, Any], ids: dict[str, str]) -> Answer | None:
        if given.get("async"):
            return json_answer({**ids, "status": "queued"}, 202)
        if "[slow]" not in given["prompt"]:
            return None
        message = f"Sync ceiling ({SYNC_CEILING}s) exceeded; the work goes on as a task"
        if self.promotion_status == 202:
            return json_answer({**ids, "status": "queued", "message": message}, 202)
        return self.refuse(408, message, details=ids).answer

    def _add_task(self, org_id: str, run_id: str | None, given: dict[str, Any]) -> dict[str, Any]:
        task = {
            "org": org_id,
            "task_id": self.new_id("task_", 12),
            "run_id": run_id,
            "step": 0,
            "prompt": given["prompt"],
            "file_name": given.get("file_name"),
            "made_at": self.clock(),
            "finished": False,
        }
        self.tasks[str(task["task_id"])] = task
        return task

    def _begin(self, asked: Asked, kind: str, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        if given.get("run_id"):
            run = self._own(asked, self.runs, given["run_id"], "Run")
            if run["format"] != kind:
                raise self.refuse(400, f"This run is of format {run['format']}, not {kind}")
            run.update(status="queued", revision=run["revision"] + 1)
        else:
            run = {
                "org": asked.who.org.id,
                "run_id": self.new_id("run_", 12),
                "format": kind,
                "status": "queued",
                "revision": 1,
                "credits_used": 0,
                "error": None,
                "output": None,
                "created_at": iso(self.clock()),
            }
            self.runs[run["run_id"]] = run
        return run, self._add_task(run["org"], run["run_id"], given)

    def _finish(self, run: dict[str, Any], task: dict[str, Any]) -> None:
        task["finished"] = True
        if "[fail]" in task["prompt"]:
            run.update(status="failed", error="The document could not be built")
            return
        ending, content_type = FORMATS[run["format"]]
        name = (task["file_name"] or f"{run['format']}-{run['revision']}").removesuffix(f".{ending}")
        output = f"{run['run_id']}/{name}.{ending}"
        # The first bytes of a ZIP, as every such document has them; what follows is no text.
        self.storage.keep(
            output, b"PK\x03\x04" + bytes(range(256)) + output.encode(errors="replace"), content_type
        )
        run.update(status="completed", output=output, credits_used=run["credits_used"] + COST)
        self._spend(self.orgs[run["org"]], run["run_id"], COST)

    def _spend(self, org: Org, reason: str, amount: int) -> None:
        if org.credits < amount:
            raise self.refuse(402, "Not enough credits")
        org.credits -= amount
        self.ledger.append((org.id, reason, -amount))

    def _result(self, run: dict[str, Any], task: dict[str, Any]) -> dict[str, Any]:
        return {
            "run_id": run["run_id"],
            "task_id": task["task_id"],
            "status": "completed",
            "download_url": self.storage.sign(run["output"], seconds=86400),
            "edit_url": self._edit_url(run),
            "summary": f"Made revision {run['revision']} of a document in {run['format']}",
            "credits_used": COST,
            "duration_ms": 4200,
        }

    def _edit_url(self, run: dict[str, Any]) -> str:
        return f"{self.base_url}/edit/{run['run_id']}?token={opaque(run['run_id'], 24)}"

    def _show_run(self, run: dict[str, Any]) -> dict[str, Any]:
        done = run["status"] == "completed"
        shown = {name: value for name, value in run.items() if name not in ("org", "output")}
        return {**shown, "edit_url": self._edit_url(run) if done else None}

    def _finished_run(self, asked: Asked) -> dict[str, Any]:
        run = self._own(asked, self.runs, asked.params["id"], "Run")
        if run["output"] is None:
            raise self.refuse(409, "This run has no output yet", code="run_not_completed")
        return run

    # State

    def _need_assets(self, org: Org, given: dict[str, Any]) -> None:
        known = {
            id_ for store in (self.files, self.images) for id_, one in store.items() if one["org"] == org.id
        }
        wanted = [*_asset_ids(given), given.get("init_file"), given.get("file_id")]
        if missing := [one for one in wanted if one and one not in known]:
            raise self.refuse(
                400,
                "The request names assets that are missing",
                code="preflight_failed",
                details={"missing": missing},
            )

    def _upload(self, asked: Asked) -> tuple[dict[str, Part], Part]:
        if len(asked.seen.body) > self.upload_limit:
            raise self.refuse(413, f"An upload may hold at most {self.upload_limit} bytes")
        parts = self.read_parts(asked)
        if "file" not in parts or parts["file"].filename is None:
            told = {"loc": ["body", "file"], "msg": "Field required", "type": "missing", "input": None}
            raise self.refuse(422, "", details=[told])
        return parts, parts["file"]

    def _keep_asset(
        self, org: Org, store: dict[str, dict[str, Any]], kind: str, part: Part, more: dict[str, Any]
    ) -> Answer:
        asset_id = self.new_id(f"{kind}_", 12)
        store[asset_id] = {
            "org": org.id,
            f"{kind}_id": asset_id,
            "file_name": part.filename,
            "content_type": part.content_type or "application/octet-stream",
            "size_bytes": len(part.content),
            **more,
            "created_at": iso(self.clock()),
        }
        return json_answer(_public(store[asset_id]), 201)

    def _mine(self, asked: Asked, store: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        """Newest first."""
        return [one for one in reversed(store.values()) if one["org"] == asked.who.org.id]

    def _own(self, asked: Asked, store: dict[str, dict[str, Any]], name: object, what: str) -> dict[str, Any]:
        """Another org's things are not there."""
        one = store.get(str(name))
        if one is None or one["org"] != asked.who.org.id:
            raise self.refuse(404, f"{what} not found")
        return one

    def _page(self, asked: Asked, name: str, found: list[dict[str, Any]]) -> Answer:
        """The cursor is the id of the last item shown."""
        limit = asked.query("limit") or "20"
        if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= 100):
            message = "Input should be from 1 to 100"
            where = ["query", "limit"]
            raise self.refuse(
                422, "", details=[{"loc": where, "msg": message, "type": "range", "input": limit}]
            )
        key = name.removesuffix("s") + "_id"
        cursor = asked.query("cursor")
        ids = [one[key] for one in found]
        if cursor is not None and cursor not in ids:
            raise self.refuse(400, "The cursor is not known")
        start = ids.index(cursor) + 1 if cursor is not None else 0
        shown = found[start : start + int(limit)]
        more = start + int(limit) < len(found)
        return json_answer({name: shown, "next_cursor": shown[-1][key] if more else None})


def _show_key(key: Key) -> dict[str, Any]:
    return {
        "key_id": key.id,
        "name": key.name,
        "prefix": key.raw[:16],
        "created_at": iso(key.created_at),
        "last_used_at": iso(key.last_used_at) if key.last_used_at else None,
        "revoked": key.revoked,
    }


def _public(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "org"}


def _text_of(parts: dict[str, Part], name: str) -> str:
    return parts[name].content.decode("utf-8", "replace") if name in parts else ""


def _asset_ids(given: dict[str, Any]) -> list[Any]:
    """The ids that a request names: as texts, or as objects with `file_id` or `image_id`."""
    named = [
        one for field in ("context_files", "data_sources", "image_assets") for one in given.get(field) or []
    ]
    return [one.get("file_id") or one.get("image_id") if isinstance(one, dict) else one for one in named]


def _detail(fault: Fault, given: object) -> dict[str, Any]:
    """One validation fault as pydantic tells it."""
    where = ["body", fault.name]
    field = fault.field
    told: dict[str, Any]
    if fault.kind == "missing":
        return {"loc": where, "msg": "Field required", "type": "missing", "input": given, "ctx": {}}
    if fault.kind == "choice":
        expected = " or ".join(f"'{choice}'" for choice in field.choices)
        told = {"msg": f"Input should be {expected}", "type": "enum", "ctx": {"expected": expected}}
    elif fault.kind == "type":
        told = {"msg": fault.message, "type": "type_error", "ctx": {}}
    else:
        texts = isinstance(fault.given, str | list)
        low, high = ("too_short", "too_long") if texts else ("greater_than_equal", "less_than_equal")
        bounds = {"least": field.least, "most": field.most}
        told = {"msg": fault.message, "type": low if fault.kind == "low" else high, "ctx": bounds}
    return {"loc": where, **told, "input": fault.given}


def _packed(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _id_signature(signed: str) -> str:
    made = hmac.new(b"firebase of the tests", signed.encode(), "sha256").digest()
    return base64.urlsafe_b64encode(made).decode().rstrip("=")
