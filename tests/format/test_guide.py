"""The guide for who writes a definition says all of the format, and what it shows can be read."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from skills_catalog.exporting.skill_files import cli_example, skill_files
from skills_catalog.lint import lint_file
from skills_catalog.loader import SHIPPED, load_catalog, load_integration
from skills_catalog.shape import SCHEMA_FILE, integration_schema
from skills_catalog.strict_yaml import read
from tests.format.desk import DEFINITIONS
from tests.harness import ROOT

GUIDE = SCHEMA_FILE.with_name("FORMAT.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def test_every_key_of_the_format_is_in_the_guide() -> None:
    schema = integration_schema()
    keywords = set(schema["$defs"]["schema"]["properties"])
    said = set(re.findall(r"[\w$-]+", GUIDE))
    # JSON Schema itself is explained elsewhere; `integration.schema.json` has the keywords that a file may use.
    assert sorted(set(_keys(schema)) - keywords - said) == []


def test_every_choice_of_the_format_is_in_the_guide() -> None:
    schema = integration_schema()
    auth, action = schema["$defs"]["auth"]["properties"], schema["$defs"]["action"]["properties"]
    places = [auth["type"], auth["in"], auth["token_auth"], auth["token_method"], auth["token_body"], auth["signature"]]
    places += [action["body"], action["effect"], schema["$defs"]["style"], schema["$defs"]["param"]["properties"]["in"]]
    words = {json.dumps(word).strip('"') for place in places for word in place["enum"]}
    words |= set(re.findall(r"\w+", schema["$defs"]["encoding"]["pattern"].partition("|[^")[0]))
    assert sorted(word for word in words if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", GUIDE)) == []


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_what_the_guide_shows_can_be_read(block: str) -> None:
    assert isinstance(read(block, "FORMAT.md").value, dict)


def test_the_whole_file_of_the_guide_has_nothing_to_mend(tmp_path: Path) -> None:
    file = tmp_path / "tickets.yaml"
    file.write_text(BLOCKS[0])
    assert [str(finding) for finding in lint_file(file) if finding.severity != "info"] == []


def test_the_parts_that_the_guide_shows_fit_into_a_file() -> None:
    whole = read(BLOCKS[0], "FORMAT.md").value
    actions: dict[str, Any] = {}
    for block in BLOCKS[1:]:
        part = read(block, "FORMAT.md").value
        if "integrations" in part:
            continue
        if "params" in part:
            part = {"find": {"description": "x", "request": "GET /repos/{+repo}/x", "params": part["params"]}}
        if "auth" in part:
            named = set(re.findall(r"\{(\w+)\}", block)) - {"field", "token_url", "scopes"}
            fields = {name: {"title": name, "secret": name == "password"} for name in named}
            made = {**whole, "connection": {**whole["connection"], **fields}, **part}
            made["actions"] = {**whole["actions"], **part.get("actions", {})}
            assert load_integration(json.dumps(made)).auth[0].name == part["auth"][0]["name"]
        elif "connection" not in part:
            actions |= part
    filled = {
        name: {"description": "x", "effect": "create", "examples": [{"response": {"status": 200}}], **action}
        for name, action in actions.items()
    }
    filled["find"].pop("effect")
    shown = load_integration(json.dumps({**whole, "servers": {"content": "https://c.example"}, "actions": {**whole["actions"], **filled}}))
    assert set(shown.skills) == {"get_me", "create_ticket", "find", "upload", "attach", "insert", "send", "create_card"}


@pytest.mark.parametrize("file", sorted(DEFINITIONS.glob("*.yaml")), ids=lambda file: file.stem)
def test_skill_files_and_command_lines_are_made_of_every_definition(file: Path) -> None:
    integration = load_integration(file)
    files = {one["file_path"]: one["content"] for one in skill_files(integration, "https://gateway.example")}
    assert files["SKILL.md"].startswith("---\nname: skillway-")
    for skill in integration.skills.values():
        assert any(path.endswith(f"/{skill.name}.md") for path in files)
        for example in skill.examples:
            assert cli_example(skill, example).startswith(f"skillway run {integration.slug} {skill.name}")


def test_catalog_test_builds_the_request_of_every_example_of_every_method() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "catalog", "test", "--json", str(DEFINITIONS)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert (done.returncode, said["ok"]) == (0, True)
    ways = {(one["action"], one["auth"]) for one in said["examples"]}
    wanted = {
        (skill.id, method)
        for file in DEFINITIONS.glob("*.yaml")
        for skill in load_integration(file).skills.values()
        for method in skill.auth
    }
    assert ways == wanted


def test_the_first_definitions_still_say_what_they_said() -> None:
    """Widening the format changed none of them: where params go, and how their values are written."""
    places = {
        (param.location, param.style, param.encode, param.member, param.spread)
        for slug in ("github", "overscore", "overskill", "overten", "skycot")
        for skill in load_catalog([SHIPPED]).integrations[slug].skills.values()
        for param in skill.params.values()
    }
    assert {location for location, *_ in places} == {"path", "query", "body", "form", "file"}
    assert {tuple(rest) for _, *rest in places} == {("repeat", (), (), False)}


def _keys(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if isinstance(node.get("properties"), Mapping):
            yield from node["properties"]
        for inner in node.values():
            yield from _keys(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _keys(inner)
