"""Makes a definition of a vendor's description: what can be said in our format, and a list of what cannot."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from urllib.parse import urlsplit

from skills_catalog.descriptions.model import Description, Json, Operation
from skills_catalog.descriptions.schemas import inner_schemas, referred
from skills_catalog.importing.answers import Answer, Answers
from skills_catalog.importing.auth import Ways, auth_of, scopes_of, ways_in
from skills_catalog.importing.effects import effect_of
from skills_catalog.importing.naming import action_names, category_of
from skills_catalog.importing.pages import guessed_page
from skills_catalog.importing.params import Input, Inputs, NotImportable, common_headers
from skills_catalog.importing.servers import of_one_owner, server_name
from skills_catalog.importing.shapes import Shapes
from skills_catalog.importing.words import ended, first_sentence, plain, words_of
from skills_catalog.lint import lint
from skills_catalog.loader import load_definition
from skills_catalog.mistakes import CatalogError
from skills_catalog.model import Integration
from skills_catalog.templates import Malformed, address, is_host_value
from skills_catalog.verbs import VERBS, imperative
from skills_catalog.verification.paths import base_path, is_server
from skills_catalog.verification.values import Values
from skills_catalog.writing import block

#: Actions of one definition.
MOST_ACTIONS = 1000
_MOST_DEFINITIONS = 200
_MOST_SERVERS = 20
#: Parts of a named schema that is worth a place of its own.
_LEAST_PARTS = 8
_LONGEST_DESCRIPTION = 300
#: Where APIs answer whose credential it is, and how they call the account there.
_ABOUT_ME = frozenset({"me", "@me", "whoami", "viewer", "auth.test"})
_ACCOUNTS = ("email", "emailAddress", "email_address", "login", "username", "user", "display_name", "name", "handle")
_MY_OWN = re.compile(
    r"get_(me|my_user|(the_)?(current|authenticated)_user|viewer|(users?_)?profile|current_users_profile)"
)
#: Words of a description that is about itself, not about the service.
_ABOUT_DOCUMENT = re.compile(
    r"\b(open ?api|swagger|specs?|specification|api (reference|documentation|docs|v?[0-9]+)|x-[a-z]+)\b", re.IGNORECASE
)
_SECRET = re.compile(r"(client|app|consumer)_?secret|password", re.IGNORECASE)
_VARIABLE = re.compile(r"\{([^{}]*)\}")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

#: Problems of an action that was made, by its name; the first of them keeps it out.
Check = Callable[[Integration], Mapping[str, str]]


class CannotImport(ValueError):
    """A description of which no definition can be made; the message says why."""


@dataclass(slots=True, kw_only=True)
class ImportedAction:
    """An action, the operation that it was made of, and what of it is a guess."""

    name: str
    operation: Operation
    spec: dict[str, Json]
    #: Key of the action -> a comment behind it.
    comments: dict[str, str] = field(default_factory=dict)
    doubt: str = ""

    @property
    def is_unreviewed(self) -> bool:
        return self.spec.get("lifecycle") == "unreviewed"


@dataclass(slots=True, kw_only=True)
class Imported:
    """A definition as it will be written."""

    head: dict[str, Json]
    definitions: dict[str, Json]
    actions: list[ImportedAction]
    #: Operation -> why it was not brought over.
    left_out: dict[str, str]
    notes: list[str]
    #: What was simplified -> how often.
    lost: Counter[str]

    def text(self, about: str) -> str:
        """The whole file, with `about` as its first comment."""
        guesses = {"whoami": "a guess"}
        lines = [*(f"# {line}" for line in about.splitlines()), *block(self.head, notes=guesses), ""]
        if self.definitions:
            lines += ["$defs:", *block(self.definitions, 2), ""]
        return "\n".join([*lines, "actions:", *self.action_lines()]) + "\n"

    def action_lines(self) -> Iterator[str]:
        """The lines of the actions, as they stand below `actions:`."""
        for number, action in enumerate(self.actions):
            if number:
                yield ""
            yield f"  {action.name}:"
            yield from block(action.spec, 4, action.comments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How a description is to be imported."""

    slug: str
    #: In place of the vendor's server; None takes that.
    base_url: str | None = None
    #: Whether every action is marked as not reviewed.
    unreviewed: bool = False
    #: The definition that the actions are for, where there is one: its base URL, headers and ways in stay.
    into: Integration | None = None
    #: The day of the import: since when an operation is deprecated, no description says.
    day: date = field(default_factory=lambda: datetime.now(UTC).date())


def import_operations(
    description: Description,
    operations: Sequence[Operation],
    wish: Wish,
    *,
    names: Mapping[str, str] | None = None,
    check: Check | None = None,
    progress: Callable[[int, int], None] = lambda done, all: None,
) -> Imported:
    """The definition of these operations. Raises `CannotImport`; single operations that cannot be said are listed."""
    if len(operations) > MOST_ACTIONS:
        many = Counter(tag for one in operations for tag in one.tags[:1]).most_common(8)
        tags = f" Of them {', '.join(f'{number} have tag:{tag}' for tag, number in many)}." if many else ""
        raise CannotImport(
            f"{len(operations)} operations are selected; a definition holds {MOST_ACTIONS} actions.{tags}"
        )
    names = names or action_names(description, wish.slug)
    base = _base(description, wish.base_url or (wish.into.base_url if wish.into else None))
    reading = {one.key for one in operations if effect_of(one, names[one.key]).effect == "read"}
    ways = ways_in(description, base.url, operations, reading)
    making = _Making(description, wish, base, ways, names)
    for done, operation in enumerate(operations):
        progress(done, len(operations))
        making.add(operation)
    progress(len(operations), len(operations))
    imported = making.imported()
    if not imported.actions:
        why = next((f": {why.rstrip('.')}" for why in imported.left_out.values()), "")
        raise CannotImport(f"None of the operations can be brought over{why}.")
    return _checked(imported, check)


@dataclass(slots=True, kw_only=True)
class _Base:
    """The base URL, the connection fields that its variables became, and the path of GraphQL."""

    url: str
    fields: dict[str, dict[str, Json]] = field(default_factory=dict)
    graphql: str = ""


class _Making:
    def __init__(self, description: Description, wish: Wish, base: _Base, ways: Ways, names: Mapping[str, str]) -> None:
        self._description = description
        self._wish = wish
        self._base = base
        self._ways = ways
        self._names = names
        self._headers = dict(wish.into.headers) if wish.into else common_headers(description)
        self._shapes = Shapes(description.definitions)
        self._inputs = Inputs(description, self._shapes, self._headers)
        self._answers = Answers(description.definitions, Values(description.definitions))
        self._made: list[ImportedAction] = []
        self._left_out = dict(description.unreadable)
        #: Base URL -> name, of operations that are elsewhere.
        self._servers: dict[str, str] = {}

    def add(self, operation: Operation) -> None:
        try:
            self._made.append(self._action(operation))
        except NotImportable as error:
            self._left_out[operation.line] = f"{error}."

    def imported(self) -> Imported:
        # A definition that exists has named schemas of its own.
        keep = self._shared() if self._wish.into is None else set()
        for action in self._made:
            params = action.spec.get("params", {})
            action.spec["params"] = {name: self._written_out(one, keep) for name, one in params.items()}
            if not params:
                del action.spec["params"]
        used = self._used(keep)
        definitions = {name: self._written_out(self._shapes.definition(name), keep) for name in sorted(used)}
        return Imported(
            head=self._head(),
            definitions=definitions,
            actions=self._made,
            left_out=self._left_out,
            # The ways in of a definition that exists stay.
            notes=self._notes() if self._wish.into is None else [],
            lost=self._shapes.lost,
        )

    def _notes(self) -> list[str]:
        return [*self._ways.notes, *(f"servers: the credential goes to {url} too." for url in self._servers)]

    def _head(self) -> dict[str, Json]:
        description = self._description
        name = _name(description.title, self._wish.slug)
        about = first_sentence(description.description, _LONGEST_DESCRIPTION)
        if _ABOUT_DOCUMENT.search(about):
            about = ""
        head: dict[str, Json] = {
            "slug": self._wish.slug,
            "name": name,
            "description": about if len(about) >= 20 else f"The actions of {name}, as its vendor describes them.",
            "categories": ["imported"],
            "version": "0.1.0",
        }
        if re.fullmatch(r"https?://[\x21-\x7e]+", description.docs_url):
            head["docs_url"] = description.docs_url
        head["base_url"] = self._base.url
        if self._servers:
            head["servers"] = {name: url for url, name in self._servers.items()}
        if self._headers:
            head["headers"] = self._headers
        if self._base.fields:
            head["connection"] = self._base.fields
        whoami = _whoami(self._made)
        return {**head, "auth": self._ways.methods, **({"whoami": whoami} if whoami else {})}

    def _action(self, operation: Operation) -> ImportedAction:
        name = self._names[operation.key]
        made = self._inputs.of(operation)
        guess = effect_of(operation, name)
        answer = self._answers.of(operation)
        spec: dict[str, Json] = {
            "category": category_of(operation),
            "description": _description(operation, name),
            **self._request(operation, made.path),
        }
        if operation.method not in ("GET", "HEAD"):
            spec["effect"] = guess.effect
            if guess.effect == "read":
                spec["idempotent"] = True
        spec |= self._permission(operation)
        if made.headers:
            spec["headers"] = made.headers
        spec["params"] = made.params
        comments = self._about_answers(spec, made, answer)
        if made.idempotency:
            spec["idempotency"] = made.idempotency
        if operation.deprecated:
            spec["deprecated"] = {"since": self._wish.day.isoformat()}
            comments["deprecated"] = "the day of the import; the vendor's own is not described"
        doubt = guess.doubt or _about_secrets(made)
        if self._wish.unreviewed or doubt:
            spec["lifecycle"] = "unreviewed"
            if doubt:
                comments["lifecycle"] = f"{doubt}: look at it, then remove this line"
        spec["examples"] = [_example(made, answer)]
        return ImportedAction(name=name, operation=operation, spec=spec, comments=comments, doubt=doubt)

    def _permission(self, operation: Operation) -> dict[str, Json]:
        """Scopes, and which ways in serve it, as far as the definition has these ways."""
        scopes, auth = scopes_of(operation, self._ways), auth_of(operation, self._ways)
        if self._wish.into is not None:
            known = {method.name: method.type for method in self._wish.into.auth}
            auth = auth if auth and known.keys() >= set(auth) else None
            scopes = scopes if {"oauth2", "client_credentials"} & set(known.values()) else []
        return {**({"scopes": scopes} if scopes else {}), **({"auth": auth} if auth else {})}

    def _about_answers(self, spec: dict[str, Json], made: Input, answer: Answer) -> dict[str, str]:
        if answer.is_binary:
            spec["response"] = "binary"
        if answer.is_redirect:
            spec["redirect"] = "follow"
        if spec.get("effect", "read") != "read" or not answer.has_data:
            return {}
        names = dict(made.query)
        names |= {
            str(one.get("as")): name for name, one in made.params.items() if "as" in one and name not in names.values()
        }
        page = guessed_page(names, made.params, answer.data)
        if page is None:
            return {}
        spec["page"] = page
        return {"page": "a guess"}

    def _request(self, operation: Operation, path: str) -> dict[str, Json]:
        """Method and path after the base URL, or after that of the server which the operation has for itself."""
        if self._base.graphql:
            return {"request": f"{operation.method} {self._base.graphql}"}
        if self._wish.into is not None:
            return {"request": f"{operation.method} {self._path_into(operation, path)}"}
        line = f"{operation.method} {path}"
        if not operation.servers or self._wish.base_url:
            return {"request": line}
        for server in operation.servers:
            if server.rstrip("/") in (one.rstrip("/") for one in self._description.servers):
                return {"request": line}
            if server.startswith(f"{self._base.url}/"):
                return {"request": f"{operation.method} {server[len(self._base.url) :].rstrip('/')}{path}"}
        url = operation.servers[0].rstrip("/")
        if not of_one_owner(url, self._base.url):
            # The credential would go there.
            raise NotImportable(f"it is on another server, {url}")
        if url not in self._servers and len(self._servers) == _MOST_SERVERS:
            raise NotImportable(f"it is on another server, {url}, and {_MOST_SERVERS} are named already")
        return {"request": line, "server": self._servers.setdefault(url, server_name(url, self._servers.values()))}

    def _path_into(self, operation: Operation, path: str) -> str:
        """The same where the base URL is a definition's, which may hold more or less of the path than the vendor's."""
        servers = operation.servers or self._description.servers
        if not is_server(self._base.url, servers):
            raise NotImportable(f"it is on another server, {servers[0]}")
        whole = base_path(servers[0], self._description.variables) + path if servers else path
        own = urlsplit(self._base.url.replace("{", "").replace("}", "")).path.rstrip("/")
        if own and not whole.startswith(f"{own}/"):
            raise NotImportable(f"its path {whole} is not below {self._base.url}")
        return whole[len(own) :]

    # ------------------------------------------------------------------ named schemas

    def _shared(self) -> set[str]:
        """The named schemas that are worth a place of their own: used more than once, and not small."""
        counted: Counter[str] = Counter()
        seen: set[str] = set()
        open_schemas: list[Json] = [one for action in self._made for one in action.spec["params"].values()]
        while open_schemas:
            schema = open_schemas.pop()
            name = referred(schema)
            if name is not None:
                counted[name] += 1
                if name not in seen:
                    seen.add(name)
                    open_schemas.append(self._shapes.definition(name))
            open_schemas += inner_schemas(schema)
        worth = {
            name: many * self._shapes.size(self._shapes.definition(name))
            for name, many in counted.items()
            if many > 1 and self._shapes.size(self._shapes.definition(name)) >= _LEAST_PARTS
        }
        return set(sorted(worth, key=lambda name: (-worth[name], name))[:_MOST_DEFINITIONS])

    def _used(self, keep: set[str]) -> set[str]:
        used: set[str] = set()
        open_schemas: list[Json] = [one for action in self._made for one in action.spec.get("params", {}).values()]
        while open_schemas:
            schema = open_schemas.pop()
            name = referred(schema)
            if name is not None and name not in used:
                used.add(name)
                open_schemas.append(self._written_out(self._shapes.definition(name), keep))
            open_schemas += inner_schemas(schema)
        return used

    def _written_out(self, schema: Json, keep: set[str]) -> Json:
        """The schema with every name that is not kept replaced by what it stands for."""
        if not isinstance(schema, dict):
            return schema
        name = referred(schema)
        if name is not None and name not in keep:
            about = {key: value for key, value in schema.items() if key != "$ref"}
            return self._written_out({**self._shapes.definition(name), **about}, keep)
        made = dict(schema)
        for keyword in ("items", "additionalProperties"):
            if isinstance(made.get(keyword), dict):
                made[keyword] = self._written_out(made[keyword], keep)
        if isinstance(made.get("properties"), dict):
            made["properties"] = {key: self._written_out(one, keep) for key, one in made["properties"].items()}
        if isinstance(made.get("anyOf"), list):
            made["anyOf"] = [self._written_out(one, keep) for one in made["anyOf"]]
        return made


# ---------------------------------------------------------------------- the base URL


def _base(description: Description, given: str | None) -> _Base:
    url = (given or next(iter(description.servers), "")).rstrip("/")
    if not re.match(r"https?://", url):
        raise CannotImport(
            f"The description does not say where the API is{f' ({url} has no host)' if url else ''}; give --base-url."
        )
    base = _Base(url=url)
    if description.graphql is not None:
        parts = urlsplit(url)
        head, _, last = parts.path.rstrip("/").rpartition("/")
        base.graphql = f"/{last or 'graphql'}"
        base.url = f"{parts.scheme}://{parts.netloc}{head}"
    if not given:
        base.url = _VARIABLE.sub(lambda match: _variable(description, match[1], base), base.url)
    try:
        address(base.url)
    except Malformed as error:
        raise CannotImport(f"The base URL {base.url} cannot be used: {error}") from error
    return base


def _variable(description: Description, name: str, base: _Base) -> str:
    """A variable of the server's URL: a connection field where it is part of the host, else its default."""
    said = description.variables.get(name)
    default = said.default if said else ""
    host = re.sub(r"^https?://|/.*$", "", base.url)
    if f"{{{name}}}" not in host or not _FIELD.fullmatch(name):
        return default
    is_label = bool(re.search(re.escape(f"{{{name}}}") + r"[^/]*\.", host))
    field: dict[str, Json] = {"title": " ".join(words_of(name)).capitalize(), "host": "label" if is_label else "domain"}
    if default and is_host_value(default, str(field["host"])):
        field["default"] = default
    base.fields[name] = field
    return f"{{{name}}}"


def _whoami(actions: Sequence[ImportedAction]) -> dict[str, Json] | None:
    """The action that tells whose account it is, if one of them looks like it."""
    for action in actions:
        segments = action.operation.path.rstrip("/").lower().split("/")
        is_about_me = (
            (segments[-1] in _ABOUT_ME and len(segments) <= 4)
            or segments == ["", "user"]
            or _MY_OWN.fullmatch(action.name)
        )
        params = action.spec.get("params", {}).values()
        required = any(one.get("required") is True and "const" not in one for one in params)
        if not is_about_me or required or action.is_unreviewed or action.spec.get("effect", "read") != "read":
            continue
        data = action.spec["examples"][0]["response"].get("data")
        for holder, prefix in _holders(data):
            account = next((name for name in _ACCOUNTS if isinstance(holder.get(name), str)), None)
            if account is None:
                continue
            found: dict[str, Json] = {"action": action.name, "account": f"{prefix}{account}"}
            number = next((name for name in ("id", "gid", "user_id") if isinstance(holder.get(name), str)), None)
            return {**found, "account_id": f"{prefix}{number}"} if number else found
    return None


def _holders(data: Json) -> Iterator[tuple[Mapping[str, Json], str]]:
    if isinstance(data, dict):
        yield data, ""
        for name in ("data", "user", "viewer", "me", "account"):
            for inner, prefix in _holders(data[name]) if isinstance(data.get(name), dict) else ():
                yield inner, f"{name}.{prefix}"


# ---------------------------------------------------------------------- words and examples


def _name(title: str, slug: str) -> str:
    """The name for people: what of the title the slug is made of, or the title without what all titles have."""
    line = plain(title).split("\n")[0]
    wanted = slug.split("_")
    named = re.search(
        rf"(?<![A-Za-z0-9]){r'[^A-Za-z0-9]*'.join(map(re.escape, wanted))}(?![A-Za-z0-9])", line, re.IGNORECASE
    )
    if named and not named[0].islower():
        return named[0][:60]
    cut = re.split(r"\s(?:with|for|-|–|—|\|)\s|:\s", line)[0]
    cut = re.sub(r"\s*\([^()]*\)|\b(API|REST|HTTP|Web|v?[0-9]+(\.[0-9]+)*)\b", "", cut)
    name = re.sub(r"\s+", " ", cut).strip(" -:,")[:60]
    if not name or set(words_of(name)) <= set(wanted):
        return " ".join(word.capitalize() for word in wanted)
    return name


def _about_secrets(made: Input) -> str:
    """Why a person should look at an action that takes a credential: it is no longer sealed there."""
    secret = next((name for name, one in made.params.items() if _SECRET.fullmatch(str(one.get("as", name)))), None)
    return f"it takes {secret}, a credential" if secret else ""


def _description(operation: Operation, name: str) -> str:
    """What the vendor says first, as an order: its summary, its first sentence, or both."""
    said = _as_order(first_sentence(operation.description, _LONGEST_DESCRIPTION))
    summary = re.sub(r"\s*\[deprecated\]\s*", "", operation.summary, flags=re.IGNORECASE)
    short = _as_order(first_sentence(summary, 120))
    if _is_order(short) and not _is_order(said):
        text = short
    elif not short or _says_the_same(short, said) or len(short) + len(said) >= _LONGEST_DESCRIPTION:
        text = said or short
    else:
        text = f"{short} {said}" if said else short
    if not _is_order(text) and words_of(text)[:1] != name.split("_")[:1]:
        words = name.replace("_", " ")
        text = f"{ended(words)} {text}".strip()
    return text


def _as_order(sentence: str) -> str:
    """`Returns the task.` as `Return the task.`"""
    first, space, rest = sentence.partition(" ")
    verb = imperative(first) if first.isalpha() else None
    if verb == "allow" and (order := re.match(r"(?:you|users|apps|an? \w+) to (\w+)(.*)", rest, re.DOTALL)):
        return f"{order[1].capitalize()}{order[2]}"
    return f"{verb.capitalize()}{space}{rest}" if verb and space and first.lower() != verb else sentence


def _is_order(sentence: str) -> bool:
    first = sentence.partition(" ")[0].rstrip(".").lower()
    return first in VERBS or first in ("return", "perform")


def _says_the_same(one: str, other: str) -> bool:
    words = set(words_of(one)) - {"a", "an", "the"}
    return bool(words) and len(words & set(words_of(other))) >= len(words) * 0.7


def _example(made: Input, answer: Answer) -> dict[str, Json]:
    response: dict[str, Json] = {"status": answer.status}
    if answer.has_data:
        response["data"] = answer.data
    return {**({"params": made.example} if made.example else {}), "response": response}


# ---------------------------------------------------------------------- checking what was made


def _checked(imported: Imported, check: Check | None) -> Imported:
    """Without the actions that do not load, that lint has errors of, or that the check does not let pass."""
    kept = []
    for action in imported.actions:
        why = _why_not(imported, action, check)
        if why:
            imported.left_out[action.operation.line] = why
        else:
            kept.append(action)
    if not kept:
        raise CannotImport(f"None of the actions can be used: {next(iter(imported.left_out.values()), '')}")
    imported.actions = kept
    needed: dict[str, Json] = {}
    for action in kept:
        needed |= _needed(action, imported.definitions)
    imported.definitions = {name: one for name, one in imported.definitions.items() if name in needed}
    return imported


def _why_not(imported: Imported, action: ImportedAction, check: Check | None) -> str:
    alone = Imported(
        head={key: value for key, value in imported.head.items() if key != "whoami"},
        definitions=_needed(action, imported.definitions),
        actions=[action],
        left_out={},
        notes=[],
        lost=Counter(),
    )
    try:
        integration, document = load_definition(alone.text(""), source=action.name)
    except CatalogError as error:
        first = error.problems[0]
        return f"{first.field.rpartition('.')[2]}: {first.message}"
    wrong = next((one for one in lint(integration, document) if one.severity == "error"), None)
    if wrong is not None:
        return f"{wrong.mistake.message} ({wrong.rule})"
    return (check(integration) if check else {}).get(action.name, "")


def _needed(action: ImportedAction, definitions: Mapping[str, Json]) -> dict[str, Json]:
    needed: dict[str, Json] = {}
    open_schemas: list[Json] = list(action.spec.get("params", {}).values())
    while open_schemas:
        schema = open_schemas.pop()
        name = referred(schema)
        if name in definitions and name not in needed:
            needed[str(name)] = definitions[str(name)]
            open_schemas.append(definitions[str(name)])
        open_schemas += inner_schemas(schema)
    return needed
