"""A vendor's description becomes a definition that loads, lints, and sends what the vendor describes."""

from __future__ import annotations

import copy
import re
from datetime import date
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cli.trials import without_credential
from skills_catalog.descriptions.model import NOTHING, Operation
from skills_catalog.importing.effects import effect_of
from skills_catalog.importing.importer import CannotImport, Imported, Wish, import_operations
from skills_catalog.importing.merging import free_names, merged, standing
from skills_catalog.importing.naming import LONGEST, action_names, param_name, slug_of
from skills_catalog.importing.patterns import matching
from skills_catalog.importing.samples import Samples
from skills_catalog.importing.selecting import NothingSelected, selected
from skills_catalog.importing.shapes import Shapes
from skills_catalog.importing.words import first_sentence, words_of
from skills_catalog.lint import lint
from skills_catalog.loader import load_definition
from skills_catalog.model import Integration, Skill
from skills_catalog.strict_yaml import read
from skills_catalog.validation import compile_schema, problems
from skills_catalog.verification.comparing import Verification
from skills_catalog.writing import block
from tests.blowup import no_blowup
from tests.catalog.specs import NOTES_SPEC, SDL, described, openapi
from tests.catalog.test_descriptions import referring


def imported(spec: Any, source: str = "spec.json", **wish: Any) -> Imported:
    description = described(spec, source)
    return import_operations(description, description.operations, Wish(slug="notes", **wish))


def loaded(made: Imported) -> Integration:
    integration, document = load_definition(made.text("made"))
    assert [str(one) for one in lint(integration, document) if one.severity == "error"] == []
    return integration


def one_skill(operation: dict[str, Any], *, method: str = "post", path: str = "/x", **members: Any) -> Skill:
    """The one action that an operation becomes."""
    integration = loaded(imported(openapi({path: {method: {"operationId": "doIt", **operation}}}, **members)))
    (skill,) = integration.skills.values()
    return skill


def json_body(schema: dict[str, Any], **body: Any) -> dict[str, Any]:
    return {"requestBody": {"required": True, **body, "content": {"application/json": {"schema": schema}}}}


# ---------------------------------------------------------------------- the whole


def test_a_description_becomes_a_definition() -> None:
    made = imported(NOTES_SPEC)
    integration = loaded(made)

    assert (integration.name, integration.base_url) == ("Notes", "https://api.notes.example/v1")
    assert integration.docs_url == "https://notes.example/docs"
    assert [(method.name, method.type) for method in integration.auth] == [("key", "api_key"), ("oauth", "oauth2")]
    assert integration.auth[1].token_url == "https://api.notes.example/oauth/token"
    assert integration.auth[1].scopes.default == ("notes",)
    assert {name: (skill.effect, skill.request.path) for name, skill in integration.skills.items()} == {
        "list_notes": ("read", "/folders/{folder}/notes"),
        "create_note": ("create", "/folders/{folder}/notes"),
        "delete_note": ("delete", "/notes/{id}"),
        "search_notes": ("read", "/notes/search"),
    }
    listing = integration.skills["list_notes"]
    assert listing.description == "List the notes of a folder."
    assert listing.params["tags"].explode is False
    assert listing.page == {
        "type": "cursor",
        "param": "cursor",
        "next": "next_cursor",
        "items": "notes",
        "size_param": "limit",
        "max_size": 100,
    }
    making = integration.skills["create_note"]
    # What the vendor fills in is no param, and a value that can only be one is sent without being asked for.
    assert list(making.params) == ["folder", "title", "state", "tags", "children"]
    assert [(one.name, one.const) for one in making.constants] == [("kind", "note")]
    assert making.scopes == ("notes",)
    assert integration.skills["search_notes"].idempotent
    assert made.left_out == {}
    assert "# a guess" in made.text("made")


def test_what_was_imported_matches_what_it_was_imported_from() -> None:
    for spec, source in ((NOTES_SPEC, "spec.json"), (SDL, "schema.graphql")):
        wish = {} if spec is NOTES_SPEC else {"base_url": "https://api.notes.example/graphql"}
        verification = Verification(described(spec, source), without_credential)
        integration = loaded(imported(spec, source, **wish))
        found = [verification.compare(integration, skill) for skill in integration.skills.values()]
        assert [(one.action, one.verdict, one.differences) for one in found if one.verdict != "matches"] == []


def test_a_graphql_schema_becomes_actions_of_one_path() -> None:
    integration = loaded(imported(SDL, "schema.graphql", base_url="https://api.notes.example/v2/graphql"))
    assert integration.base_url == "https://api.notes.example/v2"
    assert {name: (skill.effect, skill.request.path) for name, skill in integration.skills.items()} == {
        "get_note": ("read", "/graphql"),
        "list_notes": ("read", "/graphql"),
        "create_note": ("create", "/graphql"),
        "delete_note": ("delete", "/graphql"),
    }
    making = integration.skills["create_note"]
    # What the one `input` holds is given like all other params.
    assert {name: one.wire for name, one in making.params.items()} == {
        name: ("variables", "input", name) for name in ("title", "kind", "tags")
    }
    assert making.constants[0].wire == ("query",)
    listing = integration.skills["list_notes"]
    assert listing.page == {
        "type": "cursor",
        "param": "after",
        "next": "data.notes.pageInfo.endCursor",
        # The last page has a cursor too.
        "more": "data.notes.pageInfo.hasNextPage",
        "items": "data.notes.nodes",
        "size_param": "first",
    }
    assert "errors" not in listing.examples[0].data


def test_names_of_a_graphql_schema_that_are_cut_stay_apart() -> None:
    fields = " ".join(f"updateTheSettingThatAnEnterpriseHasForAllItsMembers{n}: Int" for n in ("A", "B", "C"))
    description = described(f"type Query {{ a: Int }} type Mutation {{ {fields} }}", "schema.graphql")
    assert len(set(action_names(description, "notes").values())) == 4


def test_a_list_and_an_unknown_verb_of_a_graphql_schema_are_named_as_such() -> None:
    text = "type Query { codes: [Code] } type Code { id: ID! } type Mutation { dequeueItem(id: ID!): Code }"
    names = set(action_names(described(text, "schema.graphql"), "notes").values())
    assert names == {"list_codes", "dequeue_item"}


def test_without_an_address_the_importer_asks_for_one() -> None:
    spec = {key: value for key, value in NOTES_SPEC.items() if key != "servers"}
    with pytest.raises(CannotImport, match="--base-url"):
        imported(spec)
    assert (
        loaded(imported(spec, base_url="https://notes.corp.example/api")).base_url == "https://notes.corp.example/api"
    )


def test_variables_of_the_servers_address_become_fields_of_a_connection() -> None:
    servers = [
        {
            "url": "https://{site}.notes.example/{version}",
            "variables": {"site": {"default": "eu"}, "version": {"default": "v3"}},
        }
    ]
    integration = loaded(imported({**NOTES_SPEC, "servers": servers}))
    assert integration.base_url == "https://{site}.notes.example/v3"
    assert [(one.name, one.host, one.default) for one in integration.fields] == [("site", "label", "eu")]


# ---------------------------------------------------------------------- names and effects


def operation(name: str, method: str = "POST", path: str = "/x", **members: Any) -> Operation:
    return Operation(id=name, method=method, path=path, **members)


@pytest.mark.parametrize(
    ("id_", "method", "path", "name", "effect"),
    [
        ("issues/list-for-repo", "GET", "/repos/{o}/issues", "list_issues_for_repo", "read"),
        ("issues/create", "POST", "/issues", "create_issue", "create"),
        ("issues/add-labels", "POST", "/issues/{n}/labels", "add_issue_labels", "create"),
        ("users.messages.send", "POST", "/messages/send", "send_users_message", "send"),
        ("chat_postMessage", "POST", "/chat.postMessage", "post_chat_message", "send"),
        ("users_lookupByEmail", "GET", "/users.lookupByEmail", "lookup_user_by_email", "read"),
        ("conversations_list", "GET", "/conversations.list", "list_conversations", "read"),
        ("retrieve-a-page", "GET", "/pages/{id}", "retrieve_page", "read"),
        ("post-page", "POST", "/pages", "create_page", "create"),
        ("post-search", "POST", "/search", "search", "read"),
        ("post-database-query", "POST", "/databases/{id}/query", "query_database", "read"),
        ("invite_revoke", "DELETE", "/invites/{code}", "revoke_invite", "delete"),
        ("poll_expire", "POST", "/polls/{id}/expire", "expire_poll", "update"),
        ("getTasks", "GET", "/tasks", "get_tasks", "read"),
        ("SearchContacts", "POST", "/contacts/search", "search_contacts", "read"),
        ("deleteOAuthToken", "DELETE", "/tokens/{id}", "delete_oauth_token", "delete"),
        ("removeUser", "POST", "/teams/removeUser", "remove_user", "update"),
        ("purgeCache", "POST", "/cache/purge", "purge_cache", "delete"),
        ("", "GET", "/v2/export/reporting_data/{id}", "export_reporting_data", "read"),
        ("", "DELETE", "/users/{id}", "delete_users", "delete"),
        ("create_or_update", "PUT", "/x/{id}", "create_or_update", "create"),
        ("find_or_create", "POST", "/x", "find_or_create", "create"),
        ("request", "POST", "/x", "request_", "create"),
    ],
)
def test_an_operation_gets_a_name_and_an_effect(id_: str, method: str, path: str, name: str, effect: str) -> None:
    one = operation(id_, method, path)
    spec = openapi({path: {method.lower(): {"operationId": id_}}})
    (found,) = action_names(described(spec), "notes").values()
    if name.endswith("_"):
        # A reserved name gets a mark.
        assert re.fullmatch(rf"{name}[0-9a-f]{{4}}", found)
    else:
        assert found == name
    assert effect_of(one, found).effect == effect


def test_a_get_that_sounds_like_a_change_is_not_served_until_somebody_looked() -> None:
    spec = openapi({"/apps.uninstall": {"get": {"operationId": "apps_uninstall", "summary": "Uninstalls an app"}}})
    skill = loaded(imported(spec)).skills["uninstall_app"]
    assert (skill.effect, skill.lifecycle) == ("read", "unreviewed")


def test_a_post_that_reads_by_name_and_sends_by_its_words_does_not_read() -> None:
    one = operation("verify", summary="Sends a verification email")
    assert effect_of(one, "verify_address").effect == "send"
    assert (
        effect_of(operation("search", summary="Search, then delete what was found"), "search_and_delete").effect
        != "read"
    )


def test_names_are_unique_short_and_the_same_whatever_is_selected() -> None:
    paths = {f"/a{n}/{{id}}/{'very_long_name_of_a_thing' * 3}": {"get": {"operationId": "getThing"}} for n in range(40)}
    paths |= {"/b": {"get": {"operationId": "x" * 300}}, "/c": {"get": {"operationId": "日本"}}}
    description = described(openapi(paths))
    names = action_names(description, "notes")
    assert len(set(names.values())) == len(names) == 42
    assert all(len(name) <= LONGEST and re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names.values())
    some = import_operations(description, description.operations[5:7], Wish(slug="notes"))
    assert [one.name for one in some.actions] == [names[one.key] for one in description.operations[5:7]]
    long_slug = action_names(description, "s" * 32)
    assert all(len(f"{'s' * 32}__{name}") <= 64 for name in long_slug.values())


def test_a_put_and_a_patch_of_one_thing_are_told_apart_by_what_they_do() -> None:
    ids = {"get": "get_record", "put": "update_record", "patch": "patch_record"}
    paths = {
        f"/{things}/{{id}}": {method: {"operationId": id_.replace("record", one)} for method, id_ in ids.items()}
        for things, one in (("records", "record"), ("groups", "group"))
    }
    paths["/lists/{id}"] = {"put": {"operationId": "updateList"}}
    description = described(openapi(paths))
    assert set(action_names(description, "notes").values()) == {
        "get_record", "replace_record", "update_record", "get_group", "replace_group", "update_group", "update_list",
    }  # fmt: skip


@given(st.text(max_size=80), st.sets(st.text("ab_", max_size=3), max_size=3))
def test_any_name_of_a_vendor_makes_a_name_of_a_param(name: str, taken: set[str]) -> None:
    found = param_name(name, taken, "query")
    assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", found)
    assert found not in taken


def test_a_slug_is_the_host_or_the_title() -> None:
    def slug(url: str, title: str = "Things API") -> str:
        return slug_of(
            described(openapi({"/x": {"get": {}}}, servers=[{"url": url}], info={"title": title, "version": "1"}))
        )

    assert slug("https://api.github.com") == "github"
    assert slug("https://app.asana.com/api/1.0") == "asana"
    assert slug("https://www.googleapis.com/calendar/v3", "Calendar API") == "calendar"
    assert slug("https://library.corp.example", "Library") == "library"
    for title, name in (("Calendar API", "google_calendar"), ("Google Sheets API", "google_sheets")):
        discovery = {"kind": "discovery#restDescription", "title": title, "baseUrl": "https://x.googleapis.com/"}
        method = {"id": "x.get", "path": "a", "httpMethod": "GET"}
        assert slug_of(described({**discovery, "methods": {"get": method}})) == name
    assert slug("/relative", "日本") == ""


@pytest.mark.parametrize(
    ("title", "slug", "name"),
    [
        ("Slack Web API", "slack", "Slack"),
        ("Spotify Web API with fixes and improvements from somebody", "spotify", "Spotify"),
        ("GitHub's official OpenAPI spec + extension", "github", "GitHub"),
        ("Calendar API", "google_calendar", "Google Calendar"),
        ("The Office API v2", "rooms", "The Office"),
        ("", "my_rooms", "My Rooms"),
    ],
)
def test_a_name_for_people_is_what_the_title_calls_the_service(title: str, slug: str, name: str) -> None:
    description = described(openapi({"/x": {"get": {}}}, info={"title": title, "version": "1"}))
    made = import_operations(description, description.operations, Wish(slug=slug))
    assert loaded(made).name == name


@pytest.mark.parametrize(
    "words", ["This is the OpenAPI specification for the Notes API.", "Notes API 2026-11-29 - Edition of the sources."]
)
def test_what_a_description_says_of_itself_says_nothing_of_the_service(words: str) -> None:
    info = {"title": "Notes API", "version": "1", "description": words}
    made = loaded(imported(openapi({"/x": {"get": {}}}, info=info)))
    assert made.description == "The actions of Notes, as its vendor describes them."


# ---------------------------------------------------------------------- scopes


def scoped(operations: dict[str, tuple[str, list[str]]]) -> dict[str, Any]:
    """A description with these operations: id -> method and scopes."""
    flow = {"authorizationUrl": "https://x.example/a", "tokenUrl": "https://x.example/t", "scopes": {}}
    return openapi(
        {
            f"/{id_}": {method: {"operationId": id_, "security": [{"oauth": scopes}]}}
            for id_, (method, scopes) in operations.items()
        },
        components={"securitySchemes": {"oauth": {"type": "oauth2", "flows": {"authorizationCode": flow}}}},
    )


def test_a_new_connection_is_asked_for_what_reading_needs_and_for_nothing_that_changes() -> None:
    spec = scoped(
        {
            "listNotes": ("get", ["notes:read"]),
            "listUsers": ("get", ["admin.users:read"]),
            "getHook": ("get", ["hooks:write"]),
            "testApi": ("get", ["none"]),
            "createNote": ("post", ["notes:write"]),
        }
    )
    integration = loaded(imported(spec))
    assert integration.auth[0].scopes.default == ("notes:read",)
    assert integration.skills["create_note"].scopes == ("notes:write",)
    assert integration.skills["test_api"].scopes == ()


def test_scopes_beyond_what_anybody_grants_at_once_are_told() -> None:
    spec = scoped({f"get{n}": ("get", [f"part{n:02}"]) for n in range(25)} | {"list": ("get", ["part24"])})
    made = imported(spec)
    default = loaded(made).auth[0].scopes.default
    # The scope that serves most comes first.
    assert len(default) == 20 and "part24" in default
    assert made.notes == ["auth: 5 scopes of oauth are asked for only when an action needs them."]


def test_of_scopes_that_are_each_enough_reading_takes_the_widest_that_only_reads() -> None:
    base = "https://x.example/auth/"

    def method(name: str, verb: str, *scopes: str) -> dict[str, Any]:
        return {"id": f"notes.{name}", "path": name, "httpMethod": verb, "scopes": [f"{base}{one}" for one in scopes]}

    document = {
        "kind": "discovery#restDescription",
        "name": "notes",
        "title": "Notes API",
        "baseUrl": "https://www.googleapis.com/notes/v1/",
        "auth": {"oauth2": {"scopes": {f"{base}notes": {"description": "All"}}}},
        "methods": {
            "list": method("list", "GET", "notes", "notes.readonly", "notes.metadata.readonly", "notes.own"),
            "get": method("get", "GET", "notes", "notes.readonly", "notes.own"),
            "insert": method("insert", "POST", "notes", "notes.own"),
        },
    }
    integration = loaded(imported(document))
    assert integration.auth[0].scopes.default == (f"{base}notes.readonly",)
    assert [skill.scopes for skill in integration.skills.values()] == [
        (f"{base}notes.readonly",), (f"{base}notes.readonly",), (f"{base}notes",),
    ]  # fmt: skip
    assert set(integration.auth[0].scopes.implies) == {f"{base}notes", f"{base}notes.own"}
    # What is enough for the same operations need not be the same.
    assert integration.auth[0].scopes.implies[f"{base}notes.own"] == (f"{base}notes.readonly",)


# ---------------------------------------------------------------------- params and bodies


def test_since_when_an_operation_is_deprecated_is_the_day_of_the_import() -> None:
    made = imported(openapi({"/x": {"get": {"operationId": "getX", "deprecated": True}}}), day=date(2026, 11, 29))
    deprecated = loaded(made).skills["get_x"].deprecated
    assert deprecated is not None and deprecated.since == date(2026, 11, 29)
    assert "deprecated: {since: 2026-11-29}  # the day of the import" in made.text("made").replace('"', "")


def test_whose_data_it_is_is_not_for_the_caller_to_say() -> None:
    user = {"name": "userId", "in": "path", "required": True, "schema": {"type": "string", "default": "me"}}
    skill = one_skill({"parameters": [user]}, method="get", path="/users/{userId}/notes")
    assert list(skill.params) == []
    assert [(one.name, one.const) for one in skill.constants] == [("userId", "me")]


def test_an_action_that_takes_the_clients_secret_is_not_served_until_somebody_looked() -> None:
    secret = {"name": "client_secret", "in": "query", "schema": {"type": "string"}}
    made = imported(openapi({"/oauth.access": {"get": {"operationId": "oauth_access", "parameters": [secret]}}}))
    (skill,) = loaded(made).skills.values()
    assert skill.lifecycle == "unreviewed"
    assert made.actions[0].doubt == "it takes client_secret, a credential"


def test_too_many_operations_are_refused_with_the_tags_that_would_choose() -> None:
    paths = {f"/x{n}": {"get": {"tags": ["Odd" if n % 2 else "Even"]}} for n in range(1002)}
    with pytest.raises(CannotImport, match=r"1002 operations .* 501 have tag:Even, 501 have tag:Odd\."):
        imported(openapi(paths))


def test_a_path_id_and_a_body_id_never_collide() -> None:
    skill = one_skill(
        {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
            **json_body({"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}),
        },
        path="/x/{id}",
    )
    assert [(one.name, one.location, one.wire) for one in skill.params.values()] == [
        ("id", "path", ("id",)),
        ("body_id", "body", ("id",)),
    ]


def test_names_that_cannot_be_ours_keep_the_vendors_on_the_wire() -> None:
    skill = one_skill(
        {
            "parameters": [
                {"name": "page[size]", "in": "query", "schema": {"type": "integer"}},
                {"name": "X-Request-Tag", "in": "header", "schema": {"type": "string"}},
                {"name": "filter", "in": "query", "style": "deepObject", "schema": {"type": "object", "properties": {"state": {"type": "string"}}}},
                {"name": "Accept", "in": "header", "schema": {"type": "string"}},
            ]
        },
        method="get",
    )  # fmt: skip
    assert [(one.name, one.location, ".".join(one.wire)) for one in skill.params.values()] == [
        ("page_size", "query", "page[size]"),
        ("filter_state", "query", "filter[state]"),
        ("x_request_tag", "header", "X-Request-Tag"),
    ]


def test_a_wrapped_body_is_unwrapped() -> None:
    inner = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    skill = one_skill(json_body({"type": "object", "properties": {"data": inner}}))
    assert [(one.name, one.wire, one.required) for one in skill.params.values()] == [("name", ("data", "name"), True)]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object", "properties": {"a.b": {"type": "string"}}},
        {"oneOf": [{"type": "string"}, {"type": "object", "properties": {"a": {"type": "string"}}}]},
    ],
)
def test_a_body_that_is_no_plain_object_is_one_param(schema: dict[str, Any]) -> None:
    skill = one_skill(json_body(schema))
    assert [(one.name, one.whole) for one in skill.params.values()] == [("body", True)]


def test_of_several_forms_of_a_body_the_example_follows_one() -> None:
    forms = [
        {
            "type": "object",
            "required": ["kind", "url"],
            "properties": {"kind": {"const": "web"}, "url": {"type": "string"}},
        },
        {
            "type": "object",
            "required": ["kind", "text"],
            "properties": {"kind": {"const": "note"}, "text": {"type": "string"}},
        },
    ]
    skill = one_skill(json_body({"oneOf": forms}))
    assert skill.params["kind"].schema["enum"] == ["web", "note"]
    assert skill.input_schema["required"] == ["kind"]
    assert set(skill.examples[0].params) == {"kind", "url"}


def test_forms_and_files_and_raw_bodies_are_sent_as_they_are_described() -> None:
    form = {
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}
            }
        }
    }
    assert one_skill({"requestBody": form}).params["a"].location == "form"
    file = {
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["f"],
                    "properties": {"f": {"type": "string", "format": "binary"}, "n": {"type": "string"}},
                }
            }
        }
    }
    assert {one.name: one.location for one in one_skill({"requestBody": file}).params.values()} == {
        "f": "file",
        "n": "form",
    }
    raw = {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
    skill = one_skill({"requestBody": raw})
    built, _ = without_credential(
        loaded(imported(openapi({"/x": {"post": {"operationId": "doIt", "requestBody": raw}}}))),
        skill,
        skill.examples[0],
    )
    assert (built.header("content-type"), built.body) == ("image/png", b"hi")  # fmt: skip


def test_a_header_that_every_operation_takes_with_one_value_is_no_param() -> None:
    version = {
        "name": "Notes-Version",
        "in": "header",
        "required": True,
        "schema": {"type": "string", "default": "2026-01-01"},
    }
    spec = openapi({path: {"get": {"operationId": f"get{path[1:]}", "parameters": [version]}} for path in ("/a", "/b")})
    integration = loaded(imported(spec))
    assert integration.headers == {"Notes-Version": "2026-01-01"}
    assert all(not skill.params for skill in integration.skills.values())


def test_an_idempotency_key_is_the_gateways_to_send() -> None:
    header = {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string"}}
    skill = one_skill(
        {"parameters": [header], **json_body({"type": "object", "properties": {"a": {"type": "string"}}})}
    )
    assert (list(skill.params), skill.idempotency) == (["a"], {"header": "Idempotency-Key"})


def test_an_operation_on_another_server_of_the_same_service_goes_there() -> None:
    urls = ("https://uploads.notes.example/v2", "https://uploads.notes.example/v3/", "https://api.notes.example/content")
    paths = {
        f"/files/{number}": {"post": {"operationId": f"addFile{number}", "servers": [{"url": url}]}}
        for number, url in enumerate([*urls, urls[0]])
    }
    made = imported(openapi({"/notes": {"get": {"operationId": "listNotes"}}, **paths}))
    assert made.left_out == {}
    integration = loaded(made)
    assert integration.servers == {
        "uploads": "https://uploads.notes.example/v2",
        "uploads_2": "https://uploads.notes.example/v3",
        "api": "https://api.notes.example/content",
    }
    found = {skill.name: (skill.server, skill.request.path) for skill in integration.skills.values()}
    assert found == {
        "list_notes": (None, "/notes"),
        "add_file0": ("uploads", "/files/0"),
        "add_file1": ("uploads_2", "/files/1"),
        "add_file2": ("api", "/files/2"),
        "add_file3": ("uploads", "/files/3"),
    }
    # Somebody should look at where the credential goes.
    assert "servers: the credential goes to https://uploads.notes.example/v2 too." in made.notes


@pytest.mark.parametrize(
    ("base", "server"),
    [
        ("https://api.notes.example", "https://notes.example.evil.test"),
        ("https://api.notes.example", "https://evilnotes.example"),
        ("https://api.notes.example", "http://api.notes.example"),
        ("https://api.notes.example", "https://api.notes.example@evil.test"),
        ("https://api.notes.co.uk", "https://evil.co.uk"),
        ("https://notes.github.io", "https://evil.github.io"),
        ("https://notes.s3.amazonaws.com", "https://evil.s3.amazonaws.com"),
        ("https://192.0.2.1", "https://198.51.2.1"),
        ("https://localhost", "https://example"),
        ("https://{site}.notes.example", "https://{site}.example"),
    ],
)
def test_no_description_sends_the_credential_to_somebody_else(base: str, server: str) -> None:
    paths = {"/a": {"get": {"operationId": "a", "servers": [{"url": server}]}}, "/b": {"get": {"operationId": "getB"}}}
    made = imported(openapi(paths, servers=[{"url": base, "variables": {"site": {"default": "eu"}}}]))
    assert "on another server" in made.left_out["GET /a"]
    assert loaded(made).servers == {}


def test_a_header_for_the_type_of_the_body_is_no_param() -> None:
    header = {"name": "Content-Type", "in": "header", "required": True, "schema": {"enum": ["application/cbor"]}}
    body = {"content": {"application/cbor": {"schema": {"type": "string", "format": "binary"}}}}
    skill = one_skill({"parameters": [header], "requestBody": body})
    assert "content_type" not in skill.params
    assert skill.headers["Content-Type"] == "application/cbor"


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ({"get": {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}}, "GET with a body"),
        ({"post": {"requestBody": {"content": {"application/xml": {"schema": {"type": "object"}}}}}}, "a body of application/xml"),
        ({"get": {"parameters": [{"name": "c", "in": "cookie", "required": True, "schema": {}}]}}, "the cookie c is required"),
        ({"get": {"parameters": [{"name": "Host", "in": "header", "required": True, "schema": {}}]}}, "the header Host is required"),
        ({"post": json_body({"type": "object", "required": ["a"], "properties": {"a": {"not": {}, "enum": []}}})}, ""),
        ({"get": {"servers": [{"url": "https://other.example"}]}}, "on another server"),
    ],
)  # fmt: skip
def test_what_our_format_cannot_say_is_listed_with_the_reason(operation: dict[str, Any], words: str) -> None:
    made = imported(openapi({"/x": operation, "/fine": {"get": {"operationId": "getFine"}}}))
    if not words:
        return
    assert words in next(iter(made.left_out.values()))
    assert [one.name for one in made.actions] == ["get_fine"]
    loaded(made)


# ---------------------------------------------------------------------- schemas


def test_a_schema_that_refers_to_itself_ends_as_an_open_object() -> None:
    tree = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "below": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}},
        },
    }
    skill = one_skill(
        json_body({"type": "object", "required": ["root"], "properties": {"root": {"$ref": "#/components/schemas/Tree"}, "other": {"type": "string"}}}),
        components={"schemas": {"Tree": tree}},
    )  # fmt: skip
    below = skill.params["root"].schema["properties"]["below"]["items"]
    assert below["type"] == "object"
    assert "properties" not in below


def test_schemas_without_end_are_cut_to_what_fits() -> None:
    with no_blowup():
        made = imported(referring(60))
        skill = next(iter(loaded(made).skills.values()))
        assert len(made.text("")) < 100_000
        compile_schema(skill.input_schema)


def tree(keyword: str, levels: int = 60, **beside: Any) -> dict[str, Any]:
    """Schemas that each say twice that a value is also the next one."""
    schemas: dict[str, Any] = {
        f"S{n}": {keyword: [{"$ref": f"#/components/schemas/S{n + 1}"}] * 2, **beside} for n in range(levels)
    }
    schemas[f"S{levels}"] = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    return schemas


CIRCLE = {
    "S0": {"allOf": [{"$ref": "#/components/schemas/S1"}, {"$ref": "#/components/schemas/S0"}]},
    "S1": {"oneOf": [{"$ref": "#/components/schemas/S0"}], "properties": {"a": {"type": "string"}}},
}
WIDE = {
    "S0": {
        "type": "object",
        "properties": {
            f"p{i}": {"type": "object", "properties": {f"q{j}": {"type": "string"} for j in range(200)}}
            for i in range(149)
        },
    }
}
TOWER: dict[str, Any] = {
    f"S{n}": {"allOf": [{"$ref": f"#/components/schemas/S{n + 1}"}], "properties": {f"p{n}": {"type": "string"}}}
    for n in range(3000)
}


@pytest.mark.parametrize(
    "schemas",
    [
        tree("allOf"),
        tree("anyOf"),
        tree("oneOf", 40, properties={"again": {"$ref": "#/components/schemas/S3"}}),
        CIRCLE,
        WIDE,
        {**TOWER, "S3000": {"type": "object"}},
    ],
    ids=["allOf", "anyOf", "oneOf", "circle", "wide", "tower"],
)
def test_schemas_that_are_more_work_than_they_look_cost_no_more_than_others(schemas: dict[str, Any]) -> None:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/S0"}}}
    operation = {
        "operationId": "makeIt",
        "requestBody": {"required": True, "content": content},
        "responses": {"200": {"description": "x", "content": content}},
    }
    spec = openapi({"/x": {"post": operation}}, components={"schemas": schemas})
    with no_blowup():
        integration = loaded(imported(spec))
        verification = Verification(described(spec), without_credential)
        for skill in integration.skills.values():
            assert verification.compare(integration, skill).verdict == "matches"


def test_a_schema_that_is_used_twice_has_a_name_and_one_that_is_not_has_none() -> None:
    big = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(12)}}
    paths = {
        f"/{name}": {
            "post": {
                "operationId": f"make-{name}",
                **json_body(
                    {
                        "type": "object",
                        "properties": {"thing": {"$ref": f"#/components/schemas/{ref}"}, "n": {"type": "string"}},
                    }
                ),
            }
        }
        for name, ref in (("book", "Shared"), ("desk", "Shared"), ("chair", "Single"))
    }
    made = imported(openapi(paths, components={"schemas": {"Shared": big, "Single": big}}))
    assert list(made.definitions) == ["Shared"]
    integration = loaded(made)
    assert integration.skills["make_book"].params["thing"].schema["$ref"] == "#/$defs/Shared"


SCHEMAS = st.recursive(
    st.one_of(
        st.fixed_dictionaries(
            {"type": st.sampled_from(["string", "integer", "number", "boolean", "null", ["string", "null"]])},
            optional={
                "minLength": st.integers(0, 5),
                "maxLength": st.integers(0, 5),
                "minimum": st.integers(-5, 5),
                "maximum": st.integers(-5, 5),
                "enum": st.lists(st.one_of(st.text(max_size=3), st.integers(), st.none()), min_size=1, max_size=4),
                "default": st.one_of(st.text(max_size=3), st.integers(), st.booleans()),
                "format": st.sampled_from(["date", "snowflake", "int64", "uri"]),
                "pattern": st.sampled_from(["^[a-z]+$", "^\\d{3}$"]),
                "description": st.text(max_size=30),
                "uniqueItems": st.booleans(),
            },
        ),
        st.just({"$ref": "#/$defs/Named"}),
        st.just({}),
        st.just(True),
    ),
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("object")},
            optional={
                "properties": st.dictionaries(st.text(max_size=5), inner, max_size=3),
                "required": st.lists(st.sampled_from(["a", "b"]), max_size=2, unique=True),
                "additionalProperties": inner,
            },
        ),
        st.fixed_dictionaries({"type": st.just("array")}, optional={"items": inner, "uniqueItems": st.just(True)}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"oneOf": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries(
            {"allOf": st.lists(inner, min_size=1, max_size=3)}, optional={"description": st.text(max_size=9)}
        ),
        st.fixed_dictionaries({"not": inner}),
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(SCHEMAS, SCHEMAS, st.sampled_from(["Shown", "Named"]))
def test_whatever_a_schema_says_what_is_made_of_it_loads_and_has_a_sample(schema: Any, named: Any, other: str) -> None:
    shapes = Shapes({"Named": named, "Shown": {"allOf": [{"$ref": f"#/$defs/{other}"}, schema]}})
    made = shapes.made(schema)
    definitions = {"Named": shapes.definition("Named"), "Shown": shapes.definition("Shown")}
    text = "\n".join(
        block(
            {
                "slug": "x",
                "name": "X",
                "description": "x",
                "base_url": "https://x.example",
                "auth": [{"name": "n", "type": "none"}],
                "$defs": definitions,
                "actions": {
                    "do_it": {
                        "description": "Do it.",
                        "request": "POST /x",
                        "effect": "create",
                        "params": {"value": made},
                        "examples": [{"response": {"status": 200}}],
                    }
                },
            }
        )
    )
    integration, _ = load_definition(text)
    skill = integration.skills["do_it"]
    value = Samples(shapes.definition, shapes.validates).of(made)
    if value is not NOTHING:
        assert problems(skill, {"value": value}) == []


# ---------------------------------------------------------------------- words, patterns, YAML


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Returns a **task**. It is fast.", "Returns a task."),
        ("<p>Creates a <code>user</code>.</p><p>More.</p>", "Creates a `user`."),
        ("See [the docs](https://x.example/y) for e.g. this. And that.", "See the docs for e.g. this."),
        ("# Heading\n\nReads it", "Reads it."),
        ("You can use this endpoint to list the teams.", "List the teams."),
        ("**Note:** old.\n\nDeletes it!", "Deletes it!"),
        ("(Optional) The name", "The name."),
        ("x" * 400, "X" + "x" * 98 + "…"),
        ("", ""),
    ],
)
def test_of_what_vendors_write_the_first_sentence_stays(text: str, sentence: str) -> None:
    assert first_sentence(text, 100) == sentence


@settings(max_examples=300, deadline=500)
@given(st.text(max_size=300) | st.text("[](){}<>*_`%!-# \n.a", max_size=4000))
def test_no_text_takes_long_to_shorten(text: str) -> None:
    sentence = first_sentence(text, 200)
    assert len(sentence) <= 201
    assert "\n" not in sentence
    words_of(text)


@settings(max_examples=300, deadline=None)
@given(
    st.from_regex(
        r"\^?(\[[A-Za-z0-9]{1,4}\]|\\d|\\w|[a-z]|\([a-z]{1,2}\|[0-9]\))(\{1,3\}|\+|\*|\?)?[a-z-]{0,3}\$?",
        fullmatch=True,
    )
)
def test_a_text_made_for_a_pattern_matches_it(pattern: str) -> None:
    for text in matching(pattern):
        assert compile_schema({"pattern": pattern}).is_valid(text)


@pytest.mark.parametrize(
    ("pattern", "shown", "hollow"),
    [("^.*$", "a", ""), ("[0-9]{0,20}", "0", ""), ("(things/)?[0-9]*", "things/0", ""), ("^jobs/.*$", "jobs/a", "jobs/")],
)
def test_a_text_that_shows_something_comes_before_one_with_a_hole(pattern: str, shown: str, hollow: str) -> None:
    first, *_, last = matching(pattern)
    assert (first, last) == (shown, hollow)


@pytest.mark.parametrize(
    "pattern", ["((a{99}){99}){99}", "(" * 50, "[", "a{2", "\\", "(?=a)", "[^\x00-\uffff]", "a" * 5000]
)
def test_a_pattern_that_is_no_use_makes_nothing_in_no_time(pattern: str) -> None:
    with no_blowup():
        list(matching(pattern))


TEXTS = st.text(st.characters(blacklist_categories=["Cs"])) | st.sampled_from(
    [
        "yes",
        "no",
        "1e5",
        "08",
        "2026-01-01",
        "a: b",
        "a #b",
        "- x",
        "?",
        "null",
        "~",
        "",
        "1:30",
        "0x1",
        ".5",
        "<<",
        "=",
        "http://a.b/c",
        "a:b",
        "{x}",
        "[y]",
        "*a",
        "&a",
        "!t",
        "|",
        ">",
        "%",
        "@",
        "`",
        "a,b",
        '"',
        "'",
        " a",
        "a ",
        "a\nb",
        ".inf",
        "1_000",
        "+1",
        "0o7",
        "true.",
        "a:",
        "ab {c}: d",
        'q"b',
        "1.0.0",
        "GET /a/{b}/c",
        "x: [y]",
        "a? b",
        "a?",
        "é: 1",
    ]
)
VALUES = st.recursive(
    TEXTS | st.integers(-(2**63) + 1, 2**63 - 1) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4))
def test_what_is_written_is_read_as_it_was_by_every_reader(value: dict[str, Any]) -> None:
    class TextDates(yaml.SafeLoader):
        pass

    TextDates.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    text = "\n".join(block(value)) + "\n"
    assert read(text, "x").value == value
    assert yaml.load(text, TextDates) == value  # noqa: S506


# ---------------------------------------------------------------------- selecting


def chosen(*patterns: str) -> list[str]:
    description = described(NOTES_SPEC)
    names = action_names(description, "notes")
    return [names[one.key] for one in selected(description.operations, patterns, names)]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ((), ["list_notes", "create_note", "delete_note", "search_notes"]),
        (("tag:notes",), ["list_notes", "create_note", "delete_note"]),
        (("tag:search", "/folders/*"), ["list_notes", "create_note", "search_notes"]),
        (("GET /*",), ["list_notes"]),
        (("notes/create",), ["create_note"]),
        (("*_note",), ["create_note", "delete_note"]),
        (("!notes/delete",), ["list_notes", "create_note", "search_notes"]),
        (("/notes/{id}",), ["delete_note"]),
    ],
)
def test_operations_are_selected_by_tag_path_id_and_name(patterns: tuple[str, ...], expected: list[str]) -> None:
    assert chosen(*patterns) == expected


def test_a_pattern_that_fits_nothing_names_the_nearest() -> None:
    with pytest.raises(NothingSelected, match="did you mean tag:Notes"):
        chosen("tag:Note")
    with pytest.raises(NothingSelected, match="did you mean list_notes"):
        chosen("list_note")


# ---------------------------------------------------------------------- again


def again(text: str, spec: Any) -> tuple[str, Imported | None, list[str]]:
    """The text of a definition after a second import, what was added, and what is gone."""
    integration, document = load_definition(text)
    description = described(spec)
    verification = Verification(description, without_credential)
    now = standing(
        description.operations, [verification.compare(integration, skill) for skill in integration.skills.values()]
    )
    if not now.new:
        return text, None, list(now.gone)
    names = free_names(description, action_names(description, "notes"), integration)
    made = import_operations(description, now.new, Wish(slug="notes", unreviewed=True, into=integration), names=names)
    return merged(text, document, made), made, list(now.gone)


def test_a_second_import_adds_what_is_new_and_changes_nothing() -> None:
    spec = copy.deepcopy(NOTES_SPEC)
    gone = spec["paths"].pop("/notes/search")
    first = (
        imported(spec).text("By hand.").replace("description: Delete a note.", "description: Delete a note, for good.")
    )
    assert again(first, spec) == (first, None, [])

    spec["paths"]["/notes/search"] = gone
    del spec["paths"]["/notes/{id}"]
    text, made, lost = again(first, spec)
    assert made is not None
    assert ([one.name for one in made.actions], lost) == (["search_notes"], ["delete_note"])
    kept = [line for line in first.splitlines() if not line.startswith("version:")]
    assert [line for line in text.splitlines() if line in kept or line.startswith("#")] and all(
        line in text.splitlines() for line in kept
    )
    integration, _ = load_definition(text)
    assert integration.version == "0.2.0"
    assert integration.skills["search_notes"].lifecycle == "unreviewed"
    assert "Delete a note, for good." in text


def test_new_actions_go_where_the_actions_are_in_the_way_they_are_indented() -> None:
    text = """\
slug: notes
name: Notes
version: 3.1.4
description: Keeps the notes of a team.
actions:
    # Ours.
    list_notes:
        description: List the notes of a folder.
        request: GET /folders/{folder}/notes
        params: {folder: {type: string, required: true}}
        examples: [{params: {folder: home}, response: {status: 200, data: {notes: []}}}]
    search_notes:
        description: Find something else.
        request: GET /elsewhere
        examples: [{response: {status: 200}}]

# How it lets us in.
auth: [{name: key, type: api_key, in: header, as: X-API-Key}]
base_url: https://api.notes.example
"""
    merged_text, made, _ = again(text.replace("GET /folders", "GET /v1/folders"), NOTES_SPEC)
    assert made is not None
    integration, _ = load_definition(merged_text)
    assert integration.version == "3.2.0"
    assert list(integration.skills) == ["list_notes", "search_notes", "create_note", "delete_note", "search_notes_2"]
    assert integration.skills["create_note"].request.path == "/v1/folders/{folder}/notes"
    assert integration.skills["create_note"].scopes == ()
    assert merged_text.index("search_notes_2") < merged_text.index("# How it lets us in.")
    assert "\n    create_note:\n      category: notes" in merged_text


def test_a_definition_whose_actions_stand_on_one_line_is_left_alone() -> None:
    text = imported(NOTES_SPEC).text("x").partition("actions:")[0]
    text += 'actions: {get_it: {description: "Get it.", request: GET /it, examples: [{response: {status: 200}}]}}\n'
    with pytest.raises(CannotImport, match="on one line"):
        again(text, NOTES_SPEC)
