"""The public contract as it was committed, and as the code has it today."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gateway.app import API_ROUTES
from gateway.core.errors import CODES
from gateway.rest.shapes import SHAPES
from gateway.web.openapi import describe
from tests.contract.compare import Difference, code_differences, contract_of, differences

DOCUMENT_FILE = Path(__file__).with_name("openapi.json")
CODES_FILE = Path(__file__).with_name("errors.json")


def document_today() -> Any:
    """What `GET /openapi.json` says without a key, without the words."""
    return contract_of(describe(API_ROUTES, SHAPES, public_url="http://127.0.0.1:8700"))


def codes_today() -> dict[str, int]:
    return {name: code.status for name, code in sorted(CODES.items())}


def committed(file: Path) -> Any:
    return json.loads(file.read_text())


def breaking() -> list[Difference]:
    """What a client that keeps to the committed contract would notice; nothing where none is committed yet."""
    found = []
    if DOCUMENT_FILE.exists():
        found += differences(committed(DOCUMENT_FILE), document_today())
    if CODES_FILE.exists():
        found += code_differences(committed(CODES_FILE), codes_today())
    return [one for one in found if one.kind == "breaking"]


def write(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
