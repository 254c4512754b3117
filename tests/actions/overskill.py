"""OverSkill: the 13 actions, with a generated app, a running job and a person who may use the app."""

from __future__ import annotations

from tests.actions.case import At, Case, World
from tests.fakes.overskill import OverSkill


def prepare(overskill: OverSkill) -> World:
    app = overskill.add_app("Task Manager")
    job, person = "jid_abc123", 789
    overskill.jobs[job] = {
        "job_id": job, "app_id": app["id"], "message_id": 456, "prompt": "Dark mode", "callback_url": None,
        "metadata": None, "polls": 2, "started_at": None, "completed_at": None,
    }
    overskill.app_users.append(
        {
            "id": person, "app_id": app["id"], "email": "user@example.com", "access_tier": "pro",
            "tier_granted_at": "2025-12-20T10:00:00Z", "tier_expires_at": None, "revoked": False, "revoked_at": None,
            "first_accessed_at": None, "last_accessed_at": None, "access_count": 47,
        }
    )
    return {"app": app["id"], "job": job, "person": person}


CASES: dict[str, tuple[Case, ...]] = {
    "list_apps": (
        Case(params={}, sent="GET /api/v1/managed_apps"),
        Case(
            params={"status": "published", "name": "Task & Co", "per_page": 100, "page": 1},
            sent="GET /api/v1/managed_apps?status=published&name=Task%20%26%20Co&per_page=100&page=1",
        ),
    ),
    "get_app": (
        Case(params={"id": At("app")}, sent="GET /api/v1/managed_apps/{app}"),
        Case(params={"id": "a/b"}, sent="GET /api/v1/managed_apps/a%2Fb", status=404),
    ),
    "create_app": (
        Case(
            params={"name": "My Task Manager", "prompt": "Tasks with due dates", "visibility": "public",
                    "ai_model": "claude-sonnet-4-5", "auto_generate": True},
            sent="POST /api/v1/managed_apps",
            json={"name": "My Task Manager", "prompt": "Tasks with due dates", "visibility": "public",
                  "ai_model": "claude-sonnet-4-5", "auto_generate": True},
            status=201,
        ),
        Case(
            params={"name": "Empty", "auto_generate": False},
            sent="POST /api/v1/managed_apps",
            json={"name": "Empty", "auto_generate": False},
            status=201,
        ),
    ),
    "deploy_app": (Case(params={"id": At("app")}, sent="POST /api/v1/managed_apps/{app}/deploy", status=202),),
    "queue_generation": (
        Case(
            params={"prompt": "Dark mode", "app_id": At("app"), "callback_url": "https://your.example/hook?a=1",
                    "name": "x", "ai_model": "m", "metadata": {"ticket": 7, "deep": [[{}]]}},
            sent="POST /api/v1/generation_queue",
            json={"prompt": "Dark mode", "app_id": At("app"), "callback_url": "https://your.example/hook?a=1",
                  "name": "x", "ai_model": "m", "metadata": {"ticket": 7, "deep": [[{}]]}},
            status=202,
        ),
        Case(
            params={"prompt": "A new app"},
            sent="POST /api/v1/generation_queue",
            json={"prompt": "A new app"},
            status=202,
        ),
    ),
    "check_generation_status": (Case(params={"id": At("job")}, sent="GET /api/v1/generation_queue/{job}"),),
    "list_app_users": (
        Case(
            params={"app_id": At("app"), "tier": "pro", "email": "user@", "page": 1, "per_page": 25},
            sent="GET /api/v1/managed_users?app_id={app}&tier=pro&email=user%40&page=1&per_page=25",
        ),
    ),
    "grant_user_access": (
        Case(
            params={"app_id": At("app"), "email": "new@example.com", "tier": "enterprise",
                    "expires_at": "2026-12-23T00:00:00Z"},
            sent="POST /api/v1/managed_users/grant_access",
            json={"app_id": At("app"), "email": "new@example.com", "tier": "enterprise",
                  "expires_at": "2026-12-23T00:00:00Z"},
            status=201,
        ),
        # The default of `tier` is shown and never sent.
        Case(
            params={"app_id": At("app"), "email": "new@example.com"},
            sent="POST /api/v1/managed_users/grant_access",
            json={"app_id": At("app"), "email": "new@example.com"},
            status=201,
        ),
    ),
    "revoke_user_access": (Case(params={"id": At("person")}, sent="POST /api/v1/managed_users/{person}/revoke"),),
    "list_webhooks": (
        Case(params={"page": 1, "per_page": 25}, sent="GET /api/v1/webhooks?page=1&per_page=25"),
    ),
    "create_webhook": (
        Case(
            params={"url": "https://your.example/hook", "name": "Mine", "events": ["app.created", "app.user.created"]},
            sent="POST /api/v1/webhooks",
            json={"url": "https://your.example/hook", "name": "Mine", "events": ["app.created", "app.user.created"]},
            status=201,
        ),
    ),
    "list_api_keys": (
        Case(params={"page": 1, "per_page": 25}, sent="GET /api/v1/api_keys?page=1&per_page=25"),
    ),
    "create_api_key": (
        Case(
            params={"name": "CI", "scope": "read_write", "expires_in_days": 365},
            sent="POST /api/v1/api_keys",
            json={"name": "CI", "scope": "read_write", "expires_in_days": 365},
            status=201,
        ),
    ),
}
