"""S3 and DynamoDB as Moto serves them: objects up and down, tables with pages, every request signed and the signature checked.

The signature is made by a hook, and compared by Moto with the one that AWS's own library makes.
"""

from __future__ import annotations

import base64
import io
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson
import pytest
import pytest_asyncio

from tests.harness import RunningGateway, gateway
from tests.servers import aws
from tests.servers import running as servers

pytestmark = pytest.mark.asyncio(loop_scope="module")

BYTES = bytes(range(256)) * 500


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.moto(tmp_path_factory.mktemp("moto")) as url:
        yield url


@pytest.fixture(scope="module")
def hooks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The hooks that sign, installed beside the gateway's own packages; their names."""
    folder = tmp_path_factory.mktemp("site")
    aws.offer(folder)
    sys.path.insert(0, str(folder))
    yield ",".join(aws.NAMES)
    sys.path.remove(str(folder))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cloud(address: str, hooks: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    """A gateway with two connections: `ada`, who may do everything on S3 and DynamoDB, and `bob` with a wrong secret."""
    folder = tmp_path_factory.mktemp("gateway")
    definitions = folder / "definitions"
    definitions.mkdir()
    shutil.copy(servers.DEFINITIONS / "aws.yaml", definitions)
    key_id, secret = await _new_key(address)
    told_where = {"aws": {"base_url": address, "servers": {"dynamodb": address}}}
    async with gateway(folder, integrations=told_where, definitions=definitions, hooks=hooks) as made:
        await made.connect("aws", {"api_key": key_id, "secret_key": secret}, user="ada")
        await made.connect("aws", {"api_key": key_id, "secret_key": secret[::-1]}, user="bob")
        assert (await told(made, "make_bucket", {"bucket": "reports"}))["status"] == 200
        yield made


async def _new_key(address: str) -> tuple[str, str]:
    """A user of IAM with a policy and an access key: what the first requests, which need no key, are for."""
    rights = {"Effect": "Allow", "Action": ["s3:*", "dynamodb:*"], "Resource": "*"}
    policy = orjson.dumps({"Version": "2012-10-17", "Statement": [rights]}).decode()
    asked = (
        {"Action": "CreateUser", "UserName": "ada"},
        {"Action": "PutUserPolicy", "UserName": "ada", "PolicyName": "all", "PolicyDocument": policy},
        {"Action": "CreateAccessKey", "UserName": "ada"},
    )
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        # Moto finds the service in the scope.
        "Authorization": "AWS4-HMAC-SHA256 Credential=nobody/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0",
    }
    async with aiohttp.ClientSession() as session:
        for form in asked:
            async with session.post(address, data=urlencode({"Version": "2010-05-08", **form}), headers=headers) as answer:
                text = await answer.text()
                assert answer.status == 200, text
    found = dict(re.findall("<(AccessKeyId|SecretAccessKey)>(.*?)</", text))
    return found["AccessKeyId"], found["SecretAccessKey"]


async def told(made: RunningGateway, action: str, params: Any = None, **more: Any) -> Any:
    answer = await made.call("aws", action, params, **{"user": "ada", **more})
    assert answer.status == 200, answer.body
    return answer.json()


async def test_a_signature_with_another_secret_is_refused_with_what_to_do(cloud: RunningGateway) -> None:
    answer = await told(cloud, "list_objects", {"bucket": "reports"}, user="bob")
    assert (answer["status"], "SignatureDoesNotMatch" in answer["data"]) == (403, True)
    assert answer["meta"]["hint"] == "The secret key is not that of this access key."


@pytest.mark.parametrize("key", ["2026/a b.bin", "ü/~x+y=z&(1)*.bin"])
async def test_bytes_go_up_inline_and_by_their_id_and_come_back_the_same(cloud: RunningGateway, key: str) -> None:
    headers = {"Authorization": f"Bearer {cloud.org.live}", "Content-Type": "image/png"}
    async with cloud.session.post(f"{cloud.url}/v1/files", data=io.BytesIO(BYTES), headers=headers) as added:
        file_id = (await added.json())["file_id"]
    one = {"bucket": "reports", "key": key}
    for content in (base64.b64encode(BYTES[:5000]).decode(), {"file_id": file_id}):
        sent = await told(cloud, "put_object", {**one, "content": content})
        assert (sent["status"], sent["data"]) == (200, None)
    got = (await told(cloud, "get_object", one))["data"]
    assert (got["content_type"], base64.b64decode(got["content"])) == ("image/png", BYTES)
    raw = await cloud.ask("POST", "/v1/aws/get_object?raw=1", body={"params": one, "user": "ada"})
    assert (raw.headers["X-Upstream-Status"], raw.body) == ("200", BYTES)
    assert (await told(cloud, "delete_object", one))["status"] == 204
    gone = await told(cloud, "get_object", one)
    assert (gone["status"], gone["meta"]["hint"]) == (404, "There is no such object; list those of the bucket.")
    nowhere = await told(cloud, "get_object", {**one, "bucket": "nowhere"})
    assert (nowhere["status"], nowhere["meta"]["hint"]) == (404, "There is no such bucket.")


async def test_an_object_that_is_there_is_left_alone_where_that_is_asked(cloud: RunningGateway) -> None:
    one = {"bucket": "reports", "key": "once.txt", "only_new": "*"}
    assert (await told(cloud, "put_object", {**one, "content": base64.b64encode(b"one").decode()}))["status"] == 200
    second = await told(cloud, "put_object", {**one, "content": base64.b64encode(b"two").decode()})
    assert (second["status"], second["meta"]["hint"][:34]) == (412, "An object of that name is there; c")
    kept = (await told(cloud, "get_object", {"bucket": "reports", "key": "once.txt"}))["data"]
    assert base64.b64decode(kept["content"]) == b"one"


async def test_objects_are_listed_by_prefix_and_from_a_name_on(cloud: RunningGateway) -> None:
    for number in range(4):
        await told(cloud, "put_object", {"bucket": "reports", "key": f"list/{number}", "content": "aGk="})
    listed = await told(cloud, "list_objects", {"bucket": "reports", "prefix": "list/", "after": "list/0", "limit": 2})
    assert re.findall("<Key>(.*?)</Key>", listed["data"]) == ["list/1", "list/2"]


async def test_items_are_written_on_a_condition_and_all_pages_are_read(cloud: RunningGateway) -> None:
    assert (await told(cloud, "make_table", {"table": "books"}))["data"]["TableDescription"]["TableStatus"] == "ACTIVE"
    for number in range(7):
        assert (await told(cloud, "put_item", {"table": "books", "item": {"id": {"S": f"b{number}"}}}))["status"] == 200
    again = {"table": "books", "item": {"id": {"S": "b0"}}, "condition": "attribute_not_exists(id)"}
    refused = await told(cloud, "put_item", again)
    assert (refused["status"], refused["meta"]["hint"]) == (400, "The condition is not true of the item that is there.")

    first = await told(cloud, "scan", {"table": "books", "limit": 3})
    assert len(first["data"]["Items"]) == 3
    every = await told(cloud, "scan", {"table": "books", "limit": 3}, all=True)
    assert {one["id"]["S"] for one in every["data"]["Items"]} == {f"b{number}" for number in range(7)}
    assert (every["meta"]["pages"]["items"], every["meta"]["pages"]["complete"]) == (7, True)
    nothing = await told(cloud, "scan", {"table": "films"})
    assert (nothing["status"], nothing["meta"]["hint"]) == (400, "There is no such table.")


async def test_neither_the_secret_nor_the_signature_is_shown(cloud: RunningGateway) -> None:
    asked = {"integration": "aws", "action": "get_object", "params": {"bucket": "reports", "key": "a"}, "user": "ada"}
    shown = (await cloud.ask("POST", "/v1/preflight", body=asked)).json()
    assert (shown["ok"], shown["request"]["url"].partition("/reports")[1:]) == (True, ("/reports", "/a"))
    headers = {one["name"]: one["value"] for one in shown["request"]["headers"]}
    assert {headers[name] for name in ("Authorization", "X-Amz-Date", "X-Amz-Content-Sha256")} == {"[secret]"}
