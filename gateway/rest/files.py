"""Files: given for calls that take some, read where calls answered with some."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from urllib.parse import quote

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from gateway.core.answers import OCTETS
from gateway.core.blobs import BlobBroken
from gateway.core.errors import Refusal
from gateway.core.files import File
from gateway.core.keys import Principal
from gateway.web.answers import json_answer
from gateway.web.bodies import bad_field, query
from gateway.web.context import LAST, services
from gateway.web.streaming import download

#: Seconds within which the next bytes must come, and all of them.
_STALL, _DEADLINE = 30.0, 900.0
_PIECE = 64 * 1024
_LONGEST_NAME = 255
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,64}/[\w.+-]{1,96}", re.ASCII)
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


async def add(request: web.Request, who: Principal) -> web.Response:
    asked = query(request, ("filename",))
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refusal("unsupported_media_type", "Send the file uncompressed.")
    filename, content_type, chunks = asked.get("filename"), request.content_type, _body(request)
    try:
        async with asyncio.timeout(_DEADLINE):
            if content_type == "multipart/form-data":
                part = await _part(request)
                filename, content_type = filename or part.filename, part.headers.get("Content-Type", OCTETS)
                chunks = _chunks(part)
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


async def read(request: web.Request, who: Principal) -> web.StreamResponse:
    query(request, ())
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


async def delete(request: web.Request, who: Principal) -> web.Response:
    query(request, ())
    await services(request).files.delete(who, request.match_info["id"])
    return json_answer({"file_id": request.match_info["id"], "deleted": True})


async def _part(request: web.Request) -> BodyPartReader:
    """The one part `file` of a form; it must be the first, so that nothing before it has to be kept."""
    part = await (await request.multipart()).next()
    if not isinstance(part, BodyPartReader) or part.name != "file":
        raise bad_field("file", "required", "The form must have one part, named 'file'.")
    return part


async def _body(request: web.Request) -> AsyncIterator[bytes]:
    while True:
        async with asyncio.timeout(_STALL):
            chunk = await request.content.readany()
        if not chunk:
            return
        yield chunk


async def _chunks(part: BodyPartReader) -> AsyncIterator[bytes]:
    while True:
        async with asyncio.timeout(_STALL):
            chunk = await part.read_chunk(_PIECE)
        if not chunk:
            return
        yield chunk


def _filename(name: str | None) -> str | None:
    if name is None:
        return None
    name = re.split(r"[/\\]", name)[-1]
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise bad_field("filename", "format", f"The filename must be 1 to {_LONGEST_NAME} printable characters.")
    return name


def _media_type(content_type: str) -> str:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type if _MEDIA_TYPE.fullmatch(media_type) else OCTETS


def _disposition(file: File) -> str:
    """RFC 6266 §4.3, with the name as RFC 8187 writes it."""
    return "attachment" if file.filename is None else f"attachment; filename*=UTF-8''{quote(file.filename, safe='')}"
