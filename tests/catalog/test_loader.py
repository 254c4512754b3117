"""From YAML to the model: what a definition says becomes data, and every mistake has its file, line and field."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from skills_catalog.loader import CatalogError, load_catalog, load_integration
from skills_catalog.mistakes import Mistake
from skills_catalog.model import Integration, Placement, Text, Variable
from skills_catalog.names import RESERVED_SLUGS
from tests.catalog.notes import NOTES, broken, line_of


def load(text: str) -> Integration:
    return load_integration(text, source="notes.yaml")


def mistakes(text: str) -> list[Mistake]:
    with pytest.raises(CatalogError) as caught:
        load(text)
    return caught.value.problems


def test_a_definition_becomes_an_integration() -> None:
    notes = load(NOTES)

    assert (notes.slug, notes.name, notes.version, notes.source) == ("notes", "Notes", "1.2.0", "notes.yaml")
    assert notes.base_url == "https://{team}.notes.example/v1"
    assert notes.headers == {"Accept": "application/json", "X-Team": "{team}"}
    assert list(notes.skills) == ["get_me", "list_notes", "create_note", "get_note", "attach_file"]
    assert notes.whoami is not None and notes.whoami.account == "user.email"
    assert notes.upstream_limits == {
        "per_connection": [{"requests": 60, "window": 60.0}],
        "actions": {"create_note": [{"requests": 10, "window": 3600.0}]},
    }


def test_auth_methods_say_where_their_credential_goes() -> None:
    key, oauth = load(NOTES).auth

    assert key.placement == Placement(location="header", name="X-API-Key")
    assert oauth.placement == Placement(location="header", name="Authorization", prefix="Bearer ")
    assert oauth.scopes.default == ("read",)
    assert oauth.scopes.implies == {"write": ("read",)}
    assert (oauth.pkce, oauth.token_auth, oauth.token_body) == ("S256", "post", "form")
    assert (key.title, oauth.title) == ("API key", "OAuth")


def test_an_api_key_without_a_name_of_its_own_goes_under_the_name_of_the_method() -> None:
    notes = load(
        broken(
            "name: key\n    type: api_key\n    title: API key\n    in: header\n    as: X-API-Key",
            "{name: apiKey, type: api_key, in: body}",
        )
        .replace("    pattern: ^nk_\n", "")
        .replace("  - {name: apiKey", "  - {name: apiKey")
        .replace("auth: [key]", "auth: [apiKey]")
        .replace("request: GET /", "effect: read\n    request: POST /")
    )

    assert notes.auth[0].placement == Placement(location="body", name="apiKey")


@pytest.mark.parametrize(
    ("method", "placement"),
    [
        ("type: bearer", Placement(location="header", name="Authorization", prefix="Bearer ")),
        ("type: bearer, as: X-Token", Placement(location="header", name="X-Token", prefix="")),
        ("type: bearer, prefix: 'Token '", Placement(location="header", name="Authorization", prefix="Token ")),
        ("type: basic", Placement(location="header", name="Authorization", prefix="Basic ")),
        ("type: api_key, in: query, as: key", Placement(location="query", name="key")),
        ("type: api_key, in: cookie, as: sid", Placement(location="cookie", name="sid")),
        ("type: api_key, in: header, as: Authorization", Placement(location="header", name="Authorization")),
        ("type: none", None),
    ],
)
def test_placements_are_derived_from_the_type(method: str, placement: Placement | None) -> None:
    text = broken("  - name: oauth\n", f"  - {{name: other, {method}}}\n  - name: oauth\n")

    found = load(text).method("other")

    assert found is not None and found.placement == placement


def test_params_go_where_the_request_and_the_method_say() -> None:
    skills = load(NOTES).skills
    places = {
        f"{skill.name}.{param.name}": (param.location, param.wire)
        for skill in skills.values()
        for param in [*skill.params.values(), *skill.constants]
    }

    assert places == {
        "list_notes.folder": ("path", ("folder",)),
        "list_notes.tags": ("query", ("tags",)),
        "list_notes.order": ("query", ("order",)),
        "list_notes.format": ("query", ("format",)),
        "create_note.folder": ("path", ("folder",)),
        "create_note.title": ("body", ("title",)),
        "create_note.author": ("body", ("meta", "author")),
        "create_note.language": ("header", ("Accept-Language",)),
        "get_note.id": ("path", ("id",)),
        "attach_file.id": ("path", ("id",)),
        "attach_file.file": ("file", ("file",)),
        "attach_file.caption": ("form", ("caption",)),
    }


def test_the_input_schema_is_closed_and_shows_no_constant() -> None:
    schema = load(NOTES).skills["list_notes"].input_schema

    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert list(schema["properties"]) == ["folder", "tags", "order"]
    assert schema["$defs"] == {"tag": {"type": "string", "minLength": 1, "description": "One word."}}
    assert not {"in", "as", "explode", "const"} & set(schema["properties"]["tags"])


def test_what_a_connection_can_fill_is_not_asked_of_the_caller() -> None:
    skill = load(NOTES).skills["create_note"]

    assert skill.input_schema["required"] == ["title"]
    assert skill.params["folder"].required
    assert skill.params["folder"].default_from == "folder"


def test_what_is_not_said_is_derived() -> None:
    skills = load(NOTES).skills

    assert {name: skill.effect for name, skill in skills.items()} == {
        "get_me": "read",
        "list_notes": "read",
        "create_note": "create",
        "get_note": "read",
        "attach_file": "create",
    }
    assert [skills[name].idempotent for name in ("get_me", "create_note")] == [True, False]
    assert skills["get_me"].category == "general"
    assert skills["get_me"].title == "Get me"
    assert skills["get_me"].auth == ("key", "oauth")
    assert skills["attach_file"].auth == ("key",)
    assert skills["get_me"].scopes == ()
    assert skills["create_note"].timeout == 60.0
    assert skills["create_note"].poll == {
        "action": "get_note",
        "id": "note.id",
        "status": "state",
        "done": ["ready"],
        "every": 3.0,
    }


def test_the_version_is_derived_too() -> None:
    assert load(broken("version: 1.2.0\n", "")).version == "0.1.0"


def test_a_trailing_slash_of_the_base_url_is_not_doubled() -> None:
    assert load(broken("notes.example/v1\n", "notes.example/v1/\n")).base_url == "https://{team}.notes.example/v1"


def test_the_path_is_taken_apart_once() -> None:
    text = broken("GET /notes/{id}\n", "GET /a%20b/{id}.json/x-{+more}\n").replace(
        "      id: {type: integer, description: Its id., required: true}\n    examples:\n      - params: {id: 9}\n        response: {status: 200",
        "      id: {type: integer, required: true}\n      more: {type: string}\n    examples:\n      - params: {id: 9}\n        response: {status: 200",
    )

    template = (
        load(text.replace("poll: {action: get_note, id", "poll: {action: get_note, param: id, id"))
        .skills["get_note"]
        .request
    )

    assert template.method == "GET"
    assert template.segments == (
        (Text("a%20b"),),
        (Variable("id"), Text(".json")),
        (Text("x-"), Variable("more", keep_slash=True)),
    )


def test_a_path_variable_may_be_filled_by_a_param_of_another_name() -> None:
    text = broken(
        "      id: {type: integer, description: Its id., required: true}\n      file",
        "      note: {type: integer, as: id, description: Its id.}\n      id: {type: string, in: form}\n      file",
    )

    skill = load(text.replace("params: {id: 9, file", "params: {note: 9, file")).skills["attach_file"]

    assert skill.request.segments[1] == (Variable("note"),)
    assert skill.params["note"].required
    assert skill.params["id"].location == "form"


def test_a_full_input_schema_may_stand_instead_of_the_shorthand() -> None:
    text = broken(
        """    params:
      folder: {type: string, description: Name of the folder., required: true}
      title: {type: string, maxLength: 200, description: Its title., required: true}
      author: {type: string, as: meta.author, description: Who wrote it.}
      language: {type: string, in: header, as: Accept-Language, description: Language of it.}
""",
        """    input:
      type: object
      properties:
        folder: {type: string}
        title: {$ref: "#/$defs/title"}
        tag: {$ref: "#/$defs/tag"}
      required: [folder, title]
      dependentRequired: {tag: [title]}
      $defs: {title: {type: string, maxLength: 9}}
    params:
      title: {as: note.title}
      source: {const: api}
""",
    )

    skill = load(text).skills["create_note"]

    assert skill.params["title"].wire == ("note", "title")
    assert [constant.name for constant in skill.constants] == ["source"]
    assert skill.input_schema["required"] == ["title"]
    assert skill.input_schema["dependentRequired"] == {"tag": ["title"]}
    assert set(skill.input_schema["$defs"]) == {"title", "tag"}
    assert skill.input_schema["additionalProperties"] is False


def test_the_whole_body_may_be_one_param() -> None:
    text = broken(
        "      title: {type: string, maxLength: 200, description: Its title., required: true}\n"
        "      author: {type: string, as: meta.author, description: Who wrote it.}\n",
        "      note: {type: object, in: body, whole: true, required: [a]}\n",
    )

    param = (
        load(text.replace("{folder: home, title: Milk}", "{folder: home, note: {a: 1}}"))
        .skills["create_note"]
        .params["note"]
    )

    assert (param.whole, param.location, param.wire) == (True, "body", ())
    assert (param.required, param.schema["required"]) == (False, ["a"])


def test_the_digest_changes_with_what_is_said_and_not_with_how() -> None:
    digest = load(NOTES).digest

    assert load("# a comment\n" + NOTES.replace("[productivity]", '[ "productivity" ]')).digest == digest
    assert load(broken("Write a note", "Write the note")).digest != digest


# Each case: what is replaced, by what, the text whose line is named, the field, and words of the message.
BROKEN = [
    # the shape
    ("slug: notes\n", "", None, "", "`slug` is missing"),
    (
        "description: Keeps the notes of a team.\n",
        "descripton: x\n",
        "descripton",
        "descripton",
        "Did you mean description?",
    ),
    ("name: Notes", "name: 12", "name: 12", "name", "Must be a string, not a number. Put it in quotes"),
    ("version: 1.2.0", "version: 1.2", "version: 1.2", "version", "Must be a string, not a number. Put it in quotes"),
    ("version: 1.2.0", "version: v1", "version: v1", "version", "Must be a semantic version"),
    ("slug: notes", "slug: my-notes", "slug: my-notes", "slug", "Must be lower-case letters"),
    ("slug: notes", "slug: Notes", "slug: Notes", "slug", "Must be lower-case letters"),
    ("slug: notes", f"slug: {'n' * 65}", "slug: n", "slug", "at most 64"),
    ("  get_me:\n", "  getMe:\n", "  getMe:", "actions.getMe", "The name must be lower-case letters"),
    ("      order: {", "      1order: {", "1order", "actions.list_notes.params.1order", "The name must be letters"),
    (
        "    in: header\n    as",
        "    in: heder\n    as",
        "heder",
        "auth.0.in",
        "Must be one of header, query, body, cookie",
    ),
    ("type: api_key", "type: apikey", "type: apikey", "auth.0.type", "Must be one of oauth2"),
    ("    in: header\n    as: X-API-Key\n", "", "  - name: key", "auth.0", "`in` is missing"),
    (
        "    authorization_url: https://notes.example/oauth/authorize\n",
        "",
        "  - name: oauth",
        "auth.1",
        "`authorization_url` is missing",
    ),
    (
        "{type: string, maxLength: 200,",
        "{type: string, maxlength: 200,",
        "maxlength",
        "actions.create_note.params.title.maxlength",
        "Did you mean maxLength?",
    ),
    (
        "{type: string, maxLength: 200,",
        "{type: strng, maxLength: 200,",
        "strng",
        "actions.create_note.params.title.type",
        "must be",
    ),
    (
        "timeout: 1m",
        "timeout: 1 minute",
        "timeout: 1 minute",
        "actions.create_note.timeout",
        "Must be seconds, or a duration",
    ),
    ("request: GET /me", "request: GET me", "request: GET me", "actions.get_me.request", "Must be a method and a path"),
    (
        "      - response: {status: 200, data: {user: {id: 7, email: ada@notes.example}}}\n",
        "      []\n",
        None,
        "actions.get_me.examples",
        "Must have at least 1 item",
    ),
    ("{status: 409, fix", "{fix", "{fix", "actions.create_note.errors.0", "Must have `status` or `code`"),
    (
        "effect: create\n    scopes",
        "effect: make\n    scopes",
        "effect: make",
        "actions.create_note.effect",
        "Must be one of read",
    ),
    ("whoami: {action: get_me,", "whoami: {", "whoami", "whoami", "`action` is missing"),
    ("explode: false", "explode: no", "explode: no", "actions.list_notes.params.tags.explode", "Must be true or false"),
    # names
    ("slug: notes", "slug: skills", "slug: skills", "slug", "reserved"),
    ("  get_note:\n", "  request:\n", "  request:\n", "actions.request", "reserved action name"),
    (
        "  - name: oauth\n",
        "  - name: key\n",
        "- name: key\n    type: oauth2",
        "auth.1.name",
        "another auth method named key",
    ),
    # requests
    ("request: GET /me", "request: TRACE /me", "TRACE", "actions.get_me.request", "not a method that can be used: GET"),
    ("request: GET /me", "request: get /me", "request: get", "actions.get_me.request", "write GET"),
    ("request: GET /me", "request: GET /me?x=1", "x=1", "actions.get_me.request", "in: query"),
    ("request: GET /me", "request: GET /me#x", "/me#x", "actions.get_me.request", "in: query"),
    ("request: GET /me", "request: GET /../me", "/../me", "actions.get_me.request", "`..` segment"),
    ("request: GET /me", "request: GET /%2e%2e/me", "%2e", "actions.get_me.request", "`..` segment"),
    ("request: GET /me", "request: GET /%252e/me", "%252e", "actions.get_me.request", "`..` segment"),
    ("request: GET /me", "request: GET //me", "//me", "actions.get_me.request", "empty segment"),
    ("request: GET /me", "request: GET /m%zz", "m%zz", "actions.get_me.request", "percent-encoded"),
    ("request: GET /me", "request: GET /mé", "mé", "actions.get_me.request", "percent-encoded"),
    ("request: GET /me", "request: GET /{me", "/{me", "actions.get_me.request", "cannot stand in the path"),
    ("request: GET /me", "request: GET /{who}", "{who}", "actions.get_me.request", "No param fills {who}"),
    (
        "/folders/{folder}/notes\n    params",
        "/folders/{foldr}/notes\n    params",
        "{foldr}",
        "actions.list_notes.request",
        "No param fills {foldr}. Did you mean folder?",
    ),
    ("GET /notes/{id}", "GET /notes/{id}/{id}", "{id}/{id}", "actions.get_note.request", "stands in the path twice"),
    (
        "format: {const: full}",
        "format: {const: full, in: path}",
        "format: {const",
        "actions.list_notes.params.format",
        "The path has no {format} for it",
    ),
    # effects
    ("effect: create\n    scopes", "scopes", "  create_note:", "actions.create_note", "`effect` is missing"),
    (
        "request: GET /me",
        "effect: delete\n    request: GET /me",
        "effect: delete",
        "actions.get_me.effect",
        "contradicts itself",
    ),
    (
        "request: GET /me",
        "effect: create\n    request: HEAD /me",
        "effect: create\n    request: HEAD",
        "actions.get_me.effect",
        "contradicts itself",
    ),
    (
        "request: GET /me",
        "effect: read\n    request: DELETE /me",
        "effect: read",
        "actions.get_me.effect",
        "contradicts itself",
    ),
    # where params go
    ("order: {type", "order: {in: body, type", "order: {in", "actions.list_notes.params.order", "A GET has no body"),
    ("order: {type", "order: {in: file, type", "order: {in", "actions.list_notes.params.order", "A GET has no body"),
    (
        "file: {in: file,",
        "file: {in: file, whole: true,",
        "caption: {type",
        "actions.attach_file.params.caption",
        "file is the whole body, so nothing else goes there.",
    ),
    (
        "caption: {type",
        "caption: {in: body, type",
        "caption: {in",
        "actions.attach_file.params.caption",
        "either JSON or a form",
    ),
    (
        "author: {type: string, as: meta.author",
        "author: {type: string, as: title",
        "author:",
        "actions.create_note.params.author",
        "same place as title",
    ),
    (
        "author: {type: string, as: meta.author",
        "author: {type: string, as: title.x",
        "author:",
        "actions.create_note.params.author",
        "same place as title",
    ),
    (
        "tags: {type: array",
        "tags: {as: order, type: array",
        "order: {type",
        "actions.list_notes.params.order",
        "same place as tags",
    ),
    (
        "author: {type: string, as: meta.author",
        "author: {type: string, in: header, as: accept-language",
        "language: {type",
        "actions.create_note.params.language",
        "same place as author",
    ),
    (
        "author: {type: string, as: meta.author",
        "author: {in: body, whole: true",
        "title: {type",
        "actions.create_note.params.title",
        "author is the whole body",
    ),
    (
        "folder: {type: string, description: Name of the folder., required: true}\n      tags",
        "folder: {type: string, required: false}\n      tags",
        "folder: {type: string, required: false",
        "actions.list_notes.params.folder.required",
        "always required",
    ),
    (
        "format: {const: full}",
        "format: {const: [a]}",
        "format: {const",
        "actions.list_notes.params.format.const",
        "A constant in the query is a string",
    ),
    (
        "author: {type: string, as: meta.author",
        "author: {type: string, as: a..b",
        "author:",
        "actions.create_note.params.author",
        "empty or holds control characters",
    ),
    # headers
    (
        "as: Accept-Language",
        "as: Accept Language",
        "as: Accept",
        "actions.create_note.params.language",
        "cannot be the name of a header",
    ),
    (
        "as: Accept-Language",
        "as: 'X:Y'",
        "as: 'X:Y'",
        "actions.create_note.params.language",
        "cannot be the name of a header",
    ),
    (
        "as: Accept-Language",
        "as: accept",
        "as: accept",
        "actions.create_note.params.language",
        "is set by `headers` already",
    ),
    (
        "headers: {Accept: application/json,",
        "headers: {Accept: application/json, accept: a,",
        "headers:",
        "headers.accept",
        "set twice",
    ),
    ("headers: {Accept: application/json,", "headers: {X Y: a,", "headers:", "headers.X Y", "must be a header name"),
    (
        "headers: {Accept: application/json,",
        'headers: {Accept: "a\\r\\nX: 1",',
        "headers:",
        "headers.Accept",
        "visible ASCII",
    ),
    ("headers: {Accept: application/json,", 'headers: {Accept: "嘍嘊",', "headers:", "headers.Accept", "visible ASCII"),
    (
        "headers: {Accept: application/json,",
        "headers: {X-API-KEY: a,",
        "headers:",
        "headers.X-API-KEY",
        "credential of key goes",
    ),
    ('X-Team: "{team}"', 'X-Team: "{tem}"', "X-Team", "headers.X-Team", "no connection field tem. Did you mean team?"),
    (
        "format: {const: full}",
        'format: {const: "a\\nb", in: header, as: X-Format}',
        "format:",
        "actions.list_notes.params.format.const",
        "visible ASCII",
    ),
    # credentials
    (
        "as: Accept-Language",
        "as: x-api-key",
        "as: x-api-key",
        "actions.create_note.params.language",
        "credential of key goes",
    ),
    (
        "    in: header\n    as: X-API-Key",
        "    in: query\n    as: order",
        "order: {type",
        "actions.list_notes.params.order",
        "credential of key goes",
    ),
    (
        "    in: header\n    as: X-API-Key",
        "    in: query\n    as: format",
        "format: {const",
        "actions.list_notes.params.format",
        "credential of key goes",
    ),
    (
        "    in: header\n    as: X-API-Key",
        "    in: body\n    as: meta",
        "request: GET /me",
        "actions.get_me.request",
        "which a GET does not have",
    ),
    (
        "    in: header\n    as: X-API-Key",
        "    in: body\n    as: meta",
        "author: {type",
        "actions.create_note.params.author",
        "credential of key goes",
    ),
    ("    as: X-API-Key", "    as: Host", "as: Host", "auth.0.as", "cannot go into the header Host"),
    ("    as: X-API-Key", "    as: Cookie", "as: Cookie", "auth.0.as", "cannot go into the header Cookie"),
    ("    as: X-API-Key", "    as: 'X Key'", "as: 'X Key'", "auth.0.as", "cannot be the name of a header"),
    (
        "    as: X-API-Key",
        "    as: X-API-Key\n    token_url: https://a.example",
        "token_url: https://a.example",
        "auth.0.token_url",
        "no meaning for the type api_key",
    ),
    ("    type: oauth2\n", "    type: oauth2\n    in: query\n", "in: query", "auth.1.in", "Needs `as:`"),
    ("pattern: ^nk_", "pattern: ^(?=nk)", "pattern: ^(?=nk)", "auth.0.pattern", "linear time"),
    ("{team: team.slug}", "{team: 'team.['}", "copy_from_token", "auth.1.copy_from_token.team", "Not a JMESPath"),
    ("{team: team.slug}", "{teem: team}", "copy_from_token", "auth.1.copy_from_token.teem", "Did you mean team?"),
    (
        "    auth: [key]\n",
        "    auth: [kee]\n",
        "auth: [kee]",
        "actions.attach_file.auth.0",
        "no auth method kee. Did you mean key?",
    ),
    # addresses
    ("https://{team}.notes.example/v1", "ftp://notes.example", "base_url", "base_url", "begins with https://"),
    ("https://{team}.notes.example/v1", "notes.example/v1", "base_url", "base_url", "begins with https://"),
    ("https://{team}.notes.example/v1", "https://user:pw@notes.example", "base_url", "base_url", "no user or password"),
    ("https://{team}.notes.example/v1", "https://notes.example/?a=1", "base_url", "base_url", "holds no query"),
    ("https://{team}.notes.example/v1", "https://notes.example/#a", "base_url", "base_url", "no fragment"),
    ("https://{team}.notes.example/v1", "https://notes.example/../v1", "base_url", "base_url", "`..` segment"),
    ("https://{team}.notes.example/v1", "https:///v1", "base_url", "base_url", "no host"),
    ("https://{team}.notes.example/v1", "https://notes.example:99999/", "base_url", "base_url", "cannot stand there"),
    ("https://{team}.notes.example/v1", "https://notes.example:x/", "base_url", "base_url", "port"),
    ("https://{team}.notes.example/v1", '"https://no\\ttes.example"', "base_url", "base_url", "cannot stand there"),
    ("https://{team}.notes.example/v1", "https://nötes.example", "base_url", "base_url", "punycode"),
    ("https://{team}.notes.example/v1", "https://{team}/v1", "base_url", "base_url", "a fixed domain must follow"),
    (
        "https://{team}.notes.example/v1",
        "https://{folder}.notes.example/v1",
        "base_url",
        "base_url",
        "needs `host: label` or `host: domain`",
    ),
    (
        "https://{team}.notes.example/v1",
        "https://{tema}.notes.example/v1",
        "base_url",
        "base_url",
        "Did you mean team?",
    ),
    ("{title: Team, host: label}", "{title: Team, host: domain}", "base_url", "base_url", "the host must end with it"),
    (
        "{title: Team, host: label}",
        "{title: Team, host: label, default: a.b}",
        "  team:",
        "connection.team.default",
        "not a label",
    ),
    (
        "{title: Team, host: label}",
        "{title: Team, host: label, default: 'evil.com#'}",
        "  team:",
        "connection.team.default",
        "not a label",
    ),
    (
        "{title: Team, host: label}",
        "{title: Team, host: label, schema: {maxLength: 2}, default: abc}",
        "  team:",
        "connection.team.default",
        "must have at most 2 characters",
    ),
    (
        "{title: Team, host: label}",
        "{title: Team, host: label, secret: true}",
        "base_url",
        "base_url",
        "A secret field cannot stand here",
    ),
    (
        "https://notes.example/oauth/authorize\n    token_url: https://{team}.notes.example/oauth/token\n",
        "https://notes.example/oauth/{pin}\n    token_url: https://notes.example/{pin}\n",
        "    authorization_url",
        "auth.1.authorization_url",
        "no connection field pin",
    ),
    (
        "https://{team}.notes.example/oauth/token",
        "https://{theme}.notes.example/oauth/token",
        "token_url",
        "auth.1.token_url",
        "no connection field theme",
    ),
    (
        "docs_url: https://notes.example/docs",
        "docs_url: javascript:alert(1)",
        "docs_url",
        "docs_url",
        "begins with https://",
    ),
    # references
    (
        "whoami: {action: get_me",
        "whoami: {action: get_mee",
        "whoami",
        "whoami.action",
        "no action get_mee. Did you mean get_me?",
    ),
    ("whoami: {action: get_me", "whoami: {action: get_note", "whoami", "whoami.action", "required params"),
    ("whoami: {action: get_me", "whoami: {action: create_note", "whoami", "whoami.action", "must only read"),
    ("account: user.email", "account: 'user['", "whoami", "whoami.account", "Not a JMESPath"),
    (
        "poll: {action: get_note",
        "poll: {action: get_nots",
        "poll:",
        "actions.create_note.poll.action",
        "Did you mean get_note?",
    ),
    (
        "poll: {action: get_note,",
        "poll: {action: get_note, param: ids,",
        "poll:",
        "actions.create_note.poll.param",
        "Did you mean id?",
    ),
    ("poll: {action: get_note", "poll: {action: get_me", "poll:", "actions.create_note.poll", "`param` is missing"),
    (
        "poll: {action: get_note",
        "poll: {action: attach_file, param: id",
        "poll:",
        "actions.create_note.poll.action",
        "only read",
    ),
    ("param: order}", "param: page}", "page: {type", "actions.list_notes.page.param", "no param page"),
    ("items: notes,", "items: 'notes[',", "page: {type", "actions.list_notes.page.items", "Not a JMESPath"),
    ("items: notes,", "items: notes, header: Next,", "page: {type", "actions.list_notes.page.header", "type: link"),
    (
        "actions: {create_note",
        "actions: {create_nota",
        "actions: {create_nota",
        "upstream_limits.actions.create_nota",
        "Did you mean create_note?",
    ),
    (
        "default_for: folder",
        "default_for: foldre",
        "default_for",
        "connection.folder.default_for",
        "Did you mean folder?",
    ),
    (
        "default_for: folder",
        "default_for: folder, secret: true",
        "default_for",
        "connection.folder.default_for",
        "are recorded",
    ),
    ("timeout: 1m", "timeout: 31m", "timeout", "actions.create_note.timeout", "at most 30m"),
    ("timeout: 1m", "cache: {ttl: 60s}", "cache", "actions.create_note.cache", "Only actions that read"),
    (
        "timeout: 1m",
        "idempotency: {header: Host}",
        "idempotency",
        "actions.create_note.idempotency.header",
        "may not be set",
    ),
    (
        "timeout: 1m",
        "idempotency: {param: titel}",
        "idempotency",
        "actions.create_note.idempotency.param",
        "Did you mean title?",
    ),
    ("timeout: 1m", "brief: '[}'", "brief", "actions.create_note.brief", "Not a JMESPath"),
    # schemas
    (
        "timeout: 1m",
        'output: {type: array, items: {$ref: "#/$defs/tags"}}',
        "output",
        "actions.create_note.output.items.$ref",
        "Did you mean tag?",
    ),
    ("timeout: 1m", "output: {type: thing}", "output", "actions.create_note.output.type", "must be one of string"),
    (
        '$ref: "#/$defs/tag"',
        '$ref: "#/$defs/tags"',
        "tags: {type",
        "actions.list_notes.params.tags.items.$ref",
        "Did you mean tag?",
    ),
    (
        '$ref: "#/$defs/tag"',
        '$ref: "http://127.0.0.1/x"',
        "tags: {type",
        "actions.list_notes.params.tags.items.$ref",
        "Only schemas of this file",
    ),
    (
        "tag: {type: string,",
        "tag: {type: string, anyOf: [{$ref: '#/$defs/tag'}],",
        "params:\n      folder",
        "actions.list_notes.params",
        "comes back to itself",
    ),
    (
        "order: {type: string,",
        "order: {type: string, pattern: '(a)\\1',",
        "order:",
        "actions.list_notes.params.order.pattern",
        "linear time",
    ),
    (
        "tags: {type: array,",
        "tags: {type: array, uniqueItems: true,",
        "tags:",
        "actions.list_notes.params.tags.uniqueItems",
        "maxItems",
    ),
    (
        "tags: {type: array,",
        "tags: {type: array, uniqueItems: true, maxItems: 1001,",
        "tags:",
        "actions.list_notes.params.tags.uniqueItems",
        "at most 1000",
    ),
    (
        "order: {type: string,",
        "order: {type: string, format: datetime,",
        "order:",
        "actions.list_notes.params.order.format",
        "Did you mean date-time?",
    ),
    (
        "order: {type: string,",
        "order: {type: string, format: regex,",
        "order:",
        "actions.list_notes.params.order.format",
        "not a known format",
    ),
    (
        "default: newest",
        "default: newst",
        "order:",
        "actions.list_notes.params.order.default",
        "The default must be one of",
    ),
    (
        "order: {type: string,",
        "order: {type: string, minLength: 3, maxLength: 2,",
        "order:",
        "actions.list_notes.params.order.minLength",
        "greater than maxLength",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "at", "field", "words"), BROKEN, ids=[f"{case[3]}: {case[4]}" for case in BROKEN]
)
def test_a_mistake_is_named_by_line_field_and_cause(old: str, new: str, at: str | None, field: str, words: str) -> None:
    text = broken(old, new)

    found = mistakes(text)

    named = [one for one in found if one.field == field and words in one.message]
    assert named, "\n".join(map(str, found))
    assert {one.file for one in found} == {"notes.yaml"}
    if at is not None:
        assert named[0].line == line_of(text, at)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "Host",
            "Content-Length",
            "Transfer-Encoding",
            "Connection",
            "Authorization",
            "Cookie",
            "Proxy-Authorization",
        ),
        *("Proxy-Connection", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "TE", "Trailer", "Upgrade", "Expect"),
        *("Keep-Alive", "Set-Cookie", "Via"),
    ],
)
@pytest.mark.parametrize("spell", [str.lower, str.upper, str.title])
def test_headers_of_the_transport_and_of_credentials_are_refused_in_any_casing(name: str, spell: type[str]) -> None:
    header = spell(name)

    for text, field in (
        (broken("headers: {Accept: application/json,", f"headers: {{{header}: a,"), f"headers.{header}"),
        (broken("    timeout: 1m\n", f"    headers: {{{header}: a}}\n"), f"actions.create_note.headers.{header}"),
        (broken("as: Accept-Language", f"as: {header}"), "actions.create_note.params.language"),
    ):
        assert field in {one.field for one in mistakes(text) if "may not be set" in one.message}


def test_the_first_words_of_all_fixed_routes_are_reserved() -> None:
    table = Path(__file__).resolve().parents[2] / "gateway" / "rest" / "routes.py"
    routes = [path.split("/")[2:] for path in re.findall(r'"(/v1/[^"]+)"', table.read_text(encoding="utf-8"))]

    assert ["skills"] in routes
    fixed = {words[0] for words in routes if not words[0].startswith("{")}
    # `GET /v1/skills/search` would hide an integration of that name from `GET /v1/skills/{integration}`.
    fixed |= {words[1] for words in routes if words[0] == "skills" and len(words) == 2 and words[1][0] != "{"}
    fixed |= {words[1] for words in routes if words[0] == "{integration}" and words[1][0] != "{"}
    assert fixed - {"request"} <= RESERVED_SLUGS


@pytest.mark.parametrize("slug", sorted(RESERVED_SLUGS))
def test_slugs_of_fixed_routes_are_reserved(slug: str) -> None:
    assert [one.field for one in mistakes(broken("slug: notes", f"slug: {slug}"))] == ["slug"]


@pytest.mark.parametrize(
    "reference",
    [
        *("http://127.0.0.1:9/x", "https://json-schema.org/draft/2020-12/schema", "file:///etc/passwd", "//evil/x"),
        *("other.json", "other.yaml#/x", "#", "#/actions", "#anchor", "urn:uuid:0", "#/$defs/tag/extra", "../x"),
    ],
)
def test_a_reference_out_of_the_file_is_refused(reference: str) -> None:
    found = mistakes(broken('$ref: "#/$defs/tag"', f'$ref: "{reference}"'))

    assert [one.field for one in found] == ["actions.list_notes.params.tags.items.$ref"]


def test_schemas_that_double_at_every_step_are_refused() -> None:
    steps = "".join(
        f"  s{n}: {{anyOf: [{{$ref: '#/$defs/s{n + 1}'}}, {{$ref: '#/$defs/s{n + 1}'}}]}}\n" for n in range(40)
    )
    text = broken("$defs:\n", f"$defs:\n{steps}  s40: {{type: string}}\n").replace(
        '$ref: "#/$defs/tag"', "$ref: '#/$defs/s0'"
    )

    assert [one.message for one in mistakes(text)] == [
        "With every `$ref` written out the schema has more than 5000 parts."
    ]


def test_a_file_full_of_mistakes_names_the_first_ones() -> None:
    unknown_keys = NOTES + "".join(f"x{n}: 1\n" for n in range(5000))
    unknown_methods = broken("    auth: [key]\n", f"    auth: [{', '.join(f'k{n}' for n in range(900))}]\n")

    assert len(mistakes(unknown_keys)) == 50
    assert len(mistakes(unknown_methods)) == 50


def test_the_message_reads_like_a_compilers() -> None:
    with pytest.raises(CatalogError) as caught:
        load(broken("{type: string, maxLength: 200,", "{type: string, maxlength: 200,"))

    line = line_of(NOTES, "maxLength: 200")
    assert str(caught.value) == (
        f"notes.yaml:{line}: actions.create_note.params.title.maxlength: Unknown key. Did you mean maxLength?"
    )


# ---------------------------------------------------------------------- files and folders


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_a_folder_becomes_a_catalog(tmp_path: Path) -> None:
    write(tmp_path, "notes.yaml", NOTES)
    write(tmp_path, "memos.yml", broken("slug: notes", "slug: memos"))
    write(tmp_path, "README.md", "# not a definition")
    write(tmp_path, ".hidden.yaml", "nonsense: [")

    catalog = load_catalog([tmp_path])

    assert list(catalog.integrations) == ["memos", "notes"]


def test_a_later_path_replaces_a_slug(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    shipped = write(tmp_path, "notes.yaml", NOTES)
    own = write(tmp_path / "own", "mine.yaml", broken("name: Notes", "name: Our notes"))

    assert load_catalog([shipped, own]).integrations["notes"].name == "Our notes"
    assert load_catalog([own, shipped]).integrations["notes"].name == "Notes"


def test_the_same_slug_twice_in_one_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", NOTES)
    write(tmp_path, "b.yaml", NOTES)

    with pytest.raises(CatalogError, match=r"b\.yaml:1: slug: notes is defined in .*a\.yaml already"):
        load_catalog([tmp_path])


def test_the_mistakes_of_all_files_are_named_together(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "slug: [")
    write(tmp_path, "b.yaml", broken("slug: notes\n", ""))
    write(tmp_path, "c.yaml", NOTES)

    with pytest.raises(CatalogError) as caught:
        load_catalog([tmp_path, tmp_path / "gone"])

    assert [Path(one.file).name for one in caught.value.problems] == ["a.yaml", "b.yaml", "gone"]


def test_only_some_slugs_may_be_wanted(tmp_path: Path) -> None:
    write(tmp_path, "notes.yaml", NOTES)
    write(tmp_path, "memos.yaml", broken("slug: notes", "slug: memos"))

    assert list(load_catalog([tmp_path], only=["memos"]).integrations) == ["memos"]
    with pytest.raises(CatalogError, match=r"no integration memo\. Did you mean memos\?"):
        load_catalog([tmp_path], only=["memo"])


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "definitions"
    folder.mkdir()
    outside = write(tmp_path, "outside.yaml", NOTES)
    (folder / "notes.yaml").symlink_to(outside)

    with pytest.raises(CatalogError, match="leads out of the folder"):
        load_catalog([folder])


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    write(tmp_path / "..data", "notes.yaml", NOTES)
    (tmp_path / "notes.yaml").symlink_to(Path("..data") / "notes.yaml")

    assert list(load_catalog([tmp_path]).integrations) == ["notes"]


def test_a_link_given_as_a_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "notes.yaml", NOTES)
    (tmp_path / "link.yaml").symlink_to(tmp_path / "notes.yaml")

    with pytest.raises(CatalogError, match="Cannot be read"):
        load_integration(tmp_path / "link.yaml")


def test_what_is_not_a_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()

    with pytest.raises(CatalogError) as caught:
        load_catalog([tmp_path])

    assert len(caught.value.problems) == 2
