"""Classes every change between two contracts: does a caller break, is something new, or are only words other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from skills_catalog.model import Json
from skills_catalog.versions.narrowing import narrower

Class = Literal["breaking", "additive", "words"]
_STRENGTH = ("read", "create", "update", "send", "delete")
_ADDRESSES = ("authorization_url", "token_url", "refresh_url", "revocation_url")
#: Of an action: what its request is made of, beside method, path and params.
_OF_THE_REQUEST = ("headers", "constants", "response", "redirect")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change: its class, where (`actions.create_issue.params.title`), and what it is."""

    kind: Class
    at: tuple[str, ...]
    message: str

    @property
    def action(self) -> str:
        return self.at[1] if self.at[:1] == ("actions",) and len(self.at) > 1 else ""


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """What changed between two contracts of one integration, what breaks first."""
    found = [*_around(old, new), *_actions(old["actions"], new["actions"])]
    return sorted(found, key=lambda change: (change.kind != "breaking", change.at))


def is_enough(old: str, new: str, found: Sequence[Change]) -> bool:
    """Whether a version may follow another after these changes (semver; before 1.0.0 the minor number breaks)."""
    before, after = _numbers(old), _numbers(new)
    if after <= before:
        return False
    if any(change.kind == "breaking" for change in found):
        return after[0] > before[0] or (before[0] == 0 and after[:2] > before[:2])
    return True


def _numbers(version: str) -> tuple[int, ...]:
    plain = version.partition("+")[0].partition("-")[0]
    return tuple(int(part) for part in plain.split("."))


# ---------------------------------------------------------------------- the integration


def _around(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    if old["base_url"] != new["base_url"]:
        yield _breaking(("base_url",), f"Was {old['base_url']}, is {new['base_url']}.")
    for key in ("headers", "redirect"):
        if old.get(key) != new.get(key):
            yield _breaking((key,), "The request is another.")
    yield from _auth(old["auth"], new["auth"])
    yield from _connection(old.get("connection", {}), new.get("connection", {}))


def _auth(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for name in sorted({*old, *new}):
        at = ("auth", name)
        if name not in new:
            yield _breaking(at, "The auth method is gone; connections made by it serve nothing any more.")
            continue
        if name not in old:
            yield _additive(at, "A new auth method.")
            continue
        before, after = old[name], new[name]
        if before["type"] != after["type"] or before.get("placement") != after.get("placement"):
            yield _breaking(at, "The credential is another, or goes elsewhere.")
        for key in _ADDRESSES:
            if before.get(key) != after.get(key):
                yield _breaking((*at, key), f"Was {before.get(key, 'not there')}, is {after.get(key, 'not there')}.")
        yield from _scopes((*at, "scopes"), before, after, "A new connection asks for {} too.")


def _connection(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for name in sorted({*old, *new}):
        at = ("connection", name)
        if name not in new:
            yield _breaking(at, "The connection field is gone.")
        elif name not in old:
            is_needed = new[name].get("required") and "default" not in new[name]
            yield _breaking(at, "A connection must fill it in.") if is_needed else _additive(at, "A new field.")
        elif old[name] != new[name]:
            reason = narrower(old[name]["schema"], new[name]["schema"], {}, {})
            rest = [{key: value for key, value in one.items() if key != "schema"} for one in (old[name], new[name])]
            if reason or rest[0] != rest[1]:
                yield _breaking(at, f"The field {reason or 'is another'}.")
            else:
                yield _additive(at, "Takes more than before.")


# ---------------------------------------------------------------------- actions


def _actions(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    added = [name for name in new if name not in old]
    for name in sorted({*old, *new}):
        at = ("actions", name)
        if name not in new:
            same = next((other for other in added if new[other]["request"] == old[name]["request"]), None)
            yield _breaking(at, f"Is called {same} now." if same else "The action is gone.")
        elif name not in old:
            yield _additive(at, "A new action.")
        elif old[name] != new[name]:
            yield from _action(at, old[name], new[name])


def _action(at: tuple[str, ...], old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    if old["request"] != new["request"]:
        yield _breaking((*at, "request"), f"Was {old['request']}, is {new['request']}.")
    for key in _OF_THE_REQUEST:
        if old.get(key) != new.get(key):
            yield _breaking((*at, key), "The request, or what becomes of its answer, is another.")
    if old["effect"] != new["effect"]:
        is_wider = _STRENGTH.index(new["effect"]) > _STRENGTH.index(old["effect"])
        said = f"Was {old['effect']}, is {new['effect']}."
        yield _breaking((*at, "effect"), said) if is_wider else _additive((*at, "effect"), said)
    if old["idempotent"] != new["idempotent"]:
        said = "May be repeated now." if new["idempotent"] else "May not be repeated any more."
        yield (_additive if new["idempotent"] else _breaking)((*at, "idempotent"), said)
    yield from _scopes((*at, "scopes"), old, new, "Needs {} too.")
    if gone := sorted(set(old["auth"]) - set(new["auth"])):
        yield _breaking((*at, "auth"), f"Is no longer served by {', '.join(gone)}.")
    elif old["auth"] != new["auth"]:
        yield _additive((*at, "auth"), "Is served by more auth methods.")
    if old.get("requires_plan") != new.get("requires_plan"):
        said = f"The upstream's plan must be {new.get('requires_plan')}."
        yield _breaking((*at, "requires_plan"), said) if "requires_plan" in new else _additive(at, "Needs no plan.")
    yield from _params(at, old, new)
    if old.get("rules") != new.get("rules"):
        yield _breaking((*at, "input"), "Which params go together is another matter now.")


def _scopes(at: tuple[str, ...], old: Mapping[str, Any], new: Mapping[str, Any], words: str) -> Iterator[Change]:
    before, after = set(old.get("scopes", ())), set(new.get("scopes", ()))
    if added := sorted(after - before):
        yield _breaking(at, words.format(", ".join(added)))
    if gone := sorted(before - after):
        yield _additive(at, f"No longer {', '.join(gone)}.")


def _params(at: tuple[str, ...], old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    before, after = old.get("params", {}), new.get("params", {})
    added = [name for name in after if name not in before]
    for name in sorted({*before, *after}):
        place = (*at, "params", name)
        if name not in after:
            same = next((other for other in added if _wire(other, after[other]) == _wire(name, before[name])), None)
            yield _breaking(place, f"Is called {same} now." if same else "The param is gone.")
        elif name not in before:
            is_needed = after[name].get("required") and "default_from" not in after[name]
            renamed = any(
                other not in after and _wire(other, before[other]) == _wire(name, after[name]) for other in before
            )
            if is_needed and not renamed:
                yield _breaking(place, "A new param that is required.")
            elif not renamed:
                yield _additive(place, "A new param.")
        elif before[name] != after[name] or old.get("$defs") != new.get("$defs"):
            yield from _param(place, name, before[name], after[name], old.get("$defs", {}), new.get("$defs", {}))


def _param(
    at: tuple[str, ...],
    name: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    old_defs: Mapping[str, Json],
    new_defs: Mapping[str, Json],
) -> Iterator[Change]:
    if _wire(name, old) != _wire(name, new) or old.get("joined") != new.get("joined"):
        yield _breaking(at, "Goes elsewhere on the request, or in another form.")
    was_needed = bool(old.get("required")) and "default_from" not in old
    is_needed = bool(new.get("required")) and "default_from" not in new
    if is_needed and not was_needed:
        yield _breaking(at, "Is required now.")
    elif was_needed and not is_needed:
        yield _additive(at, "Is optional now.")
    reason = narrower(old["schema"], new["schema"], old_defs, new_defs)
    if reason is not None:
        yield _breaking(at, f"{reason[:1].upper()}{reason[1:]}.")
    elif old["schema"] != new["schema"]:
        yield _additive(at, "Takes more than before.")


def _wire(name: str, param: Mapping[str, Any]) -> tuple[str, str]:
    return param["in"], "" if param.get("whole") else param.get("as", name)


def _breaking(at: tuple[str, ...], message: str) -> Change:
    return Change(kind="breaking", at=at, message=message)


def _additive(at: tuple[str, ...], message: str) -> Change:
    return Change(kind="additive", at=at, message=message)
