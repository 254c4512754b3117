"""The vendors' own packages take what we make for them: tools, results, skill files. In an environment of their own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from gateway.cli.skillfiles import core_skill
from gateway.core.errors import Refusal
from gateway.rest.vendor_calls import read_call
from gateway.web.tool_answers import ToolAnswer, of_refusal, of_value
from skills_catalog.exporting.skill_files import skill_files, skill_name
from skills_catalog.exporting.tool_names import tool_name
from skills_catalog.exporting.tool_shapes import FORMATS, Format, tool_of
from skills_catalog.loader import SHIPPED, load_catalog
from tests.conftest import lacking
from tests.fakes.venvs import PipFailed, python_with
from tests.test_tools import WAYS, call_of

HERE = Path(__file__).parent


def test_the_vendors_packages_take_all_that_is_shipped_and_nothing_that_is_wrong(tmp_path: Path) -> None:
    try:
        python = python_with(HERE / "vendors.txt")
    except PipFailed as error:
        lacking(str(error))
    ours = {"tools": tools(), "results": results(), "skills": skills(tmp_path)}
    done = subprocess.run(
        [str(python), str(HERE / "check.py")],
        input=json.dumps([ours, wrong(tmp_path)]),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    of_ours, of_wrong = json.loads(done.stdout)
    assert of_ours == []
    assert [problem.split()[0].rpartition("/")[2] for problem in of_wrong] == [
        "strict", "gemini", "mcp", "chat", "right:", "right:"
    ]  # fmt: skip


def wrong(folder: Path) -> Mapping[str, Any]:
    """What they must refuse, so that it means something where they do not."""
    loose = {"type": "object", "properties": {"a": {"type": "object", "additionalProperties": {}}}}
    (folder / "right").mkdir()
    (folder / "right" / "SKILL.md").write_text("---\nname: wrong\ndescription: x\nversion: 1.0.0\n---\n")
    return {
        "tools": {
            "openai-strict": [{"type": "function", "function": {"name": "x", "strict": True, "parameters": loose}}],
            "gemini": [{"name": "x", "parameters": {"type": "OBJECT", "oneOf": []}}],
            "mcp": [{"name": "x"}],
        },
        "results": {"chat": [{"role": "tool"}]},
        "skills": [str(folder / "right")],
    }


def tools() -> Mapping[str, Sequence[Any]]:
    catalog = load_catalog([SHIPPED])
    skills = [(one, skill) for one in catalog.integrations.values() for skill in one.skills.values()]

    def made(format: Format) -> list[dict[str, Any]]:
        return [tool_of(one, skill, tool_name(catalog, skill), format) for one, skill in skills]

    responses = [{"type": "function", **tool["function"]} for tool in made("openai")]
    # Anthropic has no package that checks; its rules are held in tests/catalog/test_tool_shapes.py.
    return {**{format: made(format) for format in FORMATS if format != "anthropic"}, "responses": responses}


def results() -> Mapping[str, Sequence[Any]]:
    answers: list[ToolAnswer] = [
        of_value({"status": 200, "data": {"id": 7}}),
        of_refusal(Refusal("bad_request", "No."), lambda run_id: run_id),
    ]
    made: dict[str, list[Any]] = {}
    for way, format in WAYS.items():
        if way == "anthropic":
            continue
        call = read_call(format, call_of(way, "desk__file_paper", {}))  # type: ignore[arg-type]
        made[way] = [orjson.loads(orjson.dumps(call.answer(answer))) for answer in answers]
    return made


def skills(folder: Path) -> list[str]:
    """The folder of every shipped integration as an Agent Skill, and that of the core skill."""
    files = {f"skillway/{path}": content for path, content in core_skill("claude").items()}
    for integration in load_catalog([SHIPPED]).integrations.values():
        [first, *_] = skill_files(integration, "https://gateway.example")
        files[f"{skill_name(integration.slug)}/{first['file_path']}"] = first["content"]
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(content, encoding="utf-8")
    return [str((folder / path).parent) for path in files]
