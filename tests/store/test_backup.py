"""Backups, restores and moves: everything, from one moment, to the right installation, or nothing at all."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.core.calls.sandbox import Thing
from gateway.core.connections.clients import OAuthClient
from gateway.core.events import Event
from gateway.core.messages.signing import new_secret
from gateway.core.people.devices import DeviceFlow
from gateway.core.people.sign_in import SignInFlow
from gateway.core.tenants.keys import Org
from gateway.store.backup import TABLES, backup, copy_to, key_in, restore
from gateway.store.blobs import SqlBlobs
from gateway.store.clients import SqlClients
from gateway.store.connections import SqlConnections
from gateway.store.data_keys import SqlDataKeys
from gateway.store.database import Database, NotUsable, Row, StorageUnavailable
from gateway.store.deprecations import SqlDeprecations
from gateway.store.device_flows import SqlDeviceFlows
from gateway.store.fan_out import SqlFanOut
from gateway.store.flows import SqlFlows
from gateway.store.hooks import SqlHooks
from gateway.store.keys import SqlKeys
from gateway.store.leases import SqlLeases
from gateway.store.members import SqlMembers
from gateway.store.migrate import load, migrate
from gateway.store.opening import open_database
from gateway.store.orgs import SqlOrgs
from gateway.store.queue import SqlQueue
from gateway.store.runs import RunWriter
from gateway.store.sandbox import SqlSandbox
from gateway.store.sessions import SqlSessions
from gateway.store.sign_in_flows import SqlSignInFlows
from gateway.store.sign_in_links import SqlSignInLinks
from gateway.store.signing_secrets import SqlSigningSecrets
from gateway.store.sqlite import SqliteDatabase
from gateway.store.tries import SqlTries
from gateway.store.webhooks import SqlWebhooks
from oauth.oidc import Identity
from oauth.secret import Secret
from oauth.vault import MasterKey, Vault, open_ring
from tests.store.samples import (
    Clock,
    a_connection,
    a_credential,
    a_deprecated_skill,
    a_flow,
    a_hook,
    a_run,
    a_webhook,
    ended,
    flow_secrets,
)

PLANTED = "planted-token-51d2b7"

SET_VALUE = "INSERT INTO installation (name, value) VALUES ('id', :value)"


class Filled:
    """A database with rows in every table, and what opens them."""

    def __init__(self, database: Database, master: MasterKey, org: Org) -> None:
        self.database = database
        self.master = master
        self.org = org


async def fill(database: Database, clock: Clock) -> Filled:
    master = MasterKey.generate()
    vault = Vault(await open_ring(SqlDataKeys(database), master, has_sealed_values=False))
    org = await SqlOrgs(database, clock=clock).create("Größe ✓", plan="free")
    await database.execute(SET_VALUE, value="inst_1")
    await SqlKeys(database).create(org.id, "one", "live")
    connections = SqlConnections(database, vault)
    for _ in range(3):
        await connections.add(a_connection(org.id), a_credential(PLANTED))
    client = OAuthClient(integration="github", client_id="c", client_secret=Secret(PLANTED))
    await SqlClients(database, vault).save(org.id, client)
    flow = a_flow(org.id)
    flows = SqlFlows(database, vault, clock=clock)
    await flows.add(flow)
    await flows.start(org.id, flow.connection, state=b"\0state", secrets=flow_secrets(), expires_at=clock.now + 9)
    await SqlLeases(database).acquire("refresh", "a", 30)
    notice = Event.now(org.id, "skill.deprecated", clock.now)
    await SqlDeprecations(database).tell(a_deprecated_skill(), notice)
    member = await SqlMembers(database).add(org.id, email="größe@example.com", name="Größe ✓")
    await SqlSessions(database).start(member, b"\0cookie", expires_at=clock.now + 9)
    await SqlSignInLinks(database).make(member, b"\xfflink", expires_at=clock.now + 9)
    known = Identity(issuer="https://id.example.com", subject="s-1", email="new@example.com")
    await SqlSignInFlows(database).add(
        SignInFlow(browser=b"\0browser", next="/keys", identity=known, expires_at=clock.now + 9), b"state"
    )
    device = DeviceFlow(id="dev_1", device="Größe ✓", created_at=clock.now, expires_at=clock.now + 9)
    assert await SqlDeviceFlows(database).add(device, b"\0device", b"\xffuser")
    assert await SqlTries(database).take("codes", 5, 900)
    await SqlWebhooks(database, vault).add(a_webhook(org.id), new_secret(), most=9)
    await SqlSigningSecrets(database, vault).live(org.id, "live")
    hook = a_hook(org.id)
    await SqlHooks(database, vault).add(hook, b"\0hash", Secret(PLANTED), most=9)
    told = Event.now(org.id, "hook.github", 1_800_000_000.0, payload="größe")
    await SqlHooks(database, vault).keep(hook, told, ["id 1"], seconds=9)
    await SqlFanOut(database).fan_out(100)
    thing = Thing(id="thing_1", kind="github.issue", name="7", place={"repo": "größe"}, members={"token": PLANTED})
    await SqlSandbox(database, vault, clock=clock).put(org.id, "key_1", thing, most=9)
    runs = RunWriter(database)
    for _ in range(1203):  # more than two batches, and a part of one
        runs.record(ended(a_run(org.id), status=None, credits=1))
    await runs.close()
    await SqlBlobs(database, vault).write(
        org.id, "run_1", b"{}", in_pieces(b"x" * 600_000), expires_at=clock.now + 9e9, most=10**6
    )
    await SqlQueue(database, vault).add(
        a_run(org.id, state="queued"), request=b"{}", is_safe=True, priority=0, due_at=1
    )
    return Filled(database, master, org)


@pytest_asyncio.fixture
async def filled(database: Database, clock: Clock) -> Filled:
    return await fill(database, clock)


async def in_pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


Opener = Callable[[str], Any]


@pytest_asyncio.fixture
async def fresh(tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens further migrated databases, closed in the end: an SQLite file of that name, or a URL."""
    opened: list[Database] = []

    async def open_one(where: str) -> Database:
        folder = tmp_path / where.rpartition("/")[2]
        database = await open_database(where if ":" in where else None, folder)
        opened.append(database)
        await migrate(database, folder)
        return database

    yield open_one
    for database in opened:
        await database.close()


async def everything(database: Database) -> dict[str, list[dict[str, object]]]:
    found = {}
    for table, key in TABLES.items():
        rows = [plain(row) for row in await database.fetch(f"SELECT * FROM {table}")]
        found[table] = sorted(rows, key=lambda row: [str(row[name]) for name in key])
    return found


def plain(row: Row) -> dict[str, object]:
    names = [*row.keys()]
    return {name: row[name] for name in names}


async def test_a_copy_to_the_other_kind_and_back_changes_nothing(
    filled: Filled, fresh: Opener, fresh_postgres: str
) -> None:
    there, back = await fresh(fresh_postgres), await fresh("back")
    counts = await copy_to(filled.database, there)
    assert counts["runs"] == 1204 and counts["connections"] == 3 and 0 not in counts.values()
    assert await copy_to(there, back) == counts
    assert await everything(filled.database) == await everything(there) == await everything(back)


async def test_a_copy_needs_an_empty_target_of_the_same_schema(filled: Filled, fresh: Opener, tmp_path: Path) -> None:
    taken = await fresh("taken")
    await taken.execute(SET_VALUE, value="mine")
    with pytest.raises(NotUsable, match="not empty: table installation"):
        await copy_to(filled.database, taken)
    assert [row["value"] for row in await taken.fetch("SELECT value FROM installation")] == ["mine"]
    assert not await taken.fetch("SELECT * FROM runs")
    other = await fresh("other")
    await other.execute("UPDATE migrations SET checksum = 'x'")
    with pytest.raises(NotUsable, match="different schemas"):
        await copy_to(filled.database, other)


async def test_a_copy_that_fails_leaves_the_target_empty(filled: Filled, fresh: Opener) -> None:
    target = await fresh("target")
    # Leases come almost last.
    await target.execute("ALTER TABLE leases RENAME COLUMN owner TO holder")
    with pytest.raises(StorageUnavailable):
        await copy_to(filled.database, target)
    await target.execute("ALTER TABLE leases RENAME COLUMN holder TO owner")
    assert all(rows == [] for rows in (await everything(target)).values())


async def test_a_backup_is_one_private_file_that_restores_whole(
    filled: Filled, fresh: Opener, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir(mode=0o755)
    file = folder / "today.db"
    await backup(filled.database, file)
    assert [path.name for path in folder.iterdir()] == ["today.db"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert key_in(file) is None
    for hidden in (PLANTED.encode(), filled.master.text().encode(), filled.master.key):
        assert hidden not in file.read_bytes()

    target = await fresh("target")
    counts = await restore(file, target, fingerprint=filled.master.fingerprint)
    assert counts["runs"] == 1204
    assert await everything(target) == await everything(filled.database)
    vault = Vault(await open_ring(SqlDataKeys(target), filled.master, has_sealed_values=True))
    connections = SqlConnections(target, vault)
    for connection in await connections.list(filled.org.id):
        held = await connections.find(filled.org.id, connection.id)
        assert held is not None and held.credential == a_credential(PLANTED)


async def test_a_backup_never_replaces_a_file(filled: Filled, tmp_path: Path) -> None:
    file = tmp_path / "precious.txt"
    file.write_text("precious")
    with pytest.raises(NotUsable, match="exists already"):
        await backup(filled.database, file)
    assert file.read_text() == "precious"


async def test_a_backup_carries_the_master_key_only_when_asked(
    filled: Filled, fresh: Opener, tmp_path: Path
) -> None:
    file = tmp_path / "with-key.db"
    await backup(filled.database, file, with_key=Secret(filled.master.text()))
    carried = key_in(file)
    assert carried is not None
    target = await fresh("target")
    await restore(file, target, fingerprint=MasterKey.parse(carried.reveal()).fingerprint)
    # The key does not move into the database.
    assert await everything(target) == await everything(filled.database)


async def test_a_restore_refuses_another_master_key_and_a_target_that_is_not_empty(
    filled: Filled, fresh: Opener, tmp_path: Path, clock: Clock
) -> None:
    file = tmp_path / "backup.db"
    await backup(filled.database, file)
    target = await fresh("target")
    another = MasterKey.generate()
    for fingerprint in (another.fingerprint, None):
        with pytest.raises(NotUsable) as refused:
            await restore(file, target, fingerprint=fingerprint)
        assert filled.master.fingerprint in str(refused.value)
    assert another.fingerprint in str((await refusal(file, target, another)).value)

    mine = await fill(target, clock)
    with pytest.raises(NotUsable, match="not empty"):
        await restore(file, target, fingerprint=filled.master.fingerprint)
    assert (await SqlOrgs(target).find(mine.org.id)) == mine.org
    await restore(file, target, fingerprint=filled.master.fingerprint, force=True)
    assert await everything(target) == await everything(filled.database)


async def refusal(file: Path, target: Database, master: MasterKey) -> pytest.ExceptionInfo[NotUsable]:
    with pytest.raises(NotUsable) as refused:
        await restore(file, target, fingerprint=master.fingerprint)
    return refused


async def test_a_damaged_or_foreign_file_is_not_restored(fresh: Opener, tmp_path: Path) -> None:
    target = await fresh("target")
    text, foreign, missing = tmp_path / "text", tmp_path / "foreign", tmp_path / "missing"
    text.write_text("no database" * 100)
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE x (y)")
    for file in (text, foreign, missing):
        with pytest.raises(NotUsable, match="not a backup of Skillway"):
            await restore(file, target, fingerprint="0" * 16)
    assert not missing.exists()


async def test_a_backup_of_an_older_schema_is_brought_up_to_date(
    filled: Filled, fresh: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gateway.store import migrate as module

    file = tmp_path / "old.db"
    await backup(filled.database, file)
    newer = Path(shutil.copytree(module.MIGRATIONS, tmp_path / "migrations"))
    (newer / f"{len(load()) + 1:04}_more.sql").write_text("ALTER TABLE orgs ADD COLUMN motto TEXT;\n")
    monkeypatch.setattr(module.migrate, "__kwdefaults__", {"folder": newer})
    target = await fresh("target")
    await restore(file, target, fingerprint=filled.master.fingerprint)
    [row] = await target.fetch("SELECT id, motto FROM orgs")
    assert (row["id"], row["motto"]) == (filled.org.id, None)


@pytest.mark.failure("R33")
async def test_a_backup_beside_writers_is_from_one_moment(filled: Filled, tmp_path: Path) -> None:
    """Each transaction writes two rows that belong together; a backup has both of them or neither."""
    database = filled.database
    stop = asyncio.Event()

    async def write() -> int:
        number = 0
        while not stop.is_set():
            number += 1
            async with database.transaction() as transaction:
                pair = f"pair {number:06}"
                await transaction.execute("INSERT INTO installation (name, value) VALUES (:n, '')", n=pair)
                await transaction.execute("INSERT INTO leases (name, owner, until) VALUES (:n, '', 1)", n=pair)
        return number

    writing = asyncio.create_task(write())
    seen = []
    for number in range(3):
        file = tmp_path / f"{number}.db"
        await backup(database, file)
        with closing(sqlite3.connect(file)) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            pairs = [
                {name for (name,) in copy.execute(f"SELECT name FROM {table} WHERE name LIKE 'pair%'")}
                for table in ("installation", "leases")
            ]
        assert pairs[0] == pairs[1]
        seen.append(len(pairs[0]))
    stop.set()
    assert seen[0] < seen[1] < seen[2] <= await writing


async def test_a_failed_backup_leaves_no_file(filled: Filled, tmp_path: Path) -> None:
    await filled.database.close()
    if isinstance(filled.database, SqliteDatabase):
        filled.database.path.write_bytes(b"rubbish" * 1000)
    folder = tmp_path / "backups"
    folder.mkdir()
    with pytest.raises((NotUsable, StorageUnavailable)):
        await backup(filled.database, folder / "today.db")
    assert [*folder.iterdir()] == []


async def test_a_backup_that_cannot_be_written_says_so(filled: Filled, tmp_path: Path) -> None:
    with pytest.raises(NotUsable, match="cannot be written"):
        await backup(filled.database, tmp_path / "no such folder" / "today.db")
