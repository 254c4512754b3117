"""Where a redirect may lead, and what of the request goes along. Pure: no socket, no clock."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final
from urllib.parse import unquote, urljoin

from gateway.core.requests.request import Headers, UpstreamRequest
from gateway.upstream.egress import MAX_URL, BadUrl, Url, parse_url_strict

MAX_HOPS: Final = 3
STATUSES: Final = frozenset((301, 302, 303, 307, 308))

_VISIBLE: Final = re.compile(r"[!-\[\]-~]+")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
#: All that another origin needs to know of us.
_GOES_ALONG: Final = frozenset(("accept", "accept-encoding", "accept-language", "user-agent", "range", "if-range"))
#: Headers about a body that is no longer sent.
_OF_THE_BODY: Final = ("content-", "digest", "idempotency-key")
#: A shorter value of the query is found in any URL by chance.
_MIN_SECRET: Final = 6


def next_hop(request: UpstreamRequest, url: Url, status: int, headers: Headers) -> tuple[UpstreamRequest, Url] | None:
    """The request that follows the redirect, or None where the 3xx itself is the answer.

    A credential never reaches another origin, neither as it was put on the request nor where the redirect
    repeats it; a body is sent again only where the status says so (RFC 9110 §15.4.8) and the origin stays.
    """
    target = _target(request, url, headers)
    if target is None or (url.scheme == "https" and target.scheme == "http"):
        return None
    method, keeps_body = _method(request, status)
    moved = replace(request, method=method, origin=target.origin, path=target.path, query=target.query)
    if not keeps_body:
        moved = replace(moved, body=None, headers=_without_body(moved.headers))
    if target.origin == url.origin:
        return moved, target
    if method not in ("GET", "HEAD") or _repeats_a_secret(request, target):
        return None
    return replace(
        moved,
        headers=tuple(pair for pair in moved.headers if _may_go_along(pair[0].lower(), request)),
        # There is no credential on it any more.
        credential_headers=frozenset(),
        credential_params=frozenset(),
    ), target


def _target(request: UpstreamRequest, url: Url, headers: Headers) -> Url | None:
    locations = [value for name, value in headers if name.lower() == "location"]
    if len(locations) != 1:
        return None
    location = locations[0]
    if len(location) > MAX_URL or not _VISIBLE.fullmatch(location) or location.startswith("//"):
        return None
    if not _SCHEME.match(location):
        query = f"?{request.query}" if request.query else ""
        location = urljoin(f"{url.origin}{request.path}{query}", location)
    try:
        return parse_url_strict(location)
    except BadUrl:
        return None


def _method(request: UpstreamRequest, status: int) -> tuple[str, bool]:
    """The method to go on with, and whether with the body: as browsers do it."""
    if status == 303 and request.method != "HEAD":
        return "GET", False
    if status in (301, 302) and request.method == "POST":
        return "GET", False
    return request.method, True


def _may_go_along(name: str, request: UpstreamRequest) -> bool:
    return name in _GOES_ALONG and name not in request.credential_headers


def _without_body(headers: Headers) -> Headers:
    return tuple(pair for pair in headers if not pair[0].lower().startswith(_OF_THE_BODY))


def _repeats_a_secret(request: UpstreamRequest, target: Url) -> bool:
    """Many servers redirect with the query they were asked with, and some put a token in it."""
    secrets = set(request.secrets)
    if request.credential_in_query:
        secrets.update(pair.partition("=")[2] for pair in request.query.split("&"))
    for name, value in request.headers:
        if name.lower() in request.credential_headers:
            secrets.add(value)
            secrets.update(re.split(r"[\s;,=]+", value))
    where = f"{target.host}{target.path}?{target.query}"
    places = (where, unquote(where))
    return any(
        spelling in place
        for secret in secrets
        if len(secret) >= _MIN_SECRET
        for spelling in (secret, unquote(secret))
        for place in places
    )
