"""YAML as if it were JSON with comments: what is text stays text, and what YAML adds to JSON is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from skills_catalog import strict_yaml
from skills_catalog.mistakes import CatalogError, Mistake
from skills_catalog.strict_yaml import read

ALPHABET = "abcXYZ019_-<.: "


def value(text: str) -> object:
    return read(text, "file.yaml").value


def refusal(text: str | bytes) -> Mistake:
    with pytest.raises(CatalogError) as caught:
        read(text, "file.yaml")
    return caught.value.problems[0]


@pytest.mark.parametrize(
    "word",
    [
        *("no", "No", "NO", "yes", "on", "off", "y", "n", "True", "TRUE", "False", "Null", "NULL", "~"),
        *("08", "010", "0o17", "0x1F", "0b1", "1_000", "+1", ".5", "5.", "1:30", "12:30:45", "190:20:30"),
        *("2026-03-15", "2026-03-15T10:30:00Z", "2026-03-15 10:30:00", ".inf", "-.inf", ".nan", "NaN", "Infinity"),
        *("1.0.0", "1e", "--1", "=", "0.1.2", "1,000", "١٢"),
    ],
)
def test_a_plain_word_that_json_would_not_read_is_text(word: str) -> None:
    assert value(f"key: {word}") == {"key": word}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("0", 0),
        ("-7", -7),
        ("12", 12),
        ("1.5", 1.5),
        ("-2e3", -2000.0),
    ],
)
def test_a_plain_word_that_json_reads_is_what_json_says(word: str, expected: object) -> None:
    found = value(f"key: {word}")

    assert found == {"key": expected}
    assert isinstance(found, dict) and type(found["key"]) is type(expected)


def test_nothing_is_null_and_quotes_make_text() -> None:
    assert value("a:\nb: ''\nc: 'true'\nd: \"12\"\ne: |\n  12\n") == {
        "a": None,
        "b": "",
        "c": "true",
        "d": "12",
        "e": "12\n",
    }


def test_names_are_text_whatever_they_look_like() -> None:
    assert value("200: a\ntrue: b\nnull: c\n1.5: d\n2026-01-01: e\n") == {
        "200": "a",
        "true": "b",
        "null": "c",
        "1.5": "d",
        "2026-01-01": "e",
    }


@pytest.mark.parametrize("number", ["1e400", "-1e999", "9223372036854775808", "9" * 5000, "-" + "9" * 400])
def test_numbers_that_do_not_survive_are_refused(number: str) -> None:
    mistake = refusal(f"a:\n  b: {number}\n")

    assert (mistake.line, mistake.field) == (2, "a.b")
    assert "too large" in mistake.message


@pytest.mark.parametrize(
    ("text", "line", "field", "words"),
    [
        ("a: 1\nb: &x 2\n", 2, "b", "Anchors"),
        ("a: &x [1]\n", 1, "a", "Anchors"),
        ("a: 1\nb: *x\n", 2, "b", ""),
        ("&x a: 1\n", 1, "", "anchors"),
        ("a: !!str 1\n", 1, "a", "Tags"),
        ("a: !x 1\n", 1, "a", "Tags"),
        ("a: ! 1\n", 1, "a", "Tags"),
        ("a: !!python/object/apply:os.system [id]\n", 1, "a", "Tags"),
        ("!!map {a: 1}\n", 1, "", "Tags"),
        ("!!str a: 1\n", 1, "", "tags"),
        ("a:\n  b: 1\n  <<: {c: 2}\n", 3, "a", "Merge"),
        ("a: 1\nb: 2\na: 3\n", 3, "a", "first in line 1"),
        ("a:\n  - b: 1\n    'b': 2\n", 3, "a.0.b", "first in line 2"),
        ("? [a]\n: 1\n", 1, "", "plain text"),
        ("? {a: 1}\n: 1\n", 1, "", "plain text"),
        ("a: 1\n---\nb: 2\n", 2, "", "one document"),
        ("%YAML 1.1\n---\na: 1\n", 1, "", "Directives"),
        ("%TAG ! tag:x,2000:\n---\na: 1\n", 1, "", "Directives"),
        ("", 1, "", "empty"),
        ("# only words\n", 2, "", "empty"),
        ("a: 1\nb: [1\nc: }\n", 3, "", "Not YAML"),
        ("a: 1\n\tb: 2\n", 2, "", "Not YAML"),
        ("a: 1\nb: \x01\n", 2, "", "Not YAML"),
        ('a: "\\ud800"\n', 1, "", "Not YAML"),
    ],
)
def test_what_yaml_adds_to_json_is_refused_by_line_and_field(text: str, line: int, field: str, words: str) -> None:
    mistake = refusal(text)

    assert (mistake.file, mistake.line, mistake.field) == ("file.yaml", line, field)
    assert words in mistake.message


def test_every_duplicate_is_named_at_once() -> None:
    with pytest.raises(CatalogError) as caught:
        read("a: 1\na: 2\nb: {c: 1, c: 2}\n", "file.yaml")

    assert [(one.line, one.field) for one in caught.value.problems] == [(2, "a"), (3, "b.c")]


@pytest.mark.parametrize(
    "raw", [b"a: \xff\n", b"a: 1\nb: \xc3\x28\n", "a: ä\n".encode("utf-16"), b"a: \xed\xa0\x80\n", b"\x80"]
)
def test_what_is_not_utf_8_is_refused(raw: bytes) -> None:
    assert "UTF-8" in refusal(raw).message


def test_a_byte_order_mark_is_overlooked() -> None:
    assert read(b"\xef\xbb\xbfa: 1\n", "file.yaml").value == {"a": 1}


def test_the_deepest_allowed_nesting_is_read_and_one_more_is_refused() -> None:
    deepest = strict_yaml.MAX_DEPTH

    assert value("[" * deepest + "]" * deepest)
    assert "Nested deeper" in refusal("[" * (deepest + 1) + "]" * (deepest + 1)).message


class CountingLoader(yaml.CSafeLoader):
    """The parser, with a count of what it was asked for."""

    asked = 0

    def get_event(self) -> yaml.Event | None:
        type(self).asked += 1
        event: yaml.Event | None = super().get_event()
        return event


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nesting", "[" * 100_000),
        ("nested blocks", "".join(" " * depth + "a:\n" for depth in range(600))),
        ("nested maps", "{a: " * 50_000),
        ("billion laughs", "a: &a [x]\n" + "".join(f"b{n}: &b{n} [*a,*a,*a,*a]\n" for n in range(5000))),
        ("endless", "a: &a [*a]\n" + "b: 1\n" * 30_000),
        ("anchors", "".join(f"a{n}: &x{n} 1\n" for n in range(10_000))),
    ],
)
def test_a_bomb_is_given_up_after_a_few_steps(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml, "CSafeLoader", CountingLoader)
    CountingLoader.asked = 0

    refusal(text)

    assert 0 < CountingLoader.asked < 100, f"{name}: the parser was asked {CountingLoader.asked} times"


def test_a_file_over_the_cap_is_not_parsed_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml, "CSafeLoader", CountingLoader)
    CountingLoader.asked = 0

    mistake = refusal("a: " + "x" * strict_yaml.MAX_BYTES)

    assert "larger than 2 MB" in mistake.message
    assert CountingLoader.asked == 0


def test_a_file_of_just_the_cap_is_read() -> None:
    text = "a: " + "x" * (strict_yaml.MAX_BYTES - 3)

    assert value(text) == {"a": text[3:]}


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc", "Cn", "Co"), exclude_characters="\x7f")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(ALPHABET, max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(JSON_VALUES)
@settings(max_examples=200, deadline=None)
def test_json_means_in_a_file_what_it_means_as_json(expected: object) -> None:
    text = json.dumps({"key": expected}, ensure_ascii=False)

    found = value(text)

    assert found == {"key": expected}
    assert json.dumps(found) == json.dumps({"key": expected})


@pytest.mark.shared
def test_naughty_strings_are_strings(shared: Path) -> None:
    strings: list[str] = json.loads((shared / "hostile" / "naughty-strings.json").read_text(encoding="utf-8"))

    assert len(strings) > 500
    for text in strings:
        # Quoted by the reader's own library; what it cannot read back at all is refused, never changed.
        written = yaml.dump({"key": text}, allow_unicode=False, default_style='"')
        assert value(written) == {"key": text}


def test_lines_are_those_of_names_and_items() -> None:
    document = read("a:\n  b:\n    - 1\n    - c: 2\n      d: 3\n", "file.yaml")

    assert document.line(()) == 1
    assert document.line(("a", "b")) == 2
    assert document.line(("a", "b", 1)) == 4
    assert document.line(("a", "b", 1, "d")) == 5
    assert document.line(("a", "b", 1, "missing", "deeper")) == 4
    assert document.line(("a", "b", 9)) == 2
