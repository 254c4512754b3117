"""All pages of an answer as one: asked for one after the other as the definition's `page` says, their items joined."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import jmespath
import msgspec
import orjson
from jmespath.exceptions import JMESPathError

from gateway.core.calls.call import Call, Plan
from gateway.core.errors import Refusal
from gateway.core.raw_json import Text, TooWide, array, at, head_of, items_of, replaced
from gateway.core.requests.answers import Result, says_no
from skills_catalog.model import Skill

#: Pages of one call, whatever the caller asks for.
MOST_PAGES = 100
_NAMES = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_LINK = re.compile(r'<([^<>]*)>((?:\s*;\s*[\w*]+\s*=\s*(?:"[^"]*"|[^\s",;]+))*)')
_REL = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s",;]+))', re.IGNORECASE)
_URL_PART = re.compile(r"[\x21-\x7e]*")
_DEFAULT_PORTS = {"http": 80, "https": 443}

Ask = Callable[[Plan], Awaitable[tuple[Plan, Result]]]
#: The plan with the request that its params, or its link, make.
Rebuilt = Callable[[Plan], Plan]


def pages_of(skill: Skill) -> Mapping[str, Any] | None:
    """How the pages of its answers follow one another; None where it has none that may be asked for."""
    return skill.page if skill.effect == "read" else None


def check_pages(skill: Skill, call: Call) -> None:
    """Raises `bad_request` where all pages are asked for of an action that has none."""
    if call.pages is not None and pages_of(skill) is None:
        message = f"{skill.id} has no pages: leave 'all' out."
        raise Refusal(
            "bad_request", message, details={"fields": [{"path": "all", "keyword": "unsupported", "message": message}]}
        )


def with_page_size(skill: Skill, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Params for as few pages as may be, unless the caller has said how large one is."""
    page = skill.page or {}
    size, most = page.get("size_param"), page.get("max_size")
    return params if size is None or most is None or size in params else {**params, size: most}


@dataclass(slots=True, kw_only=True)
class _Pages:
    """What has come so far."""

    items: list[Text] = field(default_factory=list)
    size: int = 0
    count: int = 0

    def add(self, items: Sequence[Text]) -> None:
        self.items += items
        self.size += sum(len(item) for item in items)
        self.count += 1


class Paging:
    """Follows pages within bounds: `most` bytes of items, `seconds` from the first page on."""

    def __init__(self, rebuilt: Rebuilt, *, most: int, seconds: float, clock: Callable[[], float]) -> None:
        self._rebuilt = rebuilt
        self._most = most
        self._seconds = seconds
        self._clock = clock

    async def joined(self, plan: Plan, first: Result, ask: Ask) -> Result:
        """The first page with the items of the others; `meta.pages` says how many, and where to go on if not all.

        A page that cannot be had ends it; what has come is given back.
        """
        page = plan.skill.page
        if page is None or plan.call.pages is None or plan.example is not None or not _is_page(plan, first):
            return first
        until = self._clock() + self._seconds
        pages, result, said = _Pages(), first, {}
        most_pages, most_items = plan.call.pages, plan.call.shape.max_items
        while True:
            found = _items(page, result.data)
            if found is None:
                said = {"stopped": "no items", **_where(plan, page)}
                break
            pages.add(found)
            try:
                following = self._next(plan, page, result, pages, found)
            except Refusal:
                # What the upstream says of the next page cannot stand in a request.
                said = {"stopped": "next page refused"}
                break
            if following is None:
                break
            if isinstance(following, str):
                said = {"stopped": following}
                break
            if stopped := self._bound(pages, most_pages, most_items, until):
                said = {"stopped": stopped, **_where(following, page)}
                break
            try:
                following, result = await ask(following)
            except Refusal as refusal:
                said = {"stopped": refusal.code, **_where(following, page)}
                break
            if not _is_page(following, result):
                said = {"stopped": "upstream_status", "upstream_status": result.status, **_where(following, page)}
                break
            plan = following
        if pages.count == 0:
            return first
        told = {"count": pages.count, "items": len(pages.items), "complete": not said, **said}
        return replace(first, data=_written(page, first.data, pages.items), meta={**first.meta, "pages": told})

    def _bound(self, pages: _Pages, most_pages: int, most_items: int | None, until: float) -> str | None:
        if pages.count >= most_pages:
            return "most pages"
        if most_items is not None and len(pages.items) >= most_items:
            return "most items"
        if pages.size >= self._most:
            return "most bytes"
        return "time" if self._clock() >= until else None

    def _next(
        self, plan: Plan, page: Mapping[str, Any], result: Result, pages: _Pages, found: Sequence[Text]
    ) -> Plan | str | None:
        """The plan of the page that follows; None where there is none, or why it is not asked for."""
        kind, param = page["type"], page.get("param")
        if kind == "link":
            url = _linked(page, result)
            return None if url is None else self._by_link(plan, param, url)
        if param is None or _is_last(page, result.data, plan, len(pages.items), found):
            return None
        if kind == "cursor":
            cursor = _search(page.get("next"), result.data)
            if cursor in (None, "", False) or cursor == plan.params.get(param):
                return None
            return self._with(plan, {param: cursor})
        if not found:
            return None
        start = plan.params.get(param, page.get("start", 1 if kind == "page" else 0))
        try:
            return self._with(plan, {param: int(start) + (1 if kind == "page" else len(found))})
        except ValueError:
            return "page is no number"

    def _with(self, plan: Plan, changed: Mapping[str, Any]) -> Plan:
        return self._rebuilt(replace(plan, params={**plan.params, **changed}, link=None))

    def _by_link(self, plan: Plan, param: str | None, url: str) -> Plan | str | None:
        """By the param if the link has it, else the link itself; never to another origin."""
        parts = urlsplit(urljoin(plan.request.url, url))
        try:
            is_same = _origin(parts.scheme, parts.hostname, parts.port) == _origin_of(plan.request.origin)
        except ValueError:
            return "link refused"
        if not is_same or parts.username is not None or not _URL_PART.fullmatch(parts.path + parts.query):
            return "link refused"
        declared = plan.skill.params.get(param) if param is not None else None
        given = parse_qs(parts.query).get(declared.wire[0]) if declared is not None else None
        if param is not None and given:
            number = int(given[0]) if given[0].isascii() and given[0].isdigit() and len(given[0]) < 16 else given[0]
            return None if str(plan.params.get(param)) == given[0] else self._with(plan, {param: number})
        if plan.request.credential_in_query:
            # The link has no credential, or an old one.
            return "link refused"
        if (parts.path, parts.query) == (plan.request.path, plan.request.query):
            return None
        return self._rebuilt(replace(plan, link=f"{parts.path}?{parts.query}"))


def _is_page(plan: Plan, result: Result) -> bool:
    return 200 <= result.status < 300 and not says_no(plan.skill, result.status, result.data)


def _is_last(page: Mapping[str, Any], data: bytes, plan: Plan, seen: int, found: Sequence[Text]) -> bool:
    if "more" in page:
        return not _search(page["more"], data)
    if "pages" in page:
        pages = _search(page["pages"], data)
        number = plan.params.get(page["param"], page.get("start", 1))
        return not isinstance(pages, int) or not isinstance(number, int) or number >= pages
    if "total" in page:
        total = _search(page["total"], data)
        return not isinstance(total, int) or seen >= total
    size = plan.params.get(page.get("size_param", ""))
    return page["type"] != "cursor" and isinstance(size, int) and len(found) < size


def _items(page: Mapping[str, Any], data: bytes) -> list[Text] | None:
    """The items of a page as JSON text; None where there are none to be found."""
    path = page.get("items")
    try:
        if path is None or _NAMES.fullmatch(path):
            found = at(data, path.split(".") if path else ())
        else:
            found = orjson.dumps(jmespath.search(path, orjson.loads(data)))
        return list(items_of(found)) if head_of(found) == b"[" else None
    except (KeyError, TooWide, msgspec.DecodeError, JMESPathError, orjson.JSONDecodeError):
        return None


def _written(page: Mapping[str, Any], data: bytes, items: Iterable[Text]) -> bytes:
    """The first page with all items in the place of its own; the items alone where they have no place by name."""
    path = page.get("items")
    if path is None or not _NAMES.fullmatch(path):
        return array(items)
    return replaced(data, path.split("."), array(items))


def _where(plan: Plan, page: Mapping[str, Any]) -> dict[str, Any]:
    """The params with which the caller goes on by itself."""
    param = page.get("param")
    return {"next": {param: plan.params[param]}} if param is not None and param in plan.params else {}


def _linked(page: Mapping[str, Any], result: Result) -> str | None:
    if "next" in page:
        url = _search(page["next"], result.data)
        return url if isinstance(url, str) and url else None
    for url, about in _LINK.findall(result.meta.get("upstream", {}).get("link", "")):
        rel = _REL.search(about)
        if rel is not None and "next" in (rel[1] or rel[2] or "").lower().split():
            return str(url)
    return None


def _search(path: str | None, data: bytes) -> Any:
    if path is None:
        return None
    try:
        return jmespath.search(path, orjson.loads(data))
    except (JMESPathError, orjson.JSONDecodeError):
        return None


def _origin_of(origin: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(origin)
    return _origin(parts.scheme, parts.hostname, parts.port)


def _origin(scheme: str, host: str | None, port: int | None) -> tuple[str, str | None, int | None]:
    return scheme, host, port or _DEFAULT_PORTS.get(scheme)
