"""Secrets at rest: nowhere in the clear, bound to their row, opened by the right master key alone, re-sealed while calls run."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from gateway.store.opening import open_database
from oauth.vault import MasterKey
from tests import numbered
from tests.demo import KeyedApi, keyed_definition, operate, write_definitions
from tests.fakes.upstream import serve
from tests.harness import Answer, RunningGateway, environment, gateway, gateway_process
from tests.leaks import files, leaks, spellings
from tests.numbered import Numbered

CLIENT = {"demo": {"client_id": "us", "client_secret": "our-secret"}}


class PlantedApi(KeyedApi):
    """Knows the keys that a test makes up."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        super().__init__()
        self.logins = keys  # type: ignore[misc]


async def test_a_planted_secret_is_nowhere_in_the_clear(tmp_path: Path, database_setting: dict[str, str]) -> None:
    """T115: database, its write-ahead log, backup, logs, answers and error bodies."""
    planted = {name: f"{name}-{secrets.token_hex(12)}" for name in ("tokens", "pasted", "typed", "password", "client", "hook")}
    keys = {planted["pasted"]: "alice", planted["typed"]: "bob", planted["password"]: "carol"}
    answers: list[Answer] = []
    async with numbered.numbered(start=planted["tokens"]) as tokens, serve(PlantedApi(keys)) as api:
        definitions = write_definitions(tmp_path, tokens.definition(), keyed_definition(api.base_url))
        more: dict[str, Any] = {"integrations": CLIENT, "definitions": definitions, **database_setting}
        environ = environment(tmp_path, CLIENT, definitions, database_setting)
        async with gateway_process(tmp_path, **more) as running:

            async def ask(method: str, path: str, body: Any = None) -> Answer:
                answer = await running.ask(method, path, body=body)
                answers.append(answer)
                return answer

            connection = await numbered.connect(running)
            for method, given in (
                ("bearer", {"token": planted["pasted"]}),
                ("query", {"api_key": planted["typed"]}),
                ("basic", {"username": "someone", "password": planted["password"]}),
            ):
                body = {"integration": "keyed", "auth": method, "user": method, "credentials": given}
                assert (await ask("POST", "/v1/connect", body)).status == 200
                called = await ask("POST", "/v1/keyed/whoami", {"params": {}, "user": method})
                assert called.json()["status"] == 200
            code, _, err = await operate(
                environ, "orgs", "set-client", running.org.id, "demo", "--client-id", "ours",
                "--client-secret-stdin", stdin=planted["client"],
            )
            assert code == 0, err
            # What signs deliveries, and what proves messages of upstreams.
            hooks: tuple[tuple[str, dict[str, Any], str], ...] = (
                ("/v1/webhooks", {"url": "https://ok.example/in", "events": ["*"]}, "secret"),
                ("/v1/org/signing-secret", {}, "secret"),
                ("/v1/hooks", {"integration": "github", "secret": planted["hook"]}, "url"),
            )
            for path, body, shown in hooks:
                # Not among the answers: it is shown in this one, and nowhere else.
                made = await running.ask("POST", path, body=body)
                assert made.status == 201, made.body
                planted[path] = made.json()[shown].rpartition("/")[2] if shown == "url" else made.json()[shown][6:]
                await ask("GET", path.replace("signing-secret", "redirect-urls"))
            message = await running.session.post(f"{running.url}/hooks/{planted['/v1/hooks']}", data=b"{}")
            assert message.status == 401
            # Their ways into an error: refused by the API, refused by us, mangled, unreachable.
            api.upstream.logins = {}  # type: ignore[misc]
            await ask("POST", "/v1/connect", {"integration": "keyed", "credentials": {"token": planted["pasted"]}})
            await ask("POST", "/v1/connect", {"integration": "keyed", "credentials": {"token": planted["pasted"] + "\n\x00"}})
            await ask("POST", "/v1/connect", {"integration": "keyed", "credentials": {"api_key": [planted["typed"]]}})
            await ask("POST", "/v1/keyed/whoami", {"params": {}, "user": "query"})
            tokens.expire()
            await ask("POST", "/v1/demo/whoami", {"params": {}})
            tokens.refuses = True
            await ask("POST", "/v1/demo/whoami", {"params": {}})
            api.next(body=b"\0garbage", status=500)
            await ask("POST", "/v1/keyed/whoami", {"params": {}, "user": "basic"})
            await ask("GET", "/v1/connections")
            await ask("GET", f"/v1/connections/{connection}")
            await ask("GET", f"/v1/connect/{connection}")
            await ask("GET", "/v1/skills")

            code, _, err = await operate(environ, "backup", str(tmp_path / "copy"))
            assert code == 0, err
            places = [
                *files(running.data_dir, tmp_path / "log", tmp_path / "copy"),
                *((f"answer {number}", _whole(answer)) for number, answer in enumerate(answers)),
            ]
            if database_setting:
                places += [item async for item in _tables(database_setting["database_url"])]
        places += files(tmp_path / "log")
        assert set(tokens.presented) >= {"the-code", f"rt-{planted['tokens']}1"}
    written = b"".join(content for _, content in places)
    # The search is no use where it would find nothing anyway.
    for known in ("alice", connection, running.org.id):
        assert known.encode() in written
    assert list(leaks([*planted.values(), running.org.live, running.org.test], places)) == []


def test_the_search_for_leaks_finds_each_way_to_write_a_secret_down() -> None:
    secret = "hunter2-" + secrets.token_hex(12)
    for text in (secret, secret.encode().hex(), secret[::-1]):
        assert list(leaks([secret], [("x", f"before {text} after".encode())]))
    for before in ("", "a", "ab", "abc"):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            assert list(leaks([secret], [("x", encode(f"{before}{secret}xyz".encode()))]))
    assert not list(leaks([secret], [("x", b"nothing of it")]))
    assert len(spellings(secret)) >= 12


async def test_no_repr_of_anything_alive_shows_a_secret(tmp_path: Path) -> None:
    planted = secrets.token_hex(16)
    async with numbered.numbered(start=planted) as tokens:
        definitions = write_definitions(tmp_path, tokens.definition())
        clients = {"demo": {"client_id": "us", "client_secret": f"client-{planted}"}}
        async with gateway(tmp_path, integrations=clients, definitions=definitions) as running:
            await numbered.connect(running)
            assert (await running.call("demo", "whoami")).json()["status"] == 200
            looked, shown = 0, []
            for thing in gc.get_objects():
                if str(type(thing).__module__).split(".")[0] in ("gateway", "oauth", "skills_catalog"):
                    looked += 1
                    told = repr(thing) + (str(thing) if not isinstance(thing, str) else "")
                    if planted in told or running.org.live in told:
                        shown.append(type(thing).__qualname__)
            assert looked > 100
            assert shown == []


async def test_two_sealed_values_that_change_places_open_neither(
    tmp_path: Path, database_setting: dict[str, str]
) -> None:
    """T116: the seal holds org, table, row and column."""
    keys = {"key-of-alice": "alice", "key-of-bob": "bob"}
    async with serve(PlantedApi(keys)) as api:
        definitions = write_definitions(tmp_path, keyed_definition(api.base_url))
        more: dict[str, Any] = {"definitions": definitions, **database_setting}
        async with gateway_process(tmp_path, **more) as running:
            alice = await running.connect("keyed", {"token": "key-of-alice"}, user="alice")
            bob = await running.connect("keyed", {"token": "key-of-bob"}, user="bob")
            assert (await running.call("keyed", "whoami", user="carol")).status == 403
            database = await open_database(database_setting.get("database_url"), running.data_dir)
            try:
                rows = await database.fetch("SELECT id, credential FROM connections")
                sealed = {row["id"]: row["credential"] for row in rows}
                sql = "UPDATE connections SET credential = :credential WHERE id = :id"
                await database.execute(sql, credential=sealed[bob], id=alice)
                await database.execute(sql, credential=sealed[alice], id=bob)
                seen = len(api.seen)
                for user, connection in (("alice", alice), ("bob", bob)):
                    refused = await running.call("keyed", "whoami", user=user)
                    assert "data" not in refused.json()
                    assert (refused.status, refused.json()["error"]) == (401, "token_expired"), refused.body
                    assert refused.json()["details"] == {"connection": connection, "reason": "credential_broken"}
                    assert b"key-of-" not in refused.body
                # The row may be moved whole just as little: its user is in the seal.
                await database.execute(sql, credential=sealed[alice], id=alice)
                await database.execute("UPDATE connections SET \"user\" = 'mallory' WHERE id = :id", id=alice)
                assert (await running.call("keyed", "whoami", user="mallory")).status == 401
                assert len(api.seen) == seen
                # A plain value is no way in either (T119).
                await database.execute(sql, credential=b'{"token": "key-of-bob"}', id=bob)
                assert (await running.call("keyed", "whoami", user="bob")).status == 401
                assert len(api.seen) == seen
            finally:
                await database.close()
            assert (await running.ask("GET", "/v1/connections")).status == 200
            for connection in (alice, bob):
                assert (await running.ask("DELETE", f"/v1/connections/{connection}")).status == 204


async def test_a_broken_credential_is_mended_by_connecting_again_and_spoils_no_other(tmp_path: Path) -> None:
    keys = {"key-of-alice": "alice", "key-of-bob": "bob"}
    async with serve(PlantedApi(keys)) as api:
        definitions = write_definitions(tmp_path, keyed_definition(api.base_url))
        async with gateway_process(tmp_path, definitions=definitions) as running:
            alice = await running.connect("keyed", {"token": "key-of-alice"}, label="broken")
            await running.connect("keyed", {"token": "key-of-bob"}, label="good")
            database = await open_database(None, running.data_dir)
            try:
                sql = "UPDATE connections SET credential = :credential WHERE id = :id"
                await database.execute(sql, credential=os.urandom(200), id=alice)
            finally:
                await database.close()
            await asyncio.sleep(2.1)  # what this process has seen of another's changes is at most 2 s old
            good = await running.call("keyed", "whoami", connection="good")
            assert good.json()["data"] == {"login": "bob"}
            again = await running.connect("keyed", {"token": "key-of-alice"}, connection=alice)
            assert again == alice
            mended = await running.call("keyed", "whoami", connection=alice)
            assert mended.json()["data"] == {"login": "alice"}


# -- the master key --------------------------------------------------------------------------------


def _remove(key: Path) -> dict[str, str]:
    key.unlink()
    return {}


def _replace(text: str) -> Callable[[Path], dict[str, str]]:
    def spoil(key: Path) -> dict[str, str]:
        key.write_text(text)
        return {}

    return spoil


def _set(**settings: str) -> Callable[[Path], dict[str, str]]:
    return lambda key: settings


OTHER = base64.b64encode(bytes(range(32))).decode()
SPOILT: dict[str, Callable[[Path], dict[str, str]]] = {
    "missing": _remove,
    "empty": _replace(""),
    "too short": _replace(base64.b64encode(b"x" * 16).decode()),
    "too long": _replace(base64.b64encode(b"x" * 33).decode()),
    "no base64": _replace("not a key at all!"),
    "another": _replace(OTHER),
    "another in the settings": _set(SKILLWAY_MASTER_KEY=OTHER),
    "too short in the settings": _set(SKILLWAY_MASTER_KEY="00ff"),
    "a file that is not there": _set(SKILLWAY_MASTER_KEY_FILE="/nowhere/key"),
}


@pytest.mark.parametrize("what", SPOILT)
async def test_a_bad_master_key_stops_the_start_and_says_why(tmp_path: Path, what: str) -> None:
    """T120: exit 78, no listener, and nothing of a key in the message."""
    environ, key = await _used_installation(tmp_path)
    before = key.read_text().strip()
    environ |= SPOILT[what](key)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code, out, err = await operate(environ, "serve", "--port", str(port))
    assert code == 78
    assert "listening" not in out
    assert "master key" in err or "MASTER_KEY" in err, err
    assert "Traceback" not in err
    assert before not in err
    assert OTHER not in err
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    if what.startswith("another"):
        # Both fingerprints, to see which key is where.
        for fingerprint in (_fingerprint(before), _fingerprint(OTHER)):
            assert fingerprint in err


async def test_without_its_key_no_command_makes_a_new_one(tmp_path: Path) -> None:
    environ, key = await _used_installation(tmp_path)
    key.unlink()
    for command in (("serve", "--port", "0"), ("init",), ("vault", "rotate"), ("orgs", "list"), ("vault", "status")):
        code, _, err = await operate(environ, *command)
        assert code == 78, (command, err)
        assert not key.exists()


async def test_a_loose_mode_of_the_key_is_mended(tmp_path: Path) -> None:
    environ, key = await _used_installation(tmp_path)
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o644)
    code, _, err = await operate(environ, "vault", "status")
    assert code == 0, err
    assert key.stat().st_mode & 0o777 == 0o600


async def test_the_master_key_is_changed_by_giving_the_old_one_along(tmp_path: Path) -> None:
    environ, key = await _used_installation(tmp_path)
    old = key.read_text().strip()
    changed = {**environ, "SKILLWAY_MASTER_KEY": OTHER, "SKILLWAY_MASTER_KEY_PREVIOUS": old}
    code, out, err = await operate(changed, "vault", "status", "--json")
    assert code == 0, err
    assert json.loads(out)["master_key"] == _fingerprint(OTHER)
    alone = {**environ, "SKILLWAY_MASTER_KEY": OTHER}
    assert (await operate(alone, "vault", "status"))[0] == 0
    assert (await operate(environ, "vault", "status"))[0] == 78


# -- rotation --------------------------------------------------------------------------------------


async def test_no_call_fails_while_every_value_is_sealed_anew(
    tmp_path: Path, database_setting: dict[str, str]
) -> None:
    """T122: several users call, refresh and connect all the while."""
    async with numbered.numbered() as tokens:
        definitions = write_definitions(tmp_path, tokens.definition())
        more: dict[str, Any] = {"integrations": CLIENT, "definitions": definitions, **database_setting}
        environ = environment(tmp_path, CLIENT, definitions, database_setting)
        async with gateway_process(tmp_path, **more) as running:
            users = [f"u-{number}" for number in range(12)]
            for user in users:
                await numbered.connect(running, user=user)
            code, out, err = await operate(environ, "vault", "status", "--json")
            assert code == 0, err
            old = {key["id"]: key["values"] for key in json.loads(out)["data_keys"]}
            assert sum(old.values()) >= len(users)

            over = asyncio.Event()
            calling = [asyncio.create_task(_keep_calling(running, user, over)) for user in users]
            expiring = asyncio.create_task(_keep_expiring(tokens, over))
            code, out, err = await operate(environ, "vault", "rotate")
            over.set()
            calls = [status for statuses in await asyncio.gather(*calling) for status in statuses]
            await expiring
            assert code == 0, err
            done = json.loads(out)
            assert done["left"] == 0
            # What a refresh sealed anew in the meantime need not be moved.
            assert done["moved"] >= 1
            assert set(calls) == {(200, 200)}
            assert len(calls) > 100
            code, out, err = await operate(environ, "vault", "status", "--json")
            status = json.loads(out)
            assert status["damaged"] == 0
            left = {key["id"]: key["values"] for key in status["data_keys"]}
            assert all(left[key] == 0 for key in old)
            assert left[done["primary"]] >= len(users)
            tokens.expire()
            for user in users:
                assert (await running.call("demo", "whoami", user=user)).json()["status"] == 200


# -- small parts -----------------------------------------------------------------------------------


async def _used_installation(folder: Path) -> tuple[dict[str, str], Path]:
    """The settings of a gateway that has sealed something, and its key file."""
    async with serve(PlantedApi({"key-of-alice": "alice"})) as api:
        definitions = write_definitions(folder, keyed_definition(api.base_url))
        async with gateway(folder, definitions=definitions) as running:
            await running.connect("keyed", {"token": "key-of-alice"})
    return environment(folder, {}, definitions, {}), folder / "data" / "master.key"


def _fingerprint(key: str) -> str:
    return MasterKey.parse(key).fingerprint


async def _keep_calling(running: RunningGateway, user: str, over: asyncio.Event) -> list[tuple[int, Any]]:
    went = []
    while not over.is_set():
        answer = await running.call("demo", "whoami", user=user)
        went.append((answer.status, answer.json().get("status", answer.json().get("error"))))
        await asyncio.sleep(0.05)
    return went


async def _keep_expiring(tokens: Numbered, over: asyncio.Event) -> None:
    """Values change under the rotation's hands."""
    while not over.is_set():
        tokens.expire_used()
        with_timeout = asyncio.wait_for(over.wait(), 1.0)
        try:
            await with_timeout
        except TimeoutError:
            continue


def _whole(answer: Answer) -> bytes:
    return json.dumps(dict(answer.headers)).encode() + answer.body


async def _tables(url: str) -> AsyncIterator[tuple[str, bytes]]:
    """Every row of every table of a PostgreSQL, as text and as bytes."""
    connection = await asyncpg.connect(url)
    try:
        names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        assert len(names) >= 8
        for (name,) in names:
            for row in await connection.fetch(f'SELECT * FROM "{name}"'):
                for value in row.values():
                    yield f"table {name}", value if isinstance(value, bytes) else str(value).encode()
    finally:
        await connection.close()
