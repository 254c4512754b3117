"""Fetches a description through the one door by which everything goes out: the same addresses, the same limits."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from gateway.cli.failures import CommandFailed, refused, unreached
from gateway.cli.operator import settings_of
from gateway.core.requests.request import UpstreamAnswer, UpstreamFailed, UpstreamRequest
from gateway.operator_file import BadSetting
from gateway.settings import Settings, public_url_of
from gateway.upstream.client import HttpUpstream
from gateway.upstream.egress import BadUrl, Egress, Url, parse_url_strict
from gateway.wiring.ground import policy_of
from skills_catalog.descriptions.documents import MAX_BYTES

_SECONDS = 60.0


def downloaded(url: str) -> bytes:
    """What a URL answers, up to the size of a description. Refuses what cannot be had."""
    try:
        parsed = parse_url_strict(url.partition("#")[0])
    except BadUrl as error:
        raise refused(f"{url} cannot be fetched: {error}.") from error
    settings, _ = settings_of()
    answer = asyncio.run(_ask(settings, parsed))
    if answer.omitted:
        raise refused(f"{url} is larger than {MAX_BYTES // 1024**2} MB.")
    if answer.status != 200:
        raise refused(f"{url} answered {answer.status}.", hint="Download it with your browser and give the file.")
    return answer.body


async def _ask(settings: Settings, url: Url) -> UpstreamAnswer:
    """One GET without any credential; redirects are followed, each to an address that may be reached."""
    try:
        public_url = public_url_of(settings, settings.port)
    except BadSetting:
        public_url = f"http://{settings.host}:{settings.port}"
    ca_file = str(settings.tls_ca_file) if settings.tls_ca_file else None
    request = UpstreamRequest(
        method="GET",
        origin=url.origin,
        path=url.path,
        query=url.query,
        headers=(
            ("Accept", "application/json, application/yaml, text/yaml, */*"),
            ("Accept-Encoding", "gzip, deflate"),
            ("User-Agent", "Skillway"),
        ),
        timeout=_SECONDS,
        idempotent=True,
        follow_redirects=True,
    )
    async with HttpUpstream(Egress(policy_of(settings, public_url, settings.port)), ca_file=ca_file) as upstream:
        try:
            return await upstream.send(request, limit=MAX_BYTES)
        except UpstreamFailed as failed:
            raise _not_fetched(url, failed) from failed


def _not_fetched(url: Url, failed: UpstreamFailed) -> CommandFailed:
    host = urlsplit(url.origin).netloc
    return unreached(
        f"{host} could not be asked for the description: {failed.cause}.",
        code="description_unreachable",
        outcome="not_sent",
        hint="Addresses inside need SKILLWAY_ALLOWED_PRIVATE_NETWORKS.",
    )
