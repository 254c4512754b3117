"""A small real gateway on loopback: it speaks the REST contract from its state, and remembers what it was asked."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

KEY = "sk_test_gw_" + "a1B2c3" * 7 + "xy"

CREATE_ISSUE: dict[str, Any] = {
    "integration": "github",
    "name": "create_issue",
    "title": "Create issue",
    "method": "POST",
    "path": "/repos/{+repo}/issues",
    "category": "issues",
    "description": "Open an issue in a repository.",
    "effect": "create",
    "idempotent": False,
    "scopes": ["repo"],
    "parameters": {
        "type": "object",
        "properties": {
            "repo": {"type": "string", "description": "Owner and name."},
            "title": {"type": "string", "description": "Title of the issue."},
            "body": {"type": "string"},
            "labels": {"type": "array", "items": {"type": "string"}},
            "draft": {"type": "boolean"},
            "per_page": {"type": "integer"},
            "weight": {"type": "number"},
            "extra": {"type": "object"},
            "bundle": {
                "type": "object",
                "properties": {
                    "filename": {"type": "string"},
                    "content_type": {"type": "string"},
                    "content": {"type": "string", "contentEncoding": "base64"},
                },
            },
        },
        "required": ["repo", "title"],
        "additionalProperties": False,
    },
    "examples": [
        {
            "cli": "skillway run github create_issue --repo acme/webapp --title 'Bug report'",
            "params": {"repo": "acme/webapp", "title": "Bug report"},
            "response": {"status": 201, "data": {"number": 7}},
        }
    ],
    "errors": [{"code": "410", "description": "Gone", "fix": "Issues are switched off in this repository."}],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer that a test wants instead of the usual one."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Seconds before the answer begins.
    after: float = 0.0
    #: The connection ends after so many bytes of the body.
    cut_at: int | None = None


def error(status: int, code: str, message: str, **more: Any) -> Reply:
    return Reply(status=status, body=json.dumps({"error": code, "message": message, **more}).encode())


def upstream(status: int, data: str, **more: str) -> Reply:
    """An upstream's answer in the gateway's envelope; `data` is JSON text."""
    body = f'{{"status": {status}, "data": {data}}}'.encode()
    return Reply(body=body, headers={"X-Upstream-Status": str(status), **more})


class FakeGateway:
    """The gateway: `asked` is what arrived, `replies` overrides answers by (method, path)."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.replies: dict[tuple[str, str], Reply] = {}
        #: Answers to give one after the other before the usual ones, by (method, path).
        self.queued: dict[tuple[str, str], list[Reply]] = {}
        self.polls_until_connected = 1
        #: Polls of a device that are told to wait before somebody approves.
        self.polls_until_approved = 1
        self.connected: set[str] = {"github"}
        self.connections = [
            {
                "id": "conn_1",
                "integration": "github",
                "user": "default",
                "account": "octocat",
                "state": "active",
            }
        ]
        self._polls = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._tls = tls is not None
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self._server.server_port}"

    def calls(self, method: str, path: str) -> list[Asked]:
        return [asked for asked in self.asked if (asked.method, asked.path) == (method, path)]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        route = (asked.method, asked.path)
        if queue := self.queued.get(route):
            return queue.pop(0)
        if reply := self.replies.get(route):
            return reply
        if asked.path.startswith("/auth/device/"):
            return self._device(asked)
        if "authorization" not in asked.headers:
            return error(401, "unauthorized", "Missing or invalid authorization.")
        if asked.headers["authorization"] != f"Bearer {KEY}":
            return error(401, "api_key_invalid", "Invalid API key.", action_url=f"{self.url}/keys")
        found = self._usual(asked)
        return found if isinstance(found, Reply) else Reply(body=json.dumps(found).encode())

    def _device(self, asked: Asked) -> Reply:
        """RFC 8628, for one device."""
        if asked.path == "/auth/device/code":
            begun = {
                "device_code": "the-device-code",
                "user_code": "BCDF-GHJK",
                "verification_uri": f"{self.url}/device",
                "verification_uri_complete": f"{self.url}/device?user_code=BCDF-GHJK",
                "expires_in": 900,
                "interval": 1,
            }
            return Reply(body=json.dumps(begun).encode())
        if asked.json.get("device_code") != "the-device-code":
            return error(404, "not_found", "There is no such device code.")
        if len(self.calls("POST", "/auth/device/token")) <= self.polls_until_approved:
            return error(400, "authorization_pending", "Nobody has approved yet.")
        return Reply(body=json.dumps({"status": "complete", "access_token": KEY, "token_type": "Bearer"}).encode())

    def _usual(self, asked: Asked) -> Reply | dict[str, Any]:
        match asked.method, asked.path.strip("/").split("/"):
            case "GET", ["v1", "verify"]:
                return {
                    "org": {"id": "org_1", "name": "Acme"},
                    "api_key": {"name": "dev", "key_prefix": KEY[:16], "scopes": ["*"], "mode": "test"},
                }
            case "GET", ["v1", "skills"]:
                return {"integrations": [self._integration()]}
            case "GET", ["v1", "skills", "search"]:
                found = {"integration": "github", "action": "create_issue", "description": "Open an issue."}
                return {"skills": [{**found, "score": 1.0, "connected": True}]}
            case "GET", ["v1", "skills", "github"]:
                columns = ("name", "title", "method", "category", "description", "effect")
                return {
                    "integration": "github",
                    "name": "GitHub",
                    "description": "Issues and more.",
                    "connected": True,
                    "skills": [{column: CREATE_ISSUE[column] for column in columns}],
                }
            case "GET", ["v1", "skills", "github", "create_issue"]:
                return CREATE_ISSUE
            case "GET", ["v1", "github", "download"]:
                main = {"cursor": "skillway-github.mdc", "windsurf": "skillway-github.md"}
                return {
                    "slug": "github",
                    "name": "skillway-github",
                    "files": [
                        {"file_path": main.get(asked.query["form"], "SKILL.md"), "content": "---\nname: skillway-github\n---\n# GitHub ☃\n"},
                        {"file_path": "endpoints/issues/create_issue.md", "content": "# create_issue\n"},
                    ],
                }
            case "POST", ["v1", "connect"]:
                return self._begin(asked)
            case "GET", ["v1", "connect", "conn_new"]:
                self._polls += 1
                done = self._polls >= self.polls_until_connected
                state = {
                    "status": "connected" if done else "pending",
                    "integration": "github",
                    "user": "default",
                }
                return {**state, "account": "octocat"} if done else state
            case "GET", ["v1", "connections"]:
                return {"connections": self.connections}
            case "DELETE", ["v1", "connections", connection]:
                if all(known["id"] != connection for known in self.connections):
                    return error(404, "not_found", "Connection not found.")
                self.connections = [known for known in self.connections if known["id"] != connection]
                return Reply(status=204, body=b"")
            case "POST", ["v1", "github", "create_issue"]:
                return self._create_issue(asked)
        return error(404, "not_found", f"{asked.path} not found.")

    def _integration(self) -> dict[str, Any]:
        return {
            "slug": "github",
            "name": "GitHub",
            "description": "Issues and more.",
            "categories": ["developer-tools"],
            "auth": ["oauth", "token"],
            "connected": "github" in self.connected,
            "available": True,
            "skill_count": 1,
            "version": "1.0.0",
        }

    def _begin(self, asked: Asked) -> Reply | dict[str, Any]:
        body = asked.json
        if body["integration"] != "github":
            return error(404, "not_found", "Integration not found.", hint="Did you mean github?")
        if "credentials" in body:
            if "token" not in body["credentials"]:
                return error(400, "bad_request", "credentials: token is missing.")
            return {
                "connection_id": "conn_new",
                "oauth_url": f"{self.url}/connect/conn_new",
                "status": "connected",
            }
        return {"connection_id": "conn_new", "oauth_url": f"{self.url}/connect/conn_new", "status": "pending"}

    def _create_issue(self, asked: Asked) -> Reply:
        params = asked.json["params"]
        properties = CREATE_ISSUE["parameters"]["properties"]
        for name in params:
            if name not in properties:
                near = get_close_matches(name, properties, n=1)
                hint = f"Did you mean {near[0]}?" if near else None
                return error(400, "bad_request", f"{name} is no param of create_issue.", hint=hint)
        if "github" not in self.connected:
            return error(
                403,
                "integration_not_connected",
                "The user needs to connect their github account first.",
                action_url=f"{self.url}/connect/new?integration=github",
            )
        return upstream(201, '{"number": 7, "html_url": "https://github.com/acme/webapp/issues/7"}')


def _handler(gateway: FakeGateway) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """The requests are in `asked`; stderr is for the tests."""

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            parts = urlsplit(self.path)
            reply = gateway.answer(
                Asked(
                    method=self.command,
                    path=parts.path,
                    query=dict(parse_qsl(parts.query, keep_blank_values=True)),
                    headers={name.lower(): value for name, value in self.headers.items()},
                    body=self.rfile.read(length),
                )
            )
            time.sleep(reply.after)
            self.close_connection = True
            try:
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                if reply.status != 204:
                    self.send_header("Content-Length", str(len(reply.body)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(reply.body[: reply.cut_at])
            except OSError:
                # The caller has gone, which some tests are about.
                return

        do_GET = do_POST = do_DELETE = handle_any

    return Handler
