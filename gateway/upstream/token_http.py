"""The way out for OAuth: token endpoints, revocation and whoami go through the same door as skills."""

from __future__ import annotations

from gateway.core.requests.request import UpstreamFailed, UpstreamRequest
from gateway.upstream.client import HttpUpstream
from gateway.upstream.egress import BadUrl, parse_url_strict
from oauth.http_port import HttpAnswer, HttpRequest, Unreached


class TokenHttp:
    """`oauth.http_port.Http`: one request, no redirect, no repeat."""

    def __init__(self, upstream: HttpUpstream) -> None:
        self._upstream = upstream

    async def exchange(self, request: HttpRequest) -> HttpAnswer:
        """Raises `Unreached`. Header names of the answer are in lower case; of several the first stands."""
        try:
            url = parse_url_strict(request.url)
        except BadUrl as error:
            raise Unreached(sent=False) from error
        try:
            answer = await self._upstream.send(
                UpstreamRequest(
                    method=request.method,
                    origin=url.origin,
                    path=url.path,
                    query=url.query,
                    headers=tuple(request.headers.items()),
                    body=request.body or None,
                    timeout=request.timeout,
                ),
                limit=request.limit,
            )
        except UpstreamFailed as failed:
            raise Unreached(sent=failed.sent) from failed
        if answer.omitted:
            raise Unreached(sent=True)
        headers = {name.lower(): value for name, value in reversed(answer.headers)}
        return HttpAnswer(status=answer.status, headers=headers, body=answer.body)
