"""Flags become params by the schema of the action."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.failures import CommandFailed
from gateway.cli.jsontext import Number, dumps, loads
from gateway.cli.params import read_object, read_params

SCHEMA = """{
  "type": "object",
  "properties": {
    "title": {"type": "string"},
    "draft": {"type": "boolean"},
    "maybe": {"type": ["boolean", "null"]},
    "no_cache": {"type": "boolean"},
    "cache": {"type": "boolean"},
    "per_page": {"type": "integer"},
    "price": {"type": "number"},
    "labels": {"type": "array", "items": {"type": "string"}},
    "ids": {"type": "array", "items": {"$ref": "#/$defs/id"}},
    "rows": {"type": "array", "items": {"type": "object"}},
    "filter": {"type": "object"},
    "any": {},
    "milestone": {"type": ["integer", "null"]},
    "state": {"enum": ["open", "closed", 1, null]},
    "mixed": {"oneOf": [{"type": "string"}, {"type": "array"}, {"type": "object"}]},
    "event": {"anyOf": [{"type": "object"}, {"type": "array"}]},
    "maxResults": {"type": "integer"},
    "user-agent": {"type": "string"},
    "user_agent": {"type": "string"},
    "x-y": {"type": "string"},
    "file": {"type": "string", "format": "binary"},
    "bundle": {"type": "object", "properties": {
      "filename": {"type": "string"}, "content": {"type": "string", "contentEncoding": "base64"}}},
    "pages": {"type": "array", "items": {"type": "string", "contentEncoding": "base64"}}
  },
  "$defs": {"id": {"type": "integer"}},
  "additionalProperties": false
}"""


def params(*words: str, schema: str = SCHEMA) -> Any:
    return json.loads(dumps(dict(read_params(words, loads(schema)))))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--title", "42"], {"title": "42"}),
        (["--title", "true"], {"title": "true"}),
        (["--title", "a,b"], {"title": "a,b"}),
        (["--title", '{"a":1}'], {"title": '{"a":1}'}),
        (["--title="], {"title": ""}),
        (["--title", ""], {"title": ""}),
        (["--title=--draft"], {"title": "--draft"}),
        (["--title", "-1"], {"title": "-1"}),
        (["--title", "---\nfront: matter"], {"title": "---\nfront: matter"}),
        (["--title", "-- a dash"], {"title": "-- a dash"}),
        (["--title=a=b\nc"], {"title": "a=b\nc"}),
        (["--draft"], {"draft": True}),
        (["--draft", "true"], {"draft": True}),
        (["--draft", "false"], {"draft": False}),
        (["--draft=false"], {"draft": False}),
        (["--draft", "--title", "x"], {"draft": True, "title": "x"}),
        (["--no-draft"], {"draft": False}),
        (["--no-cache"], {"no_cache": True}),
        (["--maybe", "null"], {"maybe": None}),
        (["--maybe"], {"maybe": True}),
        (["--per_page", "50"], {"per_page": 50}),
        (["--per-page", "50"], {"per_page": 50}),
        (["--per_page", "fifty"], {"per_page": "fifty"}),
        (["--per_page", "050"], {"per_page": "050"}),
        (["--price", "-1.5e3"], {"price": -1500.0}),
        (["--labels", "bug,priority"], {"labels": ["bug", "priority"]}),
        (["--labels", "bug"], {"labels": ["bug"]}),
        (["--labels", "1, true"], {"labels": ["1", "true"]}),
        (["--labels", ""], {"labels": []}),
        (["--labels", '["a,b","c"]'], {"labels": ["a,b", "c"]}),
        (["--labels", "[wip],bug"], {"labels": ["[wip]", "bug"]}),
        (["--labels", "bug", "--labels", "priority"], {"labels": ["bug", "priority"]}),
        (["--ids", "1,2"], {"ids": [1, 2]}),
        (["--ids", "1", "--ids", "2"], {"ids": [1, 2]}),
        (["--rows", '{"a":1},{"b":[1,2]}'], {"rows": [{"a": 1}, {"b": [1, 2]}]}),
        (["--rows", '{"a":1}', "--rows", '{"b":2}'], {"rows": [{"a": 1}, {"b": 2}]}),
        (["--filter", '{"a": {"b": [1]}}'], {"filter": {"a": {"b": [1]}}}),
        (["--any", "42"], {"any": 42}),
        (["--any", "a,b"], {"any": "a,b"}),
        (["--any", "{not json"], {"any": "{not json"}),
        (["--any"], {"any": True}),
        (["--milestone", "3"], {"milestone": 3}),
        (["--milestone", "null"], {"milestone": None}),
        (["--state", "open"], {"state": "open"}),
        (["--state", "1"], {"state": 1}),
        (["--state", "null"], {"state": None}),
        (["--state", "ajar"], {"state": "ajar"}),
        (["--mixed", "plain"], {"mixed": "plain"}),
        (["--mixed", "[1]"], {"mixed": [1]}),
        (["--mixed", "[]"], {"mixed": []}),
        (["--mixed", "{}"], {"mixed": {}}),
        (["--mixed", "[wip] x"], {"mixed": "[wip] x"}),
        (["--event", '{"a":1}'], {"event": {"a": 1}}),
        (["--event", "a,b"], {"event": ["a", "b"]}),
        (["--maxResults", "5"], {"maxResults": 5}),
        (["--user-agent", "a", "--user_agent", "b"], {"user-agent": "a", "user_agent": "b"}),
        (["--x_y", "a"], {"x-y": "a"}),
        (["--unknown", "5"], {"unknown": 5}),
        (["--unknown", "five"], {"unknown": "five"}),
        (["--unknown"], {"unknown": True}),
        (["--no-unknown"], {"no-unknown": True}),
        (["--no-title", "x"], {"no-title": "x"}),
        (["--unknown", "a", "--unknown", "2"], {"unknown": ["a", 2]}),
        ([], {}),
    ],
)
def test_a_flag_is_what_the_schema_says(words: list[str], expected: dict[str, Any]) -> None:
    found = params(*words)
    assert found == expected
    assert json.dumps(found) == json.dumps(expected)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["stray"], "'stray'"),
        (["--draft", "stray"], "'stray'"),
        (["-t", "x"], "'-t'"),
        (["--title"], "--title needs a value"),
        (["--title", "--draft"], "--title needs a value"),
        (["--labels"], "--labels needs a value"),
        (["--title", "a", "--title", "b"], "--title is given 2 times"),
        (["--draft", "--draft"], "--draft is given 2 times"),
        (["--filter", "{bad"], "--filter takes JSON"),
        (["--filter", "x"], "--filter takes JSON"),
        (["--filter", '{"a":1,"a":2}'], "twice"),
        (["--rows", '{"a":1'], "--rows takes JSON"),
        (["--file", "no/such/file"], "no/such/file cannot be read"),
        (["--title", "\udcff"], "--title is not UTF-8"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_name(words: list[str], complaint: str) -> None:
    with pytest.raises(CommandFailed) as refusal:
        params(*words)
    assert complaint in refusal.value.problem.message
    assert (refusal.value.exit_code, refusal.value.problem.code) == (1, "bad_request")


def test_two_params_that_differ_only_in_dashes_are_told_apart_or_refused() -> None:
    schema = '{"properties": {"a-b_c": {}, "a_b-c": {}}}'
    assert params("--a-b_c", "1", schema=schema) == {"a-b_c": 1}
    with pytest.raises(CommandFailed, match="a-b_c or a_b-c"):
        params("--a_b_c", "1", schema=schema)


def test_a_schema_for_other_names_types_them() -> None:
    schema = '{"properties": {}, "additionalProperties": {"type": "string"}}'
    assert params("--field", "7", schema=schema) == {"field": "7"}


def test_a_schema_that_refers_to_itself_ends() -> None:
    assert params("--a", "1", schema='{"properties": {"a": {"$ref": "#/properties/a"}}}') == {"a": 1}


@pytest.mark.parametrize("prefix", ["", "@"])
def test_a_file_param_takes_a_path_and_sends_its_content(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "report.txt"
    path.write_bytes(b"\x00\xffhello")
    assert params("--file", f"{prefix}{path}") == {"file": "AP9oZWxsbw=="}
    bundle = {"filename": "report.txt", "content_type": "text/plain", "content": "AP9oZWxsbw=="}
    assert params("--bundle", f"{prefix}{path}") == {"bundle": bundle}
    assert params("--pages", f"{prefix}{path}") == {"pages": ["AP9oZWxsbw=="]}


def test_a_file_param_takes_stdin_and_ready_made_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\x01")))
    assert params("--bundle", "@-")["bundle"]["content"] == "AQ=="
    assert params("--bundle", '{"filename":"a","content":"AQ=="}') == {"bundle": {"filename": "a", "content": "AQ=="}}


@pytest.mark.parametrize("text", ["12345678901234567890123", "1.0", "1e400", "-0", "0.10000000000000000001"])
def test_a_number_is_sent_as_it_was_typed(text: str) -> None:
    schema = loads('{"properties": {"n": {"type": "number"}}}')
    assert dumps(dict(read_params(["--n", text], schema))) == f'{{"n":{text}}}'


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_reaches_a_string_param_as_it_is(text: str) -> None:
    assert read_params([f"--title={text}"], loads(SCHEMA)) == {"title": text}


@given(st.integers())
def test_any_integer_reaches_an_integer_param_exactly(number: int) -> None:
    assert read_params(["--per_page", str(number)], loads(SCHEMA)) == {"per_page": Number(text=str(number))}


def test_params_come_from_json_a_file_or_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "params.json"
    path.write_text('{"a": 1.0}')
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"b": 2}')))
    assert read_object('{"c": "x"}') == {"c": "x"}
    assert read_object(f"@{path}") == {"a": Number(text="1.0")}
    assert read_object("-") == {"b": Number(text="2")}


@pytest.mark.parametrize("text", ["[1]", "nope", "{", '{"a":1,"a":1}', '{"a":NaN}', "@/no/such/file", "[" * 100_000])
def test_params_that_are_no_object_are_refused(text: str) -> None:
    with pytest.raises(CommandFailed) as refusal:
        read_object(text)
    assert "--params" in refusal.value.problem.message
