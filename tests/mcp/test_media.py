"""Pictures and sounds of an upstream, as a model takes them in."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from gateway.core.requests.answers import Result
from gateway.mcp.rendering import of_result

BYTES = base64.b64encode(b"\x89PNG not really").decode()


def answer(content_type: Any, *, content: Any = BYTES, status: int = 200, **more: Any) -> Any:
    data = {
        "encoding": "base64",
        "content_type": content_type,
        "filename": None,
        "size": 16,
        "content": content,
        **more,
    }
    made = of_result(Result(status=status, data=orjson.dumps(data), meta={"run_id": "run_1"}))
    return orjson.loads(orjson.dumps(made))


@pytest.mark.parametrize(
    ("content_type", "kind", "mime"),
    [
        ("image/png", "image", "image/png"), ("IMAGE/JPEG; quality=1", "image", "image/jpeg"),
        ("audio/wav", "audio", "audio/wav"), ("audio/mpeg", "audio", "audio/mpeg"),
    ],
)  # fmt: skip
def test_a_model_sees_a_picture_and_hears_a_sound(content_type: str, kind: str, mime: str) -> None:
    made = answer(content_type)
    text, medium = made["content"]
    assert medium == {"type": kind, "data": BYTES, "mimeType": mime}
    said = orjson.loads(text["text"])
    assert (said["status"], said["data"]["content_type"], said["meta"]) == (200, content_type, {"run_id": "run_1"})
    # Its bytes are not text for a model; a program finds them where they always are.
    assert BYTES not in text["text"]
    assert made["structuredContent"]["data"]["content"] == BYTES


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("application/pdf", BYTES), ("image/svg+xml", BYTES), ("video/mp4", BYTES), ("", BYTES), (None, BYTES),
        ("imagery/png", BYTES), ("image/png", {"$omitted": "content", "bytes": 100_000}), ("image/png", None),
    ],
)  # fmt: skip
def test_what_is_neither_stays_what_it_was(content_type: Any, content: Any) -> None:
    made = answer(content_type, content=content)
    assert [one["type"] for one in made["content"]] == ["text"]
    assert orjson.loads(made["content"][0]["text"]) == made["structuredContent"]


def test_a_picture_of_a_refusal_is_still_an_error() -> None:
    assert answer("image/png", status=404)["isError"] is True


def test_data_that_only_begins_like_a_file_is_data() -> None:
    data = b'{"encoding":"base64","content":"aGk=","content_type":"image/png"} '
    made = of_result(Result(status=200, data=b"[" + data + b"]"))
    assert [one["type"] for one in made["content"]] == ["text"]
