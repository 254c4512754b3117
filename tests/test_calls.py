"""A call from the outside: found, allowed, checked, sent, answered, recorded."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.github import GitHub
from tests.fakes.upstream import serve
from tests.harness import gateway


async def test_a_call_comes_back_with_the_upstreams_status_and_data(tmp_path: Path) -> None:
    async with (
        serve(GitHub()) as github,
        gateway(tmp_path, integrations={"github": {"base_url": github.base_url}}) as running,
    ):
        await running.connect("github", {"token": github.upstream.token})
        answer = await running.call("github", "create_issue", {"repo": "acme/webapp", "title": "Bug report"})
        assert answer.status == 200
        body = answer.json()
        assert body["status"] == 201, body
        assert body["data"]["title"] == "Bug report"
        assert answer.headers["X-Upstream-Status"] == "201"
        assert github.seen[-1].raw_path == "/repos/acme/webapp/issues"
        assert github.seen[-1].json() == {"title": "Bug report"}
