"""`/docs`: the routes for people, made of the same operations as `/openapi.json`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode

from aiohttp import web

from gateway.core.errors import CODES
from gateway.core.tenants.grants import LEVEL_MEANINGS
from gateway.ui.pages import html_answer, render
from gateway.web.context import services
from gateway.web.description import Description
from gateway.web.openapi import ALWAYS, WITH_BODY, WITH_KEY, codes_of
from gateway.web.operations import GROUPS, Field, Operation, Route, Schema

_STYLES = ("style.css", "docs.css")
_USUAL = {*ALWAYS, *WITH_KEY, *WITH_BODY}
_KEY = "Authorization: Bearer $SKILLWAY_API_KEY"
_JSON = "Content-Type: application/json"


async def show(request: web.Request) -> web.Response:
    return html_answer(_html(services(request).description), _STYLES)


@lru_cache(maxsize=4)
def _html(description: Description) -> str:
    groups: dict[str, list[dict[str, Any]]] = {}
    for route in description.routes:
        groups.setdefault(route.operation.group, []).append(_shown(route, description.public_url))
    groups = {name: groups[name] for name in sorted(groups, key=GROUPS.index)}
    return render(
        "docs.html",
        _STYLES,
        groups=groups,
        levels=LEVEL_MEANINGS,
        codes=CODES,
        usual=[code for code in CODES if code in _USUAL],
        url=description.public_url,
    )


def _shown(route: Route, url: str) -> dict[str, Any]:
    said = route.operation
    return {
        "id": said.id,
        "method": route.method,
        "path": route.shown_path,
        "summary": said.summary,
        "about": said.about,
        "needs": _needs(route),
        "retiring": route.deprecated,
        "tables": list(_tables(said)),
        "curl": _curl(route, url),
        "answers": [
            (status, answer.about, None if answer.example is None else json.dumps(answer.example, indent=2, ensure_ascii=False))
            for status, answer in said.answers.items()
        ],
        "codes": [code for codes in codes_of(route).values() for code in codes if code not in _USUAL],
    }


def _needs(route: Route) -> str:
    if route.level is None:
        return "No key needed; with one it shows more." if route.operation.takes_key else "No key needed."
    words = f"Needs a key of level {route.level}" + (" or more" if route.level != "full_access" else "")
    if route.operation.id == "execute":
        words = "The level that a key needs follows from what the action does"
    return f"{words}; a test key may not." if route.live_only else f"{words}."


def _tables(said: Operation) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for heading, fields in (
        ("In the path", said.path),
        ("In the query", list(said.query.values())),
        ("In the head", list(said.headers)),
        ("In the body (JSON)", list((said.body or {}).values())),
    ):
        if fields:
            yield heading, [_row(one) for one in fields]


def _row(one: Field) -> dict[str, Any]:
    return {"name": one.name, "type": type_words(one.schema), "required": one.required, "about": one.about}


def type_words(schema: Schema) -> str:
    """What a schema asks for, in a few words."""
    match schema:
        case {"const": value}:
            return str(value)
        case {"enum": [*values]}:
            words = ", ".join(map(str, values[:-1])) + f" or {values[-1]}"
        case {"anyOf": [*ways]}:
            words = " or ".join(dict.fromkeys(type_words(way) for way in ways))
        case {"type": "array", "maxItems": int(most)}:
            words = f"array of {_range(schema.get('minItems', 0), most)} strings"
        case {"type": "integer"}:
            words = f"whole number, {schema['minimum']} to {schema['maximum']}"
        case {"type": "string", "format": str(form)}:
            words = form
        case {"type": "string", "maxLength": int(most)}:
            words = f"string of {_range(schema.get('minLength', 0), most)} characters"
        case _:
            words = str(schema.get("type", "anything"))
    return f"{words}; {schema['default']} if left out" if "default" in schema else words


def _range(least: int, most: int) -> str:
    return f"{least} to {most}" if least else f"at most {most}"


def _curl(route: Route, url: str) -> str:
    """A line to be typed; the key comes from the environment."""
    example: Mapping[str, Mapping[str, Any]] = route.operation.example
    path = route.shown_path
    for name, value in example.get("path", {}).items():
        path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
    query = urlencode(example.get("query", {}))
    lines = [f"curl -s {shlex.quote(url + path + ('?' + query if query else ''))}"]
    sends = "body" in example or bool(route.operation.takes)
    if route.method not in ("GET", "POST") or (route.method == "POST" and not sends):
        lines[0] = lines[0].replace("curl -s", f"curl -s -X {route.method}", 1)
    if route.level is not None or route.operation.takes_key:
        lines.append(f'-H "{_KEY}"')
    if "body" in example:
        lines += [f"-H '{_JSON}'", f"-d {shlex.quote(json.dumps(example['body'], ensure_ascii=False))}"]
    elif route.operation.takes:
        lines += [f"-H 'Content-Type: {next(iter(route.operation.takes))}'", "--data-binary @report.pdf"]
    return " \\\n  ".join(lines)


