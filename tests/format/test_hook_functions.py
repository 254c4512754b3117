"""Hooks: code of an installed package that a request passes through, off unless the operator names it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.requests.hook_functions import GROUP, HookMissing, Hooks
from gateway.core.requests.request import UpstreamRequest
from skills_catalog.lint import lint_file
from skills_catalog.loader import SHIPPED, load_catalog
from tests.demo import write_definitions
from tests.fakes.upstream import json_answer, serve
from tests.format.desk import Anything
from tests.harness import ROOT, gateway

HOOK = '''
from dataclasses import replace

def sign(request, fields):
    """Signs what a definition cannot say: a digest over the whole request."""
    digest = f"{request.method} {request.path} {len(request.body or b'')} {fields['account']} {fields['token_key']}"
    return replace(request, headers=(*request.headers, ("X-Digest", digest)))

def in_query(request, fields):
    """A signature that stands in the query."""
    return replace(request, query="&".join(filter(None, [request.query, f"sig=of-{fields['account']}-{len(request.body)}"])))

def astray(request, fields):
    return replace(request, origin="https://evil.example")

def nothing(request, fields):
    return None

def broken(request, fields):
    raise ValueError("secret of the hook")

def large(request, fields):
    return replace(request, query="x" * 10_000)

not_a_function = 7
'''
NAMES = ("sign", "in_query", "astray", "nothing", "broken", "large")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with hooks, installed beside the gateway's own."""
    folder = tmp_path / "site"
    info = folder / "acme_hooks-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "acme_hooks.py").write_text(HOOK)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-hooks\nVersion: 1.0\n")
    points = "\n".join(f"{name} = acme_hooks:{name}" for name in (*NAMES, "not_a_function", "gone"))
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{points}\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "acme_hooks", raising=False)
    return folder


def definition(origin: str, hook: str = "sign") -> dict[str, Any]:
    return {
        "slug": "hooked",
        "name": "Hooked",
        "description": "An API that wants what no data can say.",
        "base_url": origin,
        "connection": {"account": {"title": "Account"}, "token_key": {"title": "Key", "secret": True}},
        "auth": [{"name": "token", "type": "bearer"}],
        "actions": {
            "send": {
                "description": "Send something.",
                "request": "POST /send",
                "effect": "send",
                "hook": hook,
                "params": {"text": {"type": "string", "description": "It."}},
                "examples": [{"params": {"text": "Hi"}, "response": {"status": 200, "data": {}}}],
            },
            "list": {
                "description": "List things.",
                "request": "GET /things",
                "hook": hook,
                "page": {"type": "link"},
                "examples": [{"params": {}, "response": {"status": 200, "data": []}}],
            },
            "upload": {
                "description": "Upload something.",
                "request": "POST /upload",
                "effect": "create",
                "hook": hook,
                "params": {"file": {"in": "file", "whole": True, "description": "It.", "required": True}},
                "examples": [{"params": {"file": "aGk="}, "response": {"status": 200, "data": {}}}],
            },
        },
    }


GIVEN = {"token": "the-token-1", "account": "acme", "token_key": "the-key-1"}


async def _call(folder: Path, hook: str, switched_on: str | None, **more: Any) -> tuple[Any, Any]:
    """Calls the action; what came back, and what the API saw."""
    settings: dict[str, Any] = {} if switched_on is None else {"hooks": switched_on}
    async with serve(Anything()) as api:
        definitions = write_definitions(folder, definition(api.base_url, hook))
        async with gateway(folder, definitions=definitions, **settings) as running:
            await running.connect("hooked", GIVEN)
            answer = await running.call("hooked", "send", {"text": "Hi"}, **more)
            return answer, api.seen


async def test_a_hook_that_is_switched_on_sees_the_finished_request_and_the_fields(package: Path, tmp_path: Path) -> None:
    answer, (seen,) = await _call(tmp_path, "sign", "sign, broken")
    assert answer.json()["status"] == 200
    assert seen.header("X-Digest") == "POST /send 13 acme the-key-1"
    assert seen.header("Authorization") == "Bearer the-token-1"


@pytest.mark.parametrize("switched_on", [None, "broken"])
async def test_a_hook_is_off_unless_its_name_is_said(package: Path, tmp_path: Path, switched_on: str | None) -> None:
    answer, seen = await _call(tmp_path, "sign", switched_on)
    assert (answer.status, answer.json()["error"]) == (403, "forbidden")
    assert "needs the hook 'sign', which the operator has not switched on" in answer.json()["message"]
    assert seen == []


@pytest.mark.parametrize("hook", ["astray", "nothing", "broken"])
async def test_a_hook_that_fails_or_leads_elsewhere_sends_nothing(package: Path, tmp_path: Path, hook: str) -> None:
    answer, seen = await _call(tmp_path, hook, hook)
    assert (answer.status, answer.json()["error"]) == (500, "internal")
    assert "secret of the hook" not in answer.body.decode()
    assert seen == []


async def test_what_a_hook_makes_is_held_to_the_same_sizes(package: Path, tmp_path: Path) -> None:
    answer, seen = await _call(tmp_path, "large", "large")
    assert (answer.status, answer.json()["error"], seen) == (400, "bad_request", [])


async def test_every_page_passes_through_the_hook_as_it_is_asked_for(package: Path, tmp_path: Path) -> None:
    async with serve(Anything()) as api:
        api.upstream.says["/things"] = json_answer([1], headers={"Link": '</things/2>; rel="next"'})
        api.upstream.says["/things/2"] = json_answer([2])
        definitions = write_definitions(tmp_path, definition(api.base_url))
        async with gateway(tmp_path, definitions=definitions, hooks="sign") as running:
            await running.connect("hooked", GIVEN)
            assert (await running.call("hooked", "list", {}, all=True)).json()["data"] == [1, 2]
    digests = [seen.header("X-Digest") for seen in api.seen]
    assert digests == ["GET /things 0 acme the-key-1", "GET /things/2 0 acme the-key-1"]


@pytest.mark.parametrize("hook", ["sign", "in_query"])
async def test_a_preflight_does_not_show_what_a_hook_has_signed(package: Path, tmp_path: Path, hook: str) -> None:
    async with serve(Anything()) as api:
        definitions = write_definitions(tmp_path, definition(api.base_url, hook))
        async with gateway(tmp_path, definitions=definitions, hooks=hook) as running:
            await running.connect("hooked", GIVEN)
            asked = {"integration": "hooked", "action": "send", "params": {"text": "Hi"}}
            shown = (await running.ask("POST", "/v1/preflight", body=asked)).json()
    assert shown["ok"] is True and api.seen == []
    headers = {header["name"]: header["value"] for header in shown["request"]["headers"]}
    if hook == "sign":
        assert headers["X-Digest"] == "[secret]"
    else:
        assert shown["request"]["url"] == f"{api.base_url}/send?sig=[secret]"
    assert shown["request"]["body"] == '{"text":"Hi"}'


async def test_a_hook_sees_the_whole_of_a_file_that_an_id_stands_for(package: Path, tmp_path: Path) -> None:
    async with serve(Anything()) as api:
        definitions = write_definitions(tmp_path, definition(api.base_url))
        async with gateway(tmp_path, definitions=definitions, hooks="sign") as running:
            await running.connect("hooked", GIVEN)
            added = await running.ask("POST", "/v1/files", raw=b"x" * 300_000, headers={"Content-Type": "text/plain"})
            answer = await running.call("hooked", "upload", {"file": {"file_id": added.json()["file_id"]}})
            assert answer.json()["status"] == 200
    assert api.last.header("X-Digest") == "POST /upload 300000 acme the-key-1"
    assert api.last.body == b"x" * 300_000


async def test_a_test_key_needs_no_hook(package: Path, tmp_path: Path) -> None:
    async with serve(Anything()) as api:
        definitions = write_definitions(tmp_path, definition(api.base_url))
        async with gateway(tmp_path, definitions=definitions) as running:
            answer = await running.call("hooked", "send", {"text": "Hi"}, key=running.org.test)
            assert answer.json()["meta"]["sandbox"] is True


@pytest.mark.parametrize(
    ("name", "words"),
    [("unknown", "no installed package"), ("not_a_function", "is no function"), ("gone", "cannot be loaded")],
)
def test_a_hook_that_is_not_there_is_told_at_the_start(package: Path, tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(HookMissing, match=words):
        Hooks.installed([name])
    process = subprocess.run(
        [sys.executable, "-m", "gateway", "serve", "--port", "0"],
        cwd=ROOT,
        env={
            "SKILLWAY_HOOKS": name, "SKILLWAY_DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": str(package), "PATH": "/usr/bin",
        },
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert process.returncode == 78
    assert "SKILLWAY_HOOKS" in process.stderr and words in process.stderr


def test_lint_counts_hooks_and_the_shipped_catalog_has_none(tmp_path: Path) -> None:
    folder = write_definitions(tmp_path, definition("https://api.example"))
    found = [finding for finding in lint_file(folder / "hooked.yaml") if finding.rule == "hooks"]
    assert [(finding.severity, finding.mistake.field) for finding in found] == [
        ("info", f"actions.{name}.hook") for name in ("send", "list", "upload")
    ]
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "catalog", "lint", "--json", str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert json.loads(done.stdout)["hooks"] == 3
    shipped = load_catalog([SHIPPED])
    assert [skill.id for one in shipped.integrations.values() for skill in one.skills.values() if skill.hook] == []


def test_a_hook_gets_and_gives_a_plain_value() -> None:
    request = UpstreamRequest(method="GET", origin="https://api.example", path="/x")
    skill = next(iter(load_catalog([SHIPPED]).integrations["github"].skills.values()))
    hooks = Hooks({"add": lambda sent, _: replace(sent, query="a=1")})
    assert hooks.apply(replace(skill, hook="add"), request, {}).url == "https://api.example/x?a=1"
    assert hooks.apply(skill, request, {}) is request
