"""The skill files of an integration, for agents that read documentation from disk: made from the definition alone.

They are an Agent Skill as https://agentskills.io/specification has it, or the same for editors that read rules.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Literal, get_args

import yaml

from skills_catalog.exporting import markdown
from skills_catalog.exporting.command_lines import cli_example
from skills_catalog.exporting.schema_forms import in_words
from skills_catalog.model import AuthMethod, ErrorHint, Example, Guide, Integration, Json, Skill

__all__ = ["FORMS", "Form", "cli_example", "front_matter", "pages_of", "skill_description", "skill_files", "skill_name"]

#: An Agent Skill; a rule of Cursor; a rule of Windsurf.
Form = Literal["agent-skill", "cursor", "windsurf"]
FORMS: tuple[Form, ...] = get_args(Form)

_EFFECTS = {
    "read": "reads only",
    "create": "creates something",
    "update": "changes something",
    "delete": "deletes something",
    "send": "sends something to others",
}
_MOST_NAME, _MOST_DESCRIPTION = 64, 1024
_DIGEST = 8
#: Rows of the table of actions; with more of them it is a file of its own, so that SKILL.md stays under 500 lines.
_MOST_ROWS = 150
_INDEX = "endpoints/index.md"
_WHEN_IT_FAILS = """\
Change the params after a 400 or 422, look up the id again after a 404, connect again after a 401 or with more scopes after
a 403, and wait as long as `Retry-After` says after a 429. Repeat a call by yourself only if its file says that it may be
repeated."""
_LONG_ANSWERS = """\
Beside `params` (as options of the command, before the integration) stand `max_bytes` (`--max-bytes`) and `max_items`, to
which a long answer is cut, and `select` (`--select`), a JMESPath of the part that you need."""


def skill_name(slug: str) -> str:
    """What the skill of an integration, and its folder, is called: no two integrations the same, 64 characters at most."""
    name = f"skillway-{_hyphens(slug)}"
    if name == f"skillway-{slug.replace('_', '-')}" and len(name) <= _MOST_NAME:
        return name
    digest = hashlib.sha256(slug.encode()).hexdigest()[:_DIGEST]
    return f"{name[: _MOST_NAME - _DIGEST - 1].rstrip('-')}-{digest}"


def skill_files(integration: Integration, base_url: str, form: Form = "agent-skill") -> list[dict[str, str]]:
    """`{"file_path", "content"}` of each file, the main one first. `base_url` is the gateway's own."""
    base_url = base_url.rstrip("/")
    name, description = skill_name(integration.slug), skill_description(integration)
    page = _skill_page(integration, base_url)
    match form:
        case "agent-skill":
            files = {"SKILL.md": markdown.front_matter(_of_skill(integration, name, description)) + page}
        case "cursor":
            rule = markdown.front_matter({"description": description, "globs": "", "alwaysApply": False})
            files = {f"{name}.mdc": rule + page}
        case "windsurf":
            files = {f"{name}.md": markdown.front_matter({"trigger": "model_decision", "description": description}) + page}
    if _is_long(integration):
        files[_INDEX] = markdown.page(["# Endpoints", _endpoint_table(integration)])
    for skill in integration.skills.values():
        files[_endpoint_path(skill)] = _endpoint_page(integration, skill, base_url)
    for folder, pages in (("guides", integration.guides), ("workflows", integration.workflows)):
        for path, guide in _paths(folder, pages).items():
            files[path] = f"# {markdown.line(guide.title)}\n\n{guide.text.strip()}\n"
    return [{"file_path": path, "content": markdown.visible(content)} for path, content in files.items()]


def front_matter(text: str) -> dict[str, Json]:
    """What the head of a SKILL.md of ours says, as whoever reads the file gets it."""
    _, head, _ = text.split("---\n", 2)
    read: dict[str, Json] = yaml.load(head, Loader=yaml.CSafeLoader)
    return read


def pages_of(integration: Integration) -> Mapping[str, Guide]:
    """Its guides and workflows by names that the definition alone decides about, such as `rate-limits`."""
    pages = _paths("pages", [*integration.guides, *integration.workflows])
    return {path.removeprefix("pages/").removesuffix(".md"): page for path, page in pages.items()}


# ---------------------------------------------------------------------- SKILL.md


def _of_skill(integration: Integration, name: str, description: str) -> dict[str, str | bool | Mapping[str, str]]:
    """The members that the specification knows; whatever else there is to say stands under `metadata`."""
    return {
        "name": name,
        "description": description,
        "compatibility": "Needs the command `skillway`, or HTTP and a key in SKILLWAY_API_KEY.",
        "allowed-tools": "Bash(skillway:*) Read Grep Glob",
        "metadata": {"version": integration.version, "integration": integration.slug},
    }


def _skill_page(integration: Integration, base_url: str) -> str:
    parts = [
        f"# {markdown.line(integration.name)}",
        markdown.paragraph(integration.description),
        _lifecycle(integration.lifecycle),
        "## Execution",
        _execution(integration, base_url),
        "## Endpoints",
        "Read an action's file before you call it for the first time.",
        f"They are listed in [{_INDEX}]({_INDEX})." if _is_long(integration) else _endpoint_table(integration),
        "## Guides",
        *_guides(integration),
    ]
    if integration.workflows:
        parts += ["## Workflows", _links("workflows", integration.workflows)]
    if integration.docs_url:
        parts.append(f"The service's own documentation: {markdown.line(integration.docs_url)}")
    return "\n" + markdown.page(parts)


def skill_description(integration: Integration) -> str:
    """What it does, and when a model shall use it: as the head of its SKILL.md says."""
    name, many = markdown.line(integration.name), len(integration.skills)
    actions = "1 action" if many == 1 else f"{many} actions"
    text = (
        f"{markdown.sentence(integration.description)} Use it when a task reads or changes something in {name}: {actions}, "
        "called through a Skillway gateway that holds the credentials."
    )
    words = [markdown.line(word) for word in integration.synonyms]
    for most in range(len(words), 0, -1):
        if len(longer := f"{text} Also for: {', '.join(words[:most])}.") <= _MOST_DESCRIPTION:
            return longer
    return text if len(text) <= _MOST_DESCRIPTION else f"{text[: _MOST_DESCRIPTION - 1].rstrip()}…"


def _execution(integration: Integration, base_url: str) -> str:
    return f"""\
```
POST {base_url}/v1/{integration.slug}/{{action_name}}
Authorization: Bearer $SKILLWAY_API_KEY
Content-Type: application/json

{{"params": {{…}}}}
```

or, with the command line: `skillway run {integration.slug} ACTION --param value …`
or, where Skillway is one of your MCP servers: the tool `call_skill`, or the action's own, `{integration.slug}__ACTION`.

`{{"status", "data"}}` is what {markdown.line(integration.name)} answered, whatever the status: from 400 on it refused, and `data`
says why. `{{"error", "message"}}` means that it was not asked; where there is an `action_url`, show it to the user.

Never ask for, or pass, a credential: the gateway adds it. On `integration_not_connected` or `token_expired` run
`skillway connect {integration.slug}`, or POST `{{"integration": "{integration.slug}"}}` to `{base_url}/v1/connect` and let
the user open the `oauth_url` of the answer."""


def _is_long(integration: Integration) -> bool:
    return len({skill.category for skill in integration.skills.values()}) > _MOST_ROWS


def _endpoint_table(integration: Integration) -> str:
    return markdown.table(("Resource", "Folder", "Actions"), _endpoint_rows(integration))


def _endpoint_rows(integration: Integration) -> list[tuple[str, ...]]:
    by_category: dict[str, list[str]] = {}
    for skill in integration.skills.values():
        by_category.setdefault(skill.category, []).append(f"`{skill.name}`")
    return [
        (_words(category), f"`endpoints/{_hyphens(category)}/`", ", ".join(names))
        for category, names in by_category.items()
    ]


def _guides(integration: Integration) -> list[str]:
    parts = [_links("guides", integration.guides)] if integration.guides else []
    parts += ["### Ways in", "\n".join(_method_line(integration, method) for method in integration.auth)]
    paged = any(skill.page for skill in integration.skills.values())
    pages = ' With `"all": true` (`--all`) the pages of a list are followed and joined.' if paged else ""
    parts += ["### Long answers", _LONG_ANSWERS + pages]
    parts += ["### When it fails", _WHEN_IT_FAILS]
    return parts


def _method_line(integration: Integration, method: AuthMethod) -> str:
    served = [skill.name for skill in integration.skills.values() if method.name in skill.auth]
    line = f"- `{method.name}`: {markdown.line(method.title)}"
    if len(served) < len(integration.skills):
        line += f"; serves {', '.join(f'`{name}`' for name in served) or 'no action yet'}"
    if method.scopes.default:
        line += f"; asks for {', '.join(f'`{scope}`' for scope in method.scopes.default)}"
    return f"{line}."


def _lifecycle(lifecycle: str | None) -> str:
    return f"The service calls this API *{lifecycle}*." if lifecycle and lifecycle != "stable" else ""


# ---------------------------------------------------------------------- endpoints


def _endpoint_page(integration: Integration, skill: Skill, base_url: str) -> str:
    head = markdown.front_matter(
        {
            "name": skill.name,
            "method": skill.request.method,
            "path": skill.request.path,
            "category": skill.category,
            "effect": skill.effect,
        }
    )
    parts = [
        f"# {markdown.line(skill.title)}",
        markdown.paragraph(skill.description),
        "\n".join(f"- {fact}" for fact in _facts(integration, skill)),
        "## Params",
        _params(skill),
    ]
    for number, example in enumerate(skill.examples, 1):
        parts += ["## Example" if number == 1 else f"## Example {number}", _example(skill, example, base_url)]
    if skill.errors:
        parts += ["## Errors", markdown.table(("Status or code", "Meaning", "Fix"), map(_error_row, skill.errors))]
    return f"{head}\n{markdown.page(parts)}"


def _facts(integration: Integration, skill: Skill) -> list[str]:
    repeat = "may be repeated safely" if skill.idempotent else "must not be repeated blindly"
    facts = [f"It {_EFFECTS[skill.effect]}, and {repeat}."]
    if len(skill.auth) < len(integration.auth):
        facts.append(f"Needs a connection made by {' or '.join(f'`{name}`' for name in skill.auth)}.")
    if skill.scopes:
        choices = (", ".join(f"`{scope}`" for scope in choice) for choice in (skill.scopes, *skill.other_scopes))
        facts.append(f"OAuth scopes: {'; or '.join(choices)}.")
    if skill.requires_plan:
        facts.append(f"Needs the service's plan {skill.requires_plan}.")
    if skill.cost != 1:
        facts.append(f"Costs {skill.cost} credits.")
    if skill.lifecycle and skill.lifecycle != "stable":
        facts.append(f"The service calls it *{skill.lifecycle}*.")
    if skill.deprecated:
        instead = f" Use {skill.deprecated.use} instead." if skill.deprecated.use else ""
        until = f", gone after {skill.deprecated.sunset}" if skill.deprecated.sunset else ""
        facts.append(f"Deprecated since {skill.deprecated.since}{until}.{instead}")
    if skill.poll:
        facts.append(f"It goes on after the answer: follow it with `{skill.poll['action']}`.")
    if skill.response == "binary":
        facts.append("The answer is a file, not JSON.")
    return facts


def _params(skill: Skill) -> str:
    if not skill.params:
        return "None."
    required = skill.input_schema.get("required", ())
    properties: Mapping[str, Json] = skill.input_schema["properties"]
    rows = [
        (f"`{name}`", _type_words(schema), "yes" if name in required else "no", _meaning(skill, name, schema))
        for name, schema in properties.items()
    ]
    return markdown.table(("Name", "Type", "Required", "Meaning"), rows)


def _meaning(skill: Skill, name: str, schema: Json) -> str:
    filled = skill.params[name].default_from
    return f"{_param_words(schema)} Left out, the connection's `{filled}` is used." if filled else _param_words(schema)


def _type_words(schema: Json) -> str:
    if not isinstance(schema, Mapping):
        return "any"
    said = schema.get("type")
    if said == "array":
        return f"array of {_type_words(schema.get('items', {}))}"
    if isinstance(said, str):
        return said
    if isinstance(said, list):
        return " or ".join(said)
    if "enum" in schema:
        return "one of the values"
    ways = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    return " or ".join(dict.fromkeys(_type_words(way) for way in ways)) if ways else "any"


def _param_words(schema: Json) -> str:
    if not isinstance(schema, Mapping):
        return ""
    return " ".join(filter(None, (markdown.sentence(schema.get("description", "")), in_words(schema))))


def _example(skill: Skill, example: Example, base_url: str) -> str:
    answer = {"status": example.status, "data": example.data}
    call = (
        f"POST {base_url}/v1/{skill.integration}/{skill.name}\n"
        f"{json.dumps({'params': example.params}, ensure_ascii=False)}"
    )
    shown = json.dumps(answer, ensure_ascii=False, indent=2)
    return markdown.page([markdown.fenced(cli_example(skill, example)), markdown.fenced(call), "answers", markdown.fenced(shown, "json")])


def _error_row(error: ErrorHint) -> tuple[str, ...]:
    which = " ".join(str(part) for part in (error.status, error.code) if part is not None)
    return (which, error.description, error.fix)


def _endpoint_path(skill: Skill) -> str:
    return f"endpoints/{_hyphens(skill.category)}/{skill.name}.md"


# ---------------------------------------------------------------------- paths


def _links(folder: str, pages: Iterable[Guide]) -> str:
    return "\n".join(f"- [{markdown.label(page.title)}]({path})" for path, page in _paths(folder, pages).items())


def _paths(folder: str, pages: Iterable[Guide]) -> dict[str, Guide]:
    """Each page by its path; a second page of the same name gets a number."""
    paths: dict[str, Guide] = {}
    for page in pages:
        name = re.sub(r"[^a-z0-9]+", "-", page.title.lower()).strip("-")[:60] or "page"
        number = next(n for n in count(1) if f"{folder}/{_numbered(name, n)}.md" not in paths)
        paths[f"{folder}/{_numbered(name, number)}.md"] = page
    return paths


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def _hyphens(name: str) -> str:
    return re.sub(r"[-_]+", "-", name).strip("-")


def _words(name: str) -> str:
    text = re.sub(r"[-_]+", " ", name)
    return text[:1].upper() + text[1:]


