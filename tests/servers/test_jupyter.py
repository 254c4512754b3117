"""A Jupyter server as it comes from PyPI: files up and down, through a definition of ours and through its own description."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.harness import RunningGateway, gateway
from tests.operator import Operator
from tests.servers import running as servers

pytestmark = pytest.mark.asyncio(loop_scope="module")

BYTES = bytes(range(256)) * 300


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.jupyter(tmp_path_factory.mktemp("jupyter")) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def notebooks(address: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    """A gateway that serves Jupyter by the definition written by hand, and by the one that the importer makes."""
    folder = tmp_path_factory.mktemp("gateway")
    definitions = folder / "definitions"
    definitions.mkdir()
    (definitions / "jupyter.yaml").write_text((servers.DEFINITIONS / "jupyter.yaml").read_text())
    operator = Operator.at(folder / "operator")
    imported = await operator.later(
        "catalog", "import", str(description()), "--base-url", address, "--slug", "imported", "-o", str(definitions), "--json"
    )
    assert imported.code == 0, imported.err
    outcome = imported.json()
    assert (len(outcome["added"]), outcome["left_out"], outcome["unreviewed"]) == (32, {}, {})
    async with gateway(folder, integrations={"jupyter": {"base_url": address}}, definitions=definitions) as made:
        for slug in ("jupyter", "imported"):
            await made.connect(slug, {"token": servers.JUPYTER_TOKEN})
        yield made


def description() -> Path:
    """The OpenAPI description that the package ships."""
    environment = servers.installed("jupyter-server").parents[1]
    (found,) = environment.glob("lib/python*/site-packages/jupyter_server/services/api/api.yaml")
    return found


async def told(made: RunningGateway, action: str, params: Any = None, slug: str = "jupyter", **more: Any) -> Any:
    answer = await made.call(slug, action, params, **more)
    assert answer.status == 200, answer.body
    return answer.json()


async def test_a_wrong_token_is_refused_on_connecting(notebooks: RunningGateway) -> None:
    body = {"integration": "jupyter", "credentials": {"token": "not-the-token"}}
    answer = await notebooks.ask("POST", "/v1/connect", body=body)
    assert (answer.status, answer.json()["error"]) == (400, "bad_request")
    assert "does not accept this credential (it answered 403)" in answer.json()["message"]


async def test_a_text_is_written_read_moved_and_deleted(notebooks: RunningGateway) -> None:
    assert (await told(notebooks, "make_folder", {"path": "reports"}))["status"] == 201
    written = await told(notebooks, "write_text", {"path": "reports/one.txt", "content": "Grüße\n"})
    assert (written["status"], written["data"]["size"]) == (201, 8)
    read = await told(notebooks, "read_text", {"path": "reports/one.txt", "hash": 1})
    assert read["data"]["content"] == "Grüße\n"
    assert read["data"]["hash"] == hashlib.sha256("Grüße\n".encode()).hexdigest()
    # Over what lay there before: Jupyter says 200, no longer 201.
    assert (await told(notebooks, "write_text", {"path": "reports/one.txt", "content": "two"}))["status"] == 200

    await told(notebooks, "write_text", {"path": "reports/three.txt", "content": "3"})
    taken = await told(notebooks, "move", {"path": "reports/three.txt", "to": "reports/one.txt"})
    assert (taken["status"], taken["meta"]["hint"]) == (
        409, "Something lies there already; move it away or choose another name.",
    )  # fmt: skip
    assert (await told(notebooks, "move", {"path": "reports/three.txt", "to": "reports/four.txt"}))["status"] == 200
    listed = await told(notebooks, "list_folder", {"path": "reports"}, view="brief")
    assert {(one["path"], one["size"]) for one in listed["data"]} == {("reports/one.txt", 3), ("reports/four.txt", 1)}

    for name in ("one", "four"):
        deleted = await told(notebooks, "delete", {"path": f"reports/{name}.txt"})
        assert (deleted["status"], deleted["data"]) == (204, None)
    gone = await told(notebooks, "read_text", {"path": "reports/one.txt"})
    assert (gone["status"], gone["meta"]["hint"]) == (404, "Nothing lies there; list the folder above it.")


async def test_bytes_go_up_inline_and_by_their_id_and_come_back_the_same(notebooks: RunningGateway) -> None:
    headers = {"Authorization": f"Bearer {notebooks.org.live}", "Content-Type": "image/png"}
    async with notebooks.session.post(f"{notebooks.url}/v1/files", data=io.BytesIO(BYTES), headers=headers) as added:
        file_id = (await added.json())["file_id"]
    for number, content in enumerate((base64.b64encode(BYTES).decode(), {"file_id": file_id})):
        path = f"picture {number} ü.png"
        sent = await told(notebooks, "upload", {"path": path, "content": content})
        assert (sent["status"], sent["data"]["size"]) == (201, len(BYTES))
        back = (await told(notebooks, "download", {"path": path}))["data"]
        assert (back["content_type"], base64.b64decode(back["content"])) == ("image/png", BYTES)
        raw = await notebooks.ask("POST", "/v1/jupyter/download?raw=1", body={"params": {"path": path}})
        assert (raw.headers["X-Upstream-Status"], raw.body) == ("200", BYTES)
    no_text = await told(notebooks, "read_text", {"path": "picture 0 ü.png"})
    assert (no_text["status"], no_text["meta"]["hint"]) == (400, "The file is no text; download it.")


async def test_settings_are_a_whole_body_and_what_is_not_named_stays(notebooks: RunningGateway) -> None:
    await told(notebooks, "save_settings", {"section": "notebook", "settings": {"theme": "dark", "size": 12}})
    saved = await told(notebooks, "save_settings", {"section": "notebook", "settings": {"size": 14}})
    assert saved["data"] == {"theme": "dark", "size": 14}


async def test_no_path_leaves_the_folder_of_the_files(notebooks: RunningGateway) -> None:
    answer = await notebooks.call("jupyter", "read_text", {"path": "../jupyter/secret"})
    assert (answer.status, answer.json()["error"]) == (400, "bad_request")


async def test_what_is_imported_from_its_own_description_works_without_an_edit(notebooks: RunningGateway) -> None:
    saved = await told(
        notebooks,
        "save_api_contents",
        {"path": "drafts.txt", "type": "file", "format": "text", "content": "Hi"},
        slug="imported",
    )
    assert saved["status"] == 201
    renamed = await told(notebooks, "rename_api_contents", {"path": "drafts.txt", "body_path": "a b.txt"}, slug="imported")
    assert renamed["data"]["path"] == "a b.txt"
    checkpoint = await told(notebooks, "create_api_contents_checkpoints", {"path": "a b.txt"}, slug="imported")
    assert checkpoint["status"] == 201
    await told(notebooks, "write_text", {"path": "a b.txt", "content": "other"})
    given = {"path": "a b.txt", "checkpoint_id": checkpoint["data"]["id"]}
    assert (await told(notebooks, "restore_api_contents_checkpoints", given, slug="imported"))["status"] == 204
    read = await told(notebooks, "get_api_contents", {"path": "a b.txt", "content": 1}, slug="imported")
    assert read["data"]["content"] == "Hi"
    assert (await told(notebooks, "delete_api_contents", {"path": "a b.txt"}, slug="imported"))["status"] == 204
    assert (await told(notebooks, "get_api_contents", {"path": "a b.txt"}, slug="imported"))["status"] == 404


async def test_the_definition_of_ours_is_what_its_description_says(tmp_path: Path) -> None:
    operator = Operator.at(tmp_path)
    words = ("catalog", "test", str(servers.DEFINITIONS / "jupyter.yaml"), "--against", str(description()), "--json")
    found = (await asyncio.to_thread(operator.run, *words)).json()
    verdicts = {one["action"]: one["verdict"] for one in found["integrations"][0]["actions"]}
    # Downloads are described nowhere, and a folder's content is said to be a text.
    assert {action for action, verdict in verdicts.items() if verdict != "matches"} == {"download", "list_folder"}
