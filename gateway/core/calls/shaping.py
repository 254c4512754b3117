"""Answers that fit: a view of them, or their first whole items, and where the rest is. Nothing is cut inside a value.

What is cut is looked at as raw JSON text, level by level: an answer of many megabytes is never built up as
objects, and the bytes that are left are the upstream's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import jmespath
import orjson
from jmespath.exceptions import JMESPathError

from gateway.core.calls.call import Plan, Shape
from gateway.core.calls.kept import KeptAnswers
from gateway.core.entered import bad_field
from gateway.core.errors import Refusal
from gateway.core.raw_json import Text, TooWide, array, at, first_of, head_of, items_of, members_of, replaced, written
from gateway.core.requests.answers import Result, says_no
from gateway.core.run import AnswerIndex, RunStore

#: Larger answers are shaped in a thread, so that other calls go on.
_LARGE = 256 * 1024
#: What the envelope has around the data, about.
_ENVELOPE = 40
#: The data keeps so many bytes at least, whatever the envelope takes.
_LEAST = 64
#: How much of an answer's form is told: depth, and names of one object.
_SHAPE_DEPTH, _SHAPE_NAMES = 4, 30
#: A page of `next`, items.
_PAGE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What is left of an answer, and what was left out."""

    data: bytes
    #: Where the array lies that was shortened, as a JSON pointer (RFC 6901); None where there was none.
    path: str | None = None
    #: How many items it has, and how many are left.
    total: int | None = None
    kept: int = 0
    shape: Any = None
    #: Only spaces went: all of it is there.
    is_whole: bool = False


class Shaping:
    """Shapes answers as the caller wants them; of what is cut the whole is kept."""

    def __init__(self, kept: KeptAnswers, runs: RunStore, index: AnswerIndex, *, public_url: str) -> None:
        self._kept = kept
        self._runs = runs
        self._index = index
        self._public_url = public_url

    async def fit(self, plan: Plan, result: Result) -> Result:
        """The answer in the shape of the call. Raises `bad_request` for a `select` that cannot be used."""
        shape = plan.call.shape
        if shape.is_whole:
            return result
        if len(result.data) > _LARGE:
            fitted, cut = await asyncio.to_thread(_shaped, plan, shape, result)
        else:
            fitted, cut = _shaped(plan, shape, result)
        if cut is None:
            return fitted
        org, run_id = plan.call.principal.org, str(result.meta["run_id"])
        size = await self._kept.keep(org, run_id, result)
        await self._runs.flush()
        await self._index.keeps(org, run_id, size)
        return replace(fitted, meta={**fitted.meta, **self._told(run_id, cut, shape)})

    def _told(self, run_id: str, cut: Cut, shape: Shape) -> dict[str, Any]:
        told: dict[str, Any] = {"truncated": True, "result_id": run_id}
        if cut.total is not None:
            told["total"] = cut.total
            # Of a view the items are others than those that are kept.
            offset = cut.kept if shape.select is None and not shape.brief else 0
            told["next"] = f"{self._public_url}/v1/results/{run_id}?path={cut.path or ''}&offset={offset}&limit={_PAGE}"
        else:
            told["next"] = f"{self._public_url}/v1/results/{run_id}"
        if cut.shape is not None:
            told["shape"] = cut.shape
        return told


def check_select(expression: str) -> None:
    """Raises `bad_request` for what is no JMESPath."""
    try:
        jmespath.compile(expression)
    except JMESPathError as error:
        raise bad_field("select", f"The field 'select' is not JMESPath: {str(error).splitlines()[0][:200]}") from None


def cut_to(data: bytes, *, max_bytes: int | None, max_items: int | None) -> Cut | None:
    """The first whole items of the largest array, as many as fit; None where all of it fits.

    A value that is too large by itself becomes `{"$omitted": <JSON pointer>, "bytes": n}`.
    """
    data = data.strip()
    if max_items is None and (max_bytes is None or len(data) <= max_bytes):
        return None
    path = _largest_array(data)
    if path is None:
        if max_bytes is None or len(data) <= max_bytes:
            return None
        return Cut(data=_reduced(data, "", max_bytes), shape=_form(data))
    whole = at(data, path)
    items = items_of(whole)
    most = len(items) if max_items is None else min(max_items, len(items))
    if max_bytes is not None:
        room = max_bytes - (len(data) - len(whole)) - 2
        most = _fitting(items, most, room)
        if most == 0 and items:
            return _of_nothing(data, path, items, max_bytes)
    if most == len(items) and (max_bytes is None or len(data) <= max_bytes):
        return None
    left = replaced(data, path, array(items[:most]))
    if most == len(items):
        # Written without the spaces between the items it may be small enough.
        if max_bytes is None or len(left) <= max_bytes:
            return Cut(data=left, is_whole=True)
        return Cut(data=_reduced(left, "", max_bytes), shape=_form(data))
    return Cut(data=left, path=_pointer(path), total=len(items), kept=most, shape=_form(data))


def _shaped(plan: Plan, shape: Shape, result: Result) -> tuple[Result, Cut | None]:
    """The result in a view, and what was cut of it."""
    expression = shape.select
    if expression is None and shape.brief and 200 <= result.status < 300:
        # Of a success that says no a short view would leave nothing.
        expression = None if says_no(plan.skill, result.status, result.data) else plan.skill.brief
    if expression is not None:
        result = replace(result, data=_viewed(result.data, expression))
    budget = None
    if shape.max_bytes is not None:
        budget = max(_LEAST, shape.max_bytes - _ENVELOPE - len(orjson.dumps(dict(result.meta))))
        if len(result.data) > budget:
            # What is said of the cut has to fit in as well.
            budget = max(_LEAST, budget - _said_of(result.data))
    cut = cut_to(result.data, max_bytes=budget, max_items=shape.max_items)
    if cut is None:
        return result, None
    return replace(result, data=cut.data), None if cut.is_whole else cut


def _viewed(data: bytes, expression: str) -> bytes:
    try:
        return orjson.dumps(jmespath.search(expression, orjson.loads(data)))
    except (JMESPathError, orjson.JSONEncodeError) as error:
        raise Refusal(
            "bad_request",
            f"The answer cannot be viewed so: {str(error).splitlines()[0][:200]}",
            details={"fields": [{"path": "select", "keyword": "format", "message": "Does not fit the answer."}]},
            outcome="answered",
        ) from None


def _said_of(data: bytes) -> int:
    """How many bytes the meta of a cut takes."""
    return len(orjson.dumps(_form(data))) + 260


def _fitting(items: Sequence[Text], most: int, room: int) -> int:
    used = 0
    for number, item in enumerate(islice(items, most)):
        used += len(item) + (1 if number else 0)
        if used > room:
            return number
    return most


def _of_nothing(data: bytes, path: Sequence[str], items: Sequence[Text], max_bytes: int) -> Cut:
    """Not one item fits beside the rest: the first one with its large parts left out, and of the rest what fits."""
    empty = replaced(data, path, b"[]")
    if len(empty) > max_bytes:
        empty = _reduced(empty, "", max_bytes)
        kept, left = 0, empty
    else:
        room = max_bytes - len(empty)
        first = _reduced(items[0], _pointer([*path, "0"]), room)
        kept, left = (1, replaced(data, path, b"[%b]" % first)) if len(first) <= room else (0, empty)
    return Cut(data=left, path=_pointer(path), total=len(items), kept=kept, shape=_form(data))


def _reduced(data: Text, pointer: str, max_bytes: int) -> bytes:
    """The value with its largest parts left out, until it fits or nothing is left of it."""
    if len(data) <= max_bytes:
        return bytes(data)
    mark = orjson.dumps({"$omitted": pointer, "bytes": len(data)})
    if head_of(data) != b"{":
        return mark
    # First everything large is left out; then, the small ones first, what there is room for comes back.
    try:
        members = members_of(data)
    except TooWide:
        return mark
    parts: dict[str, Text] = {}
    for name, value in members.items():
        left_out = orjson.dumps({"$omitted": _step(pointer, name), "bytes": len(value)})
        parts[name] = value if len(value) <= len(left_out) else left_out
    size = len(written(parts))
    for name, value in sorted(members.items(), key=lambda member: len(member[1])):
        room = max_bytes - (size - len(parts[name]))
        inner = _step(pointer, name)
        smaller = _reduced_array(value, inner, room) if head_of(value) == b"[" else _reduced(value, inner, room)
        if len(smaller) <= room:
            size += len(smaller) - len(parts[name])
            parts[name] = smaller
    whole = written(parts)
    return whole if len(whole) <= max_bytes or len(mark) >= len(whole) else mark


def _reduced_array(data: Text, pointer: str, room: int) -> bytes:
    """The first whole items that fit, and a mark for the others."""
    if len(data) <= room:
        return bytes(data)
    items = items_of(data)
    mark = orjson.dumps({"$omitted": pointer, "bytes": len(data), "items": len(items)})
    most = _fitting(items, len(items), room - len(mark) - 3)
    return array([*items[:most], mark]) if most else mark


def _largest_array(data: bytes) -> tuple[str, ...] | None:
    """Where the largest array lies that is reached through objects alone."""
    best: tuple[int, tuple[str, ...]] | None = None
    level: list[tuple[tuple[str, ...], Text]] = [((), data)]
    while level:
        path, value = level.pop()
        if best is not None and len(value) <= best[0]:
            continue
        if head_of(value) == b"[":
            best = len(value), path
        elif head_of(value) == b"{":
            with suppress(TooWide):
                level += [((*path, name), member) for name, member in members_of(value).items()]
    return None if best is None else best[1]


def _form(data: Text, depth: int = 0) -> Any:
    """The types of an answer by name: of an array those of its first item."""
    head = head_of(data)
    if head == b"[":
        first = first_of(data) if depth < _SHAPE_DEPTH else None
        return [] if first is None else [_form(first, depth + 1)]
    if head == b"{":
        if depth >= _SHAPE_DEPTH:
            return "object"
        try:
            members = members_of(data)
        except TooWide:
            return "object"
        told = {name: _form(members[name], depth + 1) for name in list(members)[:_SHAPE_NAMES]}
        return told if len(members) <= _SHAPE_NAMES else {**told, "…": f"{len(members) - _SHAPE_NAMES} more"}
    return {b'"': "string", b"t": "boolean", b"f": "boolean", b"n": "null"}.get(head, "number")


def _pointer(path: Sequence[str]) -> str:
    pointer = ""
    for name in path:
        pointer = _step(pointer, name)
    return pointer


def _step(pointer: str, name: str) -> str:
    return f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
