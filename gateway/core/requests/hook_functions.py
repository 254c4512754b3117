"""Code of the operator's that a request passes through: for what a definition, being data, cannot say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from importlib.metadata import entry_points

from gateway.core.errors import Refusal
from gateway.core.requests.building import check_size
from gateway.core.requests.request import UpstreamRequest
from skills_catalog.model import Skill

#: The group of entry points in which installed packages offer hooks.
GROUP = "skillway.hooks"

#: Gets the request as it is about to be sent and the connection's fields, secret ones too; gives back the one to send.
Hook = Callable[[UpstreamRequest, Mapping[str, str]], UpstreamRequest]


class HookMissing(Exception):
    """A hook that the operator has switched on is not installed, or is no function."""


class HookFailed(Exception):
    """What a hook gave back cannot be sent."""


class Hooks:
    """The hooks that the operator has switched on by name."""

    def __init__(self, hooks: Mapping[str, Hook]) -> None:
        self._hooks = hooks

    @classmethod
    def installed(cls, names: Iterable[str]) -> Hooks:
        """Those of the installed packages that have these names. Raises `HookMissing`."""
        found: dict[str, Hook] = {}
        for name in names:
            matching = entry_points(group=GROUP, name=name)
            if not matching:
                raise HookMissing(f"no installed package has an entry point {name!r} in the group {GROUP}")
            if len(matching) > 1:
                raise HookMissing(f"several installed packages have an entry point {name!r} in the group {GROUP}")
            try:
                hook = next(iter(matching)).load()
            except Exception as error:
                raise HookMissing(f"the hook {name!r} cannot be loaded: {error}") from error
            if not callable(hook):
                raise HookMissing(f"the hook {name!r} is no function")
            found[name] = hook
        return cls(found)

    def apply(self, skill: Skill, request: UpstreamRequest, fields: Mapping[str, str]) -> UpstreamRequest:
        """The request as the skill's hook makes it. Raises `forbidden` where the operator has not switched it on.

        What else the hook raises is our mistake (`internal`), and the operator's log has it.
        """
        if skill.hook is None:
            return request
        hook = self._hooks.get(skill.hook)
        if hook is None:
            raise Refusal("forbidden", f"{skill.id} needs the hook {skill.hook!r}, which the operator has not switched on.")
        changed = hook(request, fields)
        if not isinstance(changed, UpstreamRequest) or changed.origin != request.origin:
            # Where requests go is the definition's to say, and the egress door's to judge.
            raise HookFailed(f"the hook {skill.hook} gave no request to {request.origin} for {skill.id}")
        check_size(changed)
        return _marked(request, changed)


def _marked(request: UpstreamRequest, changed: UpstreamRequest) -> UpstreamRequest:
    """What the hook has added counts as a credential: it is not shown, and goes to no other origin."""
    headers = {name.lower() for name, _ in set(changed.headers) - set(request.headers)}
    pairs = set(changed.query.split("&")) - set(request.query.split("&"))
    return replace(
        changed,
        credential_headers=changed.credential_headers | headers,
        credential_params=changed.credential_params | {pair.partition("=")[0] for pair in pairs if pair},
        once=True,
    )
