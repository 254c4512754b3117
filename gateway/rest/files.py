"""Files: given for calls that take some, read where calls answered with some."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar
from urllib.parse import quote

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from gateway.core.blobs import BlobBroken
from gateway.core.errors import Refusal
from gateway.core.requests.answers import OCTETS
from gateway.core.requests.files import File
from gateway.core.tenants.keys import Principal
from gateway.rest.shapes import FILE
from gateway.web.answers import json_answer
from gateway.web.bodies import bad_field
from gateway.web.context import LAST, services
from gateway.web.operations import PRINTABLE, Answer, Asked, Field, operation, text
from gateway.web.shapes import TEXT, YES_OR_NO, shape
from gateway.web.streaming import download

#: Seconds within which the next bytes must come, and all of them.
_STALL, _DEADLINE = 30.0, 900.0
_PIECE = 64 * 1024
_LONGEST_NAME = 255
T = TypeVar("T")
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,64}/[\w.+-]{1,96}", re.ASCII)
_NAME = re.compile(PRINTABLE)
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


_FILE_ID = Field(name="id", about="Id of the file.", schema={"type": "string"}, required=True)
_REFUSALS = ("not_found", "scope_not_allowed")


@operation(
    "add_file",
    "Give a file for a call",
    group="Files",
    about="Its bytes as they are, or a form with one part `file`. A param for a file then takes its `file_id`.",
    query=[text("filename", "What it is called; a form says it by itself.", most=_LONGEST_NAME)],
    takes={
        "application/octet-stream": {"type": "string", "format": "binary"},
        "multipart/form-data": {
            "type": "object",
            "properties": {"file": {"type": "string", "format": "binary"}},
            "required": ["file"],
            "additionalProperties": False,
        },
    },
    answers={
        201: Answer(
            about="The file.",
            schema=FILE,
            example={
                "file_id": "file_4b1f",
                "url": "http://127.0.0.1:8700/v1/files/file_4b1f",
                "content_type": "application/pdf",
                "filename": "report.pdf",
                "size": 48213,
                "expires_at": "2026-11-29T10:00:00Z",
            },
            headers=("Location",),
        )
    },
    refuses=("plan_limit_reached",),
)
async def add(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refusal("unsupported_media_type", "Send the file uncompressed.")
    filename, content_type, chunks = asked.query.get("filename"), request.content_type, _body(request)
    try:
        async with asyncio.timeout(_DEADLINE):
            if content_type == "multipart/form-data":
                form = await request.multipart()
                part = await _part(form)
                filename, content_type = filename or part.filename, part.headers.get("Content-Type", OCTETS)
                chunks = _chunks(form, part)
            files = services(request).files
            file = await files.add(
                who, chunks, filename=_filename(filename), content_type=_media_type(content_type)
            )
    except TimeoutError:
        request[LAST] = True
        raise Refusal("bad_request", f"No bytes came for {_STALL:g} s, or not all within {_DEADLINE:g} s.") from None
    except (ConnectionError, RequestPayloadError, HttpProcessingError, ValueError):
        request[LAST] = True
        raise Refusal("bad_request", "The body broke off, or its parts are malformed.") from None
    except Refusal:
        # What has not been read yet cannot be told from the next request.
        request[LAST] = True
        raise
    return json_answer(files.shown(file), status=201, headers={"Location": files.shown(file)["url"]})


#: Whatever the file is; generators of clients know the first.
_BYTES = ("application/octet-stream", "*/*")


@operation(
    "read_file",
    "Download a file",
    group="Files",
    path=[_FILE_ID],
    headers=[Field(name="Range", about="Bytes of it: `bytes=0-1023` (RFC 9110 §14).", schema={"type": "string"})],
    answers={
        200: Answer(about="All of it.", headers=("ETag", "Content-Disposition", "Accept-Ranges"), also=_BYTES),
        206: Answer(about="The part that was asked for.", headers=("ETag", "Content-Range"), also=_BYTES),
        416: Answer(about="It has no such part.", headers=("Content-Range",)),
    },
    refuses=_REFUSALS,
)
async def read(request: web.Request, who: Principal, asked: Asked) -> web.StreamResponse:
    files = services(request).files
    file = await files.find(who, request.match_info["id"])
    tag = f'"{file.id}"'
    headers = {"Content-Type": file.content_type, "ETag": tag, "Accept-Ranges": "bytes"}
    headers["Content-Disposition"] = _disposition(file)
    first, last = 0, file.size - 1
    # RFC 9110 §14.2: a range that cannot be read is no range; one that lies outside is refused.
    found = _RANGE.fullmatch(request.headers.get("Range", ""))
    is_part = bool(found and (found[1] or found[2]) and request.headers.get("If-Range", tag) == tag)
    if found and is_part:
        if found[1]:
            first, last = int(found[1]), min(last, int(found[2])) if found[2] else last
        else:
            first = max(0, file.size - int(found[2]))
        if found[1] and found[2] and int(found[2]) < int(found[1]):
            is_part, first, last = False, 0, file.size - 1
        elif first > last:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{file.size}"})
        else:
            headers["Content-Range"] = f"bytes {first}-{last}/{file.size}"
    length = last - first + 1
    headers["Content-Length"] = str(length)
    response = web.StreamResponse(status=206 if is_part else 200, headers=headers)
    return await download(request, response, files.read(file, first, length), what=file.id, broken=BlobBroken)


@operation(
    "delete_file",
    "Forget a file",
    group="Files",
    path=[_FILE_ID],
    answers={
        200: Answer(
            about="It is gone.",
            schema=shape(file_id=TEXT, deleted=YES_OR_NO),
            example={"file_id": "file_4b1f", "deleted": True},
        )
    },
    refuses=_REFUSALS,
)
async def delete(request: web.Request, who: Principal, asked: Asked) -> web.Response:
    await services(request).files.delete(who, request.match_info["id"])
    return json_answer({"file_id": request.match_info["id"], "deleted": True})


async def _part(form: MultipartReader) -> BodyPartReader:
    """The one part of a form."""
    part = await form.next()
    if not isinstance(part, BodyPartReader) or part.name != "file":
        raise _not_one_part()
    return part


async def _body(request: web.Request) -> AsyncIterator[bytes]:
    while chunk := await _within_stall(request.content.readany()):
        yield chunk


async def _chunks(form: MultipartReader, part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await _within_stall(part.read_chunk(_PIECE)):
        yield chunk
    if await _within_stall(form.next()) is not None:
        raise _not_one_part()


def _not_one_part() -> Refusal:
    return bad_field("file", "required", "The form must have one part, named 'file'.")


async def _within_stall(step: Awaitable[T]) -> T:
    async with asyncio.timeout(_STALL):
        return await step


def _filename(name: str | None) -> str | None:
    if name is None:
        return None
    name = re.split(r"[/\\]", name)[-1]
    if not 0 < len(name) <= _LONGEST_NAME or not _NAME.search(name):
        raise bad_field("filename", "format", f"The filename must be 1 to {_LONGEST_NAME} printable characters.")
    return name


def _media_type(content_type: str) -> str:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type if _MEDIA_TYPE.fullmatch(media_type) else OCTETS


def _disposition(file: File) -> str:
    """RFC 6266 §4.3, with the name as RFC 8187 writes it."""
    return "attachment" if file.filename is None else f"attachment; filename*=UTF-8''{quote(file.filename, safe='')}"
