"""Makes an example of a real call and its answer: who and what it was about is made up, its shape stays.

The same value becomes the same stand-in wherever it occurs, in params, texts and addresses too. Stand-ins are counted
up, never made of the value: nobody can reckon back.
"""

from __future__ import annotations

import math
import random
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import cycle, islice

from skills_catalog.linting.safety import is_secret_name, looks_issued, looks_random
from skills_catalog.model import Json

#: What stands for a secret: nothing that looks like one.
SECRET = "example"
#: Items of a list, letters of a text, levels of an object that are kept.
MOST_ITEMS, LONGEST_TEXT, DEEPEST = 2, 200, 24
_LARGEST_INTEGER = 2**63 - 1
#: Letters of a text in which anything is looked for: more are cut off anyway.
_LOOKED_AT = 5 * LONGEST_TEXT

_FIRST = ("Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Katherine", "Niklaus")
_LAST = ("Lovelace", "Hopper", "Turing", "Dijkstra", "Liskov", "Knuth", "Johnson", "Wirth")

_MAIL = re.compile(r"[\w.+-]+@(?:[\w-]+\.)+[A-Za-z]{2,}|[\w.+-]+%40(?:[\w-]+\.)+[A-Za-z]{2,}")
_PHONE = re.compile(r"(?<![\w.])\+\d[\d ()/.-]{6,}\d(?!\w)")
_ADDRESS = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d)")
_URL = re.compile(r"(?P<head>\b[a-z][a-z0-9+.-]*://)(?:[^\s/@\"'<>]*@)?(?P<host>[^\s/?#:\"'<>]+)(?P<rest>[^\s\"'<>]*)")
_IN_QUERY = re.compile(
    r"([?&#][^=&#\s]*(?:token|key|secret|sig|password|credential|code)[^=&#\s]*=)[^&#\s]+", re.IGNORECASE
)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
#: No path, no address: `acme/webapp` is the full name of no person.
_NAME = re.compile(r"[^\W_][\w .,'’+-]{0,99}")
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
#: A label of a host that says what the host is for, not whose it is.
_GENERAL = frozenset({"www", "api", "app", "docs", "help", "support", "cdn", "static", "assets", "files", "raw", "avatars"})
#: Words of a name whose value is a person's name, or that hold a person.
_PEOPLE = frozenset(
    {
        *("user", "users", "owner", "author", "assignee", "assignees", "creator", "member", "members", "sender"),
        *("recipient", "actor", "reporter", "reviewer", "contact", "contacts", "customer", "person", "people", "profile"),
        *("committer", "collaborator", "follower", "requester", "approver", "attendee", "organizer", "employee"),
    }
)
_NAMES_OF_PEOPLE = frozenset(
    {
        *("login", "username", "user name", "nickname", "nick name", "screen name", "display name", "full name"),
        *("first name", "last name", "given name", "family name", "real name", "surname", "handle", "name"),
    }
)
#: Those that are a person's whatever they stand in.
_ALWAYS = _NAMES_OF_PEOPLE - {"name", "display name", "handle"}
_PERSONAL = frozenset({"email", "login", "username", "first name", "last name", "given name", "family name", "avatar url"})
_IDS = frozenset({"id", "ids", "uuid", "guid", "gid", "sha", "uid", "sid"})


class Redaction:
    """One call's: params and answer go through the same one."""

    def __init__(self) -> None:
        #: kind -> how many different values were made up: `mail addresses`, `names`, `ids`, `secrets`, …
        self.counted: Counter[str] = Counter()
        self._stand_ins: dict[str, str] = {}
        self._people = (f"{first} {last}" for first, last in zip(cycle(_FIRST), _lasts(), strict=False))
        self._logins: dict[str, str] = {}

    def learn(self, value: Json) -> None:
        """Looks for what has to be made up, so that it is found again where nothing but its value tells."""
        for name, inner, around in _leaves(value, ""):
            if isinstance(inner, str):
                self._learn_text(name, inner, around)
            elif isinstance(inner, int) and not isinstance(inner, bool) and _is_id(name):
                self._number(inner)

    def made_up(self, value: Json, name: str = "", depth: int = DEEPEST) -> Json:
        """The value with stand-ins, lists and texts cut short."""
        match value:
            case Mapping() if depth > 0:
                return {
                    self._text("", key): self.made_up(inner, key, depth - 1) for key, inner in value.items()
                }
            case list() if depth > 0:
                return [self.made_up(inner, name, depth - 1) for inner in value[:MOST_ITEMS]]
            case Mapping():
                return {}
            case list():
                return []
            case str():
                return self._text(name, value)
            case bool() | None:
                return value
            case int():
                return self._number(value) if _is_id(name) else min(max(value, -_LARGEST_INTEGER), _LARGEST_INTEGER)
            case float():
                return value if math.isfinite(value) else 0
        return None

    def _learn_text(self, name: str, text: str, around: str) -> None:
        for mail in _MAIL.findall(text[:_LOOKED_AT]):
            self._mail(mail)
        if is_secret_name(name) or looks_issued(text):
            return
        if around == "person" and _said(name) in _NAMES_OF_PEOPLE and _NAME.fullmatch(text):
            self._name(text)
        elif _UUID.fullmatch(text) or (_is_id(name) and re.fullmatch(r"\S{1,200}", text) and not _URL.match(text)):
            self._id(text)

    def _text(self, name: str, text: str) -> str:
        if (is_secret_name(name) and text) or looks_issued(text):
            self.counted["secrets"] += text != SECRET
            return SECRET
        if text in self._stand_ins:
            return self._stand_ins[text]
        text = text[:_LOOKED_AT]
        if looks_random(text):
            return self._id(text[:LONGEST_TEXT], kind="tokens")
        text = _URL.sub(self._url, text)
        for pattern, stand_in in ((_MAIL, self._mail), (_PHONE, self._phone), (_ADDRESS, self._address), (_UUID, self._id)):
            text = pattern.sub(lambda match, to=stand_in: to(match[0]), text)  # type: ignore[misc]
        text = self._known(text)
        return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"

    def _known(self, text: str) -> str:
        """A text with what was learnt elsewhere: whole words alone, and short ones only as a segment of a path."""
        if not self._stand_ins or not any(one in text for one in self._stand_ins):
            return text
        for value in sorted(self._stand_ins, key=len, reverse=True):
            if value in text:
                before, after = (r"(?<![\w])", r"(?![\w])") if len(value) > 3 else (r"(?<=/)", r"(?=[/?#]|$)")
                stand_in = self._stand_ins[value]
                text = re.sub(f"{before}{re.escape(value)}{after}", lambda _, to=stand_in: to, text)  # type: ignore[misc]
        return text

    def _remember(self, kind: str, value: str, make: Callable[[], str]) -> str:
        if value not in self._stand_ins:
            self._stand_ins[value] = make()
            self.counted[kind] += 1
        return self._stand_ins[value]

    def _mail(self, text: str) -> str:
        mark = "%40" if "%40" in text else "@"

        def made() -> str:
            number = self.counted["mail addresses"]
            login = _FIRST[number % len(_FIRST)].lower() + (str(number // len(_FIRST) + 1) if number >= len(_FIRST) else "")
            return f"{login}{mark}example.com"

        if text.lower().endswith(f"{mark}example.com"):
            return text
        return self._remember("mail addresses", text, made)

    def _name(self, text: str) -> str:
        """`Grace Hopper` for a name of several words, `Grace` or `ghopper` for one."""
        if not text or text.isdigit():
            return text
        person = self._logins.get(text.lower())
        if person is None:
            person = self._logins[text.lower()] = next(self._people)
        first, last = person.split(" ", 1)
        if " " in text.strip():
            return self._remember("names", text, lambda: person)
        is_called = text.isalpha() and text != text.lower()
        return self._remember("names", text, lambda: first if is_called else f"{first[0]}{last}".lower())

    def _phone(self, text: str) -> str:
        self.counted["phone numbers"] += 1
        return "+1 555 0100"

    def _address(self, text: str) -> str:
        self.counted["IP addresses"] += 1
        return "192.0.2.1"

    def _number(self, value: int) -> int:
        """Of as many digits, and one that every reader of JSON keeps."""
        digits = str(abs(value))[:18]
        made = self._remember("ids", str(value), lambda: self._like(digits))
        return int(made) if value >= 0 else -int(made.lstrip("-"))

    def _id(self, text: str, *, kind: str = "ids") -> str:
        """In its shape. What stands before the last mark says what it is, as in `cus_9s6XKzkNRiz8i3`."""
        head, mark, tail = text.rpartition("_")
        if not mark or any(letter.isdigit() for letter in head) or not tail:
            head, mark, tail = "", "", text
        return self._remember(kind, text, lambda: f"{head}{mark}{self._like(tail)}")

    def _like(self, text: str) -> str:
        # Drawn by how many came before, so that the same answer is recorded alike.
        draw = random.Random(len(self._stand_ins))  # noqa: S311 - nothing secret is made
        is_hex = re.fullmatch(r"[0-9a-fA-F-]+", text) is not None

        def other(at: int, letter: str) -> str:
            if letter.isdigit():
                return draw.choice("123456789" if at == 0 else string.digits)
            if not letter.isascii() or not letter.isalpha():
                return letter
            drawn = draw.choice("abcdef" if is_hex else string.ascii_lowercase)
            return drawn.upper() if letter.isupper() else drawn

        made = "".join(other(at, letter) for at, letter in enumerate(text))
        # By chance it may be what it stands for; of marks alone there is no other.
        for _ in range(20):
            if made != text:
                break
            made = "".join(other(at, letter) for at, letter in enumerate(text))
        return made

    def _url(self, match: re.Match[str]) -> str:
        """Without a user, and on nobody's own host."""
        labels = match["host"].split(".")
        if len(labels) > 2 and not _ADDRESS.fullmatch(match["host"]):
            labels = [label if label in _GENERAL else "example" for label in labels[:-2]] + labels[-2:]
        rest = _IN_QUERY.sub(rf"\g<1>{SECRET}", match["rest"])
        self.counted["secrets"] += rest != match["rest"]
        # One segment after the other: an id is found in its place alone.
        rest = "".join(self._known(piece) for piece in re.split(r"(?=[/?&#])", rest))
        return f"{match['head']}{'.'.join(labels)}{rest}"


def _lasts() -> Iterator[str]:
    """Another last name for every person, for as many as there are."""
    for turn in range(1_000_000):
        shifted = islice(cycle(_LAST), turn, turn + len(_LAST))
        yield from (f"{last}{turn // len(_LAST) + 1 if turn >= len(_LAST) else ''}" for last in shifted)


def _leaves(value: Json, name: str, depth: int = DEEPEST) -> Iterator[tuple[str, Json, str]]:
    """Every value without members, with its name, and `person` where it is about one."""
    if depth < 0:
        return
    if isinstance(value, Mapping):
        said = {_said(key) for key in value}
        is_person = bool(said & _PERSONAL) or bool(set(_said(name).split()) & _PEOPLE)
        for key, inner in value.items():
            if isinstance(inner, Mapping | list):
                yield from _leaves(inner, key, depth - 1)
            else:
                is_named = is_person or _said(key) in _ALWAYS
                yield (key, inner, "person" if is_named else "")
                if isinstance(inner, str) and _said(key) in _PEOPLE:
                    # `author: grace`: the name itself.
                    yield ("name", inner, "person")
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, Mapping | list):
                yield from _leaves(inner, name, depth - 1)
            else:
                yield (name, inner, "")
                if isinstance(inner, str) and _said(name) in _PEOPLE:
                    yield ("name", inner, "person")
    else:
        yield (name, value, "")


def _said(name: str) -> str:
    """`firstName`, `first_name` and `first-name` in the same words."""
    return " ".join(word.lower() for word in _WORD.findall(name))


def _is_id(name: str) -> bool:
    words = _said(name).split()
    return bool(words) and words[-1] in _IDS


def redact(params: Mapping[str, Json], data: Json) -> tuple[dict[str, Json], Json, Redaction]:
    """Params and answer of a call with all that is somebody's made up, and what that was."""
    redaction = Redaction()
    for value in (data, dict(params)):
        redaction.learn(value)
    made: Json = redaction.made_up(dict(params))
    return made, redaction.made_up(data), redaction


def counted_words(counted: Mapping[str, int]) -> Iterable[str]:
    """`2 ids`, `1 name`."""
    for kind, number in counted.items():
        if number:
            singular = kind.removesuffix("es") if kind.endswith("sses") else kind.removesuffix("s")
            yield f"{number} {singular if number == 1 else kind}"
