"""Which addresses may be reached: the table at its borders, ourselves, names with several answers, and URLs."""

import asyncio
import ipaddress
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.core.requests.request import UpstreamFailed, UpstreamRequest
from gateway.upstream.client import HttpUpstream
from gateway.upstream.egress import (
    DENIED_V4,
    AddressInfo,
    AddressRefused,
    BadUrl,
    Egress,
    Policy,
    Url,
    parse_url_strict,
    verdict,
)
from gateway.upstream.token_http import TokenHttp
from oauth.http_port import HttpRequest, Unreached
from tests.fakes.hostile import Recorder, hostile
from tests.upstream.asking import LOOPBACK, ask

SHARED = Path(os.environ.get("SKILLWAY_SHARED") or Path(__file__).resolve().parents[2] / ".." / "shared")
NOBODY = Policy.of()

#: First and last address of every refused block, and the neighbours that are open (None: refused, too).
BORDERS = [
    # below, first, last, above
    (None, "0.0.0.0", "0.255.255.255", "1.0.0.0"),
    ("9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"),
    ("100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"),
    ("126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"),
    ("169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"),
    ("172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"),
    ("191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"),
    ("192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"),
    ("192.31.195.255", "192.31.196.0", "192.31.196.255", "192.31.197.0"),
    ("192.52.192.255", "192.52.193.0", "192.52.193.255", "192.52.194.0"),
    ("192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"),
    ("192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"),
    ("192.175.47.255", "192.175.48.0", "192.175.48.255", "192.175.49.0"),
    ("198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"),
    ("198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"),
    ("203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"),
    ("223.255.255.255", "224.0.0.0", "239.255.255.255", None),
    (None, "240.0.0.0", "255.255.255.255", None),
    ("168.63.129.15", "168.63.129.16", "168.63.129.16", "168.63.129.17"),
    (None, "100.100.100.200", "100.100.100.200", None),
    # IPv6: only 2000::/3 is open
    (None, "::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::"),
    (
        "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001::",
        "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:200::",
    ),
    (
        "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db8::",
        "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db9::",
    ),
    (
        "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2002::",
        "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2003::",
    ),
    (
        "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "3fff::",
        "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
        "3fff:1000::",
    ),
    ("3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None),
]

STANDING_FOR_LOOPBACK = [
    "::ffff:127.0.0.1",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b:1::127.0.0.1",
    "2002:7f00:1::1",
    "2001:0:7f00:1::",
]

METADATA = [
    "169.254.169.254",
    "169.254.170.2",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::a9fe:a9fe",
]


@pytest.mark.parametrize(("below", "first", "last", "above"), BORDERS)
def test_the_table_is_exact_at_both_borders_of_every_block(
    below: str | None, first: str, last: str, above: str | None
) -> None:
    assert verdict(first, 443, "https", NOBODY) is not None
    assert verdict(last, 443, "https", NOBODY) is not None
    for neighbour in (below, above):
        if neighbour is not None:
            assert verdict(neighbour, 443, "https", NOBODY) is None


def test_the_borders_name_every_block_of_the_table() -> None:
    firsts = {row[1] for row in BORDERS}
    # The broadcast address is the end of 240/4.
    assert {str(block.network_address) for block in DENIED_V4} - firsts == set()


@pytest.mark.parametrize("address", STANDING_FOR_LOOPBACK)
def test_an_ipv6_address_that_stands_for_loopback_is_refused(address: str) -> None:
    assert verdict(address, 443, "https", NOBODY) is not None


@pytest.mark.parametrize("address", [*METADATA, *(f"::ffff:{a}" for a in METADATA if "." in a), "64:ff9b::a9fe:a9fe"])
def test_metadata_addresses_are_refused_whatever_the_operator_allows(address: str) -> None:
    everything = Policy.of(["0.0.0.0/0", "::/0"])
    assert verdict(address, 80, "http", everything) is not None
    assert verdict(address, 443, "https", everything) is not None


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "::ffff:0.0.0.0"])
def test_addresses_of_nobody_in_particular_are_refused_whatever_the_operator_allows(address: str) -> None:
    assert verdict(address, 443, "https", Policy.of(["0.0.0.0/0", "::/0"])) is not None


def test_the_allow_list_opens_exactly_its_networks() -> None:
    policy = Policy.of(["10.1.0.0/16", "fd12::/16"])
    for address in ("10.1.0.0", "10.1.255.255", "::ffff:10.1.2.3", "fd12::1"):
        assert verdict(address, 8080, "http", policy) is None
    for address in ("10.0.255.255", "10.2.0.0", "169.254.169.254", "fd13::1", "127.0.0.1"):
        assert verdict(address, 8080, "http", policy) is not None


def test_outside_the_allow_list_only_https_is_allowed() -> None:
    assert verdict("93.184.216.34", 80, "http", NOBODY) is not None
    assert verdict("93.184.216.34", 443, "https", NOBODY) is None
    assert verdict("93.184.216.34", 8443, "https", NOBODY) is None
    assert verdict("93.184.216.34", 443, "ftp", NOBODY) is not None


def test_an_allowed_translation_prefix_does_not_open_what_it_translates_to() -> None:
    policy = Policy.of(["64:ff9b::/96"])
    assert verdict("64:ff9b::8.8.8.8", 443, "https", policy) is None
    assert verdict("64:ff9b::10.0.0.1", 443, "https", policy) is not None
    assert verdict("64:ff9b::10.0.0.1", 443, "https", Policy.of(["64:ff9b::/96", "10.0.0.0/8"])) is None


@pytest.mark.parametrize("address", ["fe80::1%eth0", "::1%lo", "127.1", "2130706433", "localhost", "", "0x7f.0.0.1"])
def test_what_is_not_a_plain_address_is_refused(address: str) -> None:
    assert verdict(address, 443, "https", Policy.of(["0.0.0.0/0", "::/0"])) is not None


@pytest.mark.parametrize(
    ("ours", "spellings"),
    [
        ("127.0.0.1", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"]),
        ("localhost", ["127.0.0.1", "::1"]),
        ("0.0.0.0", ["127.0.0.1", "::1", "::ffff:127.0.0.1"]),
        ("::", ["127.0.0.1", "::1"]),
        ("[::1]", ["::1", "127.0.0.1"]),
    ],
)
def test_our_own_listener_is_refused_by_address_and_port_and_nothing_else_of_the_machine(
    ours: str, spellings: list[str]
) -> None:
    policy = Policy.of(LOOPBACK, own=[(ours, 8080)])
    for address in spellings:
        assert verdict(address, 8080, "http", policy) is not None
        assert verdict(address, 8081, "http", policy) is None


def test_a_wildcard_listener_refuses_this_machine_and_no_other() -> None:
    ours = ipaddress.ip_address("10.0.0.7")
    policy = Policy(
        allowed=(ipaddress.ip_network("10.0.0.0/8"),),
        own=frozenset({(None, 8080)}),
        is_ours=lambda address: address == ours,
    )
    assert verdict("10.0.0.7", 8080, "http", policy) is not None
    assert verdict("10.0.0.8", 8080, "http", policy) is None
    assert verdict("10.0.0.7", 8081, "http", policy) is None


def test_a_database_on_another_machine_is_refused_there_and_its_neighbours_are_not() -> None:
    policy = Policy.of(["10.0.0.0/8"], own=[("10.0.0.5", 5432), ("10.0.0.5", 6379)])
    assert verdict("10.0.0.5", 5432, "http", policy) is not None
    assert verdict("::ffff:10.0.0.5", 6379, "http", policy) is not None
    assert verdict("10.0.0.5", 80, "http", policy) is None
    assert verdict("10.0.0.6", 5432, "http", policy) is None


@pytest.mark.parametrize("text", ["10.0.0.0/33", "10.0.0.1/8", "everything", ""])
def test_an_allow_list_that_is_no_network_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        Policy.of([text])


# URLs


@pytest.mark.parametrize(
    ("text", "origin", "path", "query"),
    [
        ("https://api.github.com", "https://api.github.com", "/", ""),
        ("HTTPS://API.GitHub.com:443/repos/", "https://api.github.com", "/repos/", ""),
        ("https://h:8443/a%2Fb/../c?x=1&y=%20#frag", "https://h:8443", "/a%2Fb/../c", "x=1&y=%20"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080", "/", ""),
        ("https://[2606:4700::1111]/dns", "https://[2606:4700::1111]", "/dns", ""),
        ("https://[0:0:0:0:0:0:0:1]:99", "https://[::1]:99", "/", ""),
        ("https://my_host.xn--bcher-kva.example", "https://my_host.xn--bcher-kva.example", "/", ""),
        ("https://1password.com?q", "https://1password.com", "/", "q"),
    ],
)
def test_a_plain_url_is_read(text: str, origin: str, path: str, query: str) -> None:
    url = parse_url_strict(text)
    assert (url.origin, url.path, url.query) == (origin, path, query)


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "//host/", "host", "https:host", "https:/host", "https:///host", "https://", "https://:443",
        "https://user@host/", "https://user:pass@host/", "https://@host/", "https://host\\@evil/",
        "https://ho\tst/", "https://host/\n", " https://host/", "https://host/ x", "https://host/\x00",
        "https://hö.example/", "https://①②⑦.⓪.⓪.①/", "https://127。0。0。1/",
        "https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "https://127.0.0.01/",
        "https://1.2.3.4.5/", "https://0/", "https://host.1/", "https://127.0.0.1./", "https://host./",
        "https://host:/", "https://host:0/", "https://host:65536/", "https://host:80:80/", "https://host:+80/",
        "https://[::1%25lo]/", "https://[::1%lo]/", "https://[::1/", "https://::1/", "https://[v1.x]/",
        "https://-host/", "https://ho..st/", "https://host%2f/", "https://ho st/", "https://host,evil/",
        "https://" + "a" * 64 + "/", "https://host/" + "a" * 9000,
        "ftp://host/", "file:///etc/passwd", "javascript:alert(1)", "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
        "unix:/var/run/docker.sock", "gopher://host/", "data:text/plain,x", "\\\\127.0.0.1\\",
    ],
)  # fmt: skip
def test_a_url_that_two_readers_could_read_differently_is_refused(text: str) -> None:
    with pytest.raises(BadUrl):
        parse_url_strict(text)


# Names


class Names:
    """A name server: what it says of each name, how often it was asked, and whether it answers at all."""

    def __init__(self, **answers: list[str]) -> None:
        self.answers = {name.replace("_", "."): found for name, found in answers.items()}
        self.asked: list[str] = []
        self.speaks = threading.Event()
        self.speaks.set()

    def __call__(self, host: str, port: int) -> Sequence[AddressInfo]:
        self.asked.append(host)
        if host.startswith("silent"):
            self.speaks.wait(20)
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        infos: list[AddressInfo] = []
        for address in self.answers[host]:
            if ":" in address:
                infos.append((socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0)))
            else:
                infos.append((socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)))
        return infos


def url(host: str, port: int = 443, scheme: str = "https") -> Url:
    return Url(scheme=scheme, host=host, port=port)


@pytest.mark.parametrize("answers", [["93.184.216.34", "10.0.0.5"], ["10.0.0.5", "93.184.216.34"]])
async def test_a_name_with_one_bad_answer_is_refused_as_a_whole(answers: list[str]) -> None:
    egress = Egress(NOBODY, lookup=Names(two_faced=answers))
    with pytest.raises(AddressRefused, match=r"10\.0\.0\.5"):
        await egress.resolve(url("two.faced"))


@pytest.mark.parametrize("address", [*STANDING_FOR_LOOPBACK, *METADATA, "10.0.0.5", "::1"])
async def test_a_name_of_an_internal_address_is_refused(address: str) -> None:
    with pytest.raises(AddressRefused):
        await Egress(NOBODY, lookup=Names(inner=[address])).resolve(url("inner"))


async def test_a_good_name_is_resolved_once_for_all_who_ask_and_again_when_it_is_old() -> None:
    now = [0.0]
    names = Names(good=["93.184.216.34", "2606:4700::1111"])
    egress = Egress(NOBODY, lookup=names, clock=lambda: now[0])
    found = await asyncio.gather(*(egress.resolve(url("good")) for _ in range(20)))
    assert {info[4][0] for info in found[0]} == {"93.184.216.34", "2606:4700::1111"}
    assert names.asked == ["good"]
    now[0] += 60
    await egress.resolve(url("good"))
    assert names.asked == ["good", "good"]


async def test_the_cache_of_names_is_bounded() -> None:
    names = Names(**{f"n{i}": ["93.184.216.34"] for i in range(20)})
    egress = Egress(NOBODY, lookup=names, names=5)
    for i in range(20):
        await egress.resolve(url(f"n{i}"))
    assert len(egress._known) == 5


async def test_a_name_that_changes_to_an_internal_address_is_judged_anew_at_the_socket() -> None:
    """DNS rebinding: what the resolver said is not what is connected to, so the socket factory has the last word."""
    egress = Egress(NOBODY, lookup=Names(rebound=["93.184.216.34"]))
    await egress.resolve(url("rebound"))
    with pytest.raises(AddressRefused):
        egress.socket_factory("https")((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 443)))
    with pytest.raises(AddressRefused):
        egress.socket_factory("https")((socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2606:4700::1", 443, 0, 2)))


async def test_rebinding_between_two_calls_opens_no_connection() -> None:
    async with hostile("answer") as public, Recorder(host="127.0.0.9", port=0) as inner:
        policy = Policy(allowed=(ipaddress.ip_network("127.0.0.1/32"),))
        names = Names(flips=["127.0.0.1"])
        async with HttpUpstream(Egress(policy, lookup=names, keep=0.0)) as upstream:
            first = await upstream.send(ask(f"http://flips:{public.port}"), limit=1000)
            assert first.status == 200
            names.answers["flips"] = ["127.0.0.9"]
            with pytest.raises(UpstreamFailed) as failed:
                await upstream.send(ask(f"http://flips:{inner.port}"), limit=1000)
        assert (failed.value.code, failed.value.sent) == ("upstream_unreachable", False)
        assert inner.connections == 0


async def test_localhost_is_reached_by_the_loopback_address_that_is_allowed() -> None:
    egress = Egress(Policy.of(["127.0.0.0/8"]), lookup=Names(localhost=["::1", "127.0.0.1"]))
    assert [info[4][0] for info in await egress.resolve(url("localhost", 8080, "http"))] == ["127.0.0.1"]
    with pytest.raises(AddressRefused):
        await Egress(NOBODY, lookup=Names(localhost=["::1", "127.0.0.1"])).resolve(url("localhost"))


async def test_our_own_public_name_is_refused_at_its_port() -> None:
    names = Names(gw_example=["93.184.216.34"])
    egress = Egress(Policy.of(own_names=[("GW.example", 443)]), lookup=names)
    with pytest.raises(AddressRefused):
        await egress.resolve(url("gw.example"))
    assert await egress.resolve(url("gw.example", 8443))


@pytest.mark.failure("R30")
async def test_a_silent_name_server_ends_the_call_and_disturbs_no_other() -> None:
    names = Names(quick=["93.184.216.34"])
    egress = Egress(NOBODY, lookup=names, deadline=0.2, threads=4)
    upstream = HttpUpstream(egress)
    silent = [
        asyncio.create_task(
            upstream.send(UpstreamRequest(method="GET", origin=f"https://silent{i}", path="/"), limit=10)
        )
        for i in range(3)
    ]
    names.speaks.clear()
    assert await egress.resolve(url("quick"))
    for task in silent:
        with pytest.raises(UpstreamFailed) as failed:
            await task
        assert (failed.value.code, failed.value.sent) == ("upstream_timeout", False)
    names.speaks.set()
    await upstream.close()


@pytest.mark.failure("R30")
async def test_a_flood_of_unknown_names_holds_a_bounded_number_of_threads() -> None:
    names = Names(known=["93.184.216.34"])
    egress = Egress(NOBODY, lookup=names, deadline=0.2, threads=4)
    await egress.resolve(url("known"))
    names.asked.clear()
    names.speaks.clear()
    waiting = [asyncio.create_task(egress.resolve(url(f"silent{i}"))) for i in range(100)]
    await asyncio.sleep(0)
    # Other work goes on beside it: what is known needs no thread, and the loop's own threads are others.
    async with asyncio.timeout(5):
        assert await egress.resolve(url("known")) and await asyncio.to_thread(int, "1") == 1
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, TimeoutError) for result in results)
    assert len(names.asked) == 4
    names.speaks.set()


async def test_an_unknown_name_is_not_asked_for_again_at_once() -> None:
    names = Names()
    egress = Egress(NOBODY, lookup=names)
    for _ in range(5):
        with pytest.raises(OSError, match="has no address"):
            await egress.resolve(url("nowhere"))
    assert names.asked == ["nowhere"]


# Every spelling of an internal address, through every door


@pytest.mark.shared
def test_no_spelling_of_an_internal_address_is_reached_through_any_door() -> None:
    """Base URL, redirect, token URL, and the socket guard alone, on both wires, with live decoys behind them."""
    spellings = SHARED / "data" / "hostile" / "internal-addresses.txt"
    if not spellings.exists():
        pytest.skip(f"no {spellings}")
    if not _may_unshare():
        pytest.skip("no network namespace can be made here: run as root, with unshare and ip")
    command = ["unshare", "--net", sys.executable, "-m", "tests.upstream.reach", str(spellings)]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    # Both wires reached the friendly upstream, and the decoys were there to be reached.
    assert (seen["controls"], seen["alive"]) == (2, 4)
    assert seen["tries"] > 1081 * 3 * 2
    assert seen["connections"] == 0


def _may_unshare() -> bool:
    if not (shutil.which("unshare") and shutil.which("ip")):
        return False
    return subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    "text", ["http://0.0.0.0", "http://127.1", "http://[::]", "http://2130706433", "ftp://127.0.0.1"]
)
async def test_a_token_url_that_is_refused_was_not_sent(text: str) -> None:
    async with HttpUpstream(Egress(Policy.of(LOOPBACK))) as upstream:
        with pytest.raises(Unreached) as unreached:
            await TokenHttp(upstream).exchange(
                HttpRequest(method="POST", url=f"{text}/token", headers={}, body=b"grant_type=x", timeout=2)
            )
    assert unreached.value.sent is False
