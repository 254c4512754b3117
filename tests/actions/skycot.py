"""SKYCOT: the 10 actions, all of them announced only, on a project with a finished build."""

from __future__ import annotations

from tests.actions.case import At, Case, File, Text, World
from tests.fakes.skycot import SkyCot


def prepare(skycot: SkyCot) -> World:
    project, build = "proj_abc123def456", "bld_xyz789ghi012"
    skycot.projects[project] = {
        "id": project, "name": "Board", "description": None, "archetype": "general", "status": "building",
        "created_at": "2026-03-15T10:30:00Z", "owner": ("acme", "live"),
    }
    skycot.builds[build] = {
        "id": build, "project_id": project, "requirements": "Kanban", "integrations": [], "step": 3,
        "created_at": "2026-03-15T10:35:00Z",
    }
    return {"project": project, "build": build}


CASES: dict[str, tuple[Case, ...]] = {
    "create_project": (
        Case(
            params={"name": "Dashboard", "description": "Kanban", "archetype_hint": "project-management"},
            sent="POST /api/v1/projects",
            json={"name": "Dashboard", "description": "Kanban", "archetype_hint": "project-management"},
            status=201,
        ),
    ),
    "list_projects": (Case(params={}, sent="GET /api/v1/projects"),),
    "get_project": (Case(params={"id": At("project")}, sent="GET /api/v1/projects/{project}"),),
    "trigger_build": (
        # `id` goes into the path and nowhere else, the rest into the body.
        Case(
            params={"id": At("project"), "requirements": "Drag and drop", "model_preference": "balanced",
                    "integrations": ["slack", "stripe"]},
            sent="POST /api/v1/projects/{project}/builds",
            json={"requirements": "Drag and drop", "model_preference": "balanced",
                  "integrations": ["slack", "stripe"]},
            status=202,
        ),
    ),
    "get_build": (Case(params={"id": At("build")}, sent="GET /api/v1/builds/{build}"),),
    "list_build_files": (Case(params={"id": At("build")}, sent="GET /api/v1/builds/{build}/files"),),
    "get_build_file": (
        Case(
            params={"id": At("build"), "path": "src/app/cards/[id]/page.tsx"},
            sent="GET /api/v1/builds/{build}/files/src/app/cards/%5Bid%5D/page.tsx",
            data=Text("export default () => <p>Card</p>;\n"),
        ),
        Case(
            params={"id": At("build"), "path": "src/components/Drag & Drop (v2).tsx"},
            sent="GET /api/v1/builds/{build}/files/src/components/Drag%20%26%20Drop%20%28v2%29.tsx",
            data=Text("// größer\n"),
        ),
        Case(params={"id": At("build"), "path": "package.json"}, sent="GET /api/v1/builds/{build}/files/package.json"),
        Case(
            params={"id": At("build"), "path": "public/icon.png"},
            sent="GET /api/v1/builds/{build}/files/public/icon.png",
            data=File("image/png", None),
        ),
        Case(
            params={"id": At("build"), "path": "public/.gitkeep"},
            sent="GET /api/v1/builds/{build}/files/public/.gitkeep",
        ),
    ),
    "download_build": (
        Case(
            params={"id": At("build")},
            sent="GET /api/v1/builds/{build}/download",
            data=File("application/zip", "{build}.zip"),
        ),
    ),
    "deploy_build": (Case(params={"id": At("build")}, sent="POST /api/v1/builds/{build}/deploy", status=202),),
    "get_usage": (Case(params={}, sent="GET /api/v1/usage"),),
}
