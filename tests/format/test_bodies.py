"""Bodies and queries of every kind, byte for byte as they reach the other side, and what no param can smuggle in."""

from __future__ import annotations

import base64
import email
import email.policy
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from gateway.core.errors import Refusal
from gateway.core.requests.building import build_request
from oauth.schemes import Injection
from skills_catalog.loader import load_integration
from tests.blowup import no_blowup
from tests.format.desk import DEFINITIONS, Desk, desk

BODIES = load_integration(DEFINITIONS / "bodies.yaml")


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path, "bodies") as made:
        await made.connect({"api_key": "the-key"})
        yield made


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


# -- forms -----------------------------------------------------------------------------------------


async def test_a_form_nests_by_brackets(api: Desk) -> None:
    await api.call(
        "charge",
        {
            "amount": 5,
            "metadata": {"order id": "a&b=c", "n": "1"},
            "items": [{"price": "p_1", "quantity": 2, "tags": ["x", "y"]}, {"price": "p_2", "meta": {"a": True}}],
            "expand": ["data.customer", "total"],
            "numbers": [7, 8],
            "media": ["https://a", "https://b"],
            "since": "2026-11-22T10:30:00+01:00",
            "live": False,
        },
    )
    seen = api.last
    assert seen.header("Content-Type") == "application/x-www-form-urlencoded"
    assert seen.form() == [
        ("amount", "5"),
        ("metadata[order id]", "a&b=c"), ("metadata[n]", "1"),
        ("items[0][price]", "p_1"), ("items[0][quantity]", "2"), ("items[0][tags][]", "x"), ("items[0][tags][]", "y"),
        ("items[1][price]", "p_2"), ("items[1][meta][a]", "true"),
        ("expand[]", "data.customer"), ("expand[]", "total"),
        ("numbers[0]", "7"), ("numbers[1]", "8"),
        ("MediaUrl", "https://a"), ("MediaUrl", "https://b"),
        ("created[gte]", "1795339800"),
        ("live", "no"),
    ]  # fmt: skip
    assert seen.body.startswith(b"amount=5&metadata%5Border%20id%5D=a%26b%3Dc&")


@pytest.mark.parametrize("key", ["a][b", "a]", "[", "", "a[b]", "\0"])
async def test_a_key_within_an_object_stays_within_it(api: Desk, key: str) -> None:
    refused = await api.refused("charge", {"amount": 5, "metadata": {key: "x"}})
    assert (refused["error"], refused["details"]["fields"][0]["path"]) == ("bad_request", "metadata")


async def test_names_of_files_stand_beside_the_rest_and_pass_for_nothing_else(api: Desk) -> None:
    files = {"src/[slug].tsx": "a=1&b", "é.txt": "ü"}
    await api.call("commit", {"message": "Hi", "files": files})
    assert api.last.form() == [("branch", "main"), ("message", "Hi"), *files.items()]
    for name in ("message", "branch", "message[x]", "branch.x", "", "a\nb", "\u202e"):
        refused = await api.refused("commit", {"message": "Hi", "files": {name: "x"}})
        assert refused["details"]["fields"][0]["path"] == "files", name


# -- queries ---------------------------------------------------------------------------------------


async def test_arrays_and_objects_of_a_query_are_spelled_as_the_upstream_reads_them(api: Desk) -> None:
    await api.call(
        "search",
        {
            "plain": ["a,b", "c"], "comma": ["a,b", "c"], "space": ["a b", "c"], "pipe": ["a|b", "c"],
            "sort": [{"field": "Name", "direction": "desc"}], "filter": {"status": ["open", "done"], "owner": {"id": 1}},
            "dots": {"a": {"b": 1}, "c": [1, 2]}, "text": {"a": [1]}, "live": True,
            "day": "2026-11-22T23:30:00-05:00", "at": "2026-11-22",
            "where": {"x": "y"}, "order": "date", "more": {"extra": [1, 2], "other": "&"},
        },
    )  # fmt: skip
    assert api.last.raw_path.partition("?")[2].split("&") == [
        "plain=a%2Cb", "plain=c", "comma=a%2Cb,c", "space=a%20b%20c", "pipe=a%7Cb%7Cc",
        "sort%5B0%5D%5Bfield%5D=Name", "sort%5B0%5D%5Bdirection%5D=desc",
        "filter%5Bstatus%5D%5B%5D=open", "filter%5Bstatus%5D%5B%5D=done", "filter%5Bowner%5D%5Bid%5D=1",
        "dots.a.b=1", "dots.c=1", "dots.c=2", "text=%7B%22a%22%3A%5B1%5D%7D", "live=1",
        "day=2026-11-22", "at=1795305600000",
        "extra%5B%5D=1", "extra%5B%5D=2", "other=%26",
        "q=%7B%22where%22%3A%7B%22x%22%3A%22y%22%7D%2C%22sort%22%3A%7B%22by%22%3A%22date%22%7D%7D",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("at", "yesterday"), ("at", "2026-13-01"), ("at", "10000-01-01"),
        ("at", "2026-01-01T00:00:00" + "0" * 500), ("day", ""), ("day", "٢٠٢٦-01-01"), ("at", "20260101T00:00+99:99"),
        ("dots", {"a.b": 1}), ("filter", {"a][": 1}), ("more", {"comma": "x"}), ("more", {"q": "x"}), ("more", {"plain[0]": "x"}),
    ],
)  # fmt: skip
async def test_what_cannot_be_spelled_is_refused_by_name(api: Desk, param: str, value: Any) -> None:
    refused = await api.refused("search", {param: value})
    assert (refused["error"], refused["details"]["fields"][0]["path"]) == ("bad_request", param)


async def test_the_place_of_the_key_is_nobody_elses(tmp_path: Path) -> None:
    """A name that is spread out into the query must not be the credential's, whichever method was taken."""
    text = (DEFINITIONS / "bodies.yaml").read_text().replace("in: header, as: X-Key", "in: query, as: key")
    bodies = load_integration(text)
    with pytest.raises(Refusal):
        build_request(bodies, bodies.skills["search"], {"more": {"key": "x"}}, injection=Injection(query=(("key", "ours"),)))


def test_a_deep_object_costs_what_it_weighs_and_not_its_square() -> None:
    deep: Any = list(range(20_000))
    for _ in range(40):
        deep = {"k" * 1000: deep}
    with no_blowup():
        with pytest.raises(Refusal) as caught:
            build_request(BODIES, BODIES.skills["charge"], {"amount": 1, "metadata": deep})
        assert caught.value.details is not None and caught.value.details["fields"][0]["path"] == "metadata"


async def test_an_id_is_encoded_twice_where_the_upstream_wants_it(api: Desk) -> None:
    await api.call("get_meeting", {"id": "/a//b=="})
    assert api.last.raw_path == "/meetings/%252Fa%252F%252Fb%253D%253D"
    for evil in ("..", ".", "%2e%2e"):
        refused = await api.refused("get_meeting", {"id": evil})
        assert refused["error"] == "bad_request"


# -- bodies that are not an object -----------------------------------------------------------------


async def test_a_raw_body_has_its_arguments_in_a_header_as_ascii_json(api: Desk) -> None:
    path = '/Ünï/🦄 "x"\x7f\u2028\r\n.txt'
    await api.call("upload", {"content": {"content": b64(b"\x00\r\n--x\xff"), "content_type": "text/plain"}, "path": path, "mode": "add"})
    seen = api.last
    assert seen.body == b"\x00\r\n--x\xff"
    # The definition fixes the type here.
    assert seen.header("Content-Type") == "application/octet-stream"
    said = seen.header("Dropbox-API-Arg") or ""
    assert re.fullmatch(r"[\x20-\x7e]+", said)
    assert said.startswith('{"mute":false,"path":"/\\u00dcn')
    assert json.loads(said) == {"mute": False, "path": path, "mode": "add"}


async def test_the_literal_null_is_a_body_and_none_is_none(api: Desk) -> None:
    await api.call("account")
    assert (api.last.body, api.last.header("Content-Type")) == (b"null", "application/json")
    await api.call("touch", {"id": "a"})
    assert (api.last.body, api.last.header("Content-Type")) == (b"", None)
    assert api.last.header("Content-Length") == "0"


async def test_lines_of_json_and_text_are_sent_as_their_types(api: Desk) -> None:
    await api.call("index", {"rows": [{"a": "x\ny"}, {}]})
    assert api.last.body == b'{"a":"x\\ny"}\n{}\n'
    assert api.last.header("Content-Type") == "application/x-ndjson"
    await api.call("import_mail", {"text": "Subject: ü\r\n\r\nHi"})
    assert api.last.body == "Subject: ü\r\n\r\nHi".encode()
    assert api.last.header("Content-Type") == "message/rfc822"


async def test_a_body_is_wrapped_and_members_are_spread_within_it(api: Desk) -> None:
    await api.call("create_task", {"name": "a", "parent": "p", "custom": {"c1": [1], "c2": {"x": None}}})
    assert api.last.json() == {"data": {"name": "a", "links": {"parent": "p"}, "c1": [1], "c2": {"x": None}}}
    for name in ("name", "links"):
        refused = await api.refused("create_task", {"name": "a", "custom": {name: "x"}})
        assert refused["details"]["fields"][0]["path"] == "custom"


# -- parts -----------------------------------------------------------------------------------------


async def test_parts_have_their_own_types_and_some_are_json(api: Desk) -> None:
    files = [{"content": b64(b"one"), "filename": 'a"\r\nX: y.txt', "content_type": "text/plain"}, b64(b"\xfftwo")]
    await api.call(
        "post_files",
        {"files": files, "pages": [b64(b"1"), b64(b"2")], "name": "Name", "parent": "0", "payload": {"a": ["\r\n--x"]}, "note": "# Hi\r\n--boundary--"},
    )
    parts = [(part.name, part.filename, part.content_type, part.content) for part in api.last.parts()]
    assert parts == [
        ("files[]", "a___X: y.txt", "text/plain", b"one"),
        ("files[]", "files", "application/octet-stream", b"\xfftwo"),
        ("pages[0]", "pages", "application/octet-stream", b"1"),
        ("pages[1]", "pages", "application/octet-stream", b"2"),
        ("payload", None, "application/json", b'{"a":["\\r\\n--x"]}'),
        ("note", None, "text/markdown", b"# Hi\r\n--boundary--"),
        ("attributes", None, "application/json", b'{"name":"Name","parent":{"id":"0"}}'),
    ]


async def test_a_related_body_is_json_and_a_file(api: Desk) -> None:
    await api.call("put_related", {"name": "a", "parent": "root", "file": {"content": b64(b"\x89PNG"), "content_type": "text/html"}})
    seen = api.last
    assert seen.query == [("uploadType", "multipart")]
    kind, _, boundary = (seen.header("Content-Type") or "").partition("; boundary=")
    assert (kind, len(boundary)) == ("multipart/related", 48)
    head, first, second, end = seen.body.split(f"--{boundary}".encode())
    assert (head, end) == (b"", b"--\r\n")
    assert first == b'\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{"name":"a","parents":{"id":"root"}}\r\n'
    assert second == b"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n"


@pytest.mark.parametrize("content_type", ["text/html\r\nX: y", "a", "text/plain; x=\"y\"", "ü/x", "text/plain;a=b\n"])
async def test_a_type_of_a_file_begins_no_other_header(api: Desk, content_type: str) -> None:
    given = {"content": b64(b"x"), "content_type": content_type}
    for action, params in (("upload", {"content": given, "path": "x"}), ("post_files", {"files": [given]}), ("put_related", {"name": "a", "file": given})):
        assert (await api.refused(action, params))["error"] == "bad_request"


# -- mails -----------------------------------------------------------------------------------------


def opened(seen: Any) -> Any:
    raw = base64.urlsafe_b64decode(seen.json()["raw"])
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert b"\n" not in raw.replace(b"\r\n", b"")
    return email.message_from_bytes(raw, policy=email.policy.default)


async def test_a_mail_is_made_of_its_parts(api: Desk) -> None:
    await api.call(
        "send_mail",
        {
            "message": {
                "to": ["Ada Ünïcode <ada@example.com>", "bob@example.com"],
                "cc": ['"Quoted, Name" <q@example.com>'],
                "subject": "Grüße 🦄 " + "lang " * 100,
                "text": "Hällo\n.\nFrom me\n",
                "html": "<p>Hällo</p>",
                "in_reply_to": "<1@example.com>",
                "references": ["<0@example.com>", "<1@example.com>"],
                "attachments": [{"content": b64(b"\x00\xff"), "filename": "Übersicht.pdf", "content_type": "application/pdf"}],
            },
            "thread": "t-1",
        },
    )
    assert api.last.json()["threadId"] == "t-1"
    mail = opened(api.last)
    assert [str(one) for one in mail["to"].addresses] == ["Ada Ünïcode <ada@example.com>", "bob@example.com"]
    assert [str(one) for one in mail["cc"].addresses] == ['"Quoted, Name" <q@example.com>']
    assert mail["subject"].strip() == ("Grüße 🦄 " + "lang " * 100).strip()
    assert (mail["in-reply-to"], str(mail["references"]).split()) == ("<1@example.com>", ["<0@example.com>", "<1@example.com>"])
    assert mail["from"] is None
    assert mail.get_body(("plain",)).get_content() == "Hällo\n.\nFrom me\n"
    assert mail.get_body(("html",)).get_content() == "<p>Hällo</p>"
    (attached,) = mail.iter_attachments()
    assert (attached.get_content_type(), attached.get_content()) == ("application/pdf", b"\x00\xff")
    assert "filename*=UTF-8''%C3%9Cbersicht.pdf" in base64.urlsafe_b64decode(api.last.json()["raw"]).decode()


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("subject", "Hi\r\nBcc: evil@example.com"), ("subject", "Hi\nBcc: x"), ("subject", "a\0b"), ("subject", "\u2028"),
        ("to", ["a@example.com\r\nBcc: x@example.com"]), ("to", ["no address"]), ("to", ["a@b, c@d"]), ("to", ["<a@b> <c@d>"]),
        ("to", ["Name\n <a@b>"]), ("to", ["a" * 20_000 + "@b"]), ("to", ["a@b"] * 501), ("cc", ["ü@example.com"]),
        ("in_reply_to", "no brackets"), ("references", ["<a@b>\r\nX: y"]), ("from", "a@b\r\nX: y"),
        ("attachments", [{"content": "!"}]), ("attachments", [{"content": "", "content_type": "a\r\nb"}]),
    ],
)  # fmt: skip
async def test_no_part_of_a_mail_begins_a_header(api: Desk, part: str, value: Any) -> None:
    refused = await api.refused("send_mail", {"message": {"to": ["ada@example.com"], part: value}})
    assert refused["error"] == "bad_request"
    assert refused["details"]["fields"][0]["path"].startswith(f"message/{part}")


@pytest.mark.parametrize(
    "evil", ["=?utf-8?q?=0d=0aBcc: evil@example.com?=", "=?utf-8?b?DQpCY2M6IGV2aWxAZXhhbXBsZS5jb20=?=", "=?x?q?=0a?= y"]
)
async def test_an_encoded_word_is_only_a_text(api: Desk, evil: str) -> None:
    """The standard library would decode it, and write what it says as a header of its own."""
    message = {"to": [f"{evil} <ada@example.com>"], "subject": evil, "attachments": [{"content": "", "filename": evil}]}
    await api.call("send_mail", {"message": message})
    raw = base64.urlsafe_b64decode(api.last.json()["raw"])
    head = raw.partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0] for line in head.split(b"\r\n") if not line.startswith(b" ")]
    assert names == [b"To", b"Subject", b"MIME-Version", b"Content-Type"]
    encoded = [base64.b64decode(word).decode() for word in re.findall(r"=\?utf-8\?b\?([^?]*)\?=", head.decode())]
    assert evil in "".join(encoded)


async def test_a_hostile_mail_costs_no_more_than_its_size(api: Desk) -> None:
    with no_blowup():
        for message in (
            {"to": ["ü" * 800 + " <a@b>"] * 100, "subject": "ü" * 16_000},
            {"to": ["(" * 800 + "@b"] * 300},
            {"to": ['"\\' * 400 + " <a@b>"] * 500},
            {"to": ["a@b"], "text": "é" * 100_000, "html": "<" * 100_000},
        ):
            await api.running.call("bodies", "send_mail", {"message": message})


async def test_the_schema_of_a_mail_is_what_callers_see(api: Desk) -> None:
    schema = (await api.running.ask("GET", "/v1/skills/bodies/send_mail")).json()["parameters"]
    mail = schema["properties"]["message"]
    assert mail["description"] == "The mail."
    assert {"to", "cc", "bcc", "subject", "text", "html", "attachments"} <= set(mail["properties"])
    assert mail["required"] == ["to"] and mail["additionalProperties"] is False
    unknown = await api.refused("send_mail", {"message": {"to": ["a@b.c"], "titel": "x"}})
    assert unknown["details"]["fields"][0]["path"] == "message/titel"


def test_every_hostile_string_stays_in_its_place_however_it_is_spelled() -> None:
    strings = ["a\r\nX: y", "&x=1", "a=b", "]", "%00", "\0", "🦄", "../..", "'\"", "--x--", "{dc}", "{{7*7}}", "\u560d\u560a"]
    for text in strings:
        for name, params in (
            ("charge", {"amount": 1, "metadata": {"k": text}, "expand": [text], "items": [{"a": text}]}),
            ("search", {"plain": [text], "comma": [text], "space": [text], "pipe": [text], "text": {"k": text}, "order": text}),
        ):
            request = build_request(BODIES, BODIES.skills[name], params)
            assert request.body is None or isinstance(request.body, bytes)
            spelled = (request.body or b"").decode() or request.query
            assert re.fullmatch(r"(?:[A-Za-z0-9._~=&,-]|%[0-9A-F]{2})*", spelled)
            assert any(text in value for _, value in parse_qsl(spelled, keep_blank_values=True)) or name == "search"
