"""JSON text survives the command line, and a terminal survives JSON text."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.jsontext import dumps, loads, plain, pretty

SHARED = Path(os.environ.get("SKILLWAY_SHARED") or Path(__file__).resolve().parents[3] / "shared")

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_what_is_read_is_written_back(value: object) -> None:
    text = json.dumps(value)
    assert json.loads(dumps(loads(text))) == value
    assert json.loads(pretty(loads(text))) == value


@pytest.mark.parametrize("text", ["1.0", "1e400", "-0", "1E+2", "9" * 5000, '{"b":1,"a":2}', '["\\ud800"]'])
def test_numbers_and_order_stay_as_they_were(text: str) -> None:
    assert dumps(loads(text)) == text
    assert "".join(pretty(loads(text)).split()) == text


@given(st.text())
def test_no_text_can_steer_a_terminal(text: str) -> None:
    for shown in (plain(text), pretty(text)):
        assert not any(ord(mark) < 32 or 0x7F <= ord(mark) < 0xA0 for mark in shown)


def test_hidden_characters_are_shown_as_what_they_are() -> None:
    assert plain("a\x1b[2Jb\u202ec\U000e0041\x9b") == r"a\x1b[2Jb\u202ec\U000e0041\x9b"
    assert plain("two\r\nlines\tof text") == "two lines of text"
    assert pretty("\x1b\u202e\x7f\U000e0041") == r'"\u001b\u202e\u007f\udb40\udc41"'
    assert plain("日本 ünï 👩‍💻") == "日本 ünï 👩‍💻"


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not beside this checkout")
def test_the_json_vectors_are_read_and_refused_as_they_should_be() -> None:
    wrong = []
    for path in sorted((SHARED / "data" / "vectors" / "json-parsing").iterdir()):
        try:
            loads(path.read_bytes())
            read = True
        except ValueError:
            read = False
        # A key that is there twice is allowed by the grammar; here it is refused, for it means two things.
        if path.name.startswith("y_object_duplicated_key"):
            assert not read
        elif (path.name.startswith("y_") and not read) or (path.name.startswith("n_") and read):
            wrong.append(path.name)
    assert wrong == []
