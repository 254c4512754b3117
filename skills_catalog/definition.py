"""One file while it is being read: what it says, its connection fields, and the mistakes found so far."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from skills_catalog import templates
from skills_catalog.mistakes import Mistake
from skills_catalog.model import AuthMethod, ConnectionField, Json
from skills_catalog.names import is_reserved_header, nearest
from skills_catalog.schemas import check_default, check_schema
from skills_catalog.strict_yaml import Document
from skills_catalog.templates import Malformed

Path = tuple[str | int, ...]

#: A file with more mistakes than that has its first ones named.
MOST_MISTAKES = 50

_VISIBLE = re.compile(r"[\x20-\x7e]*")


class Enough(Exception):
    """The file has so many mistakes that the first ones will do."""


class Definition:
    """Collects mistakes by the place of what is wrong; its checks are those that several parts of a file share."""

    def __init__(self, document: Document) -> None:
        self.mistakes: list[Mistake] = []
        self.document = document
        self.spec: dict[str, Any] = document.value
        #: Schemas that every `$ref` of the file may name.
        self.definitions: dict[str, Any] = self.spec.get("$defs", {})
        #: Filled in by the parts that are read first.
        self.fields: tuple[ConnectionField, ...] = ()
        self.methods: tuple[AuthMethod, ...] = ()

    def note(self, at: Sequence[str | int], message: str) -> None:
        """Keeps a mistake, once. Raises `Enough` when there are so many that more help nobody."""
        mistake = self.document.mistake(at, message)
        if mistake not in self.mistakes:
            self.mistakes.append(mistake)
        if len(self.mistakes) >= MOST_MISTAKES:
            raise Enough

    def url(
        self,
        at: Path,
        url: str | None,
        *,
        query: bool = True,
        shown: bool = False,
        method: str | None = None,
        also: Collection[str] = (),
    ) -> None:
        """Checks a URL that requests go to, with its `{field}`s; `shown` ones stand in a browser.

        `method` is the auth method whose connections must have the fields; `also` are names that may stand in the
        path beside them: the credential's.
        """
        if url is None:
            return
        try:
            address = templates.address(url)
        except Malformed as error:
            self.note(at, str(error))
            return
        if address.query and not query:
            self.note(at, "The base URL holds no query; give params `in: query` with `const:` instead.")
        self.known_fields(at, url, method=method, also=also)
        secret = {*also, *(field.name for field in self.fields if field.secret)}
        if secret & {*templates.fields_in(address.host), *(templates.fields_in(url) if shown else ())}:
            self.note(at, "A secret field cannot stand here: hosts and pages of the browser are seen by others.")
        kinds: dict[str, str | None] = {**dict.fromkeys(also), **{field.name: field.host for field in self.fields}}
        if all(name in kinds for name in templates.fields_in(address.host)):
            wrong = templates.host_mistake(address.host, kinds)
            if wrong:
                self.note(at, wrong)

    def page_url(self, at: Path, url: str | None) -> None:
        """Checks a URL that people open."""
        if url is not None and not re.fullmatch(r"https?://[\x21-\x7e]+", url):
            self.note(at, "Must be a URL that begins with https:// or http://.")

    def known_fields(self, at: Path, text: str, *, method: str | None = None, also: Collection[str] = ()) -> None:
        """Checks that every `{field}` of a text is one of the connection's, or of the names in `also`."""
        known = {field.name: field for field in self.fields}
        for name in templates.fields_in(text):
            if name in also:
                continue
            if name not in known:
                self.note(at, f"There is no connection field {name}.{meant(name, [*known, *also])}")
                continue
            owners = known[name].auth
            if method is not None and owners is not None and method not in owners:
                self.note(at, f"Connections of {method} have no field {name}; its `auth` says so.")

    def fixed_headers(self, at: Path, headers: Mapping[str, str]) -> None:
        """Checks headers that are sent with every request."""
        seen: set[str] = set()
        for name, value in headers.items():
            if is_reserved_header(name):
                self.note((*at, name), f"The header {name} may not be set here.")
            if name.lower() in seen:
                self.note((*at, name), "The header is set twice.")
            seen.add(name.lower())
            self.header_value((*at, name), value)
            self.known_fields((*at, name), value)

    def header_value(self, at: Path, value: str) -> None:
        if not _VISIBLE.fullmatch(value) or value != value.strip():
            self.note(at, "A header's value is visible ASCII, without spaces at its ends.")

    def jmespath(self, at: Path, path: str | None) -> None:
        if path is None:
            return
        try:
            jmespath.compile(path)
        except (JMESPathError, RecursionError) as error:
            reason = str(error).splitlines()[0].rstrip(":. ")[:200]
            self.note(at, f"Not a JMESPath: {reason}.")

    def schema(self, at: Path, schema: Json, definitions: Mapping[str, Json]) -> None:
        """Checks a JSON Schema and its default; `definitions` are those that it may name."""

        def note(inner: Sequence[str | int], message: str) -> None:
            self.note((*at, *inner), message)

        before = len(self.mistakes)
        check_schema(schema, definitions, note)
        if isinstance(schema, dict) and len(self.mistakes) == before:
            self.default(at, schema, definitions=definitions)

    def default(
        self,
        at: Path,
        schema: Mapping[str, Json],
        *,
        definitions: Mapping[str, Json] | None = None,
        at_default: Path | None = None,
    ) -> None:
        """Checks that a schema takes its own default."""
        known = self.definitions if definitions is None else definitions
        check_default(schema, known, lambda inner, message: self.note(at_default or (*at, *inner), message))


def is_visible(text: str) -> bool:
    """Whether it is printable ASCII, as headers need."""
    return _VISIBLE.fullmatch(text) is not None


def meant(name: str, known: Iterable[str]) -> str:
    """The end of a sentence that says which known name a wrong one is nearest to."""
    found = nearest(name, sorted(known))
    return f" Did you mean {found}?" if found else ""


def title_of(name: str) -> str:
    """A name as words: `create_issue` is Create issue."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).replace("_", " ").strip().lower()
    return words[:1].upper() + words[1:]


def in_seconds(spec: Mapping[str, Any] | None, *keys: str) -> dict[str, Json] | None:
    """The mapping with its durations as seconds."""
    if spec is None:
        return None
    return {key: templates.seconds(value) if key in keys else value for key, value in spec.items()}
