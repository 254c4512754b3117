"""Asks a gateway over REST with nothing but the standard library, so that a command starts at once."""

from __future__ import annotations

import http.client
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, urlencode, urlsplit

from gateway.cli.browser import is_loopback
from gateway.cli.config import Login
from gateway.cli.failures import CommandFailed, gateway_error, refused, unreached
from gateway.cli.jsontext import Json, dumps, loads

#: How long to wait for a connection, and for the next bytes of an answer. The second outlasts the 300 seconds that a
#: gateway lets a caller wait for an upstream.
CONNECT_TIMEOUT = 10.0
ANSWER_TIMEOUT = 330.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back, read whole."""

    status: int
    body: bytes
    headers: http.client.HTTPMessage

    def json(self) -> Json:
        try:
            return loads(self.body)
        except ValueError as error:
            raise _not_a_gateway() from error

    def members(self) -> dict[str, Json]:
        """The answer as an object, which every answer of the gateway but the list of keys is."""
        value = self.json()
        if not isinstance(value, dict):
            raise _not_a_gateway()
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One gateway, one key or none yet. Every request has a connection of its own; the key follows no redirect."""

    url: str
    api_key: str | None = field(repr=False)
    connect_timeout: float = CONNECT_TIMEOUT
    answer_timeout: float = ANSWER_TIMEOUT

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | None] | None = None,
        body: Json = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The answer, if it is none of the gateway's errors; CommandFailed otherwise."""
        with self.open(method, path, query=query, body=body, headers=headers) as response:
            try:
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                raise lost(error) from error
        if failed := gateway_error(response.status, content):
            raise failed
        return Answer(status=response.status, body=content, headers=response.headers)

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | None] | None = None,
        body: Json = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer with its body still to be read."""
        place = checked_url(self.url)
        target = place.path.rstrip("/") + path
        if given := {name: value for name, value in (query or {}).items() if value is not None}:
            target += "?" + urlencode(given)
        sent = {"Accept": "application/json", "User-Agent": "skillway-cli", **(headers or {})}
        if self.api_key is not None:
            sent["Authorization"] = f"Bearer {self.api_key}"
        content = None
        if body is not None:
            content = dumps(body).encode()
            sent["Content-Type"] = "application/json"
        connection, target = self._connect(place, target, sent)
        try:
            try:
                connection.request(method, target, body=content, headers=sent)
                response = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                raise lost(error) from error
            if 300 <= response.status < 400:
                raise _redirected(self.url, response.getheader("Location"))
            yield response
        finally:
            connection.close()

    def _connect(
        self, place: SplitResult, target: str, headers: dict[str, str]
    ) -> tuple[http.client.HTTPConnection, str]:
        host, tls = place.hostname or "", place.scheme == "https"
        port = place.port or (443 if tls else 80)
        proxy = None if is_loopback(host) else _proxy_for(place)
        near = (proxy.hostname or "", proxy.port or 80) if proxy else (host, port)
        connection = (
            http.client.HTTPSConnection(*near, timeout=self.connect_timeout, context=ssl.create_default_context())
            if tls
            else http.client.HTTPConnection(*near, timeout=self.connect_timeout)
        )
        if proxy and tls:
            connection.set_tunnel(host, port, headers=_proxy_headers(proxy))
        elif proxy:
            target = f"http://{place.netloc}{target}"
            headers |= {"Host": place.netloc, **_proxy_headers(proxy)}
        try:
            connection.connect()
        except (OSError, http.client.HTTPException) as error:
            raise _not_connected(self.url, error) from error
        connection.sock.settimeout(self.answer_timeout)
        return connection, target


def client_for(login: Login) -> Client:
    """The client for this login."""
    return Client(url=login.url, api_key=login.api_key)


def path_of(*segments: str) -> str:
    """The path of these segments, each one segment whatever is in it."""
    return "".join("/" + quote(segment, safe="") for segment in segments)


def checked_url(url: str) -> SplitResult:
    """The parts of a gateway's address, or CommandFailed with what is wrong with it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise _bad_url(url) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not (url.isascii() and url.isprintable()):
        raise _bad_url(url)
    if " " in url or "@" in parts.netloc or parts.query or parts.fragment:
        raise _bad_url(url)
    return parts


def lost(error: Exception) -> CommandFailed:
    """The connection stood, and no whole answer came."""
    if isinstance(error, TimeoutError):
        return unreached("The gateway did not answer in time.", code="gateway_timeout", outcome="unknown")
    return unreached(
        f"The connection to the gateway broke off: {_reason(error)}",
        code="gateway_unreachable",
        outcome="unknown",
    )


def _proxy_for(place: SplitResult) -> SplitResult | None:
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    # Costly to import, and needed only where the environment names a proxy.
    import urllib.request

    address = urllib.request.getproxies_environment().get(place.scheme)
    if not address or urllib.request.proxy_bypass(place.hostname or ""):
        return None
    proxy = urlsplit(address if "://" in address else f"http://{address}")
    if proxy.scheme != "http" or not proxy.hostname:
        raise refused(f"The proxy that the environment names for {place.scheme} is none that can be used here.")
    return proxy


def _proxy_headers(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    from base64 import b64encode

    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": "Basic " + b64encode(pair.encode()).decode("ascii")}


def _not_connected(url: str, error: Exception) -> CommandFailed:
    if isinstance(error, ssl.SSLCertVerificationError):
        return unreached(
            f"The certificate of {url} cannot be trusted: {error.verify_message}",
            code="gateway_unreachable",
            outcome="not_sent",
            hint="For an authority of your own, set SSL_CERT_FILE.",
        )
    return unreached(
        f"No gateway can be reached at {url}: {_reason(error)}",
        code="gateway_unreachable",
        outcome="not_sent",
        hint="Start one with `skillway serve`, or set SKILLWAY_URL.",
    )


def _redirected(url: str, location: str | None) -> CommandFailed:
    return refused(f"{url} sends elsewhere, to {location or 'an address it does not name'}; set SKILLWAY_URL to that.")


def _not_a_gateway() -> CommandFailed:
    return unreached(
        "What answered does not speak as a Skillway gateway does.",
        code="gateway_unreachable",
        outcome="unknown",
        hint="Is SKILLWAY_URL the address of the gateway?",
    )


def _bad_url(url: str) -> CommandFailed:
    return refused(f"{url!r} is not the address of a gateway; one looks like http://127.0.0.1:8700.")


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time."
    return f"{getattr(error, 'strerror', None) or error or type(error).__name__}."
