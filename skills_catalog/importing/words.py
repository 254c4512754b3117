"""Shortens what vendors write to what an agent needs: a sentence without markup, headings and promises."""

from __future__ import annotations

import re
from functools import lru_cache

#: More text than that is not looked at.
_MOST_READ = 4000
_SCRIPTS = (
    (re.compile(r"```[^`]*```"), " "),
    (re.compile(r"\{%[^%]*%\}"), " "),
    (re.compile(r"<!--[^<>]*-->"), " "),
    (re.compile(r"<br\s*/?>|</?(p|div|li|ul|ol|h[1-6]|tr|table|blockquote)\b[^<>]*>", re.IGNORECASE), "\n"),
    (re.compile(r"</?code>", re.IGNORECASE), "`"),
    (re.compile(r"</?[A-Za-z][A-Za-z0-9-]*\b[^<>]*>"), ""),
    (re.compile(r"!\[[^\]\[]*\]\([^()]*\)"), ""),
    (re.compile(r"\[([^\]\[]*)\]\([^()\s]*\)"), r"\1"),
    (re.compile(r"\[([^\]\[]*)\]\[[^\]\[]*\]"), r"\1"),
    (re.compile(r"\*{1,2}(conditional|optional|required|read-only|deprecated)\*{1,2}[.:]?\s+", re.IGNORECASE), ""),
    (re.compile(r"\*\*|__(?=\w)|(?<=\w)__"), ""),
    (re.compile(r"(?<!\w)[*_](?=\S)([^*_\n]+)(?<=\S)[*_](?!\w)"), r"\1"),
    # How a request is made is not for those who only name the action.
    (re.compile(r"[,;]? (by|with) (making|sending) an? `?[A-Z]+`? request to [`<]?https?://[^\s`>]*[`>]?"), ""),
    (re.compile(r"\s\(?[`<]?https?://[^\s`>)]*[`>]?\)?"), ""),
    (re.compile(r"&(amp|#38);"), "&"),
    (re.compile(r"&(lt|#60);"), "<"),
    (re.compile(r"&(gt|#62);"), ">"),
    (re.compile(r"&(quot|#34);"), '"'),
    (re.compile(r"&(nbsp|#160);"), " "),
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u2028\u2029\ud800-\udfff]")
# Lines that are about the documentation, not about the thing.
_ASIDE = re.compile(
    r"(?i)^(>|#|\||---|={3}|[-*] |\d+\. |note that|please note|(note|important|warning|tip|deprecated|required scopes?|caution|info|see|example)\b ?:)"
)
_END = re.compile(r"(?<=[.!?])[)\"'`]?\s+(?=[A-Z`\"'(\[]|$)")
_NOT_AN_END = re.compile(r"(?i)\b(e\.g|i\.e|etc|vs|approx|incl|resp|cf|no|fig|st|dr|mr|ms)\.$")
_NOISE = re.compile(r"(?i)\s*(\((optional|required|read[- ]only|deprecated)\)|\[(optional|required|deprecated)\])")
_OPENING = re.compile(
    r"(?i)^((optional|required|output only|read-only|immutable|conditional)[.:] *"
    r"|(you|users|clients|apps|an? \w+|the \w+) (can|may) (now |also |use (this|the) [\w ]{3,30}? to )?"
    r"|(use|used|call) (this|the) (endpoint|method|operation|api|call|request) to "
    r"|(the|this) ([\w`/.-]+ )?(endpoint|method|operation|api|call|request) (is used to|can be used to|can|allows you to|lets you"
    r"|will|enables you to|allows|is for) )+"
)


def plain(text: str) -> str:
    """The text without markup, its paragraphs as lines."""
    text = _CONTROLS.sub(" ", text[:_MOST_READ])
    for pattern, instead in _SCRIPTS:
        text = pattern.sub(instead, text)
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*[-*#>|] )", text):
        line = re.sub(r"\s+", " ", paragraph).strip()
        if line:
            lines.append(line)
    return "\n".join(lines)


@lru_cache(maxsize=16_384)
def first_sentence(text: str, most: int) -> str:
    """The first sentence of a text, cut where it has more than `most` characters; empty where there is none."""
    lines = [line for line in plain(text).split("\n") if not _ASIDE.match(line)]
    if not lines:
        return ""
    line = _NOISE.sub("", _OPENING.sub("", lines[0])).strip(" :")
    sentences = _sentences(line)
    # "Optional." and "OAuth required." are no descriptions.
    telling = [sentence for sentence in sentences if len(sentence.split()) > 2]
    kept = next(iter(telling or sentences), "")
    if len(kept) > most:
        kept = f"{kept[: most - 1].rsplit(' ', 1)[0].rstrip(' ,;:')}…"
    return ended(kept)


def ended(sentence: str) -> str:
    """The sentence with a capital letter and a full stop."""
    sentence = sentence.strip()
    if not sentence:
        return ""
    if sentence[-1] not in ".!?…":
        sentence = f"{sentence.rstrip(':;,')}."
    return sentence[:1].upper() + sentence[1:]


def words_of(text: str) -> list[str]:
    """A name or title as lower-case words: `getUserById` is get, user, by, id."""
    text = re.sub(r"['’]", "", text).replace("OAuth", "Oauth").replace("GraphQL", "Graphql").replace("GitHub", "Github")
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", text)
    return [word.lower() for word in re.findall(r"[A-Za-z0-9]+", text)]


def _sentences(line: str) -> list[str]:
    found: list[str] = []
    for part in _END.split(line):
        if found and _NOT_AN_END.search(found[-1]):
            found[-1] += f" {part}"
        elif part:
            found.append(part)
    return found
