"""Reads Swagger 2.0, the older OpenAPI: bodies are parameters there, and media types stand beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from skills_catalog.descriptions.openapi import (
    is_credential,
    is_json,
    mapping,
    merged_parameters,
    operations_of,
    requirements,
    strings,
    text,
)
from skills_catalog.descriptions.references import BadReference, References
from skills_catalog.descriptions.schemas import Schemas

_FLOWS = {
    "accessCode": "authorization_code",
    "application": "client_credentials",
    "implicit": "implicit",
    "password": "password",
}
_URLENCODED, _MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"
#: What of a parameter is no part of its schema.
_ABOUT = frozenset({"name", "in", "required", "collectionFormat", "allowEmptyValue", "x-example", "schema"})
_STYLES = {"ssv": "spaceDelimited", "tsv": "tabDelimited", "pipes": "pipeDelimited"}


def read_swagger(document: Mapping[str, Any], source: str, digest: str) -> Description:
    """The description of a Swagger document; operations that cannot be read are named in it."""
    reader = _Reader(document)
    operations, unreadable = reader.operations()
    info = mapping(document.get("info"))
    return Description(
        source=source,
        kind="Swagger 2.0",
        title=text(info.get("title")),
        version=text(info.get("version")),
        digest=digest,
        description=text(info.get("description")),
        docs_url=text(mapping(document.get("externalDocs")).get("url")),
        servers=_servers(document),
        operations=tuple(operations),
        schemes={
            name: _scheme(name, mapping(node)) for name, node in mapping(document.get("securityDefinitions")).items()
        },
        definitions=reader.schemas.definitions,
        unreadable=unreadable,
    )


class _Reader:
    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._references = References(document)
        self.schemas = Schemas(self._references, dialect="3.0")

    def operations(self) -> tuple[list[Operation], dict[str, str]]:
        found: list[Operation] = []
        unreadable: dict[str, str] = {}
        for path, method, item, node in operations_of(self._document, self._references, unreadable):
            try:
                found.append(self._operation(path, method, item, node))
            except BadReference as error:
                unreadable[f"{method.upper()} {path}"] = f"{error}."
        return found, unreadable

    def _operation(self, path: str, method: str, item: Mapping[str, Any], node: Mapping[str, Any]) -> Operation:
        parameters = merged_parameters(self._references, item, node)
        consumes = strings(node.get("consumes", self._document.get("consumes")))
        produces = strings(node.get("produces", self._document.get("produces"))) or ("application/json",)
        security = node.get("security", self._document.get("security"))
        return Operation(
            id=text(node.get("operationId")),
            method=method.upper(),
            path=path,
            summary=text(node.get("summary")),
            description=text(node.get("description")),
            docs_url=text(mapping(node.get("externalDocs")).get("url")),
            tags=strings(node.get("tags")),
            deprecated=node.get("deprecated") is True,
            parameters=tuple(
                self._parameter(one) for one in parameters if one["in"] not in ("body", "formData", "cookie")
            ),
            body=self._body(parameters, consumes),
            responses=tuple(self._responses(node.get("responses"), produces)),
            security=requirements(security),
        )

    def _parameter(self, node: Mapping[str, Any]) -> Parameter:
        collection = text(node.get("collectionFormat")) or "csv"
        return Parameter(
            name=node["name"],
            location=node["in"],
            schema=self._schema(node),
            required=node.get("required") is True or node["in"] == "path",
            description=text(node.get("description")),
            style=_STYLES.get(collection, "form" if node["in"] == "query" else "simple"),
            explode=collection == "multi",
            multi_segment=node.get("x-multi-segment") is True,
            deprecated=node.get("deprecated") is True,
            credential=is_credential(node["name"], node["in"], text(node.get("description"))),
            examples=tuple(node[key] for key in ("x-example", "example") if key in node),
        )

    def _schema(self, node: Mapping[str, Any]) -> Json:
        """Outside the body the keywords stand in the parameter itself."""
        if isinstance(node.get("schema"), dict):
            return self.schemas.read(node["schema"])
        return self.schemas.read({key: value for key, value in node.items() if key not in _ABOUT})

    def _body(self, parameters: Sequence[Mapping[str, Any]], consumes: Sequence[str]) -> Body | None:
        for node in parameters:
            if node["in"] == "body":
                kinds = [kind for kind in consumes if is_json(kind)] or list(consumes) or ["application/json"]
                schema = self.schemas.read(node.get("schema"))
                return Body(
                    media=dict.fromkeys(kinds, schema),
                    required=node.get("required") is True,
                    description=text(node.get("description")),
                )
        fields = [
            node
            for node in parameters
            if node["in"] == "formData" and not is_credential(node["name"], "formData", text(node.get("description")))
        ]
        if not any(node["in"] == "formData" for node in parameters):
            return None
        schema = {
            "type": "object",
            "properties": {
                node["name"]: {**self._plain(node), "description": text(node.get("description"))} for node in fields
            },
            "required": [node["name"] for node in fields if node.get("required") is True],
        }
        has_file = any(node.get("type") == "file" for node in fields)
        kinds = (
            [_MULTIPART]
            if has_file
            else [kind for kind in (_URLENCODED, _MULTIPART) if kind in consumes] or [_URLENCODED]
        )
        kinds += [kind for kind in consumes if is_json(kind)]
        return Body(
            media=dict.fromkeys(kinds, schema),
            required=bool(schema["required"]),
            encoding={
                node["name"]: ("form", node.get("collectionFormat") == "multi")
                for node in fields
                if node.get("type") == "array"
            },
        )

    def _plain(self, node: Mapping[str, Any]) -> dict[str, Json]:
        schema = self._schema(node)
        return schema if isinstance(schema, dict) else {}

    def _responses(self, node: Any, produces: Sequence[str]) -> Iterator[Response]:
        for status, said in mapping(node).items():
            said = mapping(self._references.resolved(said))
            schema = self.schemas.read(said["schema"]) if "schema" in said else None
            examples = mapping(said.get("examples"))
            has_body = schema is not None or bool(examples)
            yield Response(
                status=str(status).upper() if str(status) != "default" else "default",
                media=dict.fromkeys(produces, schema) if has_body else {},
                description=text(said.get("description")),
                examples=tuple(examples[kind] for kind in produces if kind in examples)[:3],
            )


def _scheme(name: str, node: Mapping[str, Any]) -> SecurityScheme:
    said = text(node.get("description"))
    match text(node.get("type")):
        case "apiKey":
            return SecurityScheme(
                name=name,
                type="api_key",
                description=said,
                location=text(node.get("in")),
                key_name=text(node.get("name")),
            )
        case "basic":
            return SecurityScheme(name=name, type="basic", description=said)
        case "oauth2":
            kind: Any = _FLOWS.get(text(node.get("flow")), "implicit")
            flow = OAuthFlow(
                kind=kind,
                authorization_url=text(node.get("authorizationUrl")),
                token_url=text(node.get("tokenUrl")),
                scopes={scope: text(words) for scope, words in mapping(node.get("scopes")).items()},
            )
            return SecurityScheme(name=name, type="oauth2", description=said, flows=(flow,))
        case _:
            return SecurityScheme(name=name, type="other", description=said)


def _servers(document: Mapping[str, Any]) -> tuple[str, ...]:
    host, base = text(document.get("host")), text(document.get("basePath")).rstrip("/")
    if not host:
        return (base,) if base else ()
    schemes = strings(document.get("schemes")) or ("https",)
    scheme = "https" if "https" in schemes else schemes[0]
    return (f"{scheme}://{host}{base}",)
