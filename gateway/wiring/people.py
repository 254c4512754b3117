"""How people come in: sign-in by link or OpenID, sessions, sign-up, devices, and the keys they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.people.devices import Devices
from gateway.core.people.form_tokens import FormTokens
from gateway.core.people.id_tokens import IdTokens, resource_of
from gateway.core.people.sessions import Sessions
from gateway.core.people.sign_in import SignIn
from gateway.core.people.sign_up import SignUp
from gateway.core.tenants.api_keys import ApiKeys
from gateway.settings import Settings
from gateway.store.device_flows import SqlDeviceFlows
from gateway.store.sessions import SqlSessions
from gateway.store.sign_in_flows import SqlSignInFlows
from gateway.store.sign_in_links import SqlSignInLinks
from gateway.store.sign_ups import SqlSignUps
from gateway.wiring.connections import Connected
from gateway.wiring.ground import Ground
from gateway.wiring.tenants import Tenants
from oauth.http_port import Http
from oauth.oidc import OpenIdProvider


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Members and those who become some."""

    api_keys: ApiKeys
    sessions: Sessions
    sign_in: SignIn
    sign_up: SignUp
    devices: Devices
    id_tokens: IdTokens
    form_tokens: FormTokens
    session_rows: SqlSessions
    sign_in_links: SqlSignInLinks
    sign_in_flows: SqlSignInFlows
    device_flows: SqlDeviceFlows


def make_people(ground: Ground, tenants: Tenants, connected: Connected) -> People:
    database, clock, settings, tries = ground.database, ground.clock, ground.settings, ground.tries
    keys, members, orgs, plans = tenants.keys, tenants.members, tenants.orgs, tenants.plans
    openid = _openid(settings, ground.http, clock)
    session_rows, sign_in_links = SqlSessions(database, clock=clock), SqlSignInLinks(database, clock=clock)
    sign_in_flows, device_flows = SqlSignInFlows(database, clock=clock), SqlDeviceFlows(database, clock=clock)
    sessions = Sessions(session_rows, plans, clock=clock)
    api_keys = ApiKeys(
        store=keys,
        access=tenants.access,
        plans=plans,
        catalogs=ground.catalogs,
        connections=connected.connections,
        clock=clock,
    )
    sign_up = SignUp(
        by=settings.signup,
        token=settings.signup_token,
        plan=settings.signup_plan,
        openid=openid,
        members=members,
        store=SqlSignUps(database, clock=clock),
        tries=tries,
        clock=clock,
    )
    return People(
        api_keys=api_keys,
        sessions=sessions,
        sign_in=SignIn(
            members=members,
            orgs=orgs,
            sessions=sessions,
            links=sign_in_links,
            flows=sign_in_flows,
            sign_up=sign_up,
            tries=tries,
            openid=openid,
            http=ground.http,
            public_url=ground.public_url,
            key=ground.key_for("sign-in"),
            clock=clock,
        ),
        sign_up=sign_up,
        devices=Devices(
            flows=device_flows,
            tries=tries,
            api_keys=api_keys,
            keys=keys,
            members=members,
            orgs=orgs,
            plans=plans,
            public_url=ground.public_url,
            key=ground.key_for("device codes"),
            clock=clock,
        ),
        id_tokens=IdTokens(openid, members, orgs, plans, resource_of(ground.public_url)),
        form_tokens=FormTokens(ground.key_for("forms")),
        session_rows=session_rows,
        sign_in_links=sign_in_links,
        sign_in_flows=sign_in_flows,
        device_flows=device_flows,
    )


def _openid(settings: Settings, http: Http, clock: Callable[[], float]) -> OpenIdProvider | None:
    if settings.oidc_issuer is None or settings.oidc_client_id is None:
        return None
    return OpenIdProvider(
        http,
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret,
        clock=clock,
    )
