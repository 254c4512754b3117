"""Recorded answers: whose they were cannot be told any more, and what they look like can."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills_catalog.loader import load_definition
from skills_catalog.recording.adding import CannotAdd, lines_of, with_example
from skills_catalog.recording.redacting import LONGEST_TEXT, MOST_ITEMS, SECRET, redact

ISSUE = {
    "id": 1296269,
    "node_id": "MDU6SXNzdWUx_kD82hs",
    "number": 1347,
    "title": "Jane Roe cannot log in",
    "url": "https://api.github.com/repos/janeroe/vault/issues/1347?access_token=hunter2222",
    "html_url": "https://wayne.enterprise.example/janeroe/1296269/x",
    "body": "Ask jane.roe@wayne.com, or call +44 20 7946 0018 from 10.1.2.3.",
    "user": {"login": "janeroe", "name": "Jane Roe", "id": 99, "avatar_url": "https://avatars.example.com/u/99?v=4"},
    "assignees": ["bobby"],
    "repository": {"full_name": "janeroe/vault"},
    "session": {"accessToken": "abc", "refresh_token": "r-1"},
    "trace": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
    "cursor": "Y3Vyc29yOnYyOpHOAAGb3kdk91",
    "labels": [{"id": n, "name": "bug"} for n in range(9)],
    "state": "open",
    "locked": False,
    "score": 1.5,
    "created_at": "2026-01-05T10:00:00Z",
    "milestone": None,
}
GIVEN = {"repo": "janeroe/vault", "number": 1347, "note": "for jane.roe@wayne.com"}


def recorded() -> tuple[dict[str, Any], Any]:
    params, data, _ = redact(GIVEN, ISSUE)
    return params, data


def shape(text: str) -> str:
    return re.sub("[0-9]", "0", re.sub("[A-Z]", "A", re.sub("[a-z]", "a", text)))


def test_nothing_that_was_somebodys_is_left() -> None:
    params, data = recorded()
    text = json.dumps([params, data])
    for was in (
        "1296269", "MDU6", "kD82hs", "janeroe", "Jane", "Roe", "wayne", "jane.roe", "7946", "10.1.2.3", "bobby", "hunter2222",
        '"abc"', "r-1", "3f2504e0", "Y3Vyc29yOn", "/u/99",
    ):  # fmt: skip
        assert was not in text, was


def test_its_shape_and_what_is_nobodys_stay() -> None:
    _, data = recorded()
    assert list(data) == list(ISSUE)
    for name in ("number", "state", "locked", "score", "created_at", "milestone"):
        assert data[name] == ISSUE[name], name
    assert len(str(data["id"])) == 7 and isinstance(data["id"], int)
    assert shape(data["node_id"]) == shape("MDU6SXNzdWUx_kD82hs") and data["node_id"] != ISSUE["node_id"]
    assert re.fullmatch(r"[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}", data["trace"])
    assert len(data["cursor"]) == len(ISSUE["cursor"])  # type: ignore[arg-type]
    assert len(data["labels"]) == MOST_ITEMS and data["labels"][0]["name"] == "bug"
    assert data["session"] == {"accessToken": SECRET, "refresh_token": SECRET}
    assert data["body"].startswith("Ask ada@example.com, or call +1 555 0100 from 192.0.2.1.")


def test_the_same_is_the_same_wherever_it_stands() -> None:
    params, data = recorded()
    login = data["user"]["login"]
    assert params == {"repo": f"{login}/vault", "number": 1347, "note": "for ada@example.com"}
    assert data["url"] == f"https://api.github.com/repos/{login}/vault/issues/1347?access_token={SECRET}"
    assert data["html_url"] == f"https://example.enterprise.example/{login}/{data['id']}/x"
    assert data["user"]["avatar_url"].endswith(f"/u/{data['user']['id']}?v=4")
    assert data["repository"] == {"full_name": f"{login}/vault"}
    assert data["title"] == f"{data['user']['name']} cannot log in"
    assert recorded() == (params, data)


def test_no_id_stands_for_itself() -> None:
    for number in range(40):
        ids = [{"id": number * 10 + digit} for digit in range(2)] + [{"id": "a"}, {"id": "A1"}]
        for one in ids:
            assert redact({}, one)[1]["id"] != one["id"], one


def test_what_an_issuer_handed_out_is_a_secret_whatever_it_is_called() -> None:
    issued = "gh" + "p_" + "Zk3Qw9Lm2Rt7Yx5Vb8Nc1Hd4Jf6Gs0PaEuXi"
    _, data, _ = redact({}, {"note": f"use {issued}", "next": issued})
    assert data == {"note": SECRET, "next": SECRET}


def test_long_texts_and_deep_answers_are_cut() -> None:
    deep: Any = {"end": 1}
    for _ in range(100):
        deep = {"in": deep}
    _, data, _ = redact({}, {"text": "word " * 100_000, "run": "a" * 1_000_000, "deep": deep, "huge": 10**400, "inf": 1e999})
    assert len(data["text"]) == LONGEST_TEXT and len(data["run"]) <= LONGEST_TEXT
    assert data["huge"] == 2**63 - 1 and data["inf"] == 0
    assert json.dumps(data).count("in") < 60


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "user", "name", "token", "x y", "é"]), inner),
    max_leaves=12,
)


@given(JSON)
def test_any_answer_becomes_an_example_that_reads_back_as_it_was_made(data: Any) -> None:
    _, made, _ = redact({}, data)
    action = {"description": "Get it.", "request": "GET /it", "examples": [{"response": {"status": 200}}]}
    text = definition(action)
    example = {"response": {"status": 200, "data": made}}
    if made is None:
        return
    try:
        text.encode(), json.dumps(made, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    added = with_example(text, load_definition(text, source="a.yaml")[1], "get_it", example)
    integration, _ = load_definition(added, source="a.yaml")
    assert integration.skills["get_it"].examples[1].data == made
    redact({}, made)


def definition(action: dict[str, Any]) -> str:
    head = {
        "slug": "thing", "name": "Thing", "description": "Holds it.", "base_url": "https://thing.example",
        "auth": [{"name": "open", "type": "none", "title": "Open"}],
    }  # fmt: skip
    lines = [f"{name}: {json.dumps(value)}" for name, value in head.items()]
    examples = [f"      - {json.dumps(one)}" for one in action["examples"]]
    rest = [f"    {name}: {json.dumps(value)}" for name, value in action.items() if name != "examples"]
    return "\n".join([*lines, "actions:", "  get_it:", *rest, "    examples:", *examples, ""])


TEXT = """slug: thing
name: Thing
description: Holds it.
base_url: https://thing.example
auth: [{name: open, type: none, title: Open}]
actions:
  get_it:
    description: Get it.
    request: GET /it
    examples:
    # The plain one.
    - response: {status: 200, data: {size: 1}}
    - response:
        status: 200
        data: |
          text
          - of several lines

    # What follows.
    errors: [{status: 404, fix: Look again.}]
  one_line: {description: Get it., request: GET /one, examples: [{response: {status: 200}}]}
"""


def test_an_example_is_added_below_the_others_and_no_other_line_is_touched() -> None:
    example = {"response": {"status": 200, "data": {"size": 2}}}
    _, document = load_definition(TEXT, source="a.yaml")
    added = with_example(TEXT, document, "get_it", example)
    line = "    - response: {status: 200, data: {size: 2}}\n"
    assert added == TEXT.replace("          - of several lines\n", f"          - of several lines\n{line}")
    integration, document = load_definition(added, source="a.yaml")
    assert integration.skills["get_it"].examples[-1].data == {"size": 2}
    for action, why in (("get_it", "already"), ("one_line", "on one line"), ("nota", "no action")):
        with pytest.raises(CannotAdd, match=why):
            with_example(added, document, action, example)


def test_params_and_response_stand_on_a_line_each_while_they_fit() -> None:
    small = {"params": {"size": 1}, "response": {"status": 204}}
    assert lines_of(small) == ["- params: {size: 1}", "  response: {status: 204}"]
    lines = lines_of({"params": {"size": 1}, "response": {"status": 200, "data": {f"member_{n}": "x" * 20 for n in range(9)}}})
    assert lines[0] == "- params: {size: 1}" and len(lines) > 9 and all(len(line) <= 120 for line in lines)
