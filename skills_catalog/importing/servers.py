"""Operations that a description has on a server of their own: whether it is the same service's, and what it is called."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

#: Before a country's name stand words such as `co` and `com`, below which anybody may have a name.
_LONGEST_GENERAL = 3
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
    """What somebody registered: the last two parts, or three where the middle one is general. Of an address all of it."""
    parts = host.split(".")
    if len(parts) < 2 or re.fullmatch(r"[0-9.:]+|\[.*", host) or "@" in host:
        return host
    return ".".join(parts[-3 if len(parts[-2]) <= _LONGEST_GENERAL else -2 :])
