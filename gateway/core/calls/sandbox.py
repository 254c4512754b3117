"""What a test key gets: the example that fits best, made to agree with the call and with what that key did before.

No upstream is ever asked. Where a definition says by `resource` what its actions are about, a thing that was made is
there to be read, listed, changed and deleted, for that key alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Protocol

import orjson

from gateway.core.calls.call import Forced, Plan
from gateway.core.calls.sandbox_echo import agreeing, at, fitted, given, is_scalar, names_of, put_given, replaced, same
from gateway.core.calls.sandbox_kinds import Kind, kind_of, list_path, thing_path
from gateway.core.errors import Refusal
from gateway.core.requests.request import UpstreamAnswer
from skills_catalog.model import Example, Skill

#: Things that one key has at a time; the one that was touched longest ago makes room.
MOST_THINGS = 200
#: Bytes of one thing; a larger one is answered as any other and not remembered.
LARGEST_THING = 16 * 1024
#: Seconds after which a thing that nobody changed is forgotten.
MEMORY = 7 * 86400.0
#: Params that search: a thing is found by any word of theirs.
_SEARCHES = frozenset({"q", "query", "search", "search_query", "keyword", "text"})
_ANYTHING = frozenset({"all", "any", "both", "*", ""})


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """Something that a test key made or changed."""

    id: str
    #: `github.issue`
    kind: str
    #: What it is known by, as text.
    name: str
    #: param -> value, of those that say where it is.
    place: Mapping[str, str]
    members: Mapping[str, Any] = field(repr=False)
    is_deleted: bool = False


class SandboxStore(Protocol):
    """Where things are kept, sealed."""

    async def things(self, org: str, key: str, kind: str) -> Sequence[Thing]:
        """Those of one kind, what was touched last first; deleted ones too."""
        ...

    async def add(self, org: str, key: str, thing: Thing, *, most: int) -> bool:
        """False where one of that id is there. Beyond `most` the oldest ones go."""
        ...

    async def put(self, org: str, key: str, thing: Thing, *, most: int) -> None:
        """The same, in the place of one that is there."""
        ...

    async def clear(self, org: str, key: str) -> int:
        """Forgets all that a key did; says how many things."""
        ...

    async def forget(self, before: float) -> int:
        """Of all orgs: what was not touched since then, unix seconds. Says how many."""
        ...


def best_example(skill: Skill, params: Mapping[str, Any]) -> Example:
    """The example with the most params equal to the call's; the earlier of two that fit alike."""
    if not skill.examples:
        raise Refusal("not_found", f"{skill.id} has no example that a test key could be answered from.")

    def fits(example: Example) -> tuple[int, int]:
        equal = sum(1 for name, value in params.items() if example.params.get(name, params) == value)
        return equal, -len(example.params.keys() ^ params.keys())

    return max(skill.examples, key=fits)


class Sandbox:
    """Answers the calls of test keys."""

    def __init__(self, store: SandboxStore, *, sleep: Callable[[float], Any] = asyncio.sleep) -> None:
        self._store = store
        self._sleep = sleep

    async def answer(self, plan: Plan) -> UpstreamAnswer:
        """What an upstream would answer to the plan, as far as examples can tell."""
        assert plan.example is not None
        forced = plan.call.forced
        if forced.delay:
            await self._sleep(forced.delay)
        if forced.status is not None:
            return _forced(plan, forced)
        kind = kind_of(plan.integration, plan.skill) if plan.link is None else None
        if kind is None or not 200 <= plan.example.status < 300:
            return _answer(plan.example, _echo(plan, plan.example))
        return await self._remembered(plan, plan.example, kind)

    async def clear(self, org: str, key: str) -> int:
        """Forgets all that a test key made; says how many things."""
        return await self._store.clear(org, key)

    async def _remembered(self, plan: Plan, example: Example, kind: Kind) -> UpstreamAnswer:
        part = kind.parts[plan.skill.name]
        org, key = plan.call.principal.org, plan.call.principal.actor.id or ""
        there = await self._store.things(org, key, f"{plan.integration.slug}.{kind.name}")
        place = {name: str(plan.params[name]) for name in kind.places if is_scalar(plan.call.params.get(name))}
        near = [thing for thing in there if _is_near(thing.place, place)]
        data = agreeing(plan.skill, example, plan.call.params)
        if part.role == "list":
            return _answer(example, _listed(plan, kind, data, near))
        if part.role == "create":
            return _answer(example, await self._created(plan, example, kind, data, place, near))
        assert part.param is not None
        name = str(plan.call.params.get(part.param, ""))
        thing = next((one for one in near if one.name == name), None)
        if thing is not None and thing.is_deleted:
            return _error(plan, 404)
        if part.role == "delete":
            members = thing.members if thing is not None else {}
            gone = thing or self._thing(plan, kind, name, place, members)
            await self._store.put(org, key, replace(gone, is_deleted=True, members={}), most=MOST_THINGS)
            return _answer(example, data)
        path = thing_path(data, kind.known_by)
        if path is None:
            return _answer(example, data)
        shown = at(data, path)
        if part.role == "update":
            shown = put_given(shown, plan.skill, example, plan.call.params)
            said = given(plan.skill, plan.call.params)
            # Where the answer shows what was said, it is as the answer shows it: a label by its name becomes a label.
            news = {name: shown.get(name, value) for name, value in said.items()}
            news[kind.known_by] = shown[kind.known_by]
            if thing is not None:
                members = {**thing.members, **news}
                shown = _over(shown, members)
                changed = replace(thing, members=members)
            else:
                # Nobody touched it before: the example is the whole truth about it.
                members = {**self._as_read(plan, kind, name), **shown, **news}
                changed = self._thing(plan, kind, name, place, members)
            if _is_small(members):
                await self._store.put(org, key, changed, most=MOST_THINGS)
        elif thing is not None:
            shown = _over(shown, thing.members)
        return _answer(example, replaced(data, path, shown))

    async def _created(
        self, plan: Plan, example: Example, kind: Kind, data: Any, place: Mapping[str, str], near: Sequence[Thing]
    ) -> Any:
        path = thing_path(data, kind.known_by)
        if path is None:
            return _echo(plan, example)
        shown = put_given(at(data, path), plan.skill, example, plan.call.params)
        before = at(example.data, path)[kind.known_by]
        org, key = plan.call.principal.org, plan.call.principal.actor.id or ""
        # A name that the caller chose is that thing's; made again it is made anew.
        is_chosen = not same(before, shown[kind.known_by]) or _chooses(plan, example, before)
        taken = {thing.name for thing in near}
        for number in range(MOST_THINGS * 2):
            known = shown[kind.known_by] if is_chosen else next_name(before, number)
            if not is_chosen and str(known) in taken:
                continue
            made = _renamed(data, path, kind.known_by, shown, known)
            members = {**given(plan.skill, plan.call.params), **at(made, path)}
            thing = self._thing(plan, kind, str(known), place, members)
            if not _is_small(members):
                return made
            if is_chosen:
                await self._store.put(org, key, thing, most=MOST_THINGS)
                return made
            if await self._store.add(org, key, thing, most=MOST_THINGS):
                return made
        return data

    def _thing(
        self, plan: Plan, kind: Kind, name: str, place: Mapping[str, str], members: Mapping[str, Any]
    ) -> Thing:
        full = f"{plan.integration.slug}.{kind.name}"
        at_place = [plan.call.principal.actor.id, full, sorted(place.items()), name]
        digest = hashlib.sha256(orjson.dumps(at_place)).hexdigest()[:32]
        return Thing(id=f"thing_{digest}", kind=full, name=name, place=place, members=members)

    def _as_read(self, plan: Plan, kind: Kind, name: str) -> dict[str, Any]:
        """A thing of the examples as the action that reads one would show it: what a change begins from."""
        for skill in plan.integration.skills.values():
            part = kind.parts.get(skill.name)
            if part is None or part.role != "get" or part.param is None or not skill.examples:
                continue
            shared = {one: value for one, value in plan.call.params.items() if one in kind.places and one in skill.params}
            params = {**shared, part.param: name}
            data = agreeing(skill, best_example(skill, params), params)
            path = thing_path(data, kind.known_by)
            return dict(at(data, path)) if path is not None else {}
        return {}


def next_name(before: Any, number: int) -> Any:
    """The example's own name at first, then others of the same form: numbers go up, the rest is made up."""
    if number == 0:
        return before
    if not isinstance(before, str):
        return before + number
    if before.isascii() and before.isdigit():
        return str(int(before) + number).zfill(len(before))
    # What stands before the last mark says what it is: `proj_`, `cus_`; a UUID has marks everywhere.
    head, mark, tail = before.rpartition("_")
    noise = iter(hashlib.sha512(f"{before}/{number}".encode()).hexdigest() * (1 + len(tail) // 128))

    def other(letter: str) -> str:
        if letter.isdigit():
            return str(int(next(noise), 16) % 10)
        hexadecimal = next(noise)
        if letter.lower() in "abcdef" or not letter.isascii():
            hexadecimal = "abcdef"[int(hexadecimal, 16) % 6]
        else:
            hexadecimal = "ghijkmnpqrstuvwx"[int(hexadecimal, 16)]
        return hexadecimal.upper() if letter.isupper() else hexadecimal

    return head + mark + re.sub(r"[A-Za-z0-9]", lambda match: other(match[0]), tail)


def _renamed(data: Any, path: Sequence[str], known_by: str, shown: Mapping[str, Any], known: Any) -> Any:
    """The answer about a thing that is known by another name: it stands in its addresses too."""
    before = shown[known_by]
    members: dict[str, Any] = {**shown, known_by: known}
    if not same(before, known):
        pattern = re.compile(rf"(?<=[/=]){re.escape(str(before))}(?![^/?#&])")
        for name, value in members.items():
            if name != known_by and isinstance(value, str) and "/" in value:
                members[name] = pattern.sub(lambda _: str(known), value)
    return replaced(data, path, members)


def _chooses(plan: Plan, example: Example, before: Any) -> bool:
    """Whether the example's own call says what the thing is known by."""
    return any(is_scalar(value) and same(value, before) for value in given(plan.skill, example.params).values())


def _is_near(place: Mapping[str, str], asked: Mapping[str, str]) -> bool:
    return all(asked.get(name, value) == value for name, value in place.items())


def _is_small(members: Mapping[str, Any]) -> bool:
    return len(orjson.dumps(members)) <= LARGEST_THING


def _over(shown: Mapping[str, Any], members: Mapping[str, Any]) -> dict[str, Any]:
    """What an action shows of a thing, with the thing's own values."""
    return {name: fitted(value, members[name]) if name in members else value for name, value in shown.items()}


def _listed(plan: Plan, kind: Kind, data: Any, near: Sequence[Thing]) -> Any:
    path = list_path(data, kind.known_by)
    page = plan.skill.page or {}
    if path is None or not _is_first_page(plan, page):
        return data
    shown = at(data, path) if path else data
    hidden = {thing.name for thing in near}
    own = [_over(shown[0], thing.members) for thing in near if not thing.is_deleted and _fits(plan, thing.members)]
    items = [*own, *(item for item in shown if str(item[kind.known_by]) not in hidden)]
    size = plan.call.params.get(page.get("size_param", ""))
    if isinstance(size, int) and not isinstance(size, bool) and size > 0:
        items = items[:size]
    listed = replaced(data, path, items)
    total = page.get("total") or "total_count"
    if isinstance(listed, dict) and isinstance(listed.get(total), int):
        listed = {**listed, total: listed[total] + len(items) - len(shown)}
    return listed


def _is_first_page(plan: Plan, page: Mapping[str, Any]) -> bool:
    asked = plan.call.params.get(page.get("param", ""))
    return asked is None or asked in (page.get("start", 1), 0, 1, "", "0", "1")


def _fits(plan: Plan, members: Mapping[str, Any]) -> bool:
    """Whether a list that was asked for with such filters has the thing."""
    for name, value in plan.call.params.items():
        if name in _SEARCHES and isinstance(value, str):
            text = orjson.dumps(members).decode().lower()
            words = [word for word in re.findall(r"\w+", value.lower()) if len(word) > 2]
            if words and not any(word in text for word in words):
                return False
        for member in names_of(plan.skill, name):
            has = members.get(member)
            if is_scalar(value) and is_scalar(has) and str(value) not in _ANYTHING and not same(has, value):
                return False
    return True


def _echo(plan: Plan, example: Example) -> Any:
    """An answer of an action whose things are not remembered."""
    data = agreeing(plan.skill, example, plan.call.params)
    if plan.skill.effect in ("read", "delete") or not isinstance(data, dict):
        return data
    data = put_given(data, plan.skill, example, plan.call.params)
    for name, value in data.items():
        if isinstance(value, dict) and len(data) <= 2:
            # The thing stands in an envelope of its own.
            data = {**data, name: put_given(value, plan.skill, example, plan.call.params)}
    return data


def _answer(example: Example, data: Any) -> UpstreamAnswer:
    """The data as an upstream would answer it."""
    body = b"" if data is None else orjson.dumps(data)
    headers = {"Content-Type": "application/json", **example.headers}
    return UpstreamAnswer(status=example.status, headers=tuple(headers.items()), body=body)


def _forced(plan: Plan, forced: Forced) -> UpstreamAnswer:
    assert forced.status is not None
    return _error(plan, forced.status)


def _error(plan: Plan, status: int) -> UpstreamAnswer:
    """An answer of that status: as an example of the action or its neighbours shows it, else in words of our own."""
    skills = [plan.skill, *plan.integration.skills.values()]
    shown = next((one for skill in skills for one in skill.examples if one.status == status and status >= 300), None)
    if shown is not None:
        return _answer(shown, shown.data)
    if status < 300:
        assert plan.example is not None
        return replace(_answer(plan.example, _echo(plan, plan.example)), status=status)
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown status"
    made = Example(params={}, status=status, data={"error": phrase, "message": "Made up by the sandbox."})
    return _answer(replace(made, headers={"Retry-After": "1"}) if status in (429, 503) else made, made.data)
