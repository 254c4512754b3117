"""Guesses how an imported list is paged, from the names of its params and the shape of its answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from skills_catalog.descriptions.model import Json

#: In the query, in the order in which they are looked for.
_CURSORS: Final = (
    *("cursor", "page_token", "pageToken", "starting_after", "start_cursor", "after", "next_token", "nextToken"),
    *("page_cursor", "continuation_token", "offset_token", "marker", "variables.after"),
)
_PAGES: Final = ("page", "page_number", "pageNumber", "page[number]", "page_num")
_OFFSETS: Final = ("offset", "skip", "start", "startIndex")
_SIZES: Final = (
    *("per_page", "perPage", "limit", "page_size", "pageSize", "maxResults", "max_results", "size", "count", "first"),
    *("page[size]", "results", "max", "variables.first"),
)
#: Beside the next cursor: whether there is one, for APIs whose last page has a cursor too.
_MORE: Final = ("hasNextPage", "has_next_page", "has_more", "hasMore")
#: In the answer; a cursor is text, so a page that is an object is looked into.
_NEXT: Final = (
    *("next_cursor", "nextCursor", "nextPageToken", "next_page_token", "next_token", "nextToken", "next_page"),
    *("endCursor", "end_cursor", "continuation_token", "cursor", "next", "starting_after", "offset", "after", "marker"),
)
_HOLDERS: Final = (
    "response_metadata",
    "paging",
    "pagination",
    "pages",
    "meta",
    "metadata",
    "next_page",
    "next",
    "cursors",
    "pageInfo",
)


def guessed_page(
    names: Mapping[str, str], schemas: Mapping[str, Mapping[str, Json]], data: Json
) -> dict[str, Json] | None:
    """`page` of an action: `names` are params of the query as the vendor calls them -> ours, `data` is its answer."""
    items = _items(data)
    if items is None:
        return None
    size = next((names[one] for one in _SIZES if one in names), None)
    about: dict[str, Json] = {"items": items} if items else {}
    if size is not None:
        about["size_param"] = size
        most = schemas.get(size, {}).get("maximum")
        if isinstance(most, int):
            about["max_size"] = most
    cursor = next((one for one in _CURSORS if one in names), None)
    follow = _next(data)
    if cursor is None and "offset" in names and follow is not None:
        cursor = "offset"
    if cursor is not None and follow is not None:
        more = _more(data, follow)
        return {"type": "cursor", "param": names[cursor], "next": follow, **({"more": more} if more else {}), **about}
    page = next((one for one in _PAGES if one in names), None)
    if page is not None and size is not None:
        return {"type": "page", "param": names[page], **about}
    offset = next((one for one in _OFFSETS if one in names), None)
    if offset is not None and size is not None and _is_number(schemas.get(names[offset], {})):
        return {"type": "offset", "param": names[offset], **about}
    return None


def _items(data: Json) -> str | None:
    """Path of the one array in an answer, empty where the answer is the array; None where there is not one."""
    if isinstance(data, list):
        return ""
    if not isinstance(data, dict):
        return None
    arrays: list[str] = [name for name, inner in data.items() if isinstance(inner, list) and _is_plain(name)]
    if len(arrays) == 1:
        return arrays[0]
    known = [name for name in ("data", "items", "results", "values", "records", "entries") if name in arrays]
    if known:
        return known[0]
    inner = data.get("data")
    if isinstance(inner, dict) and not arrays:
        for name, field in inner.items():
            path = _items(field) if isinstance(field, dict) else None
            if path and _is_plain(name):
                return f"data.{name}.{path}"
        path = _items(inner)
        return f"data.{path}" if path else None
    return None


def _next(data: Json) -> str | None:
    for path, value in _places(data):
        if path and (value is None or isinstance(value, str)):
            return path
    return None


def _more(data: Json, follow: str) -> str:
    """Path of what says whether there are more pages, beside the path of the next cursor; empty without one."""
    prefix, _, _ = follow.rpartition(".")
    holder = data
    for name in prefix.split(".") if prefix else ():
        holder = holder.get(name) if isinstance(holder, dict) else None
    found = next((name for name in _MORE if isinstance(holder, dict) and isinstance(holder.get(name), bool)), "")
    return f"{prefix}.{found}" if found and prefix else found


def _places(data: Json) -> Iterator[tuple[str, Json]]:
    if not isinstance(data, dict):
        return
    holders: list[tuple[str, Json]] = [("", data)]
    for first in (*_HOLDERS, "data"):
        inner = data.get(first)
        if isinstance(inner, dict):
            holders.append((f"{first}.", inner))
            holders += [(f"{first}.{name}.", inner[name]) for name in inner if isinstance(inner[name], dict)]
    holders += [
        (f"{prefix}{name}.", inner[name])
        for prefix, inner in list(holders)
        if isinstance(inner, dict)
        for name in ("pageInfo", "next")
        if isinstance(inner.get(name), dict)
    ]
    for prefix, holder in holders:
        for name in _NEXT:
            if isinstance(holder, dict) and name in holder:
                yield f"{prefix}{name}", holder[name]


def _is_number(schema: Mapping[str, Json]) -> bool:
    return schema.get("type") in ("integer", "number")


def _is_plain(name: str) -> bool:
    return name.isidentifier() and name.isascii()
