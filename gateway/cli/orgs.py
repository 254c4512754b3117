"""`skillway orgs`: orgs, their members, their keys, their own OAuth clients."""

from __future__ import annotations

import sys
from secrets import token_urlsafe
from time import time
from typing import Any

import click

from gateway.cli import output
from gateway.cli.failures import refused
from gateway.cli.operator import print_json, public_url, run, settings_of, settings_options
from gateway.core.connections.clients import OAuthClient
from gateway.core.events import OPERATOR
from gateway.core.people.sign_in import LINK_LIFETIME
from gateway.core.tenants.api_keys import shown
from gateway.core.tenants.grants import Grant
from gateway.core.tenants.keys import ApiKey, Org
from gateway.core.tenants.ledger import Entry
from gateway.core.tenants.members import Member, email_of
from gateway.core.times import iso
from gateway.installation import Opened, open_installation, read_catalog
from gateway.operator_file import Installation
from gateway.plans import NUMBERS, read_number
from gateway.store.clients import SqlClients
from gateway.store.keys import SqlKeys
from gateway.store.ledger import SqlLedger
from gateway.store.members import SqlMembers
from gateway.store.orgs import SqlOrgs
from gateway.store.sign_in_links import SqlSignInLinks
from oauth.flow import hash_state
from oauth.secret import Secret
from skills_catalog.names import nearest


@click.group()
def orgs() -> None:
    """Make orgs, their members, their keys and their OAuth clients."""


@orgs.command()
@settings_options
@click.option("--name", required=True, help="Name of the org, shown to people who connect accounts.")
@click.option("--plan", help="A plan of skills.yaml; without one the org has no limits.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, whatever stdout is.")
def create(name: str, plan: str | None, as_json: bool, **flags: Any) -> None:
    """Make an org.

    \b
    skillway orgs create --name Acme --json
    """
    settings, installation = settings_of(**flags)
    if plan is not None:
        _check_plan(plan, installation)

    async def work() -> Org:
        async with open_installation(settings) as opened:
            return await SqlOrgs(opened.database).create(_named(name), plan=plan)

    _print_one(_org(run(work())), as_json)


@orgs.command(name="list")
@settings_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON, whatever stdout is.")
def list_orgs(as_json: bool, **flags: Any) -> None:
    """List all orgs.

    \b
    skillway orgs list
    """
    settings, _ = settings_of(**flags)

    async def work() -> list[dict[str, Any]]:
        async with open_installation(settings) as opened:
            return [_org(org) for org in await SqlOrgs(opened.database).list()]

    found = run(work())
    if output.for_people(as_json):
        output.table(("id", "name", "plan"), [(org["id"], org["name"], org["plan"] or "-") for org in found])
    else:
        print_json({"orgs": found})


@orgs.command(name="set-plan")
@settings_options
@click.argument("org")
@click.argument("plan")
@click.option(
    "--set", "numbers", multiple=True, metavar="LIMIT=N", help=f"For this org alone: {', '.join(NUMBERS)}; or null."
)
def set_plan(org: str, plan: str, numbers: tuple[str, ...], **flags: Any) -> None:
    """Give an org PLAN of skills.yaml, or `none`. It holds within two seconds.

    \b
    skillway orgs set-plan org_5494 pro --set requests_per_minute=500
    """
    settings, installation = settings_of(**flags)
    if plan != "none":
        _check_plan(plan, installation)
    own = dict(_number(text) for text in numbers)

    async def work() -> Org | None:
        async with open_installation(settings) as opened:
            await _found(opened, org)
            stored = SqlOrgs(opened.database)
            await stored.set_plan(org, None if plan == "none" else plan, own)
            return await stored.find(org)

    changed = run(work())
    assert changed is not None
    _print_one(_org(changed), as_json=False)


@orgs.command(name="credit")
@settings_options
@click.argument("org")
@click.argument("amount", type=int)
@click.option("--note", required=True, help="Why; it stands in the org's ledger.")
def credit(org: str, amount: int, note: str, **flags: Any) -> None:
    """Give an org AMOUNT credits for this month beyond its plan's; a negative AMOUNT (after `--`) takes them.

    \b
    skillway orgs credit org_5494 500 --note 'for the outage'
    """
    settings, _ = settings_of(**flags)

    async def work() -> Entry:
        async with open_installation(settings) as opened:
            await _found(opened, org)
            return await SqlLedger(opened.database).adjust(org, amount, _named(note), by=OPERATOR)

    print_json(run(work()).shown())


@orgs.command(name="create-key")
@settings_options
@click.argument("org")
@click.option("--name", required=True, help="What the key is for.")
@click.option("--test", "is_test", is_flag=True, help="A sandbox key: answered from examples, never sent upstream.")
@click.option("--scopes", default="*", show_default=True, help="Integrations it may use, by comma.")
@click.option("--expires-in-days", type=click.IntRange(1, 3650), help="When it stops working.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, whatever stdout is.")
def create_key(
    org: str, name: str, is_test: bool, scopes: str, expires_in_days: int | None, as_json: bool, **flags: Any
) -> None:
    """Make a key of an org. Its text is shown this once.

    \b
    skillway orgs create-key org_5494 --name agent --scopes github,slack --json
    """
    settings, installation = settings_of(**flags)
    wanted = tuple(scope.strip() for scope in scopes.split(",") if scope.strip())
    if not wanted:
        raise refused("--scopes is empty; say `*` or integration slugs by comma.")
    catalog = read_catalog(installation)
    for scope in wanted:
        if scope != "*" and catalog.get(scope) is None:
            near = catalog.nearest_integration(scope)
            raise refused(f"There is no integration {scope!r}.", hint=f"Did you mean {near!r}?" if near else None)

    async def work() -> tuple[ApiKey, Secret]:
        async with open_installation(settings) as opened:
            await _found(opened, org)
            expires_at = time() + expires_in_days * 86400 if expires_in_days else None
            return await SqlKeys(opened.database).create(
                org, _named(name), "test" if is_test else "live", Grant(scopes=wanted, expires_at=expires_at)
            )

    key, text = run(work())
    if output.for_people(as_json):
        print(f"\n  {text.reveal()}\n\nSave this key now: it is not shown again.")
    else:
        print_json(
            {"api_key": _key(key), "full_key": text.reveal(), "warning": "Save this key now: it is not shown again."}
        )


@orgs.command()
@settings_options
@click.argument("org")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, whatever stdout is.")
def keys(org: str, as_json: bool, **flags: Any) -> None:
    """List the keys of an org, revoked ones too.

    \b
    skillway orgs keys org_5494
    """
    settings, _ = settings_of(**flags)

    async def work() -> list[ApiKey]:
        async with open_installation(settings) as opened:
            await _found(opened, org)
            return list(await SqlKeys(opened.database).list(org))

    found = run(work())
    if not output.for_people(as_json):
        print_json({"api_keys": [_key(key) for key in found]})
        return
    rows = [
        (key.id, key.name, key.prefix, "revoked" if key.revoked_at is not None else "active", iso(key.last_used_at))
        for key in found
    ]
    output.table(("id", "name", "prefix", "state", "last used"), rows)


@orgs.command(name="revoke-key")
@settings_options
@click.argument("org")
@click.argument("key")
def revoke_key(org: str, key: str, **flags: Any) -> None:
    """Revoke a key by its id. Running gateways refuse it within two seconds; the org's other keys go on.

    \b
    skillway orgs revoke-key org_5494 key_90d2
    """
    settings, _ = settings_of(**flags)

    async def work() -> bool:
        async with open_installation(settings) as opened:
            await _found(opened, org)
            return await SqlKeys(opened.database).revoke(org, key)

    if not run(work()):
        raise refused(f"The org has no key {key!r} that works.", hint=f"`skillway orgs keys {org}` shows all.")
    print_json({"id": key, "revoked": True})


@orgs.command()
@settings_options
@click.argument("org")
@click.argument("email")
@click.option("--name", help="What the person is called.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, whatever stdout is.")
def invite(org: str, email: str, name: str | None, as_json: bool, **flags: Any) -> None:
    """Make a link by which the person with that EMAIL signs in for an org, and the member if there is none yet.

    The link works once, for a day; another one replaces it. It is nobody else's business.

    \b
    skillway orgs invite org_5494 ada@example.com --name Ada
    """
    settings, _ = settings_of(**flags)
    address, called = email_of(email), _named(name) if name is not None else None
    if address is None:
        raise refused(f"{email!r} is no email address.")
    link = Secret(token_urlsafe(32))
    url = f"{public_url(settings)}/sign-in/link?t={link.reveal()}"

    async def work() -> Member:
        async with open_installation(settings) as opened:
            await _found(opened, org)
            member = await _invited(SqlMembers(opened.database), org, address, called)
            until = time() + LINK_LIFETIME
            await SqlSignInLinks(opened.database).make(member, hash_state(link.reveal()), expires_at=until)
            return member

    member = run(work())
    if output.for_people(as_json):
        output.note(f"{member.shown_name} signs in by this link, once, within 24 hours:")
        print(f"\n  {url}\n")
    else:
        print_json({"member": _member(member), "sign_in_url": url, "expires_in": int(LINK_LIFETIME)})


@orgs.command()
@settings_options
@click.argument("org")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, whatever stdout is.")
def members(org: str, as_json: bool, **flags: Any) -> None:
    """List the people who sign in for an org.

    \b
    skillway orgs members org_5494
    """
    settings, _ = settings_of(**flags)

    async def work() -> list[Member]:
        async with open_installation(settings) as opened:
            await _found(opened, org)
            return list(await SqlMembers(opened.database).list(org))

    found = [_member(member) for member in run(work())]
    if not output.for_people(as_json):
        print_json({"members": found})
        return
    names = ("id", "email", "name", "issuer", "signed_in_at")
    output.table(names, [tuple(member[name] for name in names) for member in found])


@orgs.command(name="remove-member")
@settings_options
@click.argument("org")
@click.argument("member")
def remove_member(org: str, member: str, **flags: Any) -> None:
    """Remove a member by id. They are signed out everywhere at once; keys that they made go on.

    \b
    skillway orgs remove-member org_5494 mem_17ac
    """
    settings, _ = settings_of(**flags)

    async def work() -> bool:
        async with open_installation(settings) as opened:
            await _found(opened, org)
            return await SqlMembers(opened.database).remove(org, member)

    if not run(work()):
        raise refused(f"The org has no member {member!r}.", hint=f"`skillway orgs members {org}` shows all.")
    print_json({"id": member, "removed": True})


@orgs.command(name="set-client")
@settings_options
@click.argument("org")
@click.argument("integration")
@click.option("--client-id", help="What the provider calls the client.")
@click.option(
    "--client-secret-stdin", is_flag=True, help="Read the client secret from stdin, never from the command line."
)
@click.option("--remove", is_flag=True, help="Forget the org's client instead.")
def set_client(
    org: str, integration: str, client_id: str | None, client_secret_stdin: bool, remove: bool, **flags: Any
) -> None:
    """Give an org an OAuth client of its own for INTEGRATION.

    \b
    skillway orgs set-client org_5494 github --client-id Ov23li --client-secret-stdin < secret.txt
    """
    settings, installation = settings_of(**flags)
    catalog = read_catalog(installation)
    if catalog.get(integration) is None:
        near = catalog.nearest_integration(integration)
        raise refused(f"There is no integration {integration!r}.", hint=f"Did you mean {near!r}?" if near else None)
    if remove == (client_id is not None):
        raise refused("Say either --client-id or --remove.")
    uri = "" if remove else f"{public_url(settings)}/oauth/callback/{integration}.{org}"
    secret = None
    if client_secret_stdin:
        text = click.prompt("Client secret", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read()
        secret = Secret(text.strip())

    async def work() -> bool:
        async with open_installation(settings) as opened:
            await _found(opened, org)
            clients = SqlClients(opened.database, opened.vault)
            if client_id is None:
                return await clients.remove(org, integration)
            client = OAuthClient(integration=integration, client_id=client_id, client_secret=secret, org=org)
            await clients.save(org, client)
            return True

    changed = run(work())
    if remove:
        print_json({"removed": changed})
        return
    output.note(f"Register this redirect URI at the provider: {uri}")
    print_json({"org": org, "integration": integration, "client_id": client_id, "redirect_uri": uri})


@orgs.command()
@settings_options
@click.argument("org")
@click.option("--undo", is_flag=True, help="Let it call again.")
def suspend(org: str, undo: bool, **flags: Any) -> None:
    """Refuse every call of an org until further notice.

    \b
    skillway orgs suspend org_5494
    skillway orgs suspend org_5494 --undo
    """
    settings, _ = settings_of(**flags)

    async def work() -> None:
        async with open_installation(settings) as opened:
            await _found(opened, org)
            await SqlOrgs(opened.database).suspend(org, suspended=not undo)

    run(work())
    print_json({"id": org, "suspended": not undo})


async def _found(opened: Opened, org: str) -> Org:
    found = await SqlOrgs(opened.database).find(org)
    if found is None:
        raise refused(f"There is no org {org!r}.", hint="`skillway orgs list` shows all.")
    return found


async def _invited(stored: SqlMembers, org: str, email: str, name: str | None) -> Member:
    known = await stored.by_email(email)
    if known is not None and known.org != org:
        raise refused(f"{email} is a member of the org {known.org}; a person belongs to one org.", code="conflict")
    return known or await stored.add(org, email=email, name=name)


def _named(name: str) -> str:
    if not name.strip() or len(name) > 128 or not name.isprintable():
        raise refused("A name is 1 to 128 printable characters.")
    return name.strip()


def _check_plan(plan: str, installation: Installation) -> None:
    if plan not in installation.plans:
        near = nearest(plan, installation.plans)
        raise refused(f"There is no plan {plan!r} in skills.yaml.", hint=f"Did you mean {near!r}?" if near else None)


def _number(text: str) -> tuple[str, int | None]:
    name, equals, value = text.partition("=")
    if name not in NUMBERS or not equals:
        near = nearest(name, NUMBERS)
        hint = f"Did you mean {near}?" if near else f"Known here: {', '.join(NUMBERS)}."
        raise refused(f"--set {text}: expected LIMIT=N.", hint=hint)
    try:
        return name, read_number(value)
    except ValueError as error:
        raise refused(f"--set {text}: expected {error}.") from None


def _org(org: Org) -> dict[str, Any]:
    return {
        "id": org.id,
        "name": org.name,
        "plan": org.plan,
        "numbers": dict(org.numbers),
        "created_at": iso(org.created_at),
        "suspended": org.suspended_at is not None,
    }


def _key(key: ApiKey) -> dict[str, Any]:
    return {"org": key.org, **shown(key, time())}


def _member(member: Member) -> dict[str, Any]:
    return {
        "id": member.id,
        "org": member.org,
        "email": member.email,
        "name": member.name,
        "issuer": member.issuer,
        "created_at": iso(member.created_at),
        "signed_in_at": iso(member.signed_in_at),
    }


def _print_one(shown: dict[str, Any], as_json: bool) -> None:
    if output.for_people(as_json):
        output.table(tuple(shown), [tuple(str(value) for value in shown.values())])
    else:
        print_json(shown)
