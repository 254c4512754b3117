"""What makes no sense in a definition is refused with file, line and field, and what was probably meant."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from skills_catalog import graphql
from skills_catalog.lint import lint
from skills_catalog.loader import CatalogError, load_definition, load_integration
from skills_catalog.mistakes import Mistake
from skills_catalog.templates import Malformed
from tests.blowup import no_blowup
from tests.format.desk import DEFINITIONS


def text_of(slug: str) -> str:
    return (DEFINITIONS / f"{slug}.yaml").read_text()


def mistakes(text: str) -> list[Mistake]:
    with pytest.raises(CatalogError) as caught:
        load_integration(text, source="it.yaml")
    return caught.value.problems


#: slug, what is replaced, by what, field of the mistake, words of it.
CASES = [
    # -- GraphQL
    ("boards", "{ viewer { id name } }", "{ viewer { id name }", "actions.viewer.graphql", "Line 1: `{` is never closed"),
    ("boards", "{ viewer { id name } }", "{ viewer { id) name } }", "actions.viewer.graphql", "`)` closes nothing"),
    ("boards", "{ viewer { id name } }", "subscription { x }", "actions.viewer.graphql", "does not end"),
    ("boards", "{ viewer { id name } }", "{ a } { b }", "actions.viewer.graphql", "another operation"),
    ("boards", "{ viewer { id name } }", "{ viewer { id § } }", "actions.viewer.graphql", "`§` cannot stand there"),
    ("boards", "first: $first, ", "first: $frist, ", "actions.find_cards.graphql", "$frist is used but not declared. Did you mean first?"),
    ("boards", "first: $first, ", "", "actions.find_cards.graphql", "$first is declared but not used"),
    ("boards", "as: filter.state.eq", "as: filtre.state.eq", "actions.find_cards.params.state", "declares no variable $filtre. Did you mean filter?"),
    ("boards", "description: In which state., required: true", "description: In which state.", "actions.find_cards.params.state", "Fills $filter, which may not be null"),
    ("boards", "      tags: {type: array, items: {type: string}, description: With these tags.}\n", "", "actions.find_cards.graphql", "No param fills $tags"),
    ("boards", "first: {type: integer", "first: {type: string", "actions.find_cards.params.first", "takes no string"),
    ("boards", "tags: {type: array, items: {type: string}", "tags: {type: string", "actions.find_cards.params.tags", "takes no string"),
    ("boards", "    effect: create\n", "", "actions.create_card", "`effect` is missing; a mutation may"),
    ("boards", "    effect: create\n", "    effect: read\n", "actions.create_card.effect", "A mutation that only reads"),
    ("boards", "description: Find cards.\n", "description: Find cards.\n    effect: send\n", "actions.find_cards.effect", "A query that has the effect send"),
    ("boards", "request: POST /v2/{space}/graphql", "request: PUT /v2/{space}/graphql", "actions.create_card.request", "by POST here, not by PUT"),
    ("boards", "title: {type: string, as: input.title", "title: {in: form, type: string, as: input.title", "actions.create_card.params.title", "cannot be forms, files"),
    ("boards", "description: Find cards.\n", "description: Find cards.\n    body: form\n", "actions.find_cards.body", "has its own body"),
    ("boards", "    description: Find cards.\n    graphql", "    description: Find cards.\n    graphq", "actions.find_cards", "ust have `request` or `graphql`"),
    # -- scopes and refusals
    ("chat", "scopes: [[chat.write, chat.everywhere], [admin]]", "scopes: [[chat.write], admin]", "actions.post_message.scopes", "Must be a list of scopes, or a list of such lists"),
    ("chat", "scopes: [[chat.write, chat.everywhere], [admin]]", "scopes: [[]]", "actions.post_message.scopes", "Must be a list of scopes"),
    ("chat", 'error_when: "!ok"', 'error_when: "!ok["', "error_when", "Not a JMESPath"),
    ("chat", "param: user_scope", "param: 'user scope'", "auth.1.scopes.param", "Must match"),
    # -- OAuth 1.0a
    ("lists", "    request_token_url: https://lists.example/1/OAuthGetRequestToken\n", "", "auth.0", "`request_token_url` is missing"),
    ("lists", "    type: oauth1\n", "    type: oauth1\n    pkce: S256\n", "auth.0.pkce", "no meaning for the type oauth1"),
    ("lists", "    type: oauth1\n", "    type: oauth1\n    signature: PLAINTEXT\n", "auth.0.signature", "Must be one of"),
    ("lists", "    type: oauth1\n", "    type: oauth1\n    headers: {Authorization: x}\n", "auth.0.headers.Authorization", "where the credential itself goes"),
    ("lists", 'query: {key: "{key}"}', 'query: {key: "{kee}"}', "auth.1.query.key", "There is no connection field kee. Did you mean key?"),
    ("lists", 'query: {key: "{key}"}', 'query: {token: "{key}"}', "auth.1.query.token", "where the credential itself goes"),
    ("lists", "query: {type: string, description: x}", "query: {type: string, as: key, description: x}", "actions.find.params.query", "Is where the credential of key_and_token goes"),
    ("lists", "{name: Skillway, expiration: never}", '{name: "{key}", expiration: never}', "auth.0.authorize_params.name", "Connections of oauth have no field key"),
    ("lists", "auth: [key_and_token]}", "auth: [key_and_tokens]}", "connection.key.auth.0", "no auth method key_and_tokens with connections. Did you mean key_and_token?"),
    # -- keys, logins, clients
    ("robots", 'iss: "{client_email}", sub', 'iss: "{client_mail}", sub', "auth.0.claims.iss", "no connection field client_mail. Did you mean client_email?"),
    ("robots", "    claims: {iss: \"{app_id}\", sub: \"{subject}\"}\n", "", "auth.1", "`claims` is missing"),
    ("robots", "key_file: {private_key: private_key, ", "key_file: {", "auth.0.key_file", "`private_key` is missing"),
    ("robots", "client_email: client_email}", "client_mail: client_email}", "auth.0.key_file.client_mail", "no connection field client_mail"),
    ("robots", "client_email: client_email}", "client_email: 'a['}", "auth.0.key_file.client_email", "Not a JMESPath"),
    ("robots", "inputs: {private_key: Signing key}", "inputs: {password: Signing key}", "auth.1.inputs.password", "app does not ask for it"),
    ("robots", "inputs: {private_key: Signing key}", "inputs: {privat_key: Signing key}", "auth.1.inputs.privat_key", "must be one of"),
    ("robots", "token_answer: {access_token: id, expires_in: ttl}", "token_answer: {token: id}", "auth.2.token_answer.token", "must be one of"),
    ("robots", "    token_body: json\n", "", "auth.2.token_params.auth", "`token_body: json`"),
    ("robots", "    token_body: json\n", "    token_body: json\n    token_method: GET\n", "auth.2.token_params.auth", "`token_body: json`"),
    ("robots", "secret: {title: Password, secret: true, auth: [login]}", "secret: {title: Password, auth: [login]}", "auth.2", "declare a connection field with `secret: true`"),
    ("robots", "    token_auth: basic\n", "    token_method: GET\n", "auth.3.token_method", "The client secret would stand in the address"),
    ("robots", 'X-App: "{app_id}"', 'X-App: "{company}"', "auth.1.token_headers.X-App", "Connections of app have no field company"),
    ("robots", "account_id: {title: Account, auth: [account]}", "client_id: {title: Account, auth: [account]}\n  account_id: {title: Account, auth: [account]}", "connection.client_id", "is connected with a client_id already"),
    ("robots", "account_id: {title: Account, auth: [account]}", "scopes: {title: x}\n  account_id: {title: Account, auth: [account]}", "connection.scopes", "has a meaning of its own"),
    ("robots", "https://robots.example/{company}/login", "https://{login}.robots.example/login", "auth.2.token_url", "needs `host: label` or `host: domain`"),
    ("robots", "https://robots.example/{company}/login", "https://{secret}.robots.example/login", "auth.2.token_url", "A secret field cannot stand here"),
    # -- fields, servers, lookups
    ("sites", "server: accounts", "server: account", "actions.list_sites.server", "no server account under `servers`. Did you mean accounts?"),
    ("sites", "accounts.sites.example\"", "accounts.sites.example?x=1\"", "servers.accounts", "holds no query"),
    ("sites", "https://files.sites.example/{cloud_id}", "https://files.sites.example/{cloudid}", "servers.files", "Did you mean cloud_id?"),
    ("sites", "lookup: {action: list_sites, items", "lookup: {action: list_site, items", "auth.0.lookup.action", "no action list_site. Did you mean list_sites?"),
    ("sites", "    server: accounts\n    auth: [token, oauth]\n", "    server: accounts\n    auth: [oauth]\n", "auth.0.lookup.action", "is not served by token"),
    ("sites", "    request: GET /sites\n    server: accounts\n", "    request: GET /sites\n", "auth.0.lookup.action", "needs {cloud_id} itself"),
    ("sites", "    request: GET /sites\n", "    request: POST /sites\n    effect: create\n", "auth.0.lookup.action", "must only read"),
    ("sites", "    request: GET /sites\n", "    request: GET /sites\n    lifecycle: unreviewed\n", "auth.0.lookup.action", "is not reviewed"),
    ("sites", 'items: "values[?active]"', 'items: "values[?active"', "auth.0.lookup.items", "Not a JMESPath"),
    ("sites", "title: name, fields: {cloud_id: id}}\n  - name: oauth", "title: name, fields: {cloud: id}}\n  - name: oauth", "auth.0.lookup.fields.cloud", "Did you mean cloud_id?"),
    ("sites", "title: name, fields: {cloud_id: id}}\n  - name: oauth", "title: name, fields: {site: id}}\n  - name: oauth", "auth.0.lookup.fields.site", "Connections of token have no field site"),
    ("sites", "base_url: https://{site}.sites.example/rest", "base_url: https://{team}.sites.example/rest", "auth.2.base_url", "needs `host: label`"),
    ("sites", 'username: "{email}/token"', 'username: "{mail}/token"', "auth.2.username", "no connection field mail"),
    ("sites", 'username: "{email}/token"', 'username: "{email}:token"', "auth.2.username", "RFC 7617"),
    ("sites", "    request: GET /teams/{team}/pages\n", "    request: GET /teams/{team}/{site}/pages\n", "actions.list_pages.request", "Connections of token have no field site; say `auth`"),
    ("sites", "    request: GET /teams/{team}/pages\n", "    request: GET /teams/{team}/{proyect}/pages\n", "actions.list_pages.request", "No param fills {proyect}. Did you mean project?"),
    ("sites", 'owner: {const: "{project}"}', 'owner: {const: "{projekt}"}', "actions.list_pages.params.owner.const", "no connection field projekt"),
    ("sites", "cloud_id: {title: Site, auth: [token, oauth]}", "cloud_id: {title: Site, auth: [oauth]}", "auth.0", "The base URL has {cloud_id}, which connections of token do not have"),
    # -- credentials
    ("keys", 'value: "Token token={token}"', 'value: "Token token={api_key}"', "auth.1.value", "Holds no {token}"),
    ("keys", 'value: "Token token={token}"', 'value: "Token token={token}", prefix: "Token "', "auth.1.prefix", "leave `prefix` out"),
    ("keys", 'value: "Token token={token}"', 'value: "Tokén {token}"', "auth.1.value", "cannot stand there"),
    ("keys", 'base_url: "https://keys.example/bot{api_key}/v1"', 'base_url: "https://keys.example/bot/v1"', "auth.6.in", "Neither base URL has {api_key} in its path"),
    ("keys", 'base_url: "https://keys.example/bot{api_key}/v1"', 'base_url: "https://{api_key}.keys.example"', "auth.6.base_url", "A secret field cannot stand here"),
    ("keys", "in: path, ", "in: path, as: X-Key, ", "auth.6.as", "The base URL says how"),
    ("keys", "base_url: https://keys.example\n", "base_url: https://keys.example/{api_key}\n", "auth.0", "The base URL has {api_key}, which pair does not fill"),
    ("keys", 'copy_from_credential: {dc: "-"}', 'copy_from_credential: {data: "-"}', "auth.2.copy_from_credential.data", "no connection field data"),
    ("keys", "type: basic, title: API key, username: anystring", "type: basic, title: API key, username: anystring, password: x", "auth.2", "Nothing is asked for"),
    # -- bodies
    ("bodies", "    body: null\n", "    body: null\n    params: {x: {type: string, description: x}}\n", "actions.account.body", "Is null, but there are params `in: body`"),
    ("bodies", "    body: none\n    params:\n", "    body: none\n    params:\n      x: {type: string, description: x}\n", "actions.touch.body", "Is none, but there are params"),
    ("bodies", "    body: form\n    params:\n      amount", "    body: from\n    params:\n      amount", "actions.charge.body", "Must be one of"),
    ("bodies", "      file: {in: file, content_type: image/png, description: x, required: true}\n", "", "actions.put_related.body", "exactly one file"),
    ("bodies", "style: indices, ", "style: index, ", "actions.charge.params.numbers.style", "Must be one of"),
    ("bodies", "encode: unix, ", "encode: unx, ", "actions.charge.params.since.encode", "Must be json, ndjson"),
    ("bodies", "live: {type: boolean, encode: yes/no", "live: {type: string, encode: yes/no", "actions.charge.params.live.encode", "with `type: boolean`"),
    ("bodies", "encode: [mail, base64url]", "encode: [base64url, mail]", "actions.send_mail.params.message.encode", "mail can only be the first step"),
    ("bodies", "encode: [file, base64]", "encode: file", "actions.put_content.params.content.encode", "write [file, base64]"),
    ("bodies", "encode: [file, base64]", "encode: [base64, file, base64]", "actions.put_content.params.content.encode", "file can only be the first step"),
    ("bodies", "rows: {type: array, items: {type: object}", "rows: {type: object", "actions.index.params.rows.encode", "with `type: array`"),
    ("bodies", "more: {type: object, spread", "more: {type: array, spread", "actions.search.params.more.spread", "`type: object` is missing"),
    ("bodies", "more: {type: object, spread: true", "more: {type: object, as: x, spread: true", "actions.search.params.more.as", "leave `as` out"),
    ("bodies", "order: {type: string, in: query, as: q, member: sort.by", "order: {type: string, in: query, as: q, member: where", "actions.search.params.order", "Goes to the same place as where"),
    ("bodies", "order: {type: string, in: query, as: q, member: sort.by", "order: {type: string, in: query, as: q", "actions.search.params.order", "Goes to the same place as"),
    ("bodies", "as: \"created[gte]\"", "as: \"metadata[x]\"", "actions.charge.params.since", "Goes to the same place as metadata"),
    ("bodies", "member: name, description: x}", "member: a..b, description: x}", "actions.post_files.params.name.member", "A part of the name is empty"),
    ("bodies", "plain: {type: array, items: {type: string}, style: repeat", "plain: {type: array, items: {type: string}, content_type: text/plain", "actions.search.params.plain.content_type", "Is of a whole body, or of a part"),
    ("bodies", "content_type: message/rfc822", "content_type: multipart/mixed", "actions.import_mail.params.text.content_type", "Only the request itself"),
    ("bodies", "    wrap: data\n", "    wrap: data\n    body: form\n", "actions.create_task.wrap", "Only params of a JSON body"),
    ("bodies", "    wrap: data\n", "    wrap: data.\n", "actions.create_task.wrap", "Must be a name, or names with dots"),
    ("bodies", "defaults: {style: brackets}", "defaults: {stile: brackets}", "defaults.stile", "Did you mean style?"),
]  # fmt: skip


@pytest.mark.parametrize(("slug", "old", "new", "field", "words"), CASES, ids=[f"{case[3]}: {case[4][:40]}" for case in CASES])
def test_a_mistake_is_named_by_line_field_and_cause(slug: str, old: str, new: str, field: str, words: str) -> None:
    text = text_of(slug)
    assert text.count(old) >= 1, old
    found = mistakes(text.replace(old, new, 1))
    hits = [mistake for mistake in found if mistake.field == field and words in mistake.message]
    assert hits, [str(mistake) for mistake in found]
    assert hits[0].file == "it.yaml" and hits[0].line > 1


def test_a_host_from_a_browsers_callback_needs_a_bound() -> None:
    text = """
slug: zo
name: Zo
description: x
base_url: https://api.zo.example
connection:
  accounts: {title: Accounts, host: domain, required: false SCHEMA}
auth:
  - {name: oauth, type: oauth2, authorization_url: "https://zo.example/a", token_url: "https://{accounts}/t", copy_from_callback: {accounts: server}}
actions:
  get: {description: x, request: GET /x, examples: [{response: {status: 200}}]}
"""
    (found,) = mistakes(text.replace(" SCHEMA", ""))
    assert found.field == "auth.0.copy_from_callback.accounts" and "must not choose the host" in found.message
    bounded = r', schema: {type: string, pattern: "^accounts\\.zo\\.(com|eu)$"}'
    assert load_integration(text.replace(" SCHEMA", bounded)).fields[0].host == "domain"


@pytest.mark.parametrize(
    "text",
    ["{" * 20_000, "(" * 19_999 + "}", '"' * 20_001, '"""' + "x" * 19_990, "{ a " + "# \n" * 6000 + "}", "query (" + "$a: [" * 3000,
     "{ " + "a(b: $c) " * 2000 + "}", "query ($a: Int = " + "{" * 5000 + "}" * 5000 + ") { a(b: $a) }", "$" * 20_000, "\ufeff" * 20_000],
)  # fmt: skip
def test_a_hostile_document_is_read_in_a_moment(text: str) -> None:
    with no_blowup():
        with contextlib.suppress(Malformed):
            graphql.operation(text)


def test_a_document_may_use_all_that_graphql_writes() -> None:
    found = graphql.operation(
        'query Q($a: [ID!]! @x(y: {z: ["}"]}), $b: Int = -1.5e3, $c: In = {d: [1], e: "$no"}) @skip(if: $b) '
        '{ alias: f(a: $a, o: {p: $c, q: """}"$no" {"""}) { ... on T @include(if: true) { g } ...F } } fragment F on T { h }'
    )
    assert (found.kind, sorted(found.used)) == ("query", ["a", "b", "c"])
    assert {name: (one.type, one.is_required) for name, one in found.variables.items()} == {
        "a": ("[ID!]!", True), "b": ("Int", False), "c": ("In", False),
    }  # fmt: skip


# -- lint ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", sorted(DEFINITIONS.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_definitions_of_these_tests_have_nothing_to_mend(file: Path) -> None:
    integration, document = load_definition(file)
    assert [str(finding) for finding in lint(integration, document) if finding.severity == "error"] == []
    unused = [str(finding) for finding in lint(integration, document) if finding.rule == "unused"]
    assert unused == []


@pytest.mark.parametrize(
    ("slug", "old", "new", "rule", "field", "words"),
    [
        ("sites", 'items: "values[?active]", title: name, fields: {cloud_id: id}}\n  - name: oauth',
         'items: "values[?active]", title: label, fields: {cloud_id: key}}\n  - name: oauth',
         "paths-into-answers", "auth.0.lookup.fields.cloud_id", "`key` finds no text or number in the example of list_sites"),
        ("sites", "project: {title: Project, required: false}", "project: {title: Project, required: false}\n  other: {title: Other, required: false}",
         "unused", "connection.other", "Nothing uses this field"),
        ("sites", 'accounts: "https://', 'accounts: "http://', "https", "servers.accounts", "Plain http"),
        ("lists", "request_token_url: https://", "request_token_url: http://", "https", "auth.0.request_token_url", "Plain http"),
        ("chat", "response: {status: 200, data: {ok: true, user: ada}}", "response: {status: 200, data: {ok: true, name: ada}}",
         "paths-into-answers", "whoami.account", "`user` finds no text or number in the example of auth_test"),
        ("boards", "request: POST /v2/{space}/graphql", "request: POST /v2/{space}/graphql\n    hook: sign", "hooks", "actions.create_card.hook", "Passes through the hook sign"),
    ],
)  # fmt: skip
def test_lint_knows_the_new_parts(slug: str, old: str, new: str, rule: str, field: str, words: str, tmp_path: Path) -> None:
    text = text_of(slug)
    assert old in text
    file = tmp_path / "it.yaml"
    file.write_text(text.replace(old, new, 1))
    found = [finding for finding in lint(*load_definition(file)) if finding.rule == rule]
    assert any(finding.mistake.field == field and words in finding.mistake.message for finding in found), list(map(str, found))
