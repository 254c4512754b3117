"""Reads a vendor's description from its bytes, whichever of the kinds it is."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from skills_catalog.descriptions.discovery import read_discovery
from skills_catalog.descriptions.documents import MAX_BYTES, read_document
from skills_catalog.descriptions.graphql import read_graphql, read_introspected
from skills_catalog.descriptions.introspection import introspected
from skills_catalog.descriptions.model import Description, DescriptionError, Json
from skills_catalog.descriptions.openapi import read_openapi, without_credentials
from skills_catalog.descriptions.swagger import read_swagger
from skills_catalog.descriptions.taming import Taming

#: Of more operations nobody reads a list.
MAX_OPERATIONS = 20_000
_IS_GRAPHQL = re.compile(
    rb"^\s*(#.*\n|\"\"\"|\"|schema\b|type\s+\w+|scalar\s+\w+|input\s+\w+|enum\s+\w+|interface\s+\w+|union\s+\w+"
    rb"|directive\s+@|extend\s+\w+)"
)


def read_file(path: Path) -> Description:
    """The description in a file. Raises `DescriptionError`."""
    try:
        # Without O_NONBLOCK a FIFO would wait for its writer.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DescriptionError(f"{path}: cannot be read: {error.strerror}.") from error
    return read_description(content, str(path))


def read_description(content: bytes, source: str) -> Description:
    """The description in these bytes; `source` names it in messages. Raises `DescriptionError`."""
    digest = hashlib.sha256(content).hexdigest()
    if len(content) <= MAX_BYTES and _is_graphql(content, source):
        return _tamed(read_graphql(content, source, digest))
    document = read_document(content, source)
    if not isinstance(document, dict):
        raise DescriptionError(f"{source}: is no description: it must be an object.")
    if isinstance(document.get("openapi"), str | int | float) and str(document["openapi"]).startswith("3."):
        description = read_openapi(document, source, digest)
    elif str(document.get("swagger")) in ("2.0", "2"):
        description = read_swagger(document, source, digest)
    elif document.get("kind") == "discovery#restDescription":
        description = read_discovery(document, source, digest)
    elif (said := introspected(document)) is not None:
        description = read_introspected(said, source, digest)
    else:
        raise DescriptionError(
            f"{source}: is none of OpenAPI 3, Swagger 2.0, a Google discovery document and a GraphQL schema."
        )
    if len(description.operations) > MAX_OPERATIONS:
        raise DescriptionError(f"{source}: has more than {MAX_OPERATIONS} operations.")
    if not description.operations:
        why = next(iter(description.unreadable.values()), "")
        raise DescriptionError(f"{source}: has no operation that can be read{': ' + why if why else '.'}")
    return _tamed(description)


def _tamed(description: Description) -> Description:
    """The description with schemas that are no more work than they look, and with its credentials marked."""
    taming = Taming(description.definitions)

    def media(schemas: Mapping[str, Json]) -> dict[str, Json]:
        return {name: schema if schema is None else taming.tame(schema) for name, schema in schemas.items()}

    operations = tuple(
        replace(
            one,
            parameters=tuple(
                replace(parameter, schema=taming.tame(parameter.schema))
                for parameter in without_credentials(one.parameters, description.schemes)
            ),
            body=replace(one.body, media=media(one.body.media)) if one.body else None,
            responses=tuple(replace(response, media=media(response.media)) for response in one.responses),
        )
        for one in description.operations
    )
    return replace(description, operations=operations, definitions=taming.definitions)


def _is_graphql(content: bytes, source: str) -> bool:
    if source.endswith((".graphql", ".graphqls", ".gql")):
        return True
    if source.endswith((".json", ".yaml", ".yml")):
        return False
    return _IS_GRAPHQL.match(content) is not None and re.search(rb"\btype\s+\w+[^{:]*\{", content) is not None
