"""Files among the params of a call: base64 as a caller gives it, or a file of the org's by its `file_id`."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.core.blobs import BlobBroken
from gateway.core.errors import Refusal, bad_param
from gateway.core.requests.files import File, Files
from gateway.core.tenants.keys import Principal
from skills_catalog.model import Param, Skill
from skills_catalog.names import MEDIA_TYPE

#: Bytes of the files of one call that have to be held whole: in a mail, as base64, or for a hook that sees the body.
MOST_WHOLE = 25 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A file of the org's on its way into a body; `Readable`."""

    filename: str | None
    content_type: str
    size: int
    #: Set where the whole is needed at once.
    content: bytes | None = field(default=None, repr=False)
    read: Callable[[], AsyncIterator[bytes]] = field(repr=False)

    @property
    def about(self) -> str:
        return f"[file {self.filename or ''}: {self.size} bytes]"


#: By their ids.
GivenFiles = Mapping[str, Stored]
NO_FILES: GivenFiles = {}


async def given_files(files: Files, principal: Principal, skill: Skill, params: Mapping[str, Any]) -> GivenFiles:
    """The files that params name by `file_id`.

    Raises `not_found` with the field of one that is not there for the principal, `payload_too_large` for more than may
    be held whole.
    """
    found: dict[str, Stored] = {}
    held = 0
    for param, path, file_id in _named(skill, params):
        if file_id not in found:
            found[file_id] = _stored(files, await _found(files, principal, path, file_id))
        file = found[file_id]
        if file.content is not None or (param.location == "file" and skill.hook is None):
            continue
        held += file.size
        if held > MOST_WHOLE:
            raise _refused("payload_too_large", path, f"Files that go in here may have {MOST_WHOLE} bytes in all.")
        try:
            content = b"".join([chunk async for chunk in file.read()])
        except BlobBroken:
            raise _refused("not_found", path, "There is no such file, or no longer.") from None
        found[file_id] = Stored(
            filename=file.filename, content_type=file.content_type, size=file.size, content=content, read=file.read
        )
    return found


def file_content(path: str, value: Any, *, name: str, files: GivenFiles = NO_FILES) -> tuple[str, str, bytes | Stored]:
    """Name, type and bytes of a file: base64, alone or as `{content, filename?, content_type?}`, or `{file_id, …}`.

    `path` says where it stands among the params, `name` is its filename where it has none. Raises `Refusal`.
    """
    given = {"content": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping):
        given = {}
    stored = files.get(str(given.get("file_id")))
    if stored is None and not isinstance(given.get("content"), str):
        message = f"The file {path!r} must be base64, or an object with it as `content`, or with a `file_id`."
        raise bad_param(path, "type", message)
    filename = str(given.get("filename") or (stored and stored.filename) or name)
    content_type = str(given.get("content_type") or (stored and stored.content_type) or "application/octet-stream")
    if not re.fullmatch(MEDIA_TYPE, content_type):
        raise bad_param(f"{path}/content_type", "pattern", "Write a media type, such as `image/png`.")
    if stored is not None:
        return filename, content_type, stored if stored.content is None else stored.content
    try:
        return filename, content_type, base64.b64decode(given["content"], validate=True)
    except (binascii.Error, ValueError):
        raise bad_param(f"{path}/content", "contentEncoding", f"The file {path!r} is not base64.") from None


def _named(skill: Skill, params: Mapping[str, Any]) -> Iterator[tuple[Param, str, str]]:
    """Every `file_id` among the params, with its place."""
    for param in skill.params.values() if skill.takes_files else ():
        value = params.get(param.name)
        if "mail" in param.encode:
            where, value = f"{param.name}/attachments", value.get("attachments") if isinstance(value, Mapping) else None
        elif param.location == "file" or "file" in param.encode:
            where = param.name
        else:
            continue
        if isinstance(value, list):
            items = [(f"{where}/{number}", item) for number, item in enumerate(value)]
        else:
            items = [(where, value)]
        for path, item in items:
            if isinstance(item, Mapping) and isinstance(item.get("file_id"), str):
                yield param, f"{path}/file_id", item["file_id"]


async def _found(files: Files, principal: Principal, path: str, file_id: str) -> File:
    try:
        return await files.find(principal, file_id)
    except Refusal as refusal:
        if refusal.status >= 500:
            raise
        # Whether it is nobody's or another's is nothing to the caller.
        raise _refused("not_found", path, "There is no such file, or no longer.") from None


def _stored(files: Files, file: File) -> Stored:
    content_type = file.content_type.partition(";")[0].strip()
    if not re.fullmatch(MEDIA_TYPE, content_type):
        content_type = "application/octet-stream"
    return Stored(filename=file.filename, content_type=content_type, size=file.size, read=lambda: files.read(file))


def _refused(code: str, path: str, message: str) -> Refusal:
    field = {"path": path, "keyword": "file", "message": message}
    return Refusal(code, message, details={"fields": [field]}, hint="POST /v1/files gives a file_id, for a while.")
