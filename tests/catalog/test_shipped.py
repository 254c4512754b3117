"""The integrations that come with Skillway load, lint clean, and have examples that work as they are."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import yaml

from gateway.cli.jsontext import dumps, loads
from gateway.cli.params import read_params
from skills_catalog.exporting.skill_files import cli_example, skill_files
from skills_catalog.lint import lint_file
from skills_catalog.loader import SHIPPED, definition_files, load_catalog, load_integration
from skills_catalog.model import Example, Skill
from skills_catalog.names import SLUG
from skills_catalog.strict_yaml import read
from skills_catalog.validation import compile_schema, problems

FILES = definition_files(SHIPPED)
CATALOG = load_catalog([SHIPPED])
EXAMPLES = [
    pytest.param(skill, example, id=f"{skill.id} {number}")
    for integration in CATALOG.integrations.values()
    for skill in integration.skills.values()
    for number, example in enumerate(skill.examples, 1)
]


def test_the_seeds_and_github_are_shipped() -> None:
    assert {"github", "overscore", "overskill", "overten", "skycot"} <= set(CATALOG.integrations)
    counts = {slug: len(integration.skills) for slug, integration in CATALOG.integrations.items()}
    assert counts["github"] >= 35
    assert (counts["overskill"], counts["skycot"], counts["overten"], counts["overscore"]) == (13, 10, 24, 2)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_shipped_file_lints_clean(file: Path) -> None:
    assert [str(finding) for finding in lint_file(file) if finding.severity != "info"] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_shipped_file_is_named_after_its_slug(file: Path) -> None:
    assert load_integration(file).slug == file.stem
    assert SLUG.fullmatch(file.stem)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_strict_reading_of_a_shipped_file_says_what_plain_yaml_says_but_for_dates(file: Path) -> None:
    """Nobody who reads the file with another YAML reader is told something else, dates and times aside."""

    class TextDates(yaml.SafeLoader):
        pass

    TextDates.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    assert read(file.read_bytes(), file.name).value == yaml.load(file.read_text(encoding="utf-8"), Loader=TextDates)  # noqa: S506


@pytest.mark.parametrize(("skill", "example"), EXAMPLES)
def test_the_params_of_an_example_fit(skill: Skill, example: Example) -> None:
    assert problems(skill, example.params) == []


@pytest.mark.parametrize(("skill", "example"), EXAMPLES)
def test_a_param_more_or_less_does_not_fit(skill: Skill, example: Example) -> None:
    assert [problem.path for problem in problems(skill, {**example.params, "x_unknown": 1})] == ["x_unknown"]
    for name in skill.input_schema.get("required", ()):
        less = {key: value for key, value in example.params.items() if key != name}
        assert name in [problem.path for problem in problems(skill, less)]


@pytest.mark.parametrize(("skill", "example"), EXAMPLES)
def test_the_command_line_of_an_example_says_its_params(
    skill: Skill, example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(cli_example(skill, example))
    expected = dict(example.params)
    for name in list(expected):
        schema = skill.input_schema["properties"][name]
        if "$ref" in schema:
            schema = skill.input_schema["$defs"][schema["$ref"].removeprefix("#/$defs/")]
        if skill.params[name].location == "file" or schema.get("contentEncoding") == "base64":
            # The command reads a file; which one is in the example is another matter.
            (tmp_path / words[words.index(f"--{name}") + 1]).write_bytes(b"content")
            del expected[name]

    assert words[:2] == ["skillway", "run"]
    given: dict[str, object] = {}
    if words[2] == "--params":
        given = as_object(words[3])
        words = words[2:]
    assert words[2:4] == [skill.integration, skill.name]
    typed = read_params(words[4:], loads(json.dumps(skill.input_schema)))
    said = {**given, **as_object(dumps(typed))}
    assert {name: value for name, value in said.items() if name in expected} == expected
    assert set(said) == set(example.params)


def as_object(text: str) -> dict[str, object]:
    value = json.loads(text)
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("slug", list(CATALOG.integrations))
def test_every_input_schema_compiles_and_is_a_closed_object(slug: str) -> None:
    for skill in CATALOG.integrations[slug].skills.values():
        compile_schema(skill.input_schema)
        assert skill.input_schema["type"] == "object"
        assert skill.input_schema["additionalProperties"] is False


@pytest.mark.parametrize("slug", list(CATALOG.integrations))
def test_skill_files_name_every_action_and_no_credential(slug: str) -> None:
    integration = CATALOG.integrations[slug]
    files = {file["file_path"]: file["content"] for file in skill_files(integration, "https://gateway.example")}

    assert next(iter(files)) == "SKILL.md"
    for skill in integration.skills.values():
        assert f"`{skill.name}`" in files["SKILL.md"]
        assert any(path.endswith(f"/{skill.name}.md") for path in files)
        for constant in skill.constants:
            assert f"`{constant.name}`" not in files[f"endpoints/{skill.category.replace('_', '-')}/{skill.name}.md"]
