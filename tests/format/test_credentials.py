"""A credential in every form that a definition can give it, over sockets."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.core.requests.building import build_request
from gateway.operator_file import BadSetting
from skills_catalog.loader import load_integration
from tests.fakes.upstream import Answer, json_answer, serve
from tests.format.desk import DEFINITIONS, Anything, Desk, chosen, desk
from tests.harness import gateway


@pytest.fixture
async def keys(tmp_path: Path) -> AsyncIterator[Desk]:
    def moved(origin: str) -> Mapping[str, Any]:
        return {
            "base_url": origin,
            "auth": {
                "bot": {"base_url": f"{origin}/bot{{api_key}}/v1"},
                "chimp": {"base_url": f"{origin}/{{dc}}"},
            },
        }

    async with desk(tmp_path, "keys", moved) as made:
        yield made


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


@pytest.mark.parametrize(
    ("given", "method", "headers", "path"),
    [
        (
            {"api_key": "secret-one", "id": "id-1", "signature": "signature-1"}, "pair",
            {"Authorization": 'Key id="id-1", secret="secret-one", sig="signature-1"'}, "/me",
        ),
        (
            {"token": "token-1", "from": "ada@acme.example"}, "pager",
            {"Authorization": "Token token=token-1", "From": "ada@acme.example", "X-Org": None}, "/me",
        ),
        (
            {"token": "token-1", "from": "ada@acme.example", "org": "acme"}, "pager",
            {"Authorization": "Token token=token-1", "X-Org": "acme"}, "/me",
        ),
        ({"password": "the-key-us6"}, "chimp", {"Authorization": basic("anystring:the-key-us6")}, "/us6/me"),
        ({"username": "dk_key"}, "desk", {"Authorization": basic("dk_key:X")}, "/me"),
        ({"password": "key:1"}, "nameless", {"Authorization": basic(":key:1")}, "/me"),
        ({"username": "key-1"}, "wordless", {"Authorization": basic("key-1:")}, "/me"),
        ({"api_key": "123:ABC-def_g"}, "bot", {"Authorization": None}, "/bot123:ABC-def_g/v1/me"),
    ],
)  # fmt: skip
async def test_a_credential_goes_where_and_as_its_definition_says(
    keys: Desk, given: dict[str, str], method: str, headers: dict[str, str | None], path: str
) -> None:
    answer = await keys.connect(given, auth=method)
    assert (answer["status"], answer["account"]) == ("connected", "Ada"), answer
    assert keys.last.raw_path == path
    assert {name: keys.last.header(name) for name in headers} == headers
    await keys.call("get_me")
    assert {name: keys.last.header(name) for name in headers} == headers


@pytest.mark.parametrize(
    ("given", "method", "secrets"),
    [
        ({"api_key": "secret-one", "id": "id-1", "signature": "signature-1"}, "pair", ["secret-one", "signature-1"]),
        ({"password": "the-key-us6"}, "chimp", ["the-key-us6", base64.b64encode(b"anystring:the-key-us6").decode()]),
        ({"username": "dk_longer_key"}, "desk", ["dk_longer_key", base64.b64encode(b"dk_longer_key:X").decode()]),
        ({"username": "the-key-1"}, "wordless", ["the-key-1", base64.b64encode(b"the-key-1:").decode()]),
        ({"api_key": "123:ABC-def_g"}, "bot", ["123:ABC-def_g", "123%3AABC-def_g"]),
    ],
)
async def test_every_secret_part_is_taken_out_of_answers(
    keys: Desk, given: dict[str, str], method: str, secrets: list[str]
) -> None:
    await keys.connect(given, auth=method)
    echo = {"name": "Ada", "echo": [f"<{secret}>" for secret in secrets], "id": "id-1"}
    keys.says[keys.last.path] = json_answer(echo)
    envelope = await keys.call("get_me")
    assert envelope["data"] == {**echo, "echo": ["<[secret]>"] * len(secrets)}
    shown = (await keys.running.ask("GET", "/v1/connections")).body.decode()
    assert not any(secret in shown for secret in secrets)


@pytest.mark.parametrize("method", ["pair", "pager", "chimp", "desk", "bot"])
async def test_no_part_follows_a_redirect_to_another_origin(tmp_path: Path, method: str) -> None:
    given = {
        "pair": {"api_key": "secret-one", "id": "id-1", "signature": "signature-1"},
        "pager": {"token": "token-1", "from": "ada@acme.example", "org": "acme"},
        "chimp": {"password": "the-key-us6"},
        "desk": {"username": "dk_longer_key"},
        "bot": {"api_key": "123:ABC-def_g"},
    }[method]
    definitions = tmp_path / "own"
    definitions.mkdir()
    text = (DEFINITIONS / "keys.yaml").read_text().replace("    request: GET /me\n", "    request: GET /me\n    redirect: follow\n")
    (definitions / "keys.yaml").write_text(text)

    async with serve(Anything()) as api, serve(Anything()) as evil:
        addresses = {"bot": {"base_url": f"{api.base_url}/bot{{api_key}}"}, "chimp": {"base_url": api.base_url}}
        said = {"base_url": api.base_url, "auth": addresses}
        async with gateway(tmp_path, integrations={"keys": said}, definitions=definitions) as running:
            await running.connect("keys", given, auth=method)
            before = api.last
            api.upstream.says[before.path] = Answer(status=302, headers={"Location": evil.base_url + before.raw_path})
            await running.call("keys", "get_me")
            api.upstream.says[before.path] = Answer(status=302, headers={"Location": evil.base_url + "/plain"})
            await running.call("keys", "get_me")
    assert evil.seen
    for seen in evil.seen:
        sent = seen.raw_path + str(seen.headers)
        for part in given.values():
            assert part not in sent and base64.b64encode(f"{part}:X".encode()).decode() not in sent


async def test_what_does_not_look_like_a_key_is_refused(keys: Desk) -> None:
    answer = await keys.connect({"username": "wrong"}, auth="desk")
    assert (answer["http"], answer["details"]["fields"][0]["path"]) == (400, "credentials/username")
    for given, path in (({"password": "nodash"}, "dc"), ({"password": "x-../.."}, "dc"), ({"password": ""}, "credentials/password")):
        answer = await keys.connect(given, auth="chimp")
        assert (answer["http"], answer["details"]["fields"][0]["path"]) == (400, path)
    for token in ("..", "a/../b", "%2e%2e", "a\nb"):
        answer = await keys.connect({"api_key": token}, auth="bot")
        assert answer["http"] == 400
    assert keys.api.seen == []


@pytest.mark.parametrize("evil", ['x"\r\nX-Evil: 1', "x\ny", "ünï", "\u560d\u560a"])
async def test_no_part_of_a_header_begins_another(keys: Desk, evil: str) -> None:
    answer = await keys.connect({"api_key": "secret-one", "id": evil, "signature": "signature-1"}, auth="pair")
    assert (answer["http"], keys.api.seen) == (400, [])


async def test_a_missing_part_is_not_half_a_credential(keys: Desk) -> None:
    answer = await keys.connect({"api_key": "secret-one", "id": "id-1"}, auth="pair")
    assert (answer["http"], answer["details"]["fields"][0]["path"]) == (400, "signature")


async def test_the_page_names_the_inputs_as_the_definition_does(keys: Desk) -> None:
    body = {"integration": "keys", "auth": "desk"}
    link = (await keys.running.ask("POST", "/v1/connect", body=body)).json()["oauth_url"]
    async with keys.session.get(link) as page:
        text = await page.text()
    # Where the password is fixed, the user name is the key, and is not shown while it is typed.
    assert '<input name="username" type="password"' in text and "API key" in text
    async with keys.session.post(link, data={"username": "dk_typed_key"}) as done:
        assert "Keys is connected" in await done.text()
    assert keys.last.header("Authorization") == basic("dk_typed_key:X")


def test_an_operator_cannot_move_a_key_out_of_its_path(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"holds no \{api_key\}, which is where bot is let in"):
        chosen(tmp_path, {"keys": {"base_url": "https://own.example"}})


def test_a_secret_that_a_step_has_spelled_is_known_as_one() -> None:
    """In base64 nobody would find it in a preflight, or where the upstream repeats it."""
    text = (DEFINITIONS / "lists.yaml").read_text()
    signed = "      proof: {in: header, as: X-Proof, const: 'me:{key}', encode: base64}\n      title:"
    lists = load_integration(text.replace("      title:", signed, 1))
    request = build_request(lists, lists.skills["add_card"], {"title": "x"}, fields={"key": "key-of-ada"})
    assert ("X-Proof", "bWU6a2V5LW9mLWFkYQ==") in request.headers
    assert "bWU6a2V5LW9mLWFkYQ==" in request.secrets
