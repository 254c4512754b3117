"""What every database does alike: parameters, rows, transactions, snapshots, and errors of our own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.core.tenants.keys import Org
from gateway.store.database import (
    AlreadyThere,
    Database,
    NotStorable,
    NotUsable,
    StorageUnavailable,
    compile_sql,
)
from gateway.store.opening import open_database
from tests.store.samples import opened

SET = "INSERT INTO installation (name, value) VALUES (:name, :value)"
GET = "SELECT value FROM installation WHERE name = :name"


def test_names_become_positions_but_not_inside_strings_comments_and_casts() -> None:
    sql = """SELECT ':no', "a:no", x::text -- :no\n FROM t WHERE a = :one AND b = :two OR c = :one"""
    compiled = compile_sql(sql, "postgresql")
    assert compiled.text == """SELECT ':no', "a:no", x::text -- :no\n FROM t WHERE a = $1 AND b = $2 OR c = $1"""
    assert compiled.names == ("one", "two")
    assert compile_sql(sql, "sqlite").text.endswith("a = ?1 AND b = ?2 OR c = ?1")


def test_only_a_select_goes_to_the_reader() -> None:
    assert compile_sql("\n  select 1", "sqlite").reads
    assert not compile_sql("UPDATE t SET a = 1 RETURNING *", "sqlite").reads
    assert not compile_sql("WITH x AS (SELECT 1) DELETE FROM t", "sqlite").reads


async def test_values_come_back_as_they_went_in(database: Database, org: Org) -> None:
    await database.execute(
        "INSERT INTO data_keys (id, wrapped, is_primary, created_at, retired_at) VALUES (:id, :blob, 1, :big, NULL)",
        id="ключ 🔑 'quoted' :name",
        blob=bytes(range(256)),
        big=2**62,
    )
    row = await database.fetch_one("SELECT * FROM data_keys")
    assert row is not None
    assert row["id"] == "ключ 🔑 'quoted' :name"
    assert row["wrapped"] == bytes(range(256)) and isinstance(row["wrapped"], bytes)
    assert row["created_at"] == 2**62
    assert row["retired_at"] is None
    assert [*row.keys()] == ["id", "wrapped", "is_primary", "created_at", "retired_at"]


async def test_execute_says_how_many_rows_changed(database: Database) -> None:
    assert await database.execute(SET, name="a", value="1") == 1
    assert await database.execute(SET, name="b", value="1") == 1
    assert await database.execute("UPDATE installation SET value = :value", value="2") == 2
    assert await database.execute("DELETE FROM installation WHERE name = :name", name="c") == 0
    assert await database.fetch_one(GET, name="c") is None


async def test_a_taken_unique_value_is_already_there(database: Database) -> None:
    await database.execute(SET, name="a", value="1")
    with pytest.raises(AlreadyThere):
        await database.execute(SET, name="a", value="2")
    with pytest.raises(AlreadyThere):
        await database.write([(SET, [("b", "2"), ("a", "2")])])
    assert await database.fetch_one(GET, name="b") is None


async def test_what_the_schema_refuses_is_not_storable(database: Database) -> None:
    with pytest.raises(NotStorable):
        await database.execute(SET, name="a\0b", value="1")
    with pytest.raises(NotStorable):
        await database.execute(SET, name="a", value=None)
    with pytest.raises(NotStorable):
        await database.execute(SET, name="a", value="\ud800")
    with pytest.raises(NotStorable):
        sql = """
            INSERT INTO org_clients (org, integration, client_id, secrets, updated_at)
            VALUES ('nobody', 'x', 'x', :secrets, 1)
        """
        await database.execute(sql, secrets=b"")
    assert not await database.fetch("SELECT * FROM installation")


async def test_a_forgotten_parameter_is_a_mistake_of_ours(database: Database) -> None:
    with pytest.raises(TypeError):
        await database.execute(SET, name="a")
    with pytest.raises(TypeError):
        await database.fetch(GET, name="a", more="b")


async def test_a_transaction_happens_whole_or_not_at_all(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.execute(SET, name="a", value="1")
        assert await transaction.fetch_one(GET, name="a") is not None
        assert await database_sees(database, "a") is False
    assert await database_sees(database, "a")

    with pytest.raises(LookupError):
        async with database.transaction() as transaction:
            await transaction.execute(SET, name="b", value="1")
            raise LookupError
    assert not await database_sees(database, "b")


async def test_an_error_inside_a_transaction_undoes_it(database: Database) -> None:
    with pytest.raises(AlreadyThere):
        async with database.transaction() as transaction:
            await transaction.execute(SET, name="a", value="1")
            await transaction.execute(SET, name="a", value="1")
    assert not await database_sees(database, "a")
    assert await database.execute(SET, name="a", value="1") == 1


async def test_a_cancelled_transaction_leaves_nothing_and_blocks_nobody(database: Database) -> None:
    inside = asyncio.Event()

    async def hold() -> None:
        async with database.transaction() as transaction:
            await transaction.execute(SET, name="a", value="1")
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await inside.wait()
    waiting = asyncio.create_task(database.execute(SET, name="b", value="1"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await waiting == 1
    assert not await database_sees(database, "a")


async def test_a_task_cancelled_at_any_moment_leaves_the_database_usable(database: Database) -> None:
    async def work(number: int) -> None:
        async with database.transaction() as transaction:
            await transaction.execute(SET, name=f"a{number}", value="1")
            await transaction.execute(SET, name=f"b{number}", value="1")

    for number in range(20):
        task = asyncio.create_task(work(number))
        for _ in range(number):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await database.execute(SET, name="last", value="1") == 1
    names = {row["name"] for row in await database.fetch("SELECT name FROM installation")}
    assert all((f"a{number}" in names) == (f"b{number}" in names) for number in range(20))


async def test_what_was_acknowledged_stays_and_what_was_cancelled_is_there_whole_or_not_at_all(
    database: Database,
) -> None:
    acknowledged: set[int] = set()

    async def work(number: int) -> None:
        if number % 3 == 0:
            sql = "INSERT INTO installation (name, value) VALUES (:one, '1'), (:two, '1')"
            await database.execute(sql, one=f"a{number}", two=f"b{number}")
        elif number % 3 == 1:
            await database.write([(SET, [(f"a{number}", "1")]), (SET, [(f"b{number}", "1")])])
        else:
            async with database.transaction() as transaction:
                await transaction.execute(SET, name=f"a{number}", value="1")
                await transaction.execute(SET, name=f"b{number}", value="1")
        acknowledged.add(number)

    async def cancel(task: asyncio.Task[None], number: int) -> None:
        # The moments lie in the driver and the database, which know no clock that could be moved.
        await asyncio.sleep(number % 20 / 5000)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()

    for start in range(0, 120, 4):
        tasks = [asyncio.create_task(work(number)) for number in range(start, start + 4)]
        await asyncio.gather(*(cancel(task, start + which) for which, task in enumerate(tasks[:3])))
        await asyncio.gather(*tasks, return_exceptions=True)
    assert await database.execute(SET, name="last", value="1") == 1
    names = {row["name"] for row in await database.fetch("SELECT name FROM installation")}
    assert all((f"a{number}" in names) == (f"b{number}" in names) for number in range(120))
    assert all(f"a{number}" in names for number in acknowledged)
    assert 0 < len(acknowledged) < 120


async def test_inside_a_transaction_the_database_itself_is_refused_for_writes(database: Database) -> None:
    with pytest.raises(RuntimeError, match="use what transaction"):
        async with database.transaction():
            await database.execute(SET, name="a", value="1")


async def test_reads_do_not_wait_for_a_transaction_that_writes(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.execute(SET, name="a", value="1")
        assert not await asyncio.create_task(database_sees(database, "a"))


async def test_a_snapshot_sees_one_moment(database: Database) -> None:
    await database.execute(SET, name="a", value="1")
    async with database.snapshot() as snapshot:
        assert await snapshot.fetch_one(GET, name="a") is not None
        await asyncio.create_task(database.execute(SET, name="b", value="1"))
        assert await snapshot.fetch_one(GET, name="b") is None
    assert await database_sees(database, "b")


async def test_a_closed_database_is_unavailable(empty_url: str, tmp_path: Path) -> None:
    async with opened(empty_url, tmp_path / "data") as database:
        await database.check()
    with pytest.raises(StorageUnavailable) as refused:
        await database.check()
    assert refused.value.code == "storage_unavailable"
    with pytest.raises(StorageUnavailable):
        await database.execute("DELETE FROM installation")


async def test_an_unknown_kind_of_url_is_refused_without_showing_it(tmp_path: Path) -> None:
    for url in ("mysql://user:hidden@host/db", "postgresql://user:hidden@host:nan/db"):
        with pytest.raises(NotUsable) as refused:
            await open_database(url, tmp_path)
        assert "hidden" not in str(refused.value)


async def database_sees(database: Database, name: str) -> bool:
    # As another task: a transaction belongs to the task that opened it.
    return await asyncio.create_task(database.fetch_one(GET, name=name)) is not None
