"""Both ways out."""

from collections.abc import AsyncIterator

import pytest

from gateway.upstream.client import HttpUpstream
from gateway.upstream.egress import Egress, Policy
from gateway.upstream.wire import tls_context
from tests.upstream.asking import LOOPBACK

#: Reading the system's certificates takes longer than most of these tests.
TLS = tls_context()


@pytest.fixture(params=["fast", "session"])
async def upstream(request: pytest.FixtureRequest) -> AsyncIterator[HttpUpstream]:
    """Our own client and aiohttp's: every test with this fixture holds for both."""
    async with HttpUpstream(Egress(Policy.of(LOOPBACK)), tls=TLS, fast=request.param == "fast") as made:
        yield made
