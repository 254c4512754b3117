"""What the description says is tried out on a running gateway: the short form, the same requests every time."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.contract.fuzz import fuzz
from tests.fakes.upstream import Answer, Asked, Seen, Upstream, json_answer, route, serve
from tests.harness import gateway_process

#: Few actions, but of every kind: path, query, body, a file.
ALLOW = ["overscore.deploy_dashboard", "skycot.get_build_file", "overskill.list_apps"]
_OPTIONS = ["--generation-deterministic", "--max-examples"]


class Desk(Upstream):
    """An API that takes any token."""

    def admit(self, seen: Seen) -> str:
        return "anybody"

    @route("GET", "/me")
    def me(self, asked: Asked) -> Answer:
        return json_answer({"name": "ada"})


def definition(base_url: str) -> dict[str, Any]:
    example = {"response": {"status": 200, "data": {"name": "ada"}}}
    return {
        "slug": "desk",
        "name": "Desk",
        "description": "Whose desk it is.",
        "base_url": base_url,
        "auth": [{"name": "token", "type": "bearer", "title": "Token"}],
        "actions": {"get_me": {"description": "Tell who.", "request": "GET /me", "examples": [example]}},
    }


async def test_the_description_is_kept_whatever_a_test_key_sends(tmp_path: Path) -> None:
    async with gateway_process(tmp_path) as running:
        code, said = await fuzz(
            running,
            tmp_path,
            maker=running.org.test,
            grant={"allow": ALLOW},
            options=[*_OPTIONS, "1", "--phases", "examples,coverage"],
        )
    if code != 0:
        pytest.fail(said, pytrace=False)
    for phase in ("Examples", "Coverage"):
        assert f"✅ {phase}" in re.sub(r"\s+", " ", said), said


async def test_what_is_made_is_there_and_what_is_deleted_is_gone(tmp_path: Path) -> None:
    """With a live key: keys and connections are made, looked at, deleted, and looked for again."""
    async with serve(Desk()) as desk:
        (tmp_path / "desk.yaml").write_text(json.dumps(definition(desk.base_url)))
        async with gateway_process(tmp_path, definitions=tmp_path / "desk.yaml") as running:
            only = "^/(api-keys|v1/connect|v1/connections|v1/org|v1/desk)"
            options = [*_OPTIONS, "8", "--phases", "examples,stateful", "--include-path-regex", only]
            code, said = await fuzz(
                running, tmp_path, maker=running.org.live, grant={"scopes": ["desk"]}, options=options
            )
    if code != 0:
        pytest.fail(said, pytrace=False)
    covered = re.search(r"API Links:\s+(\d+) covered", said)
    assert covered is not None and int(covered[1]) >= 2, said
