"""How accounts are connected, and how calls get their credentials."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.connections.clients import OAuthClient
from gateway.core.connections.connecting import Connecting
from gateway.core.connections.connections import Connections
from gateway.core.connections.consent import Consent
from gateway.core.connections.credentials import Credentials
from gateway.core.connections.establishing import Establishing
from gateway.core.connections.providers import Providers
from gateway.core.connections.wishes import Wishes
from gateway.core.discovery import Discovery
from gateway.store.clients import SqlClients
from gateway.store.connections import SqlConnections
from gateway.store.flows import SqlFlows
from gateway.wiring.ground import Ground
from gateway.wiring.tenants import Tenants
from oauth.credentials import CredentialSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """Connections, and the two ways to one: an agent's and a person's."""

    connections: Connections
    providers: Providers
    credentials: Credentials
    discovery: Discovery
    flows: SqlFlows
    connecting: Connecting
    consent: Consent


def make_connections(ground: Ground, tenants: Tenants) -> Connected:
    database, vault, clock, settings = ground.database, ground.vault, ground.clock, ground.settings
    catalogs, http, orgs, plans = ground.catalogs, ground.http, tenants.orgs, tenants.plans
    flows = SqlFlows(database, vault, clock=clock)
    connections = Connections(SqlConnections(database, vault, clock=clock))
    providers = Providers(
        catalogs,
        {
            slug: OAuthClient(integration=slug, client_id=override.client_id, client_secret=override.client_secret)
            for slug, override in ground.installation.overrides.items()
            if override.client_id is not None
        },
        SqlClients(database, vault, clock=clock),
        public_url=ground.public_url,
        tenancy=settings.tenancy,
    )
    source = CredentialSource(
        connections, ground.leases, http, providers.for_connection, owner_id=ground.owner_id, clock=clock
    )
    ground.stack.push_async_callback(source.close)
    wishes = Wishes(
        providers=providers,
        orgs=orgs,
        connections=connections,
        plans=plans,
        tenancy=settings.tenancy,
        verify=settings.verify_connect,
        clock=clock,
    )
    establishing = Establishing(
        catalogs=catalogs,
        providers=providers,
        flows=flows,
        connections=connections,
        plans=plans,
        changes=ground.changes,
        http=http,
        upstream=ground.upstream,
        outgoing=ground.outgoing,
        clock=clock,
    )
    return Connected(
        connections=connections,
        providers=providers,
        credentials=Credentials(source, providers, ground.links, clock),
        discovery=Discovery(catalogs, connections, providers, ground.public_url),
        flows=flows,
        connecting=Connecting(
            catalogs=catalogs,
            providers=providers,
            flows=flows,
            orgs=orgs,
            connections=connections,
            wishes=wishes,
            establishing=establishing,
            changes=ground.changes,
            links=ground.links,
            http=http,
            clock=clock,
        ),
        consent=Consent(
            catalogs=catalogs,
            providers=providers,
            flows=flows,
            orgs=orgs,
            wishes=wishes,
            establishing=establishing,
            links=ground.links,
            verify=settings.verify_connect,
            clock=clock,
        ),
    )
