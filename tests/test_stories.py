"""Whole pieces of work as an agent does them, from the first call to the file in its hands."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from benchmarks.machine import forget_peak, peak_mb
from tests.fakes.overscore import Overscore
from tests.fakes.overten import FORMATS, Overten
from tests.fakes.skycot import FILES, SkyCot
from tests.fakes.upstream import HandClock, serve
from tests.harness import RunningGateway, gateway, gateway_process
from tests.workshop import until

MB = 1024 * 1024


async def test_skycot_builds_an_app_that_is_followed_looked_through_and_downloaded(
    tmp_path: Path, clock: HandClock
) -> None:
    async with serve(SkyCot(clock=clock)) as skycot:
        integrations = {"skycot": {"base_url": "http://{domain}/api/v1"}}
        # The archive is small: this limit makes it a file, as a real one's size would.
        async with gateway(tmp_path, integrations=integrations, clock=clock, inline_limit="1000") as running:
            domain = skycot.base_url.removeprefix("http://")
            await running.connect("skycot", {"token": skycot.upstream.live_key, "domain": domain})
            project = await data_of(running, "skycot", "create_project", {"name": "Board"})
            build = {"id": project["id"], "requirements": "Kanban with drag and drop"}
            run = await finished(running, clock, "skycot", "trigger_build", build)
            assert (run["status"], run["progress"], run["told"]) == ("completed", 100, [5, 40, 85, 100])
            built = run["result"]["data"]
            assert built["status"] == "completed" and all(one["status"] == "completed" for one in built["sessions"])
            assert (await data_of(running, "skycot", "get_project", {"id": project["id"]}))["status"] == "completed"

            listed = await data_of(running, "skycot", "list_build_files", {"id": built["id"]})
            assert [one["path"] for one in listed["files"]] == list(FILES)
            for path, (content_type, content) in FILES.items():
                got = await data_of(running, "skycot", "get_build_file", {"id": built["id"], "path": path})
                if content_type.startswith("text/"):
                    assert got.encode() == content
                elif content_type == "image/png":
                    assert base64.b64decode(got["content"]) == content

            told = await data_of(running, "skycot", "download_build", {"id": built["id"]})
            assert (told["content_type"], told["filename"]) == ("application/zip", f"{built['id']}.zip")
            archive = await file_of(running, told["file_id"])
            assert len(archive) == told["size"]
            with zipfile.ZipFile(io.BytesIO(archive)) as packed:
                assert {name: packed.read(name) for name in packed.namelist()} == {
                    path: content for path, (_, content) in FILES.items()
                }


async def test_overten_makes_a_workbook_that_is_downloaded_without_its_key_leaving_and_exported(
    tmp_path: Path, clock: HandClock
) -> None:
    async with serve(Overten(clock=clock)) as overten:
        integrations = {"overten": {"base_url": overten.base_url + "/api/v1"}}
        async with gateway(tmp_path, integrations=integrations, clock=clock, inline_limit="100") as running:
            key = overten.upstream.key
            await running.connect("overten", {"api_key": key}, auth="key")
            wanted = {"prompt": "A sales report of three years"}
            missing = {**wanted, "format": "excel", "context_files": ["file_gone"]}
            refused = (await running.call("overten", "preflight", missing)).json()
            assert (refused["status"], refused["data"]["missing"]) == (400, ["file_gone"])
            judged = await data_of(running, "overten", "preflight", {**wanted, "format": "excel"})
            assert judged["ok"] is True and overten.upstream.ledger == []

            making = {**wanted, "async": True, "file_name": "sales.xlsx"}
            run = await finished(running, clock, "overten", "generate_excel", making)
            made = run["result"]["data"]
            assert (run["status"], made["status"]) == ("completed", "completed")
            assert [seen.path.rsplit("/", 1)[0] for seen in overten.seen[-4:]] == ["/api/v1/tasks"] * 4
            assert sum(seen.path.endswith("/excel/generate") for seen in overten.seen) == 1
            assert len(overten.upstream.ledger) == 1

            before = len(overten.storage.seen)
            told = await data_of(running, "overten", "download_run", {"id": made["run_id"]})
            assert (told["content_type"], told["filename"]) == (FORMATS["excel"][1], "sales.xlsx")
            assert (await file_of(running, told["file_id"])).startswith(b"PK\x03\x04")
            asked, fetched = overten.last, overten.storage.seen[before]
            assert asked.header("X-API-Key") == key and len(overten.storage.seen) == before + 1
            assert key not in str(fetched.headers) + fetched.raw_path

            exported = await data_of(running, "overten", "export_run", {"id": made["run_id"], "format": "pdf"})
            assert exported["download_url"].startswith(overten.storage.base_url)
            async with running.session.get(exported["download_url"]) as answer:
                assert (answer.status, answer.content_type) == (200, "application/pdf")


async def test_overscore_answers_a_query_from_its_cache_and_then_from_ours(tmp_path: Path, clock: HandClock) -> None:
    async with serve(Overscore(clock=clock)) as overscore:
        integrations = {"overscore": {"base_url": overscore.base_url}}
        async with gateway(tmp_path, integrations=integrations, clock=clock) as running:
            given = {"api_key": overscore.upstream.key, "projectSlug": "acme"}
            await running.connect("overscore", given, auth="project_key")
            query = {"dashboardSlug": "sales-dashboard", "queryName": "cached_revenue"}
            first = (await running.call("overscore", "run_query", query)).json()
            assert first["data"]["metadata"]["cached"] is False and "cached" not in first["meta"]
            again = (await running.call("overscore", "run_query", query)).json()
            assert again["data"] == first["data"] and len(overscore.seen) == 1
            assert (again["meta"]["cached"], again["meta"]["cache_ttl"]) == (True, 60)
            assert again["meta"]["cache_expires_at"] > first["data"]["metadata"].get("cacheExpiresAt", "")
            # A minute later it is asked anew, and answers from a cache of its own.
            clock.move(61)
            later = (await running.call("overscore", "run_query", query)).json()
            assert len(overscore.seen) == 2 and "cached" not in later["meta"]
            metadata = later["data"]["metadata"]
            assert (metadata["cached"], metadata["cacheTtl"], metadata["rowCount"]) == (True, 3600, 2)
            assert metadata["cacheUrl"].endswith(".parquet") and later["data"]["data"] == first["data"]["data"]
            brief = (await running.call("overscore", "run_query", query, view="brief")).json()
            assert brief["data"] == {"rows": first["data"]["data"], "count": 2}


async def test_a_dashboard_of_fifty_megabytes_is_deployed_by_its_file_id_in_flat_memory(tmp_path: Path) -> None:
    size, piece = 50 * MB, b"\x1f\x8b" + bytes(range(254)) * 1032
    pieces = [piece] * (size // len(piece))
    pieces.append(piece[: size - sum(map(len, pieces))])
    bundle = b"".join(pieces)

    async def streamed(count: int) -> AsyncIterator[bytes]:
        for one in pieces[:count]:
            yield one

    async with serve(Overscore()) as overscore:
        integrations = {"overscore": {"base_url": overscore.base_url}}
        async with gateway_process(tmp_path, integrations=integrations) as running:
            assert running.process is not None
            pid = running.process.pid
            given = {"token": overscore.upstream.session, "projectSlug": "acme"}
            await running.connect("overscore", given, auth="session_token")
            url, headers = (
                f"{running.url}/v1/files?filename=dist.tar.gz",
                {"Authorization": f"Bearer {running.org.live}"},
            )
            grown: dict[str, float] = {}
            # Once before with little, so that what stays for good is there.
            for content in (streamed(40), streamed(len(pieces))):
                forget_peak(pid)
                before = peak_mb(pid)
                async with running.session.post(url, data=content, headers=headers) as added:
                    told = await added.json()
                grown["upload"] = peak_mb(pid) - before
                forget_peak(pid)
                before = peak_mb(pid)
                params = {"dashboardSlug": "sales", "bundle": {"file_id": told["file_id"]}}
                deployed = await data_of(running, "overscore", "deploy_dashboard", params)
                grown["deploy"] = peak_mb(pid) - before
    assert deployed["url"] == "https://acme.overscore.dev/sales/" and deployed["deployment"]["sizeBytes"] == size
    parts = {part.name: part for part in overscore.last.parts()}
    assert parts["bundle"].filename == "dist.tar.gz"
    assert hashlib.sha256(parts["bundle"].content).digest() == hashlib.sha256(bundle).digest()
    assert max(grown.values()) < 12, grown


async def data_of(running: RunningGateway, integration: str, action: str, params: Any) -> Any:
    """What a call that goes well answers."""
    answer = await running.call(integration, action, params)
    assert answer.status == 200, answer.body
    assert 200 <= answer.json()["status"] < 300, answer.body
    return answer.json()["data"]


async def file_of(running: RunningGateway, file_id: str) -> bytes:
    headers = {"Authorization": f"Bearer {running.org.live}"}
    async with running.session.get(f"{running.url}/v1/files/{file_id}", headers=headers) as answer:
        assert answer.status == 200
        return await answer.read()


async def finished(running: RunningGateway, clock: HandClock, integration: str, action: str, params: Any) -> Any:
    """A run that is started for later and looked at until it is over, and the progress that it `told` on the way."""
    accepted = await running.call(integration, action, params, **{"async": True})
    assert accepted.status == 202, accepted.body
    told: list[Any] = []

    async def is_over() -> Any:
        run = (await running.ask("GET", f"/v1/runs/{accepted.json()['run_id']}")).json()
        if run["progress"] is not None and run["progress"] not in told:
            told.append(run["progress"])
        if run["status"] != "running":
            return run if run["status"] != "queued" else None
        # The next look is due some seconds from now.
        clock.move(1)
        return None

    return {**await until(is_over), "told": told}
