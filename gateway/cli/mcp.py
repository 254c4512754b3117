"""`skillway mcp`: MCP over stdin and stdout, for clients that start their servers; each message goes on to the gateway."""

from __future__ import annotations

import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from typing import BinaryIO
from urllib.parse import urlencode

import click

from gateway.cli import output
from gateway.cli.client import Client, client_for, lost
from gateway.cli.config import login_in_use
from gateway.cli.failures import CommandFailed
from gateway.cli.jsontext import Json, Number, dumps, loads

#: Messages that are on their way at once; more wait in line.
_AT_ONCE = 16
_LARGEST = 64 * 1024 * 1024
_BOTH = "application/json, text/event-stream"
_VERSION = "io.modelcontextprotocol/protocolVersion"
#: Which param the header Mcp-Name repeats (2026-07-28, "Standard Headers").
_NAMED_BY = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
_PARSE_ERROR, _INTERNAL = -32700, -32603


@click.command(short_help="Speak MCP over stdin and stdout, for clients that start their servers.")
@click.option(
    "--tools", type=click.Choice(["direct", "meta"]), help="List actions as tools, or the tools that find them."
)
@click.option("--integration", "integrations", multiple=True, metavar="SLUG", help="Only these; may be given often.")
def mcp(tools: str | None, integrations: tuple[str, ...]) -> None:
    """Speak the Model Context Protocol over stdin and stdout.

    For clients that start their servers as programs. Where a client takes an address, give it the gateway's /mcp.

    \b
    skillway mcp --integration github --tools direct
    """
    given = {"tools": tools, "integration": ",".join(integrations) or None}
    query = urlencode({name: value for name, value in given.items() if value is not None}, safe=",")
    bridge = Bridge(
        client=client_for(login_in_use()), path="/mcp" + (f"?{query}" if query else ""), out=sys.stdout.buffer
    )
    bridge.run(sys.stdin.buffer)


@dataclass(slots=True, kw_only=True)
class Bridge:
    """Messages by line from one side, as requests to the other; what the gateway answers, by line back."""

    client: Client
    path: str
    out: BinaryIO
    #: What the handshake settled and every later request repeats, where there was one.
    settled: dict[str, str] = field(default_factory=dict)
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def run(self, lines: BinaryIO) -> None:
        """Until the client closes its end; what is under way then is still answered."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            while line := lines.readline(_LARGEST):
                if line.strip():
                    pool.submit(self._take, line)

    def _take(self, line: bytes) -> None:
        try:
            message = loads(line)
        except ValueError as error:
            self._fail(None, _PARSE_ERROR, f"The line is not JSON: {error}")
            return
        members = message if isinstance(message, dict) else {}
        try:
            self._forward(message, members)
        except CommandFailed as failed:
            output.note(f"Error: {failed.problem.message}")
            if "id" in members and "method" in members:
                said = " ".join(filter(None, (failed.problem.message, failed.problem.hint)))
                self._fail(members["id"], _INTERNAL, said)

    def _forward(self, message: Json, members: dict[str, Json]) -> None:
        headers = {"Accept": _BOTH, **self._said_of(members)}
        with self.client.open("POST", self.path, body=message, headers=headers) as response:
            for answer in _messages(response):
                if members.get("method") == "initialize":
                    self._settle(answer, response.getheader("Mcp-Session-Id"))
                self._write(answer if response.status < 400 else _refusal(answer, members.get("id")))

    def _said_of(self, members: dict[str, Json]) -> dict[str, str]:
        """The headers that say what the body says."""
        method, params = members.get("method"), members.get("params")
        params = params if isinstance(params, dict) else {}
        meta = params.get("_meta")
        version = meta.get(_VERSION) if isinstance(meta, dict) else None
        if not isinstance(version, str) or not isinstance(method, str):
            return {} if method == "initialize" else dict(self.settled)
        headers = {"MCP-Protocol-Version": _fit(version), "Mcp-Method": _fit(method)}
        name = params.get(_NAMED_BY.get(method, ""))
        return headers | ({"Mcp-Name": _fit(name)} if isinstance(name, str) else {})

    def _settle(self, answer: bytes, session: str | None) -> None:
        match loads(answer):
            case {"result": {"protocolVersion": str(version)}}:
                self.settled = {"MCP-Protocol-Version": version} | ({"Mcp-Session-Id": session} if session else {})

    def _fail(self, id: Json, code: int, message: str) -> None:
        error = f'"code":{code},"message":{dumps(message)}'
        self._write(f'{{"jsonrpc":"2.0","id":{dumps(id)},"error":{{{error}}}}}'.encode())

    def _write(self, message: bytes) -> None:
        # In JSON a line end stands between values only, where a space means the same.
        line = message.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n"
        with self._writing:
            self.out.write(line)
            self.out.flush()


def _refusal(answer: bytes, id: Json) -> bytes:
    """What was refused before it was read has no id yet; and a proxy in between speaks no JSON-RPC."""
    said = loads(answer)
    error = said.get("error") if isinstance(said, dict) else None
    if isinstance(error, dict):
        return dumps({"jsonrpc": "2.0", "id": id, "error": error}).encode()
    told = said.get("message") if isinstance(said, dict) else None
    problem: Json = {"code": Number(text=str(_INTERNAL)), "message": told or "The gateway gave no answer."}
    return dumps({"jsonrpc": "2.0", "id": id, "error": problem}).encode()


def _messages(response: HTTPResponse) -> Iterator[bytes]:
    """The messages of an answer: one of JSON, or the events of a stream as they come."""
    kind = response.headers.get_content_type()
    try:
        if kind == "text/event-stream":
            yield from _events(response)
        elif kind == "application/json" and (body := response.read()):
            yield body
        elif response.status >= 400:
            yield b'{"message":"HTTP %d came back, and not in the words of a gateway."}' % response.status
    except (OSError, HTTPException) as error:
        raise lost(error) from error


def _events(response: HTTPResponse) -> Iterator[bytes]:
    """The data of each event (HTML §9.2.6)."""
    data: list[bytes] = []
    for line in response:
        line = line.rstrip(b"\r\n")
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif not line and data:
            yield b"\n".join(data)
            data = []


def _fit(value: str) -> str:
    """The value as a header can carry it (2026-07-28, "Value Encoding")."""
    plain = value.isascii() and value.isprintable() and value == value.strip()
    if plain and not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    return f"=?base64?{b64encode(value.encode()).decode()}?="
