"""What a handler may reach: the core's services, held once in the application."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from gateway.core.calls.preflight import Preflight
from gateway.core.calls.sandbox import Sandbox
from gateway.core.catalogs import Catalogs
from gateway.core.connections.connecting import Connecting
from gateway.core.connections.consent import Consent
from gateway.core.discovery import Discovery
from gateway.core.events import EventStore
from gateway.core.gateway import Gateway
from gateway.core.health import Health
from gateway.core.messages.hooks import Hooks
from gateway.core.messages.webhooks import Webhooks
from gateway.core.people.devices import Devices
from gateway.core.people.form_tokens import FormTokens
from gateway.core.people.id_tokens import IdTokens
from gateway.core.people.sessions import Sessions
from gateway.core.people.sign_in import SignIn
from gateway.core.people.sign_up import SignUp
from gateway.core.requests.files import Files
from gateway.core.room import Room
from gateway.core.runs.approvals import Approvals
from gateway.core.runs.results import Results
from gateway.core.runs.run_book import RunBook
from gateway.core.tenants.access import Access
from gateway.core.tenants.api_keys import ApiKeys
from gateway.core.tenants.keys import Principal
from gateway.core.tenants.limits import Limits, Rate
from gateway.core.tenants.usage import Usage
from gateway.settings import Settings
from gateway.web.description import Description
from gateway.web.request_log import RequestLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The doors of the core that surfaces go through."""

    settings: Settings
    public_url: str
    catalogs: Catalogs
    access: Access
    api_keys: ApiKeys
    events: EventStore
    limits: Limits
    usage: Usage
    gateway: Gateway
    preflight: Preflight
    sandbox: Sandbox
    approvals: Approvals
    runs: RunBook
    results: Results
    files: Files
    discovery: Discovery
    description: Description
    connecting: Connecting
    consent: Consent
    sessions: Sessions
    id_tokens: IdTokens
    sign_in: SignIn
    sign_up: SignUp
    devices: Devices
    form_tokens: FormTokens
    webhooks: Webhooks
    hooks: Hooks
    health: Health
    room: Room
    #: From here on this process takes up no further run.
    stop_taking: Callable[[], None]
    request_log: RequestLog
    clock: Callable[[], float]


SERVICES = web.AppKey("services", Services)
#: What the log line of a request tells.
REQUEST_ID = web.RequestKey("request_id", str)
#: What the key may still ask in this minute, where that is limited.
RATE = web.RequestKey("rate", Rate)
PRINCIPAL = web.RequestKey("principal", Principal)
#: What else every answer to the request carries: that its route or action is deprecated.
MORE_HEADERS = web.RequestKey("more_headers", Mapping[str, str])
#: Whose part of the room for bodies the request has, and how much of it.
ROOM = web.RequestKey("room", tuple[str, int])
#: Set where the connection is closed after the answer: what follows on it cannot be told apart from the body.
LAST = web.RequestKey("last", bool)


def services(request: web.Request) -> Services:
    return request.app[SERVICES]
