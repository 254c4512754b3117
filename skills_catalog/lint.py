"""What a definition that loads still does badly: examples that do not run, names that mislead, words that are missing.

The loader refuses what cannot work; these rules are for what the shipped catalog is held to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import jmespath
from jmespath.exceptions import JMESPathError
from jsonschema_rs import ReferencingError, ValidationError

from skills_catalog import templates
from skills_catalog.auth_methods import texts_in
from skills_catalog.linting import contradictions, portability, safety, wording
from skills_catalog.loader import load_definition
from skills_catalog.mistakes import CatalogError, Mistake
from skills_catalog.model import Example, Integration, Json, Lookup, Skill, Variable
from skills_catalog.strict_yaml import Document
from skills_catalog.validation import compile_schema, expectation, problems

Severity = Literal["error", "warning", "info"]
#: Where in the file, what is wrong, and what to do about it.
Found = Iterator[tuple[Severity, tuple[str | int, ...], str]]

#: The longest tool name that every framework takes.
LONGEST_TOOL_NAME = 64

_READING = ("get_", "list_", "search_", "find_", "read_", "count_", "download_", "check_", "show_")
_MAKING = ("create_",)
_REMOVING = ("delete_",)
#: What strict modes of tool calling leave out (OpenAI, Anthropic).
_NOT_STRICT = (
    *("patternProperties", "propertyNames", "minProperties", "maxProperties", "uniqueItems", "contains"),
    *("unevaluatedProperties", "unevaluatedItems", "not", "if", "dependentRequired", "dependentSchemas", "oneOf"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding of one rule. Errors fail the lint, warnings do under `--strict`, infos never."""

    severity: Severity
    rule: str
    mistake: Mistake

    def __str__(self) -> str:
        return f"{self.mistake} [{self.severity}: {self.rule}]"


def lint_file(path: Path, *, strict: bool = False) -> list[Finding]:
    """Everything found in one file, in its order; what the loader refuses comes as errors of the rule `load`."""
    try:
        integration, document = load_definition(path)
    except CatalogError as error:
        return [Finding(severity="error", rule="load", mistake=mistake) for mistake in error.problems]
    return lint(integration, document, strict=strict)


def lint(integration: Integration, document: Document, *, strict: bool = False) -> list[Finding]:
    """Everything found in a definition that loads, in the order of the file. `strict` adds rules of its own."""
    rules = {**RULES, **STRICT_RULES} if strict else RULES
    found = [(name, one) for name, rule in rules.items() for one in rule(integration)]
    found += [(name, one) for name, check in TEXT_RULES.items() for one in check(document)]
    findings = [
        Finding(severity=severity, rule=name, mistake=document.mistake(at, message))
        for name, (severity, at, message) in found
    ]
    return sorted(findings, key=lambda finding: finding.mistake.line)


def not_strict(schema: Json, at: str = "") -> str | None:
    """Why strict tool calling cannot take a schema; None if it can, with optional properties made nullable."""
    if not isinstance(schema, Mapping):
        return None
    for keyword in _NOT_STRICT:
        if keyword in schema:
            return f"{at or 'the input'} uses {keyword}"
    if schema.get("type") == "object" and schema.get("additionalProperties", True) is not False:
        return f"{at or 'the input'} is an open object"
    inner = [*schema.get("properties", {}).items(), *schema.get("$defs", {}).items()]
    inner += [(at, schema[keyword]) for keyword in ("items",) if keyword in schema]
    inner += [(at, way) for way in schema.get("anyOf", ())] + [(at, way) for way in schema.get("allOf", ())]
    reasons = (not_strict(part, name) for name, part in inner)
    return next((reason for reason in reasons if reason), None)


# ---------------------------------------------------------------------- examples


def _examples_fit(integration: Integration) -> Found:
    for skill in integration.skills.values():
        try:
            compile_schema(skill.input_schema)
        except (ValidationError, ReferencingError, ValueError):
            yield "error", _at(skill, "params"), "The params do not make a usable JSON Schema."
            continue
        for index, example in enumerate(skill.examples):
            for problem in problems(skill, example.params):
                steps = [int(step) if step.isdigit() else step for step in problem.path.split("/")]
                yield "error", _at(skill, "examples", index, "params", *steps), problem.message


def _examples_are_answers(integration: Integration) -> Found:
    for skill in integration.skills.values():
        if not any(200 <= example.status < 400 for example in skill.examples):
            yield "error", _at(skill, "examples"), "No example shows a success; give one with a status of 2xx."
        for index, example in enumerate(skill.examples):
            at = _at(skill, "examples", index, "response")
            if example.status < 200:
                yield "error", (*at, "status"), "An answer has a status of 200 or more."
            if 300 <= example.status < 400 and example.status != 304 and not skill.redirect:
                message = "A redirect is an answer here; `redirect: follow` would bring what it leads to."
                yield "warning", (*at, "status"), message
            if 200 <= example.status < 300 and skill.output is not None:
                yield from _output_takes(skill.output, (*at, "data"), example.data)
            if (example.status in (204, 205, 304) or skill.request.method == "HEAD") and example.data is not None:
                yield "error", (*at, "data"), f"A {example.status} to a {skill.request.method} has no body."


def _output_takes(output: Mapping[str, Json], at: tuple[str | int, ...], data: Json) -> Found:
    try:
        check = compile_schema(output)
    except (ValidationError, ReferencingError, ValueError):
        yield "error", at, "The `output` of the action is no usable JSON Schema."
        return
    for wrong in check.iter_errors(data):
        yield "error", (*at, *wrong.instance_path), f"By `output` it {expectation(wrong)}."


def _paths_find_something(integration: Integration) -> Found:
    """JMESPaths are tried on the examples: what finds nothing there finds nothing in life."""
    whoami = integration.whoami
    if whoami:
        data = _success(integration.skills[whoami.action]).data
        for key, path in (("account", whoami.account), ("account_id", whoami.account_id)):
            if path and not isinstance(_found(path, data), str | int):
                message = f"`{path}` finds no text or number in the example of {whoami.action}."
                yield "error", ("whoami", key), message
    for index, method in enumerate(integration.auth):
        if method.lookup:
            yield from _lookup_finds(integration, ("auth", index, "lookup"), method.lookup)
    for skill in integration.skills.values():
        if skill.poll:
            yield from _poll_finds(integration, skill, skill.poll)
        data = _success(skill).data
        if skill.page and "items" in skill.page and not isinstance(_found(skill.page["items"], data), list):
            path = skill.page["items"]
            yield "error", _at(skill, "page", "items"), f"`{path}` finds no array in the example."
        if skill.page and "items" not in skill.page and not isinstance(data, list):
            yield "error", _at(skill, "page"), "`items` is missing: the example's answer is not an array."
        if skill.brief and _found(skill.brief, data) in (None, [], {}):
            yield "error", _at(skill, "brief"), "Finds nothing in the example."


def _lookup_finds(integration: Integration, at: tuple[str | int, ...], lookup: Lookup) -> Found:
    data = _success(integration.skills[lookup.action]).data
    items = _found(lookup.items, data) if lookup.items else data
    first = items[0] if isinstance(items, list) and items else items
    paths: dict[tuple[str, ...], str] = {("fields", name): path for name, path in lookup.fields.items()}
    paths |= {("title",): lookup.title} if lookup.title else {}
    for key, path in paths.items():
        if not isinstance(_found(path, first), str | int):
            message = f"`{path}` finds no text or number in the example of {lookup.action}."
            yield "error", (*at, *key), message


def _poll_finds(integration: Integration, skill: Skill, poll: Mapping[str, Json]) -> Found:
    asked = _success(skill).data
    if "id" in poll and all(_found(poll["id"], example.data) is None for example in skill.examples):
        yield "error", _at(skill, "poll", "id"), f"`{poll['id']}` finds nothing in {_shown(asked)}."
    target = integration.skills[poll["action"]]
    states = {str(_found(poll["status"], example.data)) for example in target.examples}
    if states == {"None"}:
        message = f"`{poll['status']}` finds nothing in the example of {target.name}."
        yield "error", _at(skill, "poll", "status"), message


# ---------------------------------------------------------------------- contradictions


def _names_and_effects(integration: Integration) -> Found:
    for skill in integration.skills.values():
        expected = next(
            (
                effects
                for prefixes, effects in (
                    (_READING, ("read",)),
                    (_MAKING, ("create", "update", "send")),
                    (_REMOVING, ("delete", "update")),
                )
                if skill.name.startswith(prefixes)
            ),
            None,
        )
        if expected and skill.effect not in expected:
            message = f"A name like {skill.name} and the effect {skill.effect} contradict each other."
            yield "error", _at(skill, "effect"), message


def _methods_and_repeats(integration: Integration) -> Found:
    for skill in integration.skills.values():
        method = skill.request.method
        if method in ("GET", "HEAD") and not skill.idempotent:
            yield "error", _at(skill, "idempotent"), f"A {method} that must not be repeated contradicts itself."
        if method == "POST" and skill.effect in ("create", "send") and skill.idempotent and not skill.idempotency:
            message = f"Repeating it would {skill.effect} twice, unless the upstream finds out by itself."
            yield "info", _at(skill, "idempotent"), message
        if method == "DELETE" and skill.effect == "update":
            message = "A DELETE that only updates is let through by keys that may not delete; is that meant?"
            yield "info", _at(skill, "effect"), message


def _scopes_have_a_method(integration: Integration) -> Found:
    scoped = {
        method.name
        for method in integration.auth
        if method.type in ("oauth2", "client_credentials", "jwt_bearer", "oauth1")
    }
    for skill in integration.skills.values():
        if skill.scopes and not scoped.intersection(skill.auth):
            yield "warning", _at(skill, "scopes"), "None of its auth methods has OAuth scopes."


def _base_path_once(integration: Integration) -> Found:
    for skill in integration.skills.values():
        url = integration.base_url_for(skill, None)
        base = urlsplit(url.replace("{", "").replace("}", "")).path.rstrip("/")
        path = skill.request.path
        if base and (path == base or path.startswith(f"{base}/")):
            message = f"The path repeats {base} of the base URL; leave it out here."
            yield "error", _at(skill, "request"), message


def _addresses(integration: Integration) -> Found:
    urls: list[tuple[tuple[str | int, ...], str | None]] = [(("base_url",), integration.base_url)]
    urls += [(("servers", name), url) for name, url in integration.servers.items()]
    for index, method in enumerate(integration.auth):
        for key in ("base_url", "request_token_url", "authorization_url", "token_url", "refresh_url", "revocation_url"):
            urls.append((("auth", index, key), getattr(method, key)))
    for at, url in urls:
        host = urlsplit(url.replace("{", "").replace("}", "")).hostname if url else None
        if url and url.startswith("http://") and host not in ("localhost", "127.0.0.1", "::1"):
            message = "Plain http goes out only within the operator's ALLOWED_PRIVATE_NETWORKS; use https."
            yield "warning", at, message


def _fields_are_used(integration: Integration) -> Found:
    if any(skill.hook is not None for skill in integration.skills.values()):
        # A hook gets all of them, and what it does with them is its own matter.
        return
    texts = [integration.base_url, *integration.headers.values(), *integration.servers.values()]
    for method in integration.auth:
        texts += texts_in([getattr(method, key) or "" for key in _TEXTS])
        texts.append((method.placement.template if method.placement else None) or "")
    in_path: set[str] = set()
    for skill in integration.skills.values():
        texts += [*skill.headers.values(), *texts_in([constant.const for constant in skill.constants])]
        pieces = [piece for segment in skill.request.segments for piece in segment]
        in_path |= {piece.name for piece in pieces if isinstance(piece, Variable) and piece.is_field}
    used = in_path | {name for text in texts for name in templates.fields_in(text)}
    for field in integration.fields:
        if field.name not in used and not field.default_for:
            message = "Nothing uses this field: no URL, no header, no param, no `default_for`."
            yield "warning", ("connection", field.name), message
    for skill in integration.skills.values():
        slug, _, name = (skill.successor or "").partition(".")
        if slug == integration.slug and name not in integration.skills:
            yield "error", _at(skill, "deprecated", "use"), f"There is no action {name}."


def _hooks(integration: Integration) -> Found:
    for skill in integration.skills.values():
        if skill.hook:
            message = f"Passes through the hook {skill.hook}, code that the operator has to install and to switch on."
            yield "info", _at(skill, "hook"), message


#: What of an auth method may hold connection fields.
_TEXTS = (
    *("base_url", "headers", "query", "username", "password", "request_token_url", "authorization_url", "token_url"),
    *("refresh_url", "revocation_url", "token_headers", "authorize_params", "token_params", "refresh_params", "claims"),
)


# ---------------------------------------------------------------------- words


def _words(integration: Integration) -> Found:
    yield from _length(("description",), integration.description, 20, 300)
    if not integration.docs_url:
        yield "warning", (), "`docs_url` is missing: where is the API documented?"
    if not integration.categories:
        yield "warning", (), "`categories` is missing."
    for skill in integration.skills.values():
        yield from _length(_at(skill, "description"), skill.description, 10, 500)
        for name, schema in skill.input_schema["properties"].items():
            if not _is_described(schema, skill.input_schema):
                yield "warning", _at(skill, "params", name), "`description` is missing."
        for index, error in enumerate(skill.errors):
            if not error.fix:
                yield "warning", _at(skill, "errors", index), "`fix` is missing: what can the caller do?"


def _is_described(schema: Json, root: Mapping[str, Json]) -> bool:
    if not isinstance(schema, Mapping) or schema.get("description"):
        return True
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    return bool(name) and _is_described(root["$defs"][name] if name in root.get("$defs", {}) else {}, root)


def _length(at: tuple[str | int, ...], text: str, least: int, most: int) -> Found:
    if not least <= len(text) <= most:
        message = f"Has {len(text)} characters; {least} to {most} serve people and models best."
        yield "warning", at, message


def _tools(integration: Integration) -> Found:
    for skill in integration.skills.values():
        name = f"{skill.integration}__{skill.name}"
        if len(name) > LONGEST_TOOL_NAME:
            message = f"The tool name {name} is longer than {LONGEST_TOOL_NAME}, which tool calling refuses."
            yield "error", _at(skill), message
        reason = not_strict(skill.input_schema)
        if reason:
            yield "info", _at(skill), f"Not for strict tool calling: {reason}."


Rule = Callable[[Integration], Found]
RULES: Mapping[str, Rule] = {
    "example-params": _examples_fit,
    "example-answers": _examples_are_answers,
    "paths-into-answers": _paths_find_something,
    "name-and-effect": _names_and_effects,
    "method-and-repeat": _methods_and_repeats,
    "scopes": _scopes_have_a_method,
    "base-path": _base_path_once,
    "https": _addresses,
    "unused": _fields_are_used,
    "hooks": _hooks,
    "words": _words,
    "tools": _tools,
    "effect-and-method": contradictions.effects_and_methods,
    "missing-scopes": contradictions.missing_scopes,
    "unused-auth": contradictions.unused_methods,
    "names": contradictions.names,
    "description": wording.descriptions,
    "param-words": wording.param_words,
    "portable-root": portability.roots,
    "portable-names": portability.property_names,
    "portable-gemini": portability.gemini,
    "size": portability.sizes,
    "credential-params": safety.credential_params,
}
#: Rules of `--strict` alone.
STRICT_RULES: Mapping[str, Rule] = {"asks": wording.asks}
#: Rules that read the file as it is written.
TEXT_RULES: Mapping[str, Callable[[Document], Found]] = {"secrets": safety.secrets, "patterns": safety.patterns}


def _at(skill: Skill, *steps: str | int) -> tuple[str | int, ...]:
    return ("actions", skill.name, *steps)


def _success(skill: Skill) -> Example:
    """The first example of a success, or the first of all."""
    succeed = (
        example
        for example in skill.examples
        if example.status < 300 and not (skill.error_when and _found(skill.error_when, example.data))
    )
    return next(succeed, skill.examples[0])


def _found(path: str, data: Json) -> Any:
    try:
        return jmespath.search(path, data)
    except JMESPathError:
        return None


def _shown(data: Json) -> str:
    if isinstance(data, Mapping):
        return f"the example, which has {', '.join(list(data)[:8])}"
    return "the example"
