"""Operations that a description has on a server of their own: whether it is the same service's, and what it is called."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from urllib.parse import urlsplit

from publicsuffixlist import PublicSuffixList

_LONGEST_NAME = 40


def of_one_owner(url: str, other: str) -> bool:
    """Whether two URLs are safe alike and on names that somebody can only have got together: `uploads.` and `api.` of one domain."""
    if "{" in url or not re.match(r"https?://[\x21-\x7e]+$", url) or (other.startswith("https:") and url.startswith("http:")):
        return False
    one, two = _host(url), _host(other)
    return one == two or (_domain(one) == _domain(two) and "." in _domain(one))


def server_name(url: str, taken: Iterable[str]) -> str:
    """A name for a server that no other has: the first part of its host that says something."""
    host = _host(url)
    first = host.removesuffix(_domain(host)).rstrip(".").partition(".")[0] or urlsplit(url).path.rpartition("/")[2]
    plain = re.sub(r"[^a-z0-9]+", "_", first.lower()).strip("_")[:_LONGEST_NAME]
    name = plain if re.match("[a-z]", plain) else f"server_{plain}".rstrip("_")
    known, number = set(taken), 2
    made = name
    while made in known:
        made, number = f"{name}_{number}", number + 1
    return made


def _host(url: str) -> str:
    """The host, with its port where it has one."""
    return re.sub(r"^https?://|[/?#].*$", "", url.lower())


def _domain(host: str) -> str:
    """What somebody registered, with its port, by the list of names below which anybody may. Of an address all of it."""
    name, colon, port = host.partition(":")
    if re.fullmatch(r"[0-9.]+|\[.*", name) or "@" in host:
        return host
    return f"{_suffixes().privatesuffix(name) or name}{colon}{port}"


@cache
def _suffixes() -> PublicSuffixList:
    # Below an ending that it does not know, such as `.internal`, names of two parts are somebody's.
    return PublicSuffixList()
