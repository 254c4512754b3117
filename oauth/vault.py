"""Sealing: how a secret lies on the disk, bound to the row it belongs to, under keys that can be changed.

The master key stays outside the database. It wraps *data keys*, which the database keeps; a data key seals
values. Every value has a key of its own, derived from a data key and 256 random bits, so that no number of
values and no fork can repeat a key and nonce pair.

    sealed = version(1) · data key id(8) · salt(32) · nonce(12) · commitment(16) · ciphertext and tag

There is no branch for plain text: what does not open raises `SealBroken`.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32

_VERSION = b"\x01"
_ID_BYTES = 8
_SALT_BYTES = 32
_NONCE_BYTES = 12
_COMMITMENT_BYTES = 16
_TAG_BYTES = 16
_HEADER_BYTES = len(_VERSION) + _ID_BYTES + _SALT_BYTES + _NONCE_BYTES + _COMMITMENT_BYTES
_FINGERPRINT_BYTES = 8


class SealBroken(Exception):
    """A sealed value does not open: cut, changed, of another row, plain text, or under a key nobody has.

    The message never says more than the place, so that it can be logged.
    """


class UnknownKey(SealBroken):
    """The value names a data key that this ring has not loaded; another process may have added it."""


class KeyProblem(Exception):
    """Why the installation must not start: its keys and its database do not belong together."""


class BadMasterKey(KeyProblem):
    """The master key is missing, or is not 32 bytes as base64 or hex."""


class WrongMasterKey(KeyProblem):
    """The database belongs to another master key; the message names both fingerprints."""


class KeyRingLost(KeyProblem):
    """The database holds sealed values and none of the keys that opened them."""


class KeyInUse(KeyProblem):
    """The data key cannot be retired: it is the primary one, or values still need it."""


@dataclass(frozen=True, slots=True)
class MasterKey:
    """The 32 bytes that wrap every data key. `fingerprint` names it in messages and tells nothing of it."""

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise BadMasterKey(f"a master key is {KEY_BYTES} bytes, this one has {len(self.key)}")
        if self.key == bytes(KEY_BYTES):
            raise BadMasterKey("a master key of zeros is a placeholder; make one with `openssl rand -base64 32`")

    @classmethod
    def parse(cls, text: str) -> MasterKey:
        """Reads base64 (either alphabet, padded or not) or hex. Raises `BadMasterKey`, without the text."""
        text = text.strip()
        if not text:
            raise BadMasterKey("the master key is empty; make one with `openssl rand -base64 32`")
        return cls(_bytes_of(text))

    @classmethod
    def generate(cls) -> MasterKey:
        return cls(os.urandom(KEY_BYTES))

    def text(self) -> str:
        """The key as base64: what a key file holds."""
        return base64.b64encode(self.key).decode()

    @property
    def fingerprint(self) -> str:
        """16 hex characters."""
        return _mac(self.key, b"skillway master key fingerprint")[:_FINGERPRINT_BYTES].hex()

    def wrap(self, key_id: str, data_key: bytes) -> bytes:
        """Seals a data key; the master key's fingerprint stands in front, readable."""
        head = _VERSION + bytes.fromhex(self.fingerprint)
        return head + _seal(self.key, data_key, head + _lengths("data key", key_id))

    def unwrap(self, key_id: str, wrapped: bytes) -> bytes:
        """The data key. Raises `WrongMasterKey`, or `KeyRingLost` where it is damaged."""
        theirs = fingerprint_of(wrapped)
        if theirs != self.fingerprint:
            raise WrongMasterKey(
                f"the database belongs to the master key {theirs}, but the given one is {self.fingerprint}"
            )
        head = wrapped[: 1 + _FINGERPRINT_BYTES]
        try:
            return _open(self.key, wrapped[len(head) :], head + _lengths("data key", key_id))
        except SealBroken as error:
            raise KeyRingLost(f"data key {key_id} in the database is damaged") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """A data key as the database keeps it."""

    #: 16 hex characters.
    id: str
    wrapped: bytes = field(repr=False)
    created_at: float
    #: New values are sealed under the primary key; exactly one is.
    primary: bool = False
    #: Since when nothing needs it, unix seconds. A retired key still opens what is left.
    retired_at: float | None = None


class KeyRingStore(Protocol):
    """Where wrapped data keys are kept. Every method is one transaction."""

    async def load(self) -> Sequence[WrappedKey]: ...

    async def add(self, key: WrappedKey) -> None:
        """Stores it; where it is primary, no other key is any longer."""
        ...

    async def retire(self, key_id: str, at: float) -> None: ...

    async def rewrap(self, keys: Sequence[WrappedKey]) -> None:
        """Replaces `wrapped` of all these keys, or of none."""
        ...


class KeyRing:
    """The opened data keys of an installation. Made by `open_ring`."""

    def __init__(self, store: KeyRingStore, master: MasterKey, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._master = master
        self._clock = clock
        self._keys: dict[str, bytes] = {}
        self._listed: Mapping[str, WrappedKey] = {}
        self._primary: str | None = None

    @property
    def primary(self) -> str:
        """Id of the data key that seals new values."""
        if self._primary is None:
            raise KeyRingLost("the key ring has no primary data key")
        return self._primary

    @property
    def keys(self) -> Sequence[WrappedKey]:
        """All data keys as last loaded, oldest first; nothing in them is secret."""
        return sorted(self._listed.values(), key=lambda key: (key.created_at, key.id))

    def data_key(self, key_id: str) -> bytes:
        try:
            return self._keys[key_id]
        except KeyError:
            raise UnknownKey(f"no data key {key_id}") from None

    async def reload(self) -> None:
        """Looks for data keys that other processes added, and which one is primary now.

        Keys that are open stay open, even where another process has re-wrapped them under a new master.
        """
        listed = {key.id: key for key in await self._store.load()}
        for key in listed.values():
            if key.id not in self._keys:
                self._keys[key.id] = self._master.unwrap(key.id, key.wrapped)
        self._listed = listed
        self._primary = _primary_of(listed.values())

    async def rotate(self) -> str:
        """Adds a data key and makes it primary; old values open as before until they are sealed anew."""
        await self._add_key()
        return self.primary

    async def retire(self, key_id: str, *, needed_by: int) -> None:
        """Marks a data key as no longer needed. `needed_by`: how many values the caller found under it."""
        if needed_by:
            raise KeyInUse(f"{needed_by} values are still sealed under data key {key_id}")
        await self.reload()
        if key_id == self.primary:
            raise KeyInUse(f"data key {key_id} is the primary one; rotate first")
        if key_id not in self._listed:
            raise UnknownKey(f"no data key {key_id}")
        await self._store.retire(key_id, self._clock())
        await self.reload()

    async def rewrap(self, master: MasterKey) -> int:
        """Wraps all data keys under another master key, in one step; says how many. No value changes."""
        await self.reload()
        moved = [replace(key, wrapped=master.wrap(key.id, self._keys[key.id])) for key in self.keys]
        await self._store.rewrap(moved)
        self._master = master
        await self.reload()
        return len(moved)

    async def _add_key(self) -> None:
        key_id = os.urandom(_ID_BYTES).hex()
        wrapped = self._master.wrap(key_id, os.urandom(KEY_BYTES))
        await self._store.add(WrappedKey(id=key_id, wrapped=wrapped, created_at=self._clock(), primary=True))
        await self.reload()


async def open_ring(
    store: KeyRingStore,
    master: MasterKey | None,
    *,
    previous: MasterKey | None = None,
    has_sealed_values: bool,
    clock: Callable[[], float] = time.time,
) -> KeyRing:
    """Opens an installation's key ring, and makes its first data key where there is neither key nor value.

    `previous` is the master key until now: where data keys are still wrapped under it, they are wrapped
    under `master`, all in one transaction. Raises a `KeyProblem` that says what to do.
    """
    listed = await store.load()
    found = sorted({fingerprint_of(key.wrapped) for key in listed})
    if master is None:
        named = f" It belongs to the master key {', '.join(found)}." if found else ""
        raise BadMasterKey("no master key is given." + named)
    if not listed and has_sealed_values:
        raise KeyRingLost("the database holds sealed values but no data key; restore it together with its key ring")

    ring = KeyRing(store, master, clock)
    if not listed:
        await ring._add_key()
    elif previous is not None and previous.fingerprint in found:
        await _move(store, listed, previous, master)
    await ring.reload()
    return ring


def fingerprint_of(wrapped: bytes) -> str:
    """Fingerprint of the master key that wrapped a data key."""
    if len(wrapped) < 1 + _FINGERPRINT_BYTES + _SALT_BYTES or wrapped[:1] != _VERSION:
        raise KeyRingLost("a data key in the database is damaged")
    return wrapped[1 : 1 + _FINGERPRINT_BYTES].hex()


class Vault:
    """Seals values so that each opens for its own org, table, row and column only."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    @property
    def ring(self) -> KeyRing:
        return self._ring

    def seal(self, plain: bytes, *, org: str, table: str, row: str, column: str) -> bytes:
        key_id = self._ring.primary
        head = _VERSION + bytes.fromhex(key_id)
        return head + _seal(self._ring.data_key(key_id), plain, head + _lengths(org, table, row, column))

    def open(self, sealed: bytes, *, org: str, table: str, row: str, column: str) -> bytes:
        """The plain bytes. Raises `SealBroken`; `UnknownKey` where `open_fresh` may know more."""
        data_key = self._ring.data_key(key_id_of(sealed))
        head, rest = bytes(sealed[: 1 + _ID_BYTES]), bytes(sealed[1 + _ID_BYTES :])
        return _open(data_key, rest, head + _lengths(org, table, row, column))

    async def open_fresh(self, sealed: bytes, *, org: str, table: str, row: str, column: str) -> bytes:
        """Like `open`, but looks once for a data key that another process has added since."""
        try:
            return self.open(sealed, org=org, table=table, row=row, column=column)
        except UnknownKey:
            await self._ring.reload()
            return self.open(sealed, org=org, table=table, row=row, column=column)

    def reseal(self, sealed: bytes, *, org: str, table: str, row: str, column: str) -> bytes | None:
        """The value under the primary key, or None where it is already: one step of an online rotation."""
        if key_id_of(sealed) == self._ring.primary:
            return None
        plain = self.open(sealed, org=org, table=table, row=row, column=column)
        return self.seal(plain, org=org, table=table, row=row, column=column)


def key_id_of(sealed: bytes) -> str:
    """Id of the data key that a value is sealed under. Raises `SealBroken` for what is not a sealed value."""
    if not isinstance(sealed, (bytes, bytearray, memoryview)):
        raise SealBroken("not a sealed value")
    if len(sealed) < _HEADER_BYTES + _TAG_BYTES or bytes(sealed[:1]) != _VERSION:
        raise SealBroken("not a sealed value")
    return bytes(sealed[1 : 1 + _ID_BYTES]).hex()


def load_or_create_master_key(path: Path, *, create: bool) -> MasterKey:
    """The master key in a file of mode 0600; a looser mode is mended.

    `create` may be True for an empty database only: a new key next to old values would lock them away.
    Raises `BadMasterKey`.
    """
    if create and not path.exists():
        # Somebody else may be first, and then theirs is the key.
        with contextlib.suppress(FileExistsError):
            _write_new(path, MasterKey.generate().text() + "\n")
    try:
        _mend_mode(path)
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        raise BadMasterKey(f"there is no master key at {path}, and the database is not empty") from None
    except UnicodeDecodeError:
        raise BadMasterKey(f"the master key file {path} is not base64 or hex text") from None
    except OSError as error:
        raise BadMasterKey(f"the master key file {path} cannot be read: {error.strerror}") from error
    try:
        return MasterKey.parse(text)
    except BadMasterKey as error:
        raise BadMasterKey(f"{path}: {error}") from None


async def _move(store: KeyRingStore, listed: Sequence[WrappedKey], previous: MasterKey, master: MasterKey) -> None:
    moved = []
    for key in listed:
        owner = previous if fingerprint_of(key.wrapped) == previous.fingerprint else master
        moved.append(replace(key, wrapped=master.wrap(key.id, owner.unwrap(key.id, key.wrapped))))
    await store.rewrap(moved)


def _primary_of(keys: Iterable[WrappedKey]) -> str | None:
    primary = [key for key in keys if key.primary]
    return max(primary, key=lambda key: (key.created_at, key.id)).id if primary else None


def _seal(secret: bytes, plain: bytes, associated: bytes) -> bytes:
    salt = os.urandom(_SALT_BYTES)
    nonce = os.urandom(_NONCE_BYTES)
    key, commitment = _record_key(secret, salt)
    return salt + nonce + commitment + AESGCM(key).encrypt(nonce, plain, associated)


def _open(secret: bytes, sealed: bytes, associated: bytes) -> bytes:
    if len(sealed) < _SALT_BYTES + _NONCE_BYTES + _COMMITMENT_BYTES + _TAG_BYTES:
        raise SealBroken("not a sealed value")
    salt, rest = sealed[:_SALT_BYTES], sealed[_SALT_BYTES:]
    nonce, rest = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]
    commitment, ciphertext = rest[:_COMMITMENT_BYTES], rest[_COMMITMENT_BYTES:]
    key, expected = _record_key(secret, salt)
    # AES-GCM does not commit to its key: one ciphertext can be made to open under two.
    if not hmac.compare_digest(commitment, expected):
        raise SealBroken("a sealed value does not open")
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, associated)
    except InvalidTag:
        raise SealBroken("a sealed value does not open") from None


def _record_key(secret: bytes, salt: bytes) -> tuple[bytes, bytes]:
    derived = HKDF(
        algorithm=SHA256(), length=KEY_BYTES + _COMMITMENT_BYTES, salt=salt, info=b"skillway sealed value"
    ).derive(secret)
    return derived[:KEY_BYTES], derived[KEY_BYTES:]


def _lengths(*parts: str) -> bytes:
    # With the lengths in front, ("ab", "c") and ("a", "bc") are different places.
    encoded = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _bytes_of(text: str) -> bytes:
    if len(text) == 2 * KEY_BYTES:
        with contextlib.suppress(ValueError):
            return bytes.fromhex(text)
    unpadded = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(unpadded + "=" * (-len(unpadded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise BadMasterKey("the master key is neither base64 nor hex text") from None


def _mend_mode(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        path.chmod(mode & 0o700)


def _write_new(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Written whole beside it, then linked: a crash leaves no half key, and a link never replaces a file.
    beside = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(beside, path)
    finally:
        beside.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
