"""Overten: the 24 actions, in an org with files, an image, a finished run, a task and a webhook."""

from __future__ import annotations

from typing import Any

from tests.actions.case import At, Case, File, World, file_part, text_part
from tests.fakes.overten import Overten

V1 = "/api/v1"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
WORKBOOK = b"PK\x03\x04" + bytes(range(256))
#: Everything that a generator takes.
GENERATE: dict[str, Any] = {
    "prompt": "Create a sales report",
    "mode": "action",
    "init_file": At("file"),
    "context_files": [At("file")],
    "data_sources": [{"file_id": At("file"), "kind": "csv"}],
    "image_assets": [{"image_id": At("image"), "tags": ["logo"]}],
    "brand": {"primary_color": "#1a2b3c", "font": "Inter", "logo_url": "https://a.example/l.png"},
    "async": False,
    "webhook_url": "https://your.example/hook",
    "idempotency_key": "order-1",
    "file_name": "sales.xlsx",
    "timeout_ms": 1800000,
}


def prepare(overten: Overten) -> World:
    org = overten.org.id
    at = {"org": org, "created_at": "2026-04-20T09:05:00Z"}
    overten.files["file_a"] = {
        **at, "file_id": "file_a", "file_name": "mrr.csv", "content_type": "text/csv", "size_bytes": 24,
        "purpose": "reference",
    }
    overten.images["image_a"] = {
        **at, "image_id": "image_a", "file_name": "dot.png", "content_type": "image/png", "size_bytes": 70,
        "tags": ["logo"], "caption": None,
    }
    overten.runs["run_a"] = {
        **at, "run_id": "run_a", "format": "excel", "status": "completed", "revision": 1, "credits_used": 10,
        "error": None, "output": "run_a/sales.xlsx",
    }
    overten.storage.keep("run_a/sales.xlsx", WORKBOOK, XLSX)
    overten.tasks["task_a"] = {
        "org": org, "task_id": "task_a", "run_id": "run_a", "step": 1, "prompt": "Sales", "file_name": None,
        "made_at": overten.clock(), "finished": False,
    }
    overten.webhooks.append(
        {**at, "webhook_id": "whk_a", "url": "https://your.example/hook", "events": ["run.failed"],
         "description": None, "active": True}
    )
    return {"org": org, "key": overten.add_key(overten.org, "CI").id, "file": "file_a", "image": "image_a"}


CASES: dict[str, tuple[Case, ...]] = {
    # Under a person's ID token
    "sign_up": (
        Case(
            params={"org_name": "Acme 2", "tier": "pro", "key_name": "Production"},
            sent=f"POST {V1}/signup",
            json={"org_name": "Acme 2", "tier": "pro", "key_name": "Production"},
            status=201,
        ),
        Case(
            params={"existing_org_id": At("org")},
            sent=f"POST {V1}/signup",
            json={"existing_org_id": At("org")},
            status=201,
        ),
    ),
    "create_api_key": (
        Case(
            params={"org_id": At("org"), "name": "CI"},
            sent=f"POST {V1}/organizations/{{org}}/api-keys",
            json={"name": "CI"},
            status=201,
        ),
    ),
    "list_api_keys": (Case(params={"org_id": At("org")}, sent=f"GET {V1}/organizations/{{org}}/api-keys"),),
    "revoke_api_key": (
        Case(
            params={"org_id": At("org"), "key_id": At("key")},
            sent=f"DELETE {V1}/organizations/{{org}}/api-keys/{{key}}",
            status=204,
        ),
    ),
    # Under an org's key
    "verify": (Case(params={}, sent=f"GET {V1}/verify"),),
    "preflight": (
        Case(
            params={"format": "excel", "prompt": "Create a sales report", "mode": "ask",
                    "image_assets": [{"image_id": At("image")}], "data_sources": [{"file_id": At("file")}],
                    "context_files": [At("file")], "brand": {"font": "Inter"}},
            sent=f"POST {V1}/preflight",
            json={"format": "excel", "prompt": "Create a sales report", "mode": "ask",
                  "image_assets": [{"image_id": At("image")}], "data_sources": [{"file_id": At("file")}],
                  "context_files": [At("file")], "brand": {"font": "Inter"}},
        ),
        # It refuses what is missing, and spends nothing.
        Case(
            params={"format": "slides", "prompt": "Ten slides", "context_files": ["file_gone"]},
            sent=f"POST {V1}/preflight",
            json={"format": "slides", "prompt": "Ten slides", "context_files": ["file_gone"]},
            status=400,
        ),
    ),
    "upload_file": (
        Case(
            params={"file": {"filename": "mrr.csv", "content_type": "text/csv", "content": "bW9udGgsbXJyCg=="},
                    "purpose": "reference"},
            sent=f"POST {V1}/files",
            parts=(file_part("file", "mrr.csv", "text/csv", b"month,mrr\n"), text_part("purpose", "reference")),
            status=201,
        ),
        # The default of `purpose` is shown and never sent.
        Case(
            params={"file": "AP8NCg=="},
            sent=f"POST {V1}/files",
            parts=(file_part("file", "file", "application/octet-stream", b"\x00\xff\r\n"),),
            status=201,
        ),
    ),
    "upload_image": (
        Case(
            params={"file": {"filename": "dot.png", "content_type": "image/png", "content": "iVBORw0KGgo="},
                    "tags": "logo,header", "caption": "Größe"},
            sent=f"POST {V1}/images",
            parts=(
                file_part("file", "dot.png", "image/png", b"\x89PNG\r\n\x1a\n"),
                text_part("tags", "logo,header"),
                text_part("caption", "Größe"),
            ),
            status=201,
        ),
    ),
    "list_images": (Case(params={}, sent=f"GET {V1}/images"),),
    "get_image": (Case(params={"id": At("image")}, sent=f"GET {V1}/images/{{image}}"),),
    "delete_image": (Case(params={"id": At("image")}, sent=f"DELETE {V1}/images/{{image}}", status=204),),
    "generate_excel": (
        Case(params=GENERATE, sent=f"POST {V1}/excel/generate", json=GENERATE),
        Case(
            params={"prompt": "Add a sheet", "run_id": "run_a"},
            sent=f"POST {V1}/excel/generate",
            json={"prompt": "Add a sheet", "run_id": "run_a"},
            key="idempotency_key",
        ),
        # `async` is a param like any other: it goes to the upstream.
        Case(
            params={"prompt": "A long model", "async": True},
            sent=f"POST {V1}/excel/generate",
            json={"prompt": "A long model", "async": True},
            key="idempotency_key",
            status=202,
        ),
    ),
    "analyze_excel": (
        Case(
            params={"file_id": At("file"), "prompt": "What was total revenue?"},
            sent=f"POST {V1}/excel/analyze",
            json={"file_id": At("file"), "prompt": "What was total revenue?"},
        ),
    ),
    "generate_word": (
        Case(
            params={**GENERATE, "file_name": "memo.docx"},
            sent=f"POST {V1}/word/generate",
            json={**GENERATE, "file_name": "memo.docx"},
        ),
    ),
    "generate_slides": (
        Case(
            params={**GENERATE, "file_name": "team.pptx"},
            sent=f"POST {V1}/slides/generate",
            json={**GENERATE, "file_name": "team.pptx"},
        ),
    ),
    "outline_slides": (
        Case(
            params={"prompt": "Ten slides", "async": False},
            sent=f"POST {V1}/slides/outline",
            json={"prompt": "Ten slides", "async": False},
        ),
    ),
    "get_task": (Case(params={"task_id": "task_a"}, sent=f"GET {V1}/tasks/task_a"),),
    "list_runs": (
        Case(params={}, sent=f"GET {V1}/runs"),
        Case(params={"cursor": "run_a"}, sent=f"GET {V1}/runs?cursor=run_a"),
    ),
    "get_run": (Case(params={"id": "run_a"}, sent=f"GET {V1}/runs/run_a"),),
    "download_run": (
        Case(
            params={"id": "run_a"},
            sent=f"GET {V1}/runs/run_a/download",
            data=File(XLSX, "sales.xlsx", WORKBOOK),
            then="/bucket/run_a/sales.xlsx",
        ),
    ),
    "export_run": (
        Case(params={"id": "run_a", "format": "pdf"}, sent=f"POST {V1}/runs/run_a/export", json={"format": "pdf"}),
        Case(
            params={"id": "run_a", "format": "odp"},
            sent=f"POST {V1}/runs/run_a/export",
            json={"format": "odp"},
            status=400,
        ),
    ),
    "create_webhook": (
        Case(
            params={"url": "https://your.example/hook", "events": ["run.completed", "run.failed"],
                    "description": "Production"},
            sent=f"POST {V1}/webhooks",
            json={"url": "https://your.example/hook", "events": ["run.completed", "run.failed"],
                  "description": "Production"},
            status=201,
        ),
    ),
    "list_webhooks": (Case(params={}, sent=f"GET {V1}/webhooks"),),
    # The path has no id: it goes into the query.
    "delete_webhook": (
        Case(params={"webhook_id": "whk_a"}, sent=f"DELETE {V1}/webhooks?webhook_id=whk_a", status=204),
    ),
}
