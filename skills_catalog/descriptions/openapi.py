"""Reads OpenAPI 3.0 and 3.1."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, get_args

from skills_catalog.descriptions.model import (
    Body,
    Description,
    Json,
    Location,
    OAuthFlow,
    Operation,
    Parameter,
    Response,
    SecurityScheme,
    ServerVariable,
)
from skills_catalog.descriptions.references import BadReference, References
from skills_catalog.descriptions.schemas import Schemas

METHODS = ("get", "head", "post", "put", "patch", "delete")
_FLOWS = {
    "authorizationCode": "authorization_code",
    "clientCredentials": "client_credentials",
    "implicit": "implicit",
    "password": "password",
}
_STYLES = {"path": "simple", "header": "simple", "query": "form", "cookie": "form"}
_IS_JSON = re.compile(r"(application|text)/([\w.+-]+\+)?json|\*/\*|application/\*")
_PLACES = (*get_args(Location), "body", "formData")
#: More examples than that help nobody.
_MOST_EXAMPLES = 3


def read_openapi(document: Mapping[str, Any], source: str, digest: str) -> Description:
    """The description of an OpenAPI document; operations that cannot be read are named in it."""
    reader = _Reader(document)
    operations, unreadable = reader.operations()
    info = mapping(document.get("info"))
    version = str(document.get("openapi", ""))
    return Description(
        source=source,
        kind=f"OpenAPI {version[:3]}",
        title=text(info.get("title")),
        version=text(info.get("version")),
        digest=digest,
        description=text(info.get("description")),
        docs_url=text(mapping(document.get("externalDocs")).get("url")),
        servers=servers_of(document.get("servers")),
        variables=_variables(document.get("servers")),
        operations=tuple(operations),
        schemes=reader.schemes(),
        definitions=reader.schemas.definitions,
        unreadable=unreadable,
    )


class _Reader:
    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._references = References(document)
        dialect = "3.0" if str(document.get("openapi", "")).startswith("3.0") else "3.1"
        self.schemas = Schemas(self._references, dialect=dialect)

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
        security = node.get("security", self._document.get("security"))
        return Operation(
            id=text(node.get("operationId")),
            method=method.upper(),
            path=path,
            summary=text(node.get("summary")) or text(item.get("summary")),
            description=text(node.get("description")),
            docs_url=text(mapping(node.get("externalDocs")).get("url")),
            tags=strings(node.get("tags")),
            deprecated=node.get("deprecated") is True,
            parameters=tuple(self._parameter(one) for one in parameters),
            body=self._body(node.get("requestBody")),
            responses=tuple(self._responses(node.get("responses"))),
            security=requirements(security),
            servers=servers_of(node.get("servers")) or servers_of(item.get("servers")),
        )

    def _parameter(self, node: Mapping[str, Any]) -> Parameter:
        location: Location = node["in"]
        style = text(node.get("style")) or _STYLES[location]
        content = mapping(node.get("content"))
        media = next(iter(content), None)
        schema = mapping(content.get(media)).get("schema") if media else node.get("schema")
        explode = node.get("explode")
        return Parameter(
            name=node["name"],
            location=location,
            schema=self.schemas.read(schema),
            required=node.get("required") is True or location == "path",
            description=text(node.get("description")),
            style=style,
            explode=explode if isinstance(explode, bool) else style == "form",
            multi_segment=node.get("x-multi-segment") is True or node.get("allowReserved") is True,
            deprecated=node.get("deprecated") is True,
            as_json=bool(media and is_json(media)),
            credential=is_credential(node["name"], location, text(node.get("description"))),
            examples=self._examples(node),
        )

    def _body(self, node: Any) -> Body | None:
        node = self._references.resolved(node)
        if not isinstance(node, dict) or not mapping(node.get("content")):
            return None
        media = {
            name: (self.schemas.read(mapping(said).get("schema")), mapping(said))
            for name, said in mapping(node.get("content")).items()
        }
        ordered = sorted(media, key=media_rank)
        return Body(
            media={name: media[name][0] for name in ordered},
            required=node.get("required") is True,
            description=text(node.get("description")),
            examples=self._examples(media[ordered[0]][1]),
            encoding=_encoding(media, ordered),
        )

    def _responses(self, node: Any) -> Iterator[Response]:
        for status, said in mapping(node).items():
            said = mapping(self._references.resolved(said))
            content = mapping(said.get("content"))
            yield Response(
                status=str(status).upper() if str(status) != "default" else "default",
                media={
                    name: self.schemas.read(mapping(one)["schema"]) if "schema" in mapping(one) else None
                    for name, one in content.items()
                },
                description=text(said.get("description")),
                examples=tuple(
                    example
                    for name in sorted(content, key=media_rank)[:1]
                    for example in self._examples(mapping(content[name]))
                ),
            )

    def _examples(self, node: Mapping[str, Any]) -> tuple[Json, ...]:
        found = [node["example"]] if "example" in node else []
        named = node.get("examples")
        for one in named.values() if isinstance(named, dict) else ():
            try:
                said = self._references.resolved(one)
            except BadReference:
                continue
            if isinstance(said, dict) and "value" in said:
                found.append(said["value"])
            if len(found) >= _MOST_EXAMPLES:
                break
        return tuple(found[:_MOST_EXAMPLES])

    def schemes(self) -> dict[str, SecurityScheme]:
        found = {}
        for name, node in mapping(mapping(self._document.get("components")).get("securitySchemes")).items():
            try:
                found[name] = _scheme(name, mapping(self._references.resolved(node)))
            except BadReference:
                found[name] = SecurityScheme(name=name, type="other")
        return found


def _scheme(name: str, node: Mapping[str, Any]) -> SecurityScheme:
    said = text(node.get("description"))
    match text(node.get("type")), text(node.get("scheme")).lower():
        case "apiKey", _:
            return SecurityScheme(
                name=name,
                type="api_key",
                description=said,
                location=text(node.get("in")),
                key_name=text(node.get("name")),
            )
        case "http", "bearer":
            return SecurityScheme(name=name, type="bearer", description=said)
        case "http", "basic":
            return SecurityScheme(name=name, type="basic", description=said)
        case "oauth2", _:
            flows = mapping(node.get("flows"))
            found = tuple(_flow(_FLOWS[kind], mapping(flows[kind])) for kind in _FLOWS if kind in flows)
            return SecurityScheme(name=name, type="oauth2", description=said, flows=found)
        case _:
            return SecurityScheme(name=name, type="other", description=said)


def _flow(kind: Any, node: Mapping[str, Any]) -> OAuthFlow:
    return OAuthFlow(
        kind=kind,
        authorization_url=text(node.get("authorizationUrl")),
        token_url=text(node.get("tokenUrl")),
        refresh_url=text(node.get("refreshUrl")),
        scopes={name: text(said) for name, said in mapping(node.get("scopes")).items()},
    )


def _encoding(
    media: Mapping[str, tuple[Json, Mapping[str, Any]]], ordered: Iterable[str]
) -> dict[str, tuple[str, bool]]:
    for name in ordered:
        if "form" in name:
            said = mapping(media[name][1].get("encoding"))
            return {
                part: (text(mapping(one).get("style")) or "form", mapping(one).get("explode") is not False)
                for part, one in said.items()
                if "style" in mapping(one) or "explode" in mapping(one)
            }
    return {}


def _variables(servers: Any) -> dict[str, ServerVariable]:
    found: dict[str, ServerVariable] = {}
    for server in servers[:1] if isinstance(servers, list) else ():
        for name, node in mapping(mapping(server).get("variables")).items():
            said = mapping(node)
            found[name] = ServerVariable(
                name=name,
                default=text(said.get("default")),
                choices=strings(said.get("enum")),
                description=text(said.get("description")),
            )
    return found


# ---------------------------------------------------------------------- shared with Swagger 2.0


def operations_of(
    document: Mapping[str, Any], references: References, unreadable: dict[str, str]
) -> Iterator[tuple[str, str, Mapping[str, Any], Mapping[str, Any]]]:
    """Path, method, path item and operation of every operation, in the order of the document."""
    for path, item in mapping(document.get("paths")).items():
        if not isinstance(path, str) or not path.startswith("/"):
            continue
        try:
            item = mapping(references.resolved(item))
        except BadReference as error:
            unreadable[f"* {path}"] = f"{error}."
            continue
        for method, node in item.items():
            if method.lower() in METHODS and isinstance(node, dict):
                yield path, method.lower(), item, node


def merged_parameters(
    references: References, item: Mapping[str, Any], node: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """The parameters of an operation over those of its path, one of each name and place."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for listed in (item.get("parameters"), node.get("parameters")):
        for one in listed if isinstance(listed, list) else ():
            said = mapping(references.resolved(one))
            name, location = said.get("name"), said.get("in")
            if isinstance(name, str) and name and isinstance(location, str) and location in _PLACES:
                found[(name, location)] = said
    return list(found.values())


def requirements(security: Any) -> tuple[Mapping[str, tuple[str, ...]], ...]:
    """The alternatives of a `security` list; one that needs nothing is an empty mapping."""
    if not isinstance(security, list):
        return ()
    return tuple({name: strings(scopes) for name, scopes in one.items()} for one in security if isinstance(one, dict))


def servers_of(servers: Any) -> tuple[str, ...]:
    return tuple(
        url for server in (servers if isinstance(servers, list) else ()) if (url := text(mapping(server).get("url")))
    )


def is_json(media: str) -> bool:
    return _IS_JSON.fullmatch(plain_media(media)) is not None


def plain_media(media: str) -> str:
    """A media type without its parameters."""
    return media.partition(";")[0].strip().lower()


def media_rank(media: str) -> int:
    """JSON first, then forms, then the rest."""
    plain = plain_media(media)
    if is_json(plain):
        return 0
    return {"application/x-www-form-urlencoded": 1, "multipart/form-data": 2}.get(plain, 3)


def is_credential(name: str, location: str, description: str) -> bool:
    """Whether a parameter is where the credential goes, though the description lists it among the others."""
    if location == "header" and name.lower() == "authorization":
        return True
    if name.lower() not in (
        "token",
        "access_token",
        "api_key",
        "apikey",
        "api-key",
        "x-api-key",
        "auth_token",
        "api_token",
    ):
        return False
    return (
        re.search(r"authenticat|access token|api (key|token)|bearer|authoriz", description, re.IGNORECASE) is not None
    )


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return str(value).strip()


def strings(value: Any) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def without_credentials(
    parameters: Iterable[Parameter], schemes: Mapping[str, SecurityScheme]
) -> tuple[Parameter, ...]:
    """The parameters, those marked that a security scheme of the description fills."""
    keys = {(scheme.location, scheme.key_name.lower()) for scheme in schemes.values() if scheme.type == "api_key"}
    return tuple(
        replace(one, credential=one.credential or (one.location, one.name.lower()) in keys) for one in parameters
    )
