"""Requests to loopback, and the networks that tests allow."""

from typing import Any

from gateway.core.request import UpstreamRequest

LOOPBACK = ("127.0.0.0/8", "::1/128")


def ask(base_url: str, method: str = "GET", **fields: Any) -> UpstreamRequest:
    """A request to the base URL of a fake: `ask(fake.base_url, "POST", body=b"…")`."""
    fields.setdefault("idempotent", method in ("GET", "HEAD", "PUT", "DELETE"))
    fields.setdefault("timeout", 5.0)
    fields.setdefault("path", "/thing")
    return UpstreamRequest(method=method, origin=base_url, **fields)
