"""`{integration}.request`: one skill that is any request of an integration, and the action that is nearest to one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import unquote

from skills_catalog.model import Integration, Json, Param, RequestTemplate, Skill, Text, Variable
from skills_catalog.names import HATCH
from skills_catalog.templates import METHODS
from skills_catalog.validation import problems

#: Headers that a caller may set. A credential, a cookie and what frames a request are none of them.
HEADERS = (
    "Accept",
    "Accept-Language",
    "Content-Type",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Unmodified-Since",
    "Prefer",
    "Range",
)
#: HTTP's own word on which of them may be repeated (RFC 9110 §9.2.2).
IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_LONGEST_PATH, _MOST_QUERY, _LONGEST_HEADER = 4096, 100, 1024
_VALUE: Json = {"type": ["string", "number", "boolean"]}
_SCHEMA: Json = {
    "type": "object",
    "properties": {
        "method": {"type": "string", "enum": list(METHODS), "description": "The method, in capitals."},
        "path": {
            "type": "string",
            "minLength": 1,
            "maxLength": _LONGEST_PATH,
            "description": "Begins with `/` and goes on from the integration's base URL; percent-encoded, without a query.",
        },
        "query": {
            "type": "object",
            "maxProperties": _MOST_QUERY,
            "additionalProperties": {
                "anyOf": [_VALUE, {"type": "array", "maxItems": _MOST_QUERY, "items": _VALUE}],
            },
            "description": "Names and values of the query; a list is sent as the same name several times.",
        },
        "headers": {
            "type": "object",
            "maxProperties": len(HEADERS),
            "additionalProperties": {"type": "string", "maxLength": _LONGEST_HEADER},
            "description": f"Any of {', '.join(HEADERS)}.",
        },
        "body": {
            "description": "JSON; a form, where `Content-Type` says so; text of any other `Content-Type`.",
        },
    },
    "required": ["method", "path"],
    "additionalProperties": False,
}
_PARAMS = {
    "method": Param(name="method", location="path", wire=("method",), schema={}, required=True),
    "path": Param(name="path", location="path", wire=("path",), schema={}, required=True),
    "query": Param(name="query", location="query", wire=(), schema={}, spread=True),
    "headers": Param(name="headers", location="header", wire=(), schema={}, spread=True),
    "body": Param(name="body", location="body", wire=(), schema={}, whole=True),
}


def hatch_of(integration: Integration) -> Skill:
    """The skill, before anybody said which request it is: it may be any, so it counts as one that deletes."""
    return _hatch(integration.slug, tuple(method.name for method in integration.auth), integration.redirect)


# What is compiled of the schema lives as long as the skill does.
@lru_cache(maxsize=1024)
def _hatch(slug: str, auth: tuple[str, ...], redirect: bool) -> Skill:
    return Skill(
        integration=slug,
        name=HATCH,
        title="Request",
        category="general",
        description="Make any request of the API, where no action does it. Takes a key of the level full_access.",
        effect="delete",
        idempotent=False,
        scopes=(),
        auth=auth,
        request=RequestTemplate(method="ANY", path="/{+path}", segments=()),
        params=_PARAMS,
        input_schema=_SCHEMA,
        redirect=redirect,
    )


def matching(skills: Iterable[Skill], method: str, path: str) -> Skill | None:
    """The action that makes requests of this method and path; of several the one whose path says most."""
    plain = _plain(path)
    same = [
        skill
        for skill in _comparable(skills)
        if skill.request.method == method and (found := _pattern(skill.request).fullmatch(plain)) and _takes(skill, found)
    ]
    return max(same, key=lambda skill: sum(map(len, _words(skill.request))), default=None)


def nearest_to(skills: Iterable[Skill], method: str, path: str) -> Skill | None:
    """The action whose path has most words in common with `path`, in the same order; None where none has."""
    asked = [segment for segment in _plain(path).split("/") if segment]

    def likeness(skill: Skill) -> tuple[int, bool]:
        words = _words(skill.request)
        left = iter(asked)
        common = sum(1 for word in words if word in left)
        return 2 * common - len(words), skill.request.method == method

    best = max(_comparable(skills), key=likeness, default=None)
    return best if best is not None and likeness(best)[0] > 0 else None


def _comparable(skills: Iterable[Skill]) -> Iterable[Skill]:
    """Those that their path tells from others, and that are below the base URL."""
    return (skill for skill in skills if skill.graphql is None and skill.server is None)


@lru_cache(maxsize=8192)
def _pattern(template: RequestTemplate) -> re.Pattern[str]:
    """Paths of the template, with a group for each variable."""
    segments = []
    for pieces in template.segments:
        segments.append(
            "".join(
                re.escape(_plain(piece.text)) if isinstance(piece, Text) else "(.+)" if piece.keep_slash else "([^/]+)"
                for piece in pieces
            )
        )
    return re.compile("/" + "/".join(segments).rstrip("/"), re.DOTALL)


def _takes(skill: Skill, found: re.Match[str]) -> bool:
    """Whether the action's params would take what stands in the path: a number, an owner with a name."""
    variables = [piece.name for pieces in skill.request.segments for piece in pieces if isinstance(piece, Variable)]
    values: dict[str, Json] = {}
    for name, text in zip(variables, found.groups(), strict=True):
        if name in skill.params:
            values[name] = int(text) if _INTEGER.fullmatch(text) and _is_number(skill.params[name]) else text
    return not any(problem.path.split("/")[0] in values for problem in problems(skill, values))


def _is_number(param: Param) -> bool:
    said = param.schema.get("type", ())
    return "string" not in said and ("integer" in said or "number" in said)


@lru_cache(maxsize=8192)
def _words(template: RequestTemplate) -> tuple[str, ...]:
    """The segments that no param is in."""
    return tuple(
        _plain("".join(piece.text for piece in pieces if isinstance(piece, Text)))
        for pieces in template.segments
        if pieces and all(isinstance(piece, Text) for piece in pieces)
    )


def _plain(path: str) -> str:
    """The path as a server reads it: each segment decoded, without a slash at its end."""
    segments = [unquote(segment).replace("/", "%2F") for segment in path.split("/")]
    return "/".join(segments).rstrip("/") or "/"
