"""What is sealed opens for its own place under its own key, and for nothing else."""

import asyncio
import base64
import gzip
import hmac
import json
import os
import random
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from oauth.vault import (
    BadMasterKey,
    KeyInUse,
    KeyProblem,
    KeyRing,
    KeyRingLost,
    MasterKey,
    SealBroken,
    UnknownKey,
    Vault,
    WrappedKey,
    WrongMasterKey,
    fingerprint_of,
    key_id_of,
    load_or_create_master_key,
    open_ring,
)

PLACE = {"org": "org_1", "table": "connections", "row": "conn_1", "column": "credential"}
SHARED = Path(os.environ.get("SKILLWAY_SHARED", Path(__file__).resolve().parents[2] / ".." / "shared"))


class MemoryKeys:
    """`KeyRingStore` in a dict."""

    def __init__(self) -> None:
        self.keys: dict[str, WrappedKey] = {}
        self.fails_to_rewrap = False

    async def load(self) -> Sequence[WrappedKey]:
        return list(self.keys.values())

    async def add(self, key: WrappedKey) -> None:
        self.keys[key.id] = key
        if key.primary:
            self.keys = {one.id: replace(one, primary=one.id == key.id) for one in self.keys.values()}

    async def retire(self, key_id: str, at: float) -> None:
        self.keys[key_id] = replace(self.keys[key_id], retired_at=at)

    async def rewrap(self, keys: Sequence[WrappedKey]) -> None:
        if self.fails_to_rewrap:
            raise ConnectionError("the database is gone")
        self.keys.update({key.id: key for key in keys})


async def a_ring(store: MemoryKeys | None = None, master: MasterKey | None = None) -> KeyRing:
    return await open_ring(store or MemoryKeys(), master or MasterKey.generate(), has_sealed_values=False)


@pytest.fixture
async def vault() -> Vault:
    return Vault(await a_ring())


async def test_a_sealed_value_opens_in_its_place(vault: Vault) -> None:
    for plain in (b"", b"s", b"secret" * 1000):
        assert vault.open(vault.seal(plain, **PLACE), **PLACE) == plain


@pytest.mark.parametrize("part", list(PLACE))
async def test_a_sealed_value_does_not_open_anywhere_else(vault: Vault, part: str) -> None:
    sealed = vault.seal(b"secret", **PLACE)
    with pytest.raises(SealBroken):
        vault.open(sealed, **PLACE | {part: PLACE[part] + "2"})


async def test_the_border_between_two_parts_of_a_place_counts(vault: Vault) -> None:
    sealed = vault.seal(b"secret", org="ab", table="c", row="r", column="x")
    with pytest.raises(SealBroken):
        vault.open(sealed, org="a", table="bc", row="r", column="x")


async def test_values_swapped_between_rows_never_open(vault: Vault) -> None:
    rows = [PLACE | {"row": f"conn_{number}"} for number in range(15)]
    sealed = [vault.seal(f"secret {number}".encode(), **row) for number, row in enumerate(rows)]
    for here, row in enumerate(rows):
        for there, value in enumerate(sealed):
            if here != there:
                with pytest.raises(SealBroken):
                    vault.open(value, **row)


async def test_no_changed_value_opens_and_none_crashes(vault: Vault) -> None:
    sealed = vault.seal(b"a secret of some length", **PLACE)
    chance = random.Random(1)  # noqa: S311 - repeatable garbage
    broken: list[bytes] = [sealed[:length] for length in range(len(sealed))]
    broken += [
        sealed[:at] + bytes([sealed[at] ^ (1 << bit)]) + sealed[at + 1 :]
        for at in range(len(sealed))
        for bit in range(8)
    ]
    broken += [sealed + b"\0", b"\0" + sealed, sealed * 2]
    broken += [chance.randbytes(chance.randrange(200)) for _ in range(1000)]
    broken += [b"\x01" + chance.randbytes(chance.randrange(200)) for _ in range(500)]
    assert len(broken) > 2000
    for value in broken:
        with pytest.raises(SealBroken) as caught:
            vault.open(value, **PLACE)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", [b"gho_plaintexttoken", b'{"token": "x"}', b"", "text", None, 7])
async def test_plain_text_in_the_column_is_refused(vault: Vault, value: Any) -> None:
    with pytest.raises(SealBroken):
        vault.open(value, **PLACE)


@given(plain=st.binary(max_size=200), row=st.text(max_size=20).filter(str.isprintable))
async def test_any_bytes_in_any_row_come_back(plain: bytes, row: str) -> None:
    vault = Vault(await a_ring())
    place = PLACE | {"row": row}
    assert vault.open(vault.seal(plain, **place), **place) == plain


async def test_no_form_of_a_secret_is_in_its_sealed_value(vault: Vault) -> None:
    secret = b"gho_abcdefghijklmnopqrstuvwxyz012345"
    sealed = vault.seal(secret, **PLACE)
    forms = [
        secret,
        secret[::-1],
        base64.b64encode(secret),
        secret.hex().encode(),
        gzip.compress(secret)[10:-8],
    ]
    assert not any(form in sealed for form in forms)


def test_every_value_has_a_salt_of_its_own_in_forked_processes_too() -> None:
    vault = Vault(asyncio.run(a_ring()))
    salts = {vault.seal(b"x", **PLACE)[9:41] for _ in range(5000)}
    assert len(salts) == 5000
    sealed = []
    for _ in range(2):
        reader, writer = os.pipe()
        if (child := os.fork()) == 0:
            os.write(writer, vault.seal(b"x", **PLACE))
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            sealed.append(pipe.read())
        assert os.waitpid(child, 0)[1] == 0
    assert sealed[0][9:53] != sealed[1][9:53]
    assert all(vault.open(value, **PLACE) == b"x" for value in sealed)


async def test_a_value_that_names_another_key_is_not_tried_with_it(vault: Vault) -> None:
    await vault.ring.rotate()
    sealed = vault.seal(b"secret", **PLACE)
    older = bytes.fromhex(vault.ring.keys[0].id)
    assert older.hex() != vault.ring.primary
    with pytest.raises(SealBroken):
        vault.open(sealed[:1] + older + sealed[9:], **PLACE)
    with pytest.raises(UnknownKey):
        vault.open(sealed[:1] + bytes(8) + sealed[9:], **PLACE)


async def test_rotation_seals_anew_and_opens_the_old(vault: Vault) -> None:
    old_key, old = vault.ring.primary, vault.seal(b"old", **PLACE)
    new_key = await vault.ring.rotate()
    assert vault.ring.primary == new_key != old_key
    assert key_id_of(vault.seal(b"new", **PLACE)) == new_key
    assert vault.open(old, **PLACE) == b"old"
    resealed = vault.reseal(old, **PLACE)
    assert resealed is not None
    assert key_id_of(resealed) == new_key
    assert vault.open(resealed, **PLACE) == b"old"
    assert vault.reseal(resealed, **PLACE) is None


async def test_a_key_that_another_process_added_is_found_by_looking_again() -> None:
    store, master = MemoryKeys(), MasterKey.generate()
    here = Vault(await a_ring(store, master))
    there = Vault(await open_ring(store, master, has_sealed_values=True))
    await there.ring.rotate()
    sealed = there.seal(b"secret", **PLACE)
    with pytest.raises(UnknownKey):
        here.open(sealed, **PLACE)
    assert await here.open_fresh(sealed, **PLACE) == b"secret"
    assert here.ring.primary == there.ring.primary
    with pytest.raises(UnknownKey):
        await here.open_fresh(sealed[:1] + bytes(8) + sealed[9:], **PLACE)


async def test_a_key_is_retired_only_when_nothing_needs_it(vault: Vault) -> None:
    old, sealed = vault.ring.primary, vault.seal(b"left behind", **PLACE)
    with pytest.raises(KeyInUse, match="primary"):
        await vault.ring.retire(old, needed_by=0)
    await vault.ring.rotate()
    with pytest.raises(KeyInUse, match="3 values"):
        await vault.ring.retire(old, needed_by=3)
    await vault.ring.retire(old, needed_by=0)
    assert [key.id for key in vault.ring.keys if key.retired_at is not None] == [old]
    assert vault.open(sealed, **PLACE) == b"left behind"


async def test_an_empty_database_gets_one_data_key_and_keeps_it() -> None:
    store, master = MemoryKeys(), MasterKey.generate()
    first = await open_ring(store, master, has_sealed_values=False)
    second = await open_ring(store, master, has_sealed_values=False)
    assert first.primary == second.primary
    assert len(store.keys) == 1


async def test_another_master_key_is_refused_with_both_fingerprints() -> None:
    store, ours, theirs = MemoryKeys(), MasterKey.generate(), MasterKey.generate()
    await a_ring(store, theirs)
    with pytest.raises(WrongMasterKey) as caught:
        await open_ring(store, ours, has_sealed_values=True)
    assert ours.fingerprint in str(caught.value)
    assert theirs.fingerprint in str(caught.value)


async def test_no_master_key_is_refused_with_the_one_that_is_needed() -> None:
    store, master = MemoryKeys(), MasterKey.generate()
    await a_ring(store, master)
    with pytest.raises(BadMasterKey, match=master.fingerprint):
        await open_ring(store, None, has_sealed_values=True)


async def test_sealed_values_without_any_data_key_are_not_papered_over() -> None:
    store = MemoryKeys()
    with pytest.raises(KeyRingLost):
        await open_ring(store, MasterKey.generate(), has_sealed_values=True)
    assert store.keys == {}


async def test_a_damaged_data_key_stops_the_start() -> None:
    store, master = MemoryKeys(), MasterKey.generate()
    ring = await a_ring(store, master)
    whole = store.keys[ring.primary]
    for wrapped in (whole.wrapped[:-1], whole.wrapped[:-1] + b"\0\0", b"", b"plain"):
        store.keys[ring.primary] = replace(whole, wrapped=wrapped)
        with pytest.raises(KeyProblem):
            await open_ring(store, master, has_sealed_values=True)


async def test_a_data_key_wrapped_for_another_id_does_not_open() -> None:
    store, master = MemoryKeys(), MasterKey.generate()
    ring = await a_ring(store, master)
    key = store.keys.pop(ring.primary)
    store.keys["0" * 16] = replace(key, id="0" * 16)
    with pytest.raises(KeyRingLost):
        await open_ring(store, master, has_sealed_values=True)


async def test_the_master_key_changes_without_touching_a_value() -> None:
    store, old, new = MemoryKeys(), MasterKey.generate(), MasterKey.generate()
    running = Vault(await a_ring(store, old))
    sealed = [running.seal(b"1", **PLACE)]
    await running.ring.rotate()
    sealed.append(running.seal(b"2", **PLACE))

    store.fails_to_rewrap = True
    with pytest.raises(ConnectionError):
        await open_ring(store, new, previous=old, has_sealed_values=True)
    store.fails_to_rewrap = False
    assert (await open_ring(store, old, has_sealed_values=True)).primary == running.ring.primary

    moved = Vault(await open_ring(store, new, previous=old, has_sealed_values=True))
    assert [moved.open(value, **PLACE) for value in sealed] == [b"1", b"2"]
    assert {fingerprint_of(key.wrapped) for key in store.keys.values()} == {new.fingerprint}
    again = Vault(await open_ring(store, new, previous=old, has_sealed_values=True))
    assert again.open(sealed[0], **PLACE) == b"1"
    with pytest.raises(WrongMasterKey):
        await open_ring(store, old, has_sealed_values=True)
    # A process that has not been restarted yet goes on with the keys that it has open.
    await running.ring.reload()
    assert running.open(sealed[1], **PLACE) == b"2"


async def test_a_running_ring_changes_its_master_key() -> None:
    store, old, new = MemoryKeys(), MasterKey.generate(), MasterKey.generate()
    ring = await a_ring(store, old)
    await ring.rotate()
    assert await ring.rewrap(new) == 2
    assert (await open_ring(store, new, has_sealed_values=True)).primary == ring.primary


@pytest.mark.parametrize(
    "spell",
    [
        MasterKey.text,
        lambda master: master.key.hex(),
        lambda master: master.key.hex().upper(),
        lambda master: base64.urlsafe_b64encode(master.key).decode(),
        lambda master: master.text().rstrip("="),
        lambda master: f"  {master.text()}\n",
    ],
)
def test_a_master_key_is_read_in_every_usual_spelling(spell: Any) -> None:
    for _ in range(20):
        master = MasterKey.generate()
        assert MasterKey.parse(spell(master)) == master


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "short",
        "zz" * 32,
        "ab" * 31,
        "ab" * 33,
        "AAAA",
        base64.b64encode(b"x" * 31).decode(),
        "00" * 32,
        "☃" * 43,
    ],
)
def test_a_bad_master_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(BadMasterKey) as caught:
        MasterKey.parse(text)
    assert not text.strip() or text not in str(caught.value)


def test_a_master_key_shows_its_fingerprint_only() -> None:
    master = MasterKey.generate()
    assert master.text() not in repr(master)
    assert repr(master.key) not in repr(master)
    assert master.fingerprint != MasterKey.generate().fingerprint
    assert MasterKey(master.key).fingerprint == master.fingerprint


def test_a_key_file_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    made = load_or_create_master_key(path, create=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_create_master_key(path, create=True) == made
    assert load_or_create_master_key(path, create=False) == made
    assert [file.name for file in tmp_path.iterdir()] == ["master.key"]


def test_a_loose_key_file_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    load_or_create_master_key(path, create=True)
    path.chmod(0o644)
    load_or_create_master_key(path, create=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_key_is_made_beside_a_database_that_has_values(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    with pytest.raises(BadMasterKey, match=r"master\.key"):
        load_or_create_master_key(path, create=False)
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"short", b"\xff\xfe\x00", bytes(range(128, 160))])
def test_a_bad_key_file_is_named_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(content)
    with pytest.raises(BadMasterKey, match=r"master\.key"):
        load_or_create_master_key(path, create=True)
    assert path.read_bytes() == content


def vectors(name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    path = SHARED / "data" / "vectors" / f"wycheproof-{name}.json"
    if not path.exists():
        pytest.skip(f"no {path.name}: the shared data is not beside this checkout")
    suite = json.loads(path.read_text())
    return [(group, test) for group in suite["testGroups"] for test in group["tests"]]


@pytest.mark.shared
def test_aes_gcm_is_right_by_wycheproof() -> None:
    checked = 0
    for _, test in vectors("aes_gcm"):
        key, nonce, aad, plain, ciphertext, tag = (
            bytes.fromhex(test[name]) for name in ("key", "iv", "aad", "msg", "ct", "tag")
        )
        checked += 1
        if test["result"] == "valid" and 8 <= len(nonce) <= 128:
            assert AESGCM(key).encrypt(nonce, plain, aad) == ciphertext + tag, test["tcId"]
            assert AESGCM(key).decrypt(nonce, ciphertext + tag, aad) == plain, test["tcId"]
        else:
            with pytest.raises((InvalidTag, ValueError)):
                AESGCM(key).decrypt(nonce, ciphertext + tag, aad)
    assert checked == 316


@pytest.mark.shared
def test_hkdf_is_right_by_wycheproof() -> None:
    checked = 0
    for _, test in vectors("hkdf_sha256"):
        checked += 1
        salt, info, secret = (bytes.fromhex(test[name]) for name in ("salt", "info", "ikm"))
        if test["result"] == "valid":
            derived = HKDF(algorithm=SHA256(), length=test["size"], salt=salt, info=info).derive(secret)
            assert derived.hex() == test["okm"], test["tcId"]
        else:
            with pytest.raises(ValueError, match=r"length|size|large|too"):
                HKDF(algorithm=SHA256(), length=test["size"], salt=salt, info=info).derive(secret)
    assert checked == 86


@pytest.mark.shared
def test_hmac_is_right_by_wycheproof() -> None:
    checked = 0
    for group, test in vectors("hmac_sha256"):
        checked += 1
        mac = hmac.digest(bytes.fromhex(test["key"]), bytes.fromhex(test["msg"]), "sha256")
        shortened = mac[: group["tagSize"] // 8].hex()
        assert (shortened == test["tag"]) is (test["result"] == "valid"), test["tcId"]
    assert checked == 174
