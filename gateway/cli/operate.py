"""The operator's commands on a whole installation: init, migrate, backup, restore, copy, doctor."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from gateway.checkup import checkup
from gateway.cli import output
from gateway.cli.operator import print_json, public_url, run, settings_of, settings_options
from gateway.installation import key_file, master_key, open_installation, open_store
from gateway.operator_file import BadSetting
from gateway.settings import Settings
from gateway.store.backup import backup as write_backup
from gateway.store.backup import copy_to, key_in
from gateway.store.backup import restore as read_backup
from gateway.store.keys import SqlKeys
from gateway.store.migrate import migrate as migrate_database
from gateway.store.opening import open_database
from gateway.store.orgs import SqlOrgs
from oauth.secret import Secret
from oauth.vault import MasterKey


@click.command()
@settings_options
@click.option("--name", default="My org", show_default=True, help="Name of the org.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, whatever stdout is.")
@click.option("--quiet", is_flag=True, help="Say nothing where there is an org already.")
def init(name: str, as_json: bool, quiet: bool, **flags: Any) -> None:
    """Make the first org and its keys, on an empty database only.

    The keys are shown once. The curl line works as it is: a test key is answered from examples. People sign in by
    the link that the last line makes.

    \b
    skillway init --name Acme --json
    """
    settings, _ = settings_of(**flags)
    for_machines = as_json or (not sys.stdout.isatty() and not quiet)
    # First: keys that are made and then not shown would be lost.
    url = "" if for_machines else public_url(settings)
    made = run(_init(settings, name))
    if made is None:
        if not quiet:
            output.note("There is an org already; nothing was made. `skillway orgs list` shows it.")
        if for_machines:
            print_json({"org": None})
        return
    if for_machines:
        print_json(made)
        return
    print(
        f"""
Made the org {made["org"]["name"]!r} ({made["org"]["id"]}). Its keys, shown this once:

  live key   {made["live_key"]}
  test key   {made["test_key"]}

Try it, no account needed (a test key is answered from examples):

  {_curl(url, made["test_key"])}

Sign in to its pages by a link: skillway orgs invite {made["org"]["id"]} you@example.com
""",
        flush=True,
    )


async def _init(settings: Settings, name: str) -> dict[str, Any] | None:
    async with open_installation(settings) as opened:
        orgs, keys = SqlOrgs(opened.database), SqlKeys(opened.database)
        if await orgs.list():
            return None
        org = await orgs.create(name)
        _, live = await keys.create(org.id, "first live key", "live")
        _, test = await keys.create(org.id, "first test key", "test")
        return {
            "org": {"id": org.id, "name": org.name},
            "live_key": live.reveal(),
            "test_key": test.reveal(),
        }


def _curl(url: str, key: str) -> str:
    body = json.dumps({"params": {"repo": "acme/webapp", "title": "Bug report"}})
    return (
        f"curl {url}/v1/github/create_issue -H {shlex.quote('Authorization: Bearer ' + key)} "
        f"-H 'Content-Type: application/json' -d {shlex.quote(body)}"
    )


@click.command()
@settings_options
def migrate(**flags: Any) -> None:
    """Bring the database up to this version. `serve` does it by itself.

    \b
    skillway migrate
    """
    settings, _ = settings_of(**flags)

    async def work() -> list[str]:
        async with open_store(settings) as database:
            return [f"{step.number:04d} {step.name}" for step in await migrate_database(database, settings.data_dir)]

    applied = run(work())
    print_json({"applied": applied})


@click.command()
@settings_options
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--with-key", is_flag=True, help="Put the master key into the file too: whoever has it can open everything."
)
def backup(file: Path, with_key: bool, **flags: Any) -> None:
    """Write a consistent copy of the database into FILE, while the gateway runs.

    \b
    skillway backup today.db
    """
    settings, _ = settings_of(**flags)

    async def work() -> None:
        async with open_installation(settings) as opened:
            await write_backup(opened.database, file, with_key=Secret(opened.master.text()) if with_key else None)

    run(work())
    if with_key:
        output.warn(f"{file} holds the master key: keep it like one.")
    else:
        output.note(
            f"{file} is without the master key; without that key nothing in it can be opened. Keep both, apart."
        )
    print_json({"backup": str(file), "with_key": with_key})


@click.command()
@settings_options
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--force", is_flag=True, help="Replace what the database holds.")
def restore(file: Path, force: bool, **flags: Any) -> None:
    """Bring a backup back into an empty database.

    \b
    skillway restore --data-dir other today.db
    """
    settings, _ = settings_of(**flags)

    async def work() -> dict[str, int]:
        async with open_store(settings) as database:
            await migrate_database(database, settings.data_dir)
            kept, path = key_in(file), key_file(settings)
            if settings.master_key is not None or path.exists():
                master = master_key(settings, create=False)
                return dict(await read_backup(file, database, fingerprint=master.fingerprint, force=force))
            if kept is None:
                raise BadSetting(
                    f"{file} holds no master key, and there is none here: put the one that it was made under "
                    f"at {path}, or into SKILLWAY_MASTER_KEY"
                )
            fingerprint = MasterKey.parse(kept.reveal()).fingerprint
            restored = dict(await read_backup(file, database, fingerprint=fingerprint, force=force))
            # Last: a restore that is refused must not leave a key beside a database that it does not open.
            _write_key(path, kept)
            return restored

    print_json({"restored": run(work())})


def _write_key(path: Path, key: Secret) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key.reveal() + "\n")


@click.command()
@settings_options
@click.option(
    "--to",
    "target",
    required=True,
    metavar="URL",
    help="postgresql://… or sqlite:FOLDER to copy into; it must be empty. `-` reads the URL from stdin, unseen by others.",
)
def copy(target: str, **flags: Any) -> None:
    """Copy everything to another database, for moving from SQLite to PostgreSQL or back.

    \b
    skillway copy --to postgresql://skillway@db.internal/skillway
    """
    settings, _ = settings_of(**flags)
    if target == "-":
        target = sys.stdin.readline().strip()

    async def work() -> dict[str, int]:
        async with open_installation(settings) as opened:
            other = await _target(target, settings)
            try:
                await migrate_database(other, settings.data_dir)
                return dict(await copy_to(opened.database, other))
            finally:
                await other.close()

    copied = run(work())
    output.note("Set SKILLWAY_DATABASE_URL to the new database and keep the same master key.")
    print_json({"copied": copied})


async def _target(url: str, settings: Settings) -> Any:
    if url.startswith("sqlite:"):
        return await open_database(None, Path(url.removeprefix("sqlite:").removeprefix("//")))
    if not url.startswith(("postgresql://", "postgres://")):
        raise BadSetting("--to: expected postgresql://user:password@host/name, or sqlite:FOLDER")
    return await open_database(url, settings.data_dir)


@click.command()
@settings_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON, whatever stdout is.")
def doctor(as_json: bool, **flags: Any) -> None:
    """Check the installation: settings, database, master key, public address, clock, OAuth clients.

    \b
    skillway doctor --json
    """
    settings, installation = settings_of(**flags)
    findings = run(checkup(settings, installation))
    if as_json or not sys.stdout.isatty():
        print_json({"ok": all(found.ok for found in findings), "checks": [found.shown() for found in findings]})
    else:
        # No table: a redirect URI that is cut off cannot be copied.
        widest = max(len(found.name) for found in findings)
        for found in findings:
            output.text(f"{'ok' if found.ok else '!!'}  {found.name:{widest}}  {found.message}")
    if not all(found.ok for found in findings):
        raise SystemExit(1)
