"""Holds what the gateway answers against its own description: whichever test asks, the answer is one that is described."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from jsonschema_rs import Draft202012Validator

from gateway.app import API_ROUTES
from gateway.rest.shapes import SHAPES
from gateway.web.openapi import describe

#: An upstream's own body may be of any size; only what is ours is looked at.
_LARGEST = 2_000_000


def assert_described(method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """The answer to a request of ours has a status, headers and a body that the description has for it."""
    found = _operation(method, path.partition("?")[0])
    if found is None or status == 405:
        return
    name, operation = found
    response = operation["responses"].get(str(status))
    assert response is not None, f"{name} has no answer {status}: {body[:500]!r}"
    response = _resolved(response)
    for header, said in response.get("headers", {}).items():
        missing = _resolved(said).get("required", False) and header not in headers
        assert not missing, f"{name}: {status} without {header}"
    content = response.get("content", {}).get("application/json")
    is_json = headers.get("Content-Type", "").startswith("application/json")
    if content is None or not is_json or len(body) > _LARGEST:
        assert response.get("content") or not body, f"{name}: {status} has a body: {body[:200]!r}"
        return
    # Numbers of an upstream may have more digits than Python turns into one.
    value = json.loads(body, parse_int=lambda digits: int(digits[:4000]))
    # With `raw=1` the body may be anything, and only then.
    whole = operation["operationId"] == "execute" and status == 200 and "raw=" not in path
    for error in _check(name, str(status), whole).iter_errors(value):
        raise AssertionError(f"{name}: {status}: {error.message} at {list(error.instance_path)}: {body[:800]!r}")
    codes = response.get("x-codes")
    assert codes is None or value["error"] in codes, f"{name}: {status} has the code {value['error']!r}, described are {codes}"


@cache
def _document() -> Any:
    return describe(API_ROUTES, SHAPES, public_url="http://127.0.0.1:8700")


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    paths = sorted(_document()["paths"], key=lambda path: path.count("{"))
    return [(re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))), path) for path in paths]


def _operation(method: str, path: str) -> tuple[str, Any] | None:
    for pattern, template in _patterns():
        operation = _document()["paths"][template].get(method.lower())
        if operation is not None and pattern.fullmatch(path):
            return f"{method} {template}", operation
    return None


def _resolved(value: Any) -> Any:
    while "$ref" in value:
        found = _document()
        for step in value["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        value = found
    return value


@cache
def _check(name: str, status: str, whole: bool) -> Draft202012Validator:
    method, _, template = name.partition(" ")
    response = _resolved(_document()["paths"][template][method.lower()]["responses"][status])
    schema = response["content"]["application/json"]["schema"]
    schema = schema["anyOf"][0] if whole else schema
    return Draft202012Validator({**schema, "components": _document()["components"]}, validate_formats=True)
