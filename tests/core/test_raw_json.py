"""Large JSON is found again piece by piece, exactly as a parser finds it, in flat memory."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import raw_json
from gateway.core.raw_json import TooWide, first_of, items_of, member, members_of, single_members_of

TEXT = st.text(alphabet='ab",\\[]{}\n:é😀 ', max_size=120)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | TEXT,
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(TEXT, inner, max_size=6),
    max_leaves=80,
)
SEPARATORS = st.sampled_from([(",", ":"), (" , ", " : ")])


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_json, "_BLOCK", 50)


@pytest.mark.usefixtures("small_blocks")
def test_items_and_members_are_those_that_a_parser_finds() -> None:
    @given(st.lists(JSON, max_size=8) | st.dictionaries(TEXT, JSON, max_size=8), st.booleans(), SEPARATORS)
    def check(value: Any, is_ascii: bool, separators: tuple[str, str]) -> None:
        data = json.dumps(value, ensure_ascii=is_ascii, separators=separators).encode()
        if isinstance(value, list):
            whole = [bytes(item) for item in msgspec.json.decode(data, type=list[msgspec.Raw])]
            items, first = items_of(data), first_of(data)
            assert [bytes(item) for item in items] == whole and len(items) == len(whole)
            assert (None if first is None else bytes(first)) == (whole[0] if whole else None)
            for number in range(len(whole)):
                assert bytes(items[number]) == whole[number]
                assert [bytes(item) for item in items[number : number + 2]] == whole[number : number + 2]
        else:
            members = {name: bytes(one) for name, one in msgspec.json.decode(data, type=dict[str, msgspec.Raw]).items()}
            assert {name: bytes(one) for name, one in members_of(data).items()} == members
            assert [json.loads(bytes(one)) for one in single_members_of(data)] == [{n: v} for n, v in value.items()]
            assert all(bytes(member(data, name) or b"") == one for name, one in members.items())
            assert member(data, "not there") is None

    check()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("depth", [4, 5, 6, 7, 100])
def test_what_is_nested_deeply_is_found_as_well(depth: int) -> None:
    deep = "[" * depth + '"]"' + "]" * depth
    items = items_of(f"[{deep},1,{deep}]".encode())
    assert [bytes(item).decode() for item in items] == [deep, "1", deep]


def test_an_object_of_too_many_members_is_paged_but_not_listed() -> None:
    data = json.dumps({str(number): number for number in range(20_000)}).encode()
    with pytest.raises(TooWide):
        members_of(data)
    assert bytes(member(data, "19999") or b"") == b"19999"
    assert [json.loads(bytes(one)) for one in single_members_of(data)[10_000:10_002]] == [
        {"10000": 10_000},
        {"10001": 10_001},
    ]
