"""The catalog in force: loaded with the operator's choices, replaced whole on reload, kept when a reload fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock

from gateway.core.errors import Refusal
from skills_catalog.catalog import Catalog
from skills_catalog.escape_hatch import hatch_of
from skills_catalog.exporting.tool_names import tools_of
from skills_catalog.model import Deprecation, Integration, Skill
from skills_catalog.names import HATCH

log = logging.getLogger("skillway.catalog")


class Catalogs:
    """Holds the one catalog that calls see. `load` reads it anew, with the operator's overrides."""

    def __init__(self, load: Callable[[], Catalog]) -> None:
        self._load = load
        self._reloading = Lock()
        self.current = load()

    def reload(self) -> None:
        """Reads the files again. A broken one leaves the running catalog as it is, and says so in the log.

        It takes a while: call it in a thread, so that calls go on meanwhile.
        """
        # One after the other: whoever comes last reads last, and what it read is what stays.
        with self._reloading:
            try:
                fresh = self._load()
            except Exception as error:  # whatever is wrong with a file, calls go on
                log.error("catalog not reloaded, the last good one stays: %s", error)
                return
            self.current = fresh
        log.info("catalog reloaded: %d integrations", len(fresh.integrations))

    def integration(self, slug: str) -> Integration:
        """The integration of that slug. Raises `not_found` with the nearest one."""
        found = self.current.get(slug)
        if found is None:
            raise _unknown(f"Integration {slug[:64]!r}", self.current.nearest_integration(slug))
        return found

    def find(self, slug: str, action: str) -> tuple[Integration, Skill]:
        """The integration and its action. Raises `not_found` with the nearest name.

        An action that was imported and that nobody reviewed is `forbidden`.
        """
        integration = self.integration(slug)
        if action == HATCH:
            return integration, hatch_of(integration)
        skill = integration.skills.get(action)
        if skill is None and action in integration.unreviewed:
            raise unreviewed(slug, action)
        if skill is None:
            raise _unknown(f"Action {action[:64]!r} of {slug}", self.current.nearest_action(slug, action))
        return integration, skill

    def tool(self, name: str) -> Skill:
        """The action that is called by that tool. Raises `not_found`, or `forbidden` as `find` does."""
        skill = tools_of(self.current).get(name)
        if skill is not None:
            return skill
        slug, _, action = name.partition("__")
        try:
            # Only to say what was meant: the name of no tool is made up of its parts.
            self.find(slug, action)
        except Refusal as refusal:
            said = f"Unknown tool {name[:64]!r}. {refusal.message}"
            raise Refusal(refusal.code, said, hint=refusal.hint) from None
        raise Refusal("not_found", f"Unknown tool {name[:64]!r}.")

    def deprecation(self, slug: str, action: str) -> tuple[Deprecation, Skill | None] | None:
        """Of a deprecated action, with the one to use instead where there is one; None of any other action."""
        skill = self.current.find(slug, action)
        if skill is None or skill.deprecated is None:
            return None
        instead, _, name = (skill.successor or "").partition(".")
        return skill.deprecated, self.current.find(instead, name)


def _unknown(what: str, nearest: str | None) -> Refusal:
    return Refusal("not_found", f"{what} not found.", hint=f"Did you mean {nearest!r}?" if nearest else None)


def unreviewed(slug: str, action: str) -> Refusal:
    """An action that an import made, and that the operator has not let in."""
    return Refusal(
        "forbidden",
        f"{slug}.{action} was imported, and nobody has reviewed it yet.",
        hint="The operator looks at its definition, then removes `lifecycle: unreviewed` there.",
    )
