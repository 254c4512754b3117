"""Verbs of APIs and what an action that begins with one does to the world."""

from __future__ import annotations

import re
from collections.abc import Mapping

from skills_catalog.model import Effect


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORDS: Mapping[Effect, str] = {
    "read": """get list search find query read fetch retrieve lookup look show view describe count check compare
        preview validate verify estimate browse download export inspect poll test tell watch explain resolve scan""",
    "create": """create add insert new make open upload import duplicate copy clone fork register request generate
        schedule start begin build book draft log record track subscribe sign enroll allocate provision save store
        write compose render convert translate transcribe summarize initiate append attach enqueue issue instantiate""",
    "update": """update edit set change abort modify patch replace rename move remove assign unassign enable disable lock
        unlock close reopen resume pause stop cancel archive unarchive restore merge approve reject accept decline deny invalidate
        dismiss mark star unstar pin unpin follow unfollow block unblock mute unmute join leave link unlink connect
        disconnect detach sync untrash refresh reset rotate rearrange reorder convert complete submit apply toggle unsubscribe
        upgrade downgrade transfer promote demote grant hide unhide configure map bulk batch run execute trigger
        rerun retry deploy redeploy activate deactivate install reply confirm react push crosspost extend end skip
        seek shuffle play repeat undo redo restrict unrestrict expire unmerge manage reprioritize prioritize""",
    "send": "send post publish share invite notify broadcast email message forward reply remind announce ping comment",
    "delete": "delete destroy purge erase wipe revoke uninstall kick ban prune discard drop trash terminate clear redact",
}
#: Verb -> effect; a verb of several stands where the stronger one puts it.
VERBS: Mapping[str, Effect] = {
    verb: effect for effect in ("read", "create", "update", "send", "delete") for verb in _WORDS[effect].split()
}
#: Verbs that only look things up, whatever the method says; others that look so may change something on the way.
ONLY_READS = _set(
    "get list search find query fetch retrieve lookup count preview validate estimate compare describe show"
)
#: Words that are as often no verb at all: they count only where they stand first.
ALSO_NOUNS = _set(
    """list search query view show check count test request log record track sign draft book build issue message comment
    email post share link map lock star pin copy fork import export download upload move close open read look
    write save store block mark batch bulk run end play repeat push react schedule start watch tell new skip seek scan
    register patch change update reset sync reply join leave mute follow transfer grant archive merge apply invite poll"""
)

#: Of those, the ones that are no verb at the end of a name either.
NEVER_LAST = _set(
    """request log record track draft book build issue message comment email post link map lock star pin copy block
    batch bulk end play schedule tell new seek scan register patch query view test write store fork invite poll"""
)


def verb_at(words: list[str], place: int) -> Effect | None:
    """The effect of the verb at a place of a name, or None where the word is no verb there."""
    word = words[place]
    if place and place != len(words) - 1 and word in ALSO_NOUNS:
        return None
    return VERBS.get(word)


def imperative(word: str) -> str | None:
    """The verb that a word is a form of (`Returns` is return), or None."""
    low = word.lower()
    for base in (low, low.removesuffix("s"), low.removesuffix("es"), re.sub("ies$", "y", low)):
        if base in VERBS or base in ("return", "perform", "allow", "provide", "use", "give", "enable"):
            return base
    return None
