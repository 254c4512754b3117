"""Hooks that sign requests for AWS (Signature Version 4), as a package of an operator's would have them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote

from gateway.core.requests.hook_functions import GROUP
from gateway.core.requests.request import Headers, UpstreamRequest

REGION = "us-east-1"
NAMES = ("sign_s3", "sign_dynamodb")


def sign_s3(request: UpstreamRequest, fields: Mapping[str, str]) -> UpstreamRequest:
    return signed(request, "s3", fields["secret_key"])


def sign_dynamodb(request: UpstreamRequest, fields: Mapping[str, str]) -> UpstreamRequest:
    return signed(request, "dynamodb", fields["secret_key"])


def signed(request: UpstreamRequest, service: str, secret_key: str) -> UpstreamRequest:
    """The request with its signature, in the header in which the definition has put the id of the key."""
    body = request.body or b""
    assert isinstance(body, bytes), "files of a hook are held whole"
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    sent: Headers = (*_without(request.headers, "authorization"), ("X-Amz-Date", now), ("X-Amz-Content-Sha256", digest))
    known = dict(request.headers)["Authorization"]
    scope = f"{now[:8]}/{REGION}/{service}/aws4_request"
    own = {"host": request.origin.partition("://")[2]}
    own |= {name.lower(): value.strip() for name, value in sent if name.lower().startswith(("x-amz-", "content-type"))}
    names = ";".join(sorted(own))
    query = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in _pairs(request.query))
    canonical = "\n".join([
        request.method, quote(unquote(request.path), safe="/-_.~"), "&".join(f"{name}={value}" for name, value in query),
        *(f"{name}:{own[name]}" for name in sorted(own)), "", names, digest,
    ])  # fmt: skip
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = reduce(_mac, scope.split("/"), b"AWS4" + secret_key.encode())
    header = f"{known}/{scope}, SignedHeaders={names}, Signature={_mac(key, text).hex()}"
    return replace(request, headers=(*sent, ("Authorization", header)))


def offer(folder: Path) -> None:
    """Makes a folder of `sys.path` one in which a package offers these hooks."""
    info = folder / "aws_hooks-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: aws-hooks\nVersion: 1.0\n")
    points = "\n".join(f"{name} = {__name__}:{name}" for name in NAMES)
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{points}\n")


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _pairs(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)


def _without(headers: Headers, name: str) -> Headers:
    return tuple(pair for pair in headers if pair[0].lower() != name)
