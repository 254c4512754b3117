"""What each rule of the lint is for, why it is there, and what to do about a finding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One rule in words: what it finds, why that matters, how to mend it."""

    finds: str
    why: str
    mend: str


EXPLANATIONS: Mapping[str, Explanation] = {
    "load": Explanation(
        finds="What the gateway refuses to load: unknown keys, wrong types, references to nothing, contradictions.",
        why="One broken definition keeps the catalog from starting, or from being read again.",
        mend="The message says what was expected, and the nearest name that would be right.",
    ),
    "lock": Explanation(
        finds="Definitions that say something else than `catalog.lock` has of their version.",
        why="Agents rely on names, params and effects; semver is how they learn that something breaks.",
        mend="Raise `version` (the major number for what breaks), then run `skillway catalog lock`.",
    ),
    "example-params": Explanation(
        finds="Examples whose params the action's own schema refuses.",
        why="Examples are documentation, the sandbox's answers and the contract tests at once.",
        mend="Correct the example, or the schema.",
    ),
    "example-answers": Explanation(
        finds="Answers that cannot be: no success shown, a 204 with a body, a redirect that is not followed.",
        why="The sandbox gives them to agents as if they were the upstream's.",
        mend="Show what the upstream really answers, shortened; `skillway sandbox record` makes an example of a live call.",
    ),
    "paths-into-answers": Explanation(
        finds="JMESPaths (`whoami`, `page`, `poll`, `brief`) that find nothing in the example's answer.",
        why="What finds nothing there finds nothing in life.",
        mend="Correct the path, or let the example show what it looks for.",
    ),
    "name-and-effect": Explanation(
        finds="Names such as `list_…` or `create_…` with an effect that contradicts them.",
        why="Key levels follow the effect; agents follow the name.",
        mend="Give the action the effect that it has, or another name.",
    ),
    "method-and-repeat": Explanation(
        finds="GETs that must not be repeated, writes that may be, DELETEs that only update.",
        why="Repeats after failures follow `idempotent`.",
        mend="Say `idempotent` as the upstream documents it.",
    ),
    "effect-and-method": Explanation(
        finds="Effects that hardly fit the HTTP method or the verb of the name: a PUT that reads, a read that sends.",
        why="A key that may only read could change something.",
        mend="Give the action the stronger effect, or correct the method.",
    ),
    "scopes": Explanation(
        finds="OAuth scopes on an action that no OAuth method serves.",
        why="They are never asked for nor checked.",
        mend="Remove them, or name the OAuth method under `auth`.",
    ),
    "missing-scopes": Explanation(
        finds="Actions without `scopes` where nearly all others of the kind have some.",
        why="The gateway tells of a missing scope before the upstream is asked, with the link that mends it.",
        mend="Add the scopes that the upstream documents; `scopes: []` of a read that needs none is fine to leave.",
    ),
    "base-path": Explanation(
        finds="Paths that repeat the path of the base URL.",
        why="The request would go to `/v1/v1/…`.",
        mend="Write paths from after the base URL.",
    ),
    "https": Explanation(
        finds="Addresses with plain http.",
        why="Credentials would travel readable; the gateway refuses it outside of ALLOWED_PRIVATE_NETWORKS.",
        mend="Use https.",
    ),
    "unused": Explanation(
        finds="Connection fields that nothing uses, and replacements that do not exist.",
        why="People are asked to fill in what does nothing.",
        mend="Remove them, or use them.",
    ),
    "hooks": Explanation(
        finds="Actions that pass through a hook: code, not data.",
        why="The operator has to install that code and to switch it on; until then the action is refused.",
        mend="Nothing, where the format cannot say it. See Hooks in FORMAT.md.",
    ),
    "unused-auth": Explanation(
        finds="Auth methods that serve no action, or whose connections `whoami` cannot check.",
        why="People connect in a way that leads nowhere.",
        mend="Remove the method, or name it under the `auth` of the actions that it serves.",
    ),
    "names": Explanation(
        finds="Names with `__`, of more than 48 characters, or beginning with the integration's own.",
        why="A tool is called `integration__action`, in at most 64 characters.",
        mend="Shorten the name; verb first, then what it is done to.",
    ),
    "words": Explanation(
        finds="Missing or very short or long descriptions, documentation links and categories, errors without a fix.",
        why="An agent has only these words to choose by.",
        mend="Write a sentence that says what it does and what it needs.",
    ),
    "description": Explanation(
        finds="Descriptions that do not begin with a verb as an order, end in noise, or repeat the name.",
        why="Models choose better between tools whose descriptions have one form.",
        mend="`List the issues of a repository, filtered and sorted.`",
    ),
    "param-words": Explanation(
        finds="Descriptions of params that say no more than the name.",
        why="The agent has to guess the format and where to get the value.",
        mend="Say what it is and where it comes from: `Id of the comment, from list_issue_comments.`",
    ),
    "asks": Explanation(
        finds="With --strict: fewer than three or more than six `asks`, and asks that use words of name or description.",
        why="Search finds actions by what people say, which is not what documentation says.",
        mend="Write three to six requests as people say them, in words that name and description do not use.",
    ),
    "tools": Explanation(
        finds="Tool names of more than 64 characters; inputs that strict tool calling cannot take.",
        why="Vendors refuse the one and fall back to looser checks for the other.",
        mend="Shorten the name. Open objects and `oneOf` are what strict modes refuse.",
    ),
    "portable-root": Explanation(
        finds="Alternatives or conditions beside the properties of an input.",
        why="OpenAI and Anthropic refuse such tools whole.",
        mend="Move the condition into a property, or say it in the description.",
    ),
    "portable-names": Explanation(
        finds="Names of properties with other characters than letters, digits, `_`, `.` and `-`.",
        why="Anthropic refuses such tools whole.",
        mend="Rename the param and give the upstream's name with `as:`.",
    ),
    "portable-gemini": Explanation(
        finds="What Gemini's schemas do not have: it is dropped or rewritten for Gemini.",
        why="Its models are told less; the gateway still checks everything.",
        mend="Where it matters, say it in the description too.",
    ),
    "size": Explanation(
        finds="Inputs of many levels, properties or bytes.",
        why="Every request to a model carries the schemas of its tools.",
        mend="Leave out what agents do not need; split the action.",
    ),
    "secrets": Explanation(
        finds="What looks like a credential, in any place, and secrets among the values that are always sent.",
        why="Definitions are committed, shown and copied; credentials belong to connections, sealed.",
        mend="Revoke it, and describe the place under `auth` or `connection` with `secret: true`.",
    ),
    "credential-params": Explanation(
        finds="Params and connection fields that sound like credentials.",
        why="Params are recorded with runs; a field without `secret: true` is shown again.",
        mend="Use an auth method, or `secret: true`.",
    ),
    "patterns": Explanation(
        finds="Regular expressions that RE2 or ECMAScript read differently from the gateway's engine.",
        why="Agents and clients check with their own engine.",
        mend="Use plain classes, groups and counts.",
    ),
}
