"""Reads Google's discovery documents: methods in nested resources, schemas by bare name, numbers written as text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from skills_catalog.descriptions.model import (
    Body,
    Description,
    Json,
    OAuthFlow,
    Operation,
    Parameter,
    Response,
    SecurityScheme,
)
from skills_catalog.descriptions.openapi import mapping, strings, text
from skills_catalog.descriptions.references import BadReference, References
from skills_catalog.descriptions.schemas import Schemas

#: The scheme of every method that names scopes; the document itself has no name for it.
OAUTH = "oauth2"
_AUTHORIZATION_URL = "https://accounts.google.com/o/oauth2/v2/auth"
_TOKEN_URL = "https://oauth2.googleapis.com/token"
#: Resources nest a few levels; deeper ones are a slip.
_DEEPEST = 12
_CREDENTIALS = frozenset({"access_token", "oauth_token", "key"})


def read_discovery(document: Mapping[str, Any], source: str, digest: str) -> Description:
    """The description of a discovery document; methods that cannot be read are named in it."""
    reader = _Reader(document)
    operations: list[Operation] = []
    unreadable: dict[str, str] = {}
    for node in reader.methods():
        try:
            operations.append(reader.operation(node))
        except BadReference as error:
            unreadable[f"{text(node.get('httpMethod'))} {text(node.get('path'))}"] = f"{error}."
    base = text(document.get("baseUrl")) or text(document.get("rootUrl")) + text(document.get("servicePath"))
    return Description(
        source=source,
        kind="Google discovery",
        title=text(document.get("title")),
        version=" ".join(part for part in (text(document.get("version")), text(document.get("revision"))) if part),
        digest=digest,
        description=text(document.get("description")),
        docs_url=text(document.get("documentationLink")),
        servers=(base.rstrip("/"),) if base else (),
        operations=tuple(operations),
        schemes=reader.schemes(),
        definitions=reader.schemas.definitions,
        unreadable=unreadable,
    )


class _Reader:
    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        schemas = {name: _plain(node) for name, node in mapping(document.get("schemas")).items()}
        self.schemas = Schemas(References({"schemas": schemas}), dialect="3.0")

    def methods(self) -> Iterator[Mapping[str, Any]]:
        open_holders = [(self._document, 0)]
        while open_holders:
            holder, depth = open_holders.pop(0)
            yield from (node for node in mapping(holder.get("methods")).values() if isinstance(node, dict))
            if depth < _DEEPEST:
                open_holders += [(mapping(one), depth + 1) for one in mapping(holder.get("resources")).values()]

    def operation(self, node: Mapping[str, Any]) -> Operation:
        path = text(node.get("path"))
        names = mapping(self._document.get("parameters")) | mapping(node.get("parameters"))  # type: ignore[operator]
        request, response = node.get("request"), node.get("response")
        # Scopes of add-ons are granted to what runs within Google's own pages, never to us.
        scopes = [scope for scope in strings(node.get("scopes")) if ".addons." not in scope]
        return Operation(
            id=text(node.get("id")).removeprefix(f"{text(self._document.get('name'))}."),
            method=text(node.get("httpMethod")).upper(),
            path="/" + re.sub(r"\{\+(\w+)\}", r"{\1}", path).lstrip("/"),
            description=text(node.get("description")),
            tags=_resource(text(node.get("id"))),
            deprecated=node.get("deprecated") is True,
            parameters=tuple(
                self._parameter(name, mapping(one), multi_segment=f"{{+{name}}}" in path) for name, one in names.items()
            ),
            body=Body(media={"application/json": self.schemas.read(_plain(request))}, required=True)
            if isinstance(request, dict)
            else None,
            responses=(
                Response(
                    status="200" if isinstance(response, dict) else "2XX",
                    media={"application/json": self.schemas.read(_plain(response))}
                    if isinstance(response, dict)
                    else {},
                ),
            ),
            security=tuple({OAUTH: (scope,)} for scope in scopes),
            any_scope=True,
        )

    def _parameter(self, name: str, node: Mapping[str, Any], *, multi_segment: bool) -> Parameter:
        schema = self.schemas.read(_plain({**node, "repeated": False}))
        if node.get("repeated") is True:
            schema = {"type": "array", "items": schema}
        location: Any = "path" if node.get("location") == "path" else "query"
        return Parameter(
            name=name,
            location=location,
            schema=schema,
            required=node.get("required") is True or location == "path",
            description=text(node.get("description")),
            style="simple" if location == "path" else "form",
            explode=location == "query",
            multi_segment=multi_segment,
            deprecated=node.get("deprecated") is True,
            credential=name in _CREDENTIALS,
        )

    def schemes(self) -> dict[str, SecurityScheme]:
        scopes = mapping(mapping(mapping(self._document.get("auth")).get("oauth2")).get("scopes"))
        if not scopes:
            return {}
        flow = OAuthFlow(
            kind="authorization_code",
            authorization_url=_AUTHORIZATION_URL,
            token_url=_TOKEN_URL,
            scopes={name: text(mapping(said).get("description")) for name, said in scopes.items()},
        )
        return {OAUTH: SecurityScheme(name=OAUTH, type="oauth2", flows=(flow,))}


def _resource(method: str) -> tuple[str, ...]:
    """What a method is about: `messages` of `gmail.users.messages.list`; of whom tells nothing."""
    resources = method.split(".")[1:-1]
    named = [one for one in resources if one != "users"] or resources
    return tuple(named[:1])


def _plain(node: Any) -> Any:
    """A schema of discovery as OpenAPI would write it."""
    if not isinstance(node, dict):
        return {}
    if isinstance(node.get("$ref"), str):
        said = {"description": node["description"]} if "description" in node else {}
        return {"$ref": f"#/schemas/{node['$ref']}", **said}
    schema: dict[str, Any] = {
        key: node[key] for key in ("type", "format", "description", "pattern", "deprecated") if key in node
    }
    if schema.get("type") == "any":
        del schema["type"]
    for bound in ("minimum", "maximum"):
        if (number := _number(node.get(bound))) is not None:
            schema[bound] = number
    if isinstance(node.get("enum"), list):
        schema["enum"] = node["enum"]
    if "default" in node:
        schema["default"] = _value(node["default"], node.get("type"))
    about = text(node.get("description"))
    if node.get("readOnly") is True or re.match(r"(\[?Output only|Read-only)", about, re.IGNORECASE):
        schema["readOnly"] = True
    if isinstance(node.get("properties"), dict):
        schema["properties"] = {name: _plain(inner) for name, inner in node["properties"].items()}
        required = [name for name, inner in node["properties"].items() if mapping(inner).get("required") is True]
        if required:
            schema["required"] = required
    if isinstance(node.get("items"), dict):
        schema["items"] = _plain(node["items"])
    if isinstance(node.get("additionalProperties"), dict):
        schema["additionalProperties"] = _plain(node["additionalProperties"])
    if node.get("repeated") is True:
        return {"type": "array", "items": schema}
    return schema


def _value(value: Any, kind: Any) -> Json:
    if not isinstance(value, str):
        return value
    if kind == "boolean" and value in ("true", "false"):
        return value == "true"
    if kind in ("integer", "number") and (number := _number(value)) is not None:
        return number
    return value


def _number(value: Any) -> int | float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or len(value) > 30:
        return None
    if re.fullmatch(r"-?[0-9]+", value):
        return int(value)
    return float(value) if re.fullmatch(r"-?[0-9]+\.[0-9]+", value) else None
