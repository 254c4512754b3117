"""Which addresses may be reached: one table, one verdict, on the final socket address of every connection.

A URL is first read strictly, then its name is resolved and every answer judged, and at last the socket
factory judges once more the very address that is about to be connected to. Nothing between can be
rebound, folded or respelled into another address.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import re
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: As `socket.getaddrinfo` gives it.
AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]
Lookup = Callable[[str, int], Sequence[AddressInfo]]

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
MAX_URL: Final = 8 * 1024


class AddressRefused(OSError):
    """The address may not be reached. The text is for the operator's log."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EACCES, reason)
        self.reason = reason


class BadUrl(ValueError):
    """Not a plain http(s) URL; the text says what is wrong without repeating the URL."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an address may not be reached."""

    reason: str


# What may be reached


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(word) for word in text.split())


#: Refused whatever the operator allows: "this host", link-local with most metadata services, multicast,
#: and the metadata addresses that live elsewhere (Azure, Alibaba, Oracle, AWS, GCP, Scaleway).
NEVER: Final = _networks(
    "0.0.0.0/8 169.254.0.0/16 224.0.0.0/4 255.255.255.255/32 168.63.129.16/32 100.100.100.200/32"
    " 192.0.0.192/32 ::/128 fe80::/10 ff00::/8 fd00:ec2::/32 fd20:ce::/64 fd00:42::42/128"
)

#: Refused unless the operator allows them. `ipaddress.is_private` is no policy: it forgets many of these.
DENIED_V4: Final = _networks(
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24"
    " 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15"
    " 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 168.63.129.16/32 100.100.100.200/32"
)

#: Of IPv6 only this is the open internet, without the holes of the next line.
OPEN_V6: Final = ipaddress.IPv6Network("2000::/3")
DENIED_V6: Final = _networks("2001::/23 2001:db8::/32 2002::/16 3fff::/20")

#: IPv6 ranges that stand for an IPv4 address, and how far from the right it ends: NAT64 (RFC 6052, RFC 8215),
#: 6to4 (RFC 3056), SIIT (RFC 2765) and the deprecated "compatible" form.
_EMBEDDING: Final = (
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),
    (ipaddress.IPv6Network("64:ff9b:1::/48"), 0),
    (ipaddress.IPv6Network("2002::/16"), 80),
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), 0),
    (ipaddress.IPv6Network("::/96"), 0),
)


def is_of_this_machine(address: Address) -> bool:
    """Whether the address is one of ours: only those can be bound to."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the operator allows, and what is ours."""

    #: In these plain http and any port are allowed.
    allowed: tuple[Network, ...] = ()
    #: Our own listeners, database and Valkey; None stands for every address of this machine.
    own: frozenset[tuple[Address | None, int]] = frozenset()
    #: The same by name, as far as they were given by name.
    own_names: frozenset[tuple[str, int]] = frozenset()
    is_ours: Callable[[Address], bool] = is_of_this_machine

    @classmethod
    def of(
        cls,
        allowed: Iterable[str] = (),
        own: Iterable[tuple[str, int]] = (),
        own_names: Iterable[tuple[str, int]] = (),
    ) -> Policy:
        """From `ALLOWED_PRIVATE_NETWORKS` and the (host, port) of our own listeners, database and Valkey.

        Names in `own` are looked up now and refused by address and by name. Those in `own_names` are refused by name
        alone: behind a load balancer our public name shares its address with others. Raises ValueError for a text
        that is no CIDR.
        """
        addresses: set[tuple[Address | None, int]] = set()
        names = {(host.lower(), port) for host, port in own_names}
        for host, port in own:
            host = host.strip("[]").lower()
            try:
                found = [ipaddress.ip_address(host)]
            except ValueError:
                names.add((host, port))
                found = _addresses_of(host)
            addresses.update((None if address.is_unspecified else _plain(address), port) for address in found)
        return cls(
            allowed=tuple(ipaddress.ip_network(text.strip()) for text in allowed),
            own=frozenset(addresses),
            own_names=frozenset(names),
        )


def verdict(address: str, port: int, scheme: str, policy: Policy) -> Refused | None:
    """None where a connection to that socket address may be opened for a URL of that scheme."""
    if "%" in address:
        return Refused("an address with a zone")
    try:
        ip = _plain(ipaddress.ip_address(address))
    except ValueError:
        return Refused("not an address")
    if scheme not in DEFAULT_PORTS:
        return Refused(f"the scheme {scheme!r}")
    if not 0 < port < 65536:
        return Refused("not a port")
    inner = _embedded(ip)
    if _within(ip, NEVER) or (inner is not None and _within(inner, NEVER)):
        return Refused(f"{ip} is never reached")
    if _is_own(inner or ip, port, policy):
        return Refused(f"{ip} port {port} is ourselves, our database or our Valkey")
    if _within(ip, policy.allowed):
        if inner is not None and not _within(inner, policy.allowed) and not _is_open(inner):
            return Refused(f"{ip} stands for {inner}, which is not in ALLOWED_PRIVATE_NETWORKS")
        return None
    if not _is_open(ip):
        return Refused(f"{ip} is not on the open internet and not in ALLOWED_PRIVATE_NETWORKS")
    if scheme != "https":
        return Refused(f"{ip} by plain http, which only ALLOWED_PRIVATE_NETWORKS may have")
    return None


def _plain(address: Address) -> Address:
    """An IPv4 address that is written as IPv6 (`::ffff:127.0.0.1`) is that IPv4 address to the kernel."""
    return getattr(address, "ipv4_mapped", None) or address


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    if address.version == 4:
        return None
    # ::1 is loopback itself, not 0.0.0.1.
    if int(address) > 1:
        for network, shift in _EMBEDDING:
            if address in network:
                return ipaddress.IPv4Address(int(address) >> shift & 0xFFFFFFFF)
    return None


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _is_open(address: Address) -> bool:
    if address.version == 4:
        return not _within(address, DENIED_V4)
    return address in OPEN_V6 and not _within(address, DENIED_V6)


def _is_own(address: Address, port: int, policy: Policy) -> bool:
    for own, own_port in policy.own:
        if own_port != port:
            continue
        if own == address or (own is None and policy.is_ours(address)):
            return True
        # All of 127/8 and ::1 are one machine.
        if own is not None and own.is_loopback and address.is_loopback:
            return True
    return False


def _addresses_of(host: str) -> list[Address]:
    try:
        return [ipaddress.ip_address(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    except (OSError, ValueError, UnicodeError):
        return []


# What a URL may look like

_URL: Final = re.compile(r"(https?)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?", re.IGNORECASE)
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_VISIBLE: Final = re.compile(r"[!-\[\]-~]*")
_LAST_LABEL_IS_A_NUMBER: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """A URL whose parts mean the same to everybody."""

    scheme: str
    #: Lower case; an IPv6 address without its brackets.
    host: str
    port: int
    #: As written; `/` where nothing was.
    path: str = "/"
    query: str = ""
    #: Equal for equal scheme, host and port, however they were written.
    origin: str = field(init=False)
    #: What the Host header says: the port only where it is not the scheme's own.
    host_header: str = field(init=False)

    def __post_init__(self) -> None:
        host = f"[{self.host}]" if ":" in self.host else self.host
        with_port = host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"
        object.__setattr__(self, "host_header", with_port)
        object.__setattr__(self, "origin", f"{self.scheme}://{with_port}")


def parse_url_strict(text: str) -> Url:
    """Reads an absolute http(s) URL: an operator's, a definition's, a `Location`. Raises `BadUrl`.

    Refused: everything that one reader takes for one host and another for another. That is userinfo,
    backslashes, tabs and spaces, anything beyond visible ASCII (an international name is written in
    punycode), numbers that some resolvers fold into an address (`127.1`, `0x7f000001`), zones, empty ports.
    """
    if len(text) > MAX_URL:
        raise BadUrl(f"longer than {MAX_URL} characters")
    if not _VISIBLE.fullmatch(text):
        raise BadUrl("only visible ASCII characters without a backslash may stand in a URL")
    parts = _URL.fullmatch(text)
    if not parts:
        raise BadUrl("not an absolute http:// or https:// URL")
    scheme, authority, path, query = parts[1].lower(), parts[2], parts[3], parts[4] or ""
    if "@" in authority:
        raise BadUrl("a user name or password may not stand in a URL")
    where = _AUTHORITY.fullmatch(authority)
    if not where:
        raise BadUrl("the host is not a plain name or address")
    port = int(where[2]) if where[2] else DEFAULT_PORTS[scheme]
    if not 0 < port < 65536:
        raise BadUrl("the port is not one")
    return Url(scheme=scheme, host=_host(where[1].lower()), port=port, path=path or "/", query=query)


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError:
            raise BadUrl("the host is not an IPv6 address") from None
    if _LAST_LABEL_IS_A_NUMBER.fullmatch(text):
        try:
            return str(ipaddress.IPv4Address(text))
        except ValueError:
            raise BadUrl("the host is a number that is not an IPv4 address in its plain form") from None
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in text.split(".")):
        raise BadUrl("the host is not a plain name or address")
    return text


# Names and sockets


@dataclass(frozen=True, slots=True)
class _Known:
    """What a look-up gave, and until when it is believed."""

    until: float
    answers: tuple[AddressInfo, ...] = ()
    failure: str = ""
    timed_out: bool = False


class Egress:
    """Resolves names and opens sockets, and neither for an address that the policy refuses.

    A name is refused as a whole if one of its answers is: good and bad together are an attack or a mistake.
    The one exception is the machine itself: of `localhost` the answers that are not allowed are left out.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        lookup: Lookup | None = None,
        deadline: float = 5.0,
        keep: float = 10.0,
        threads: int = 32,
        names: int = 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.policy = policy
        self._lookup = lookup or _getaddrinfo
        self._deadline = deadline
        self._keep = keep
        self._names = names
        self._clock = clock
        self._free = asyncio.Semaphore(threads)
        self._known: OrderedDict[tuple[str, int], _Known] = OrderedDict()
        self._running: dict[tuple[str, int], asyncio.Future[_Known]] = {}

    async def resolve(self, url: Url) -> list[AddressInfo]:
        """The addresses of the URL's host, every one judged.

        Raises `AddressRefused`, another OSError where the name has no address, and TimeoutError after 5 s.
        """
        if (url.host, url.port) in self.policy.own_names:
            raise AddressRefused(f"{url.host} port {url.port} is ourselves, our database or our Valkey")
        answers = _literal(url) or await self._answers(url.host, url.port)
        refusals = [(info, verdict(info[4][0], url.port, url.scheme, self.policy)) for info in answers]
        good = [info for info, refusal in refusals if refusal is None]
        bad = [(info, refusal) for info, refusal in refusals if refusal is not None]
        if bad and not (good and all(ipaddress.ip_address(info[4][0]).is_loopback for info in answers)):
            raise AddressRefused(f"{url.host}: {bad[0][1].reason}")
        return good

    async def is_private(self, url: Url) -> bool:
        """Whether the host lives in the networks that the operator allows, where any port may be used."""
        try:
            answers = await self.resolve(url)
        except OSError:
            return False
        return all(_within(_plain(ipaddress.ip_address(info[4][0])), self.policy.allowed) for info in answers)

    def mistake(self, text: str) -> str | None:
        """Why a URL that somebody typed is not kept: its form, its scheme, its port, or the address that it names.

        A name is judged when something is sent to it: what it stands for may be another thing then.
        """
        try:
            url = parse_url_strict(text)
        except BadUrl as error:
            return str(error)
        if (url.host, url.port) in self.policy.own_names:
            return "it leads to this gateway"
        literal = _literal(url)
        for info in literal:
            if verdict(info[4][0], url.port, url.scheme, self.policy) is not None:
                return "the address may not be reached"
        anywhere = all(_within(_plain(ipaddress.ip_address(info[4][0])), self.policy.allowed) for info in literal)
        if self.policy.allowed and anywhere:
            return None
        if url.scheme != "https":
            return "it must begin with https://"
        return None if url.port == DEFAULT_PORTS["https"] else "the port must be 443"

    def socket_factory(self, scheme: str) -> Callable[[AddressInfo], socket.socket]:
        """For aiohttp's connector and our own client: judges the final address, then makes the socket."""

        def open_socket(info: AddressInfo) -> socket.socket:
            family, kind, protocol, _, where = info
            if refusal := verdict(where[0], where[1], scheme, self.policy):
                raise AddressRefused(refusal.reason)
            if family == socket.AF_INET6 and len(where) > 3 and where[3]:
                raise AddressRefused("an address with a zone")
            made = socket.socket(family, kind, protocol)
            made.setblocking(False)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return made

        return open_socket

    async def _answers(self, host: str, port: int) -> Sequence[AddressInfo]:
        key = (host, port)
        known = self._known.get(key)
        if known is None or known.until < self._clock():
            known = await self._ask(key)
        if known.timed_out:
            raise TimeoutError(errno.ETIMEDOUT, known.failure)
        if known.failure:
            raise OSError(errno.EHOSTUNREACH, known.failure)
        return known.answers

    async def _ask(self, key: tuple[str, int]) -> _Known:
        """Callers of one name share one look-up, which outlives a caller that gives up."""
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = asyncio.ensure_future(self._look_up(key))
            running.add_done_callback(lambda _: self._running.pop(key, None))
        return await asyncio.shield(running)

    async def _look_up(self, key: tuple[str, int]) -> _Known:
        try:
            async with asyncio.timeout(self._deadline):
                answers = await self._in_thread(key)
            known = _Known(self._clock() + self._keep, tuple(answers))
        except TimeoutError:
            silence = f"no name server answered for {key[0]} within {self._deadline:g} s"
            known = _Known(self._clock() + 1.0, failure=silence, timed_out=True)
        except (OSError, ValueError) as error:
            known = _Known(self._clock() + 1.0, failure=f"{key[0]} has no address: {error}")
        self._known[key] = known
        self._known.move_to_end(key)
        while len(self._known) > self._names:
            self._known.popitem(last=False)
        return known

    async def _in_thread(self, key: tuple[str, int]) -> Sequence[AddressInfo]:
        """In a thread of its own: a silent name server holds none of the loop's pool, nor our exit."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Sequence[AddressInfo]] = loop.create_future()

        def tell(answers: Sequence[AddressInfo], error: Exception | None) -> None:
            self._free.release()
            if done.cancelled():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(answers)

        def ask() -> None:
            answers: Sequence[AddressInfo] = ()
            failure: Exception | None = OSError("the look-up broke off")
            try:
                answers, failure = self._lookup(*key), None
            except (OSError, ValueError) as error:
                failure = error
            finally:
                # The loop may have been closed while we were asking.
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(tell, answers, failure)

        threading.Thread(target=ask, name=f"look-up of {key[0]}", daemon=True).start()
        return await done


def _getaddrinfo(host: str, port: int) -> Sequence[AddressInfo]:
    flags = socket.AI_ADDRCONFIG
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)


def _literal(url: Url) -> list[AddressInfo]:
    try:
        address = ipaddress.ip_address(url.host)
    except ValueError:
        return []
    if address.version == 4:
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (url.host, url.port))]
    return [(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (url.host, url.port, 0, 0))]
