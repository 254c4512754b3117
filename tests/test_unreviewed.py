"""An imported action that nobody reviewed is loaded, shown nowhere and called by nobody, until its mark is gone."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from gateway.installation import read_catalog
from gateway.settings import load_settings
from skills_catalog.loader import load_definition
from skills_catalog.mistakes import CatalogError
from skills_catalog.versions.lock import FILE, lock_text, locked_from
from tests.demo import write_definitions
from tests.fakes.upstream import Answer, Asked, Upstream, json_answer, route, serve
from tests.harness import gateway


class Things(Upstream):
    """Lets everybody in, and keeps what it was sent."""

    @route("GET", "/things")
    def list(self, asked: Asked) -> Answer:
        return json_answer([])

    @route("PUT", "/things/{id}/picture")
    def picture(self, asked: Asked) -> Answer:
        return json_answer({"type": asked.seen.header("Content-Type"), "size": len(asked.seen.body)})

    @route("DELETE", "/things/{id}")
    def delete(self, asked: Asked) -> Answer:
        return json_answer({}, 200)


def action(request: str, **members: Any) -> dict[str, Any]:
    return {
        "description": "Does it.",
        "request": request,
        "examples": [{"params": {"id": 1}, "response": {"status": 200}}],
        **members,
    }


def things(base_url: str = "https://things.example", **members: Any) -> dict[str, Any]:
    one = {"id": {"type": "integer", "required": True}}
    return {
        "slug": "things",
        "name": "Things",
        "description": "Keeps things.",
        "base_url": base_url,
        "auth": [{"name": "nobody", "type": "none"}],
        "actions": {
            "list_things": {**action("GET /things"), "examples": [{"response": {"status": 200, "data": []}}]},
            "delete_thing": action("DELETE /things/{id}", effect="delete", params=one, lifecycle="unreviewed"),
            "set_picture": action(
                "PUT /things/{id}/picture",
                effect="update",
                headers={"Content-Type": "image/png"},
                params={**one, "picture": {"in": "body", "whole": True, "type": "string", "contentEncoding": "base64"}},
            ),
        },
        **members,
    }


async def test_an_unreviewed_action_is_hidden_and_refused_whoever_asks(tmp_path: Path) -> None:
    async with serve(Things()) as upstream:
        definitions = write_definitions(tmp_path, things(upstream.base_url))
        async with gateway(tmp_path, definitions=definitions, allowed_private_networks="127.0.0.0/8") as running:
            for key in (running.org.live, running.org.test):
                listed = (await running.ask("GET", "/v1/skills/things", key=key)).json()
                assert [one["name"] for one in listed["skills"]] == ["list_things", "set_picture"]
                found = (await running.ask("GET", "/v1/skills/search?q=things+delete+thing&limit=50", key=key)).json()
                assert "list_things" in json.dumps(found)
                assert "delete_thing" not in json.dumps(found)
                files = (await running.ask("GET", "/v1/things/download", key=key)).body
                assert b"delete_thing" not in files
                assert b"delete_thing" not in (await running.ask("GET", "/openapi.json", key=key)).body
                later = {"integration": "things", "action": "delete_thing", "params": {"id": 1}}
                for answer in (
                    await running.call("things", "delete_thing", {"id": 1}, key=key),
                    await running.call("things", "delete_thing", {"id": 1}, key=key, headers={"Prefer": "respond-async"}),
                    await running.ask("POST", "/v1/preflight", key=key, body=later),
                    await running.ask("GET", "/v1/skills/things/delete_thing", key=key),
                    # The same request, made up.
                    await running.ask(
                        "POST", "/v1/things/request", key=key, body={"params": {"method": "DELETE", "path": "/things/1"}}
                    ),
                ):
                    assert (answer.status, answer.json()["error"]) == (403, "forbidden")
                    assert (
                        answer.json()["message"] == "things.delete_thing was imported, and nobody has reviewed it yet."
                    )
                    assert "lifecycle: unreviewed" in answer.json()["hint"]
            integrations = (await running.ask("GET", "/v1/skills")).json()["integrations"]
            assert next(one for one in integrations if one["slug"] == "things")["skill_count"] == 2
            assert upstream.upstream.seen == []

            # Reviewed: the line is gone.
            reviewed = things(upstream.base_url)
            del reviewed["actions"]["delete_thing"]["lifecycle"]
            write_definitions(tmp_path, reviewed)
            assert running.services is not None
            running.services.catalogs.reload()
            assert (await running.call("things", "delete_thing", {"id": 1})).json()["status"] == 200


async def test_a_whole_body_of_another_type_is_sent_as_it_is(tmp_path: Path) -> None:
    async with serve(Things()) as upstream:
        definitions = write_definitions(tmp_path, things(upstream.base_url))
        async with gateway(tmp_path, definitions=definitions, allowed_private_networks="127.0.0.0/8") as running:
            answer = await running.call("things", "set_picture", {"id": 1, "picture": "iVBORw0K"})
            assert answer.json()["data"] == {"type": "image/png", "size": 6}
            assert upstream.last.body == b"\x89PNG\r\n"
            refused = await running.call("things", "set_picture", {"id": 1, "picture": "no base64!"})
            assert (refused.status, refused.json()["error"]) == (400, "bad_request")
            assert refused.json()["details"]["fields"][0]["path"] == "picture"


@pytest.mark.parametrize(
    "members",
    [
        {"whoami": {"action": "list_things", "account": "x"}},
        {"actions": {**things()["actions"], "start": action("POST /start", effect="create", poll={"action": "list_things", "status": "x", "done": ["y"]})}},
    ],
)  # fmt: skip
def test_what_is_served_may_not_lean_on_what_is_not(tmp_path: Path, members: dict[str, Any]) -> None:
    definition = things(**members)
    load_definition(json.dumps(definition))
    definition["actions"]["list_things"]["lifecycle"] = "unreviewed"
    with pytest.raises(CatalogError, match="not reviewed"):
        load_definition(json.dumps(definition))


def test_an_operator_is_told_of_own_definitions_that_break_what_was_locked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_definitions(tmp_path, things())
    integration, document = load_definition(folder / "things.yaml")
    (folder / FILE).write_text(lock_text({"things": locked_from(integration, document)}))
    (tmp_path / "skills.yaml").write_text(json.dumps({"catalog": {"paths": [str(folder)]}}))
    _, installation = load_settings({"SKILLWAY_CONFIG": str(tmp_path / "skills.yaml")})
    with caplog.at_level(logging.WARNING, logger="skillway.catalog"):
        read_catalog(installation)
        assert caplog.messages == []
        changed = things()
        del changed["actions"]["set_picture"]
        write_definitions(tmp_path, changed)
        read_catalog(installation)
    assert [message.partition(": ")[2] for message in caplog.messages] == [
        "things is not what catalog.lock has of version 0.1.0: actions.set_picture: The action is gone."
    ]
