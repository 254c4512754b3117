"""The skill files of an integration, for agents that read documentation from disk: made from the definition alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from textwrap import wrap

import yaml

from skills_catalog.exporting.command_lines import cli_example
from skills_catalog.model import AuthMethod, ErrorHint, Example, Guide, Integration, Json, Skill

__all__ = ["cli_example", "front_matter", "pages_of", "skill_description", "skill_files", "skill_name"]

_EFFECTS = {
    "read": "reads only",
    "create": "creates something",
    "update": "changes something",
    "delete": "deletes something",
    "send": "sends something to others",
}
_MOST_DESCRIPTION = 1024
_WHEN_IT_FAILS = """\
Change the params after a 400 or 422, look up the id again after a 404, connect again after a 401 or with more scopes after
a 403, and wait as long as `Retry-After` says after a 429. Repeat a call by yourself only if its file says that it may be
repeated."""


def skill_files(integration: Integration, base_url: str) -> list[dict[str, str]]:
    """`{"file_path", "content"}` of each file, SKILL.md first. `base_url` is the gateway's own."""
    files = {"SKILL.md": _skill_page(integration, base_url.rstrip("/"))}
    for skill in integration.skills.values():
        files[_endpoint_path(skill)] = _endpoint_page(integration, skill, base_url.rstrip("/"))
    for folder, pages in (("guides", integration.guides), ("workflows", integration.workflows)):
        for path, page in _paths(folder, pages).items():
            files[path] = f"# {_line(page.title)}\n\n{page.text.strip()}\n"
    return [{"file_path": path, "content": content} for path, content in files.items()]


def skill_name(integration: Integration) -> str:
    """What its Agent Skill is called, and the folder that it lies in."""
    return _hyphens(f"skillway-{integration.slug}")


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


def _skill_page(integration: Integration, base_url: str) -> str:
    parts = [
        _front_matter(
            {
                "name": skill_name(integration),
                "version": integration.version,
                "description": _Folded(skill_description(integration)),
                "argument-hint": "[action] [params]",
                "user-invocable": True,
                "disable-model-invocation": False,
                "allowed-tools": "Bash, Read, Grep, Glob",
            }
        ),
        f"# {_line(integration.name)}",
        integration.description,
        _lifecycle(integration.lifecycle),
        "## Execution",
        _execution(integration, base_url),
        "## Endpoints",
        "Read an action's file before you call it for the first time.",
        _table(("Resource", "Folder", "Actions"), _endpoint_rows(integration)),
        "## Guides",
        *_guides(integration),
    ]
    if integration.workflows:
        parts += ["## Workflows", _links("workflows", integration.workflows)]
    if integration.docs_url:
        parts.append(f"The service's own documentation: {integration.docs_url}")
    return _page(parts)


def skill_description(integration: Integration) -> str:
    """What its Agent Skill is for, as the head of its SKILL.md says."""
    text = (
        f"{_sentence(integration.description)} {len(integration.skills)} actions of {integration.name}, called "
        "through a Skillway gateway that holds the credentials."
    )
    words = [word for word in integration.synonyms if len(text) + len(word) < _MOST_DESCRIPTION - 40]
    text += f" Also for: {', '.join(words)}." if words else ""
    return _line(text)[:_MOST_DESCRIPTION].rstrip()


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

`{{"status", "data"}}` is what {_line(integration.name)} answered, whatever the status: from 400 on it refused, and `data`
says why. `{{"error", "message"}}` means that it was not asked; where there is an `action_url`, show it to the user.

Never ask for, or pass, a credential: the gateway adds it. On `integration_not_connected` or `token_expired` run
`skillway connect {integration.slug}`, or POST `{{"integration": "{integration.slug}"}}` to `{base_url}/v1/connect` and let
the user open the `oauth_url` of the answer."""


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
    parts += [
        "### When it fails",
        _WHEN_IT_FAILS,
    ]
    return parts


def _method_line(integration: Integration, method: AuthMethod) -> str:
    served = [skill.name for skill in integration.skills.values() if method.name in skill.auth]
    line = f"- `{method.name}`: {_line(method.title)}"
    if len(served) < len(integration.skills):
        line += f"; serves {', '.join(f'`{name}`' for name in served) or 'no action yet'}"
    if method.scopes.default:
        line += f"; asks for {', '.join(f'`{scope}`' for scope in method.scopes.default)}"
    return f"{line}."


def _lifecycle(lifecycle: str | None) -> str:
    return f"The service calls this API *{lifecycle}*." if lifecycle and lifecycle != "stable" else ""


# ---------------------------------------------------------------------- endpoints


def _endpoint_page(integration: Integration, skill: Skill, base_url: str) -> str:
    parts = [
        _front_matter(
            {
                "name": skill.name,
                "method": skill.request.method,
                "path": skill.request.path,
                "category": skill.category,
                "effect": skill.effect,
            }
        ),
        f"# {_line(skill.title)}",
        skill.description,
        "\n".join(f"- {fact}" for fact in _facts(integration, skill)),
        "## Params",
        _params(skill),
    ]
    for number, example in enumerate(skill.examples, 1):
        parts += ["## Example" if number == 1 else f"## Example {number}", _example(skill, example, base_url)]
    if skill.errors:
        parts += ["## Errors", _table(("Status or code", "Meaning", "Fix"), map(_error_row, skill.errors))]
    return _page(parts)


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
    return _table(("Name", "Type", "Required", "Meaning"), rows)


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
    words = [_sentence(schema.get("description", ""))]
    if "enum" in schema:
        words.append(f"One of {', '.join(f'`{_compact(value)}`' for value in schema['enum'])}.")
    if "default" in schema:
        words.append(f"Left out, it is `{_compact(schema['default'])}`.")
    for keyword, text in (
        ("minimum", "At least"),
        ("maximum", "At most"),
        ("maxLength", "Characters at most"),
        ("maxItems", "Items at most"),
        ("format", "Format"),
        ("pattern", "Pattern"),
    ):
        if keyword in schema:
            words.append(f"{text}: `{schema[keyword]}`.")
    return " ".join(word for word in words if word)


def _example(skill: Skill, example: Example, base_url: str) -> str:
    answer = {"status": example.status, "data": example.data}
    call = (
        f"POST {base_url}/v1/{skill.integration}/{skill.name}\n"
        f"{json.dumps({'params': example.params}, ensure_ascii=False)}"
    )
    shown = json.dumps(answer, ensure_ascii=False, indent=2)
    return _page([_fenced(cli_example(skill, example)), _fenced(call), "answers", _fenced(shown, "json")])


def _error_row(error: ErrorHint) -> tuple[str, ...]:
    which = " ".join(str(part) for part in (error.status, error.code) if part is not None)
    return (which, error.description, error.fix)


def _endpoint_path(skill: Skill) -> str:
    return f"endpoints/{_hyphens(skill.category)}/{skill.name}.md"


# ---------------------------------------------------------------------- pieces of Markdown


class _Folded(str):
    """Text that is written as a folded block, over several lines."""


def _front_matter(members: Mapping[str, str | bool]) -> str:
    lines = ["---"]
    for key, value in members.items():
        if isinstance(value, _Folded):
            # Without the line end that `>` alone adds, and broken at spaces only: it is read as what was written.
            folded = wrap(_line(value), 110, break_on_hyphens=False, break_long_words=False)
            lines += [f"{key}: >-", *(f"  {line}" for line in folded or [""])]
        elif isinstance(value, bool):
            lines.append(f"{key}: {'true' if value else 'false'}")
        else:
            # A plain word where YAML takes it for text; JSON's quotes, which YAML reads too, elsewhere.
            plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_, -]*|[0-9]+\.[0-9]+\.[0-9]+", value)
            lines.append(f"{key}: {value if plain else json.dumps(value, ensure_ascii=False)}")
    return "\n".join([*lines, "---"])


def _page(parts: Iterable[str]) -> str:
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _fenced(text: str, language: str = "") -> str:
    """A code block whose fence is longer than any row of backticks within."""
    longest = max((len(row) for row in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _table(names: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(names)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")


def _links(folder: str, pages: Iterable[Guide]) -> str:
    return "\n".join(f"- [{_line(page.title)}]({path})" for path, page in _paths(folder, pages).items())


def _paths(folder: str, pages: Iterable[Guide]) -> dict[str, Guide]:
    """Each page by its path; a second page of the same name gets a number."""
    paths: dict[str, Guide] = {}
    for page in pages:
        name = re.sub(r"[^a-z0-9]+", "-", page.title.lower()).strip("-")[:60] or "page"
        number = next(n for n in range(1, 100) if f"{folder}/{_numbered(name, n)}.md" not in paths)
        paths[f"{folder}/{_numbered(name, number)}.md"] = page
    return paths


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def _hyphens(name: str) -> str:
    return re.sub(r"[-_]+", "-", name).strip("-")


def _words(name: str) -> str:
    text = re.sub(r"[-_]+", " ", name)
    return text[:1].upper() + text[1:]


def _line(text: str) -> str:
    return " ".join(text.split())


def _sentence(text: str) -> str:
    line = _line(text)
    return line if not line or line[-1] in ".!?" else f"{line}."


def _compact(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
