"""Compares every action of an integration with a description; whoever can build requests lends that here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from skills_catalog.descriptions.model import Description, Json, Operation
from skills_catalog.model import Example, Integration, Skill
from skills_catalog.verification.differences import Compared, Difference
from skills_catalog.verification.documents import compare_document
from skills_catalog.verification.operations import Built, Comparison
from skills_catalog.verification.paths import Found, Part, Paths, concrete, is_server, sketched
from skills_catalog.verification.values import Values


class NotBuilt(Exception):
    """No request can be made of an example; the message says why."""


#: The request of an example, and the params with what a connection would fill in. Raises `NotBuilt`.
Build = Callable[[Integration, Skill, Example], tuple[Built, Mapping[str, Json]]]


@dataclass(slots=True)
class _Request:
    number: int
    example: Example
    built: Built
    params: Mapping[str, Json]
    parts: list[Part]


class Verification:
    """One description, ready for integrations to be held against it."""

    def __init__(self, description: Description, build: Build) -> None:
        self.description = description
        self._build = build
        self._values = Values(description.definitions)
        self._paths = Paths(description, self._values)

    def compare(self, integration: Integration, skill: Skill) -> Compared:
        """One action: whether it matches, how it differs, or that the description does not have it."""
        requests: list[_Request] = []
        failed: list[Difference] = []
        for number, example in enumerate(skill.examples):
            try:
                built, params = self._build(integration, skill, example)
            except NotBuilt as error:
                failed.append(Difference(kind="request", at=("examples", number), message=str(error)))
                continue
            requests.append(_Request(number, example, built, params, concrete(skill, params, built.path)))
        if self.description.graphql is not None:
            return self._document(skill, requests, failed)
        found = [self._paths.find(request.built.method, request.parts) for request in requests]
        first = next((one for one in found if one is not None), None)
        if first is None and not requests and skill.examples:
            # What it declares can be compared all the same.
            parts = sketched(integration.base_url_for(skill, None), skill, skill.examples[0].params)
            first = self._paths.find(skill.request.method, parts)
        if first is None:
            return self._not_found(skill, requests, failed)
        differences = [*failed, *self._around(integration, skill, first)]
        comparison = Comparison(integration, skill, first.operation, self._values)
        differences += comparison.declared()
        for request, one in zip(requests, found, strict=True):
            if one is None:
                continue
            at = ("examples", request.number)
            if one.operation is not first.operation:
                comparison = Comparison(integration, skill, one.operation, self._values)
            differences += comparison.request(at, request.params, request.built, one.values)
            differences += comparison.answer(at, request.example.status, request.example.data)
        keys = frozenset(one.operation.key for one in (first, *found) if one is not None)
        return _compared(skill, first.operation.line, differences, keys)

    def _around(self, integration: Integration, skill: Skill, found: Found) -> list[Difference]:
        differences = []
        servers = found.operation.servers or self.description.servers
        if not is_server(integration.base_url_for(skill, None), servers):
            differences.append(
                Difference(kind="host", at=("request",), message=f"The vendor's servers: {', '.join(servers[:3])}.")
            )
        if not found.same_base:
            differences.append(
                Difference(
                    kind="base-path",
                    at=("request",),
                    message=f"The vendor has {found.operation.path} at {', '.join(servers[:3])}.",
                )
            )
        return differences

    def _not_found(self, skill: Skill, requests: list[_Request], failed: list[Difference]) -> Compared:
        for request in requests:
            if methods := self._paths.other_methods(request.built.method, request.parts):
                message = f"The vendor has {', '.join(methods)} there, not {request.built.method}."
                return _compared(skill, "", [*failed, Difference(kind="method", at=("request",), message=message)])
        if failed:
            return _compared(skill, "", failed)
        return Compared(action=skill.name, verdict="not described")

    def _document(self, skill: Skill, requests: list[_Request], failed: list[Difference]) -> Compared:
        assert self.description.graphql is not None
        field, differences = "", list(failed)
        for request in requests:
            name, wrong = compare_document(self.description.graphql, request.built)
            field = field or name
            differences += [
                Difference(kind="document", at=("examples", request.number, "params"), message=message)
                for message in wrong
            ]
        if not field and not differences:
            return Compared(action=skill.name, verdict="not described")
        keys = frozenset(one.key for one in self.description.operations if _asks_for(one, field))
        return _compared(skill, field, differences, keys)


def _asks_for(operation: Operation, field: str) -> bool:
    """Whether an operation of a GraphQL schema is the field (`query issue`) of a document."""
    kind, _, name = field.partition(" ")
    return operation.id.rpartition(".")[2] == name and operation.tags == (kind.capitalize(),)


def _compared(
    skill: Skill, operation: str, differences: list[Difference], keys: frozenset[str] = frozenset()
) -> Compared:
    once = tuple(dict.fromkeys(differences))
    return Compared(
        action=skill.name,
        verdict="differs" if once else "matches",
        operation=operation,
        keys=keys,
        differences=once,
    )
