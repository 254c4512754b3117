"""Both ways out."""

from collections.abc import AsyncIterator

import pytest

from gateway.upstream.client import HttpUpstream
from gateway.upstream.egress import Egress, Policy
from tests.upstream.asking import LOOPBACK


@pytest.fixture(params=["fast", "session"])
async def upstream(request: pytest.FixtureRequest) -> AsyncIterator[HttpUpstream]:
    """Our own client and aiohttp's: every test with this fixture holds for both."""
    async with HttpUpstream(Egress(Policy.of(LOOPBACK)), fast=request.param == "fast") as made:
        yield made
