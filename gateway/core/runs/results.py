"""The whole of an answer that was cut, piece by piece: any part of it, some items of it, those that hold a text."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import jmespath
import orjson
from jmespath.exceptions import JMESPathError

from gateway.core.calls.kept import KeptAnswers
from gateway.core.entered import bad_field
from gateway.core.errors import Refusal
from gateway.core.raw_json import Text, head_of, items_of, member, members_of, single_members_of, some_of
from gateway.core.requests.answers import Result
from gateway.core.run import Run

#: Bytes of one piece at most; what follows is asked for next.
MOST_BYTES = 256 * 1024
_LARGE = 256 * 1024
#: An expression needs the answer as objects, which take many times its size.
_MOST_FOR_EXPRESSION = 8 * 1024 * 1024
_LONGEST_PATH = 2000


class Results:
    """Reads kept answers."""

    def __init__(self, kept: KeptAnswers) -> None:
        self._kept = kept

    async def whole(self, run: Run) -> Result:
        """The answer as it came. Raises `not_found` where it is not kept."""
        result = await self._kept.find(run.org, run.id)
        if result is None:
            raise Refusal("not_found", "Result not found.", hint="Results are kept of answers that were cut, for a while.")
        return result

    async def read(
        self, run: Run, *, path: str, offset: int, limit: int, grep: str | None, most: int = MOST_BYTES
    ) -> bytes:
        """`{"data": […], "total", "next"?}` as JSON: items of an array, letters of a text, or the one value there is.

        One piece has about `most` bytes; an object too large for one comes as its members, each an object by itself.
        `path` is a JSON pointer (RFC 6901) or JMESPath. Raises `not_found`, or `bad_request` for a path that leads
        nowhere.
        """
        result = await self.whole(run)
        if len(result.data) > _LARGE:
            return await asyncio.to_thread(_piece, result, path, offset, limit, grep, most)
        return _piece(result, path, offset, limit, grep, most)


def _piece(result: Result, path: str, offset: int, limit: int, grep: str | None, most: int) -> bytes:
    found = _found(result.data.strip(), path)
    head = head_of(found)
    if head == b"[" or (head == b"{" and len(found) > most):
        items: Sequence[Text] = items_of(found) if head == b"[" else single_members_of(found)
        if grep is not None:
            # As the item is written: what is not ASCII may stand there escaped.
            spelled = {grep.encode(), orjson.dumps(grep)[1:-1], _escaped(grep)}
            items = [item for item in items if any(text in bytes(item) for text in spelled)]
        where = path if grep is None and (not path or path.startswith("/")) else None
        return _some(items, offset, limit, where, most=most, has_names=head == b"{")
    if head == b'"':
        text: str = orjson.loads(bytes(found))
        lines = [line for line in text.splitlines() if grep in line] if grep is not None else None
        if lines is not None:
            return _some([orjson.dumps(line) for line in lines], offset, limit, most=most)
        return _letters(text, offset, limit, most=most)
    if grep is not None and grep.encode() not in bytes(found):
        return _some([], 0, 1, most=most)
    return _some([found], offset, limit, most=most)


def _found(data: bytes, path: str) -> Text:
    if len(path) > _LONGEST_PATH:
        raise bad_field("path", f"The query parameter 'path' has more than {_LONGEST_PATH} characters.")
    if not path or path.startswith("/"):
        return _pointed(data, path)
    if len(data) > _MOST_FOR_EXPRESSION:
        raise bad_field("path", "This answer is large: give 'path' as a JSON pointer, such as /items/0/body.")
    try:
        return orjson.dumps(jmespath.search(path, orjson.loads(data)))
    except (JMESPathError, orjson.JSONEncodeError, orjson.JSONDecodeError) as error:
        raise bad_field("path", f"Neither a JSON pointer nor JMESPath: {str(error).splitlines()[0][:200]}") from None


def _pointed(data: bytes, pointer: str) -> Text:
    value: Text = data
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        head = head_of(value)
        if head == b"{" and (found := member(value, name)) is not None:
            value = found
        elif head == b"[" and name.isascii() and name.isdigit() and int(name) < len(items := items_of(value)):
            value = items[int(name)]
        else:
            raise bad_field("path", f"There is nothing at {pointer[:200]!r} in this answer.")
    return value


def _some(
    items: Sequence[Text], offset: int, limit: int, where: str | None = None, *, most: int, has_names: bool = False
) -> bytes:
    """Whole items, as many as one piece holds; one that is larger by itself stands alone, with its place and size."""
    taken: list[bytes] = []
    size = 0
    for number, item in enumerate(some_of(items, offset, limit), offset):
        if size + len(item) > most and taken:
            break
        if len(item) <= most:
            taken.append(bytes(item))
        else:
            name = next(iter(members_of(item))).replace("~", "~0").replace("/", "~1") if has_names else number
            place = "" if where is None else f"{where}/{name}"
            taken.append(orjson.dumps({"$omitted": place, "bytes": len(item)}))
        size += len(item)
    following = offset + len(taken)
    more = b',"next":%d' % following if following < len(items) else b""
    return b'{"data":[%b],"total":%d%b}' % (b",".join(taken), len(items), more)


def _letters(text: str, offset: int, limit: int, most: int) -> bytes:
    # A limit of some items is meant for arrays: a text comes in larger pieces.
    piece = text[offset : offset + max(limit, 4000)][: most // 6]
    following = offset + len(piece)
    more = b',"next":%d' % following if following < len(text) else b""
    return b'{"data":[%b],"total":%d%b}' % (orjson.dumps(piece), len(text), more)


def _escaped(text: str) -> bytes:
    """As JSON spells it in ASCII."""
    return b"".join(
        letter.encode() if letter.isascii() else b"\\u%04x" % ord(letter)
        for letter in text.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "surrogatepass")
        if ord(letter) < 0x10000
    )
