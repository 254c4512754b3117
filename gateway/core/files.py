"""A file as a caller gives it: base64, alone or with its name and type."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from gateway.core.errors import bad_param

_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(?:; ?[\w-]+=[\w.-]+)?", re.ASCII)


def file_content(path: str, value: Any, *, name: str) -> tuple[str, str, bytes]:
    """Name, type and bytes of a file: base64, alone or as `{content, filename?, content_type?}`.

    `path` says where it stands among the params, `name` is its filename where it has none. Raises `Refusal`.
    """
    given = {"content": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping) or not isinstance(given.get("content"), str):
        raise bad_param(path, "type", f"The file {path!r} must be base64, or an object with it as `content`.")
    filename = str(given.get("filename") or name)
    content_type = str(given.get("content_type") or "application/octet-stream")
    if not _MEDIA_TYPE.fullmatch(content_type):
        raise bad_param(f"{path}/content_type", "pattern", "Write a media type, such as `image/png`.")
    try:
        return filename, content_type, base64.b64decode(given["content"], validate=True)
    except (binascii.Error, ValueError):
        raise bad_param(f"{path}/content", "contentEncoding", f"The file {path!r} is not base64.") from None
