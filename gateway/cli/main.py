"""The entry of the command line: one table of commands, of which only the one that runs is imported."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import NoReturn

import click

from gateway.cli import output
from gateway.cli.failures import INTERRUPTED, REFUSED, CommandFailed, Problem
from gateway.cli.jsontext import plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Where a command lives, and the line that `skillway help` shows of it."""

    module: str
    attribute: str
    help: str


#: The commands of people and agents: they talk to a gateway over REST and import nothing of the server.
PEOPLE: Mapping[str, Entry] = {
    "login": Entry(module="account", attribute="login", help="Sign in to a gateway: by a key, or in the browser."),
    "logout": Entry(module="account", attribute="logout", help="Forget the stored API key."),
    "whoami": Entry(module="account", attribute="whoami", help="Show the org and the key in use."),
    "skills": Entry(module="skills", attribute="skills", help="List integrations or actions, or document one action."),
    "connect": Entry(module="connect", attribute="connect", help="Connect an account of an integration."),
    "connections": Entry(module="connect", attribute="connections", help="List the connections, or remove one."),
    "run": Entry(module="run", attribute="run", help="Call an action."),
    "request": Entry(
        module="request", attribute="request", help="Make any request of an integration, where no action does it."
    ),
    "runs": Entry(module="runs", attribute="runs", help="List the calls that were made; look at one, stop it, do it again."),
    "webhooks": Entry(
        module="webhooks", attribute="webhooks", help="List the webhooks; add, remove or wake one, see its deliveries."
    ),
    "keys": Entry(module="keys", attribute="keys", help="List the API keys of the org, make or revoke one."),
    "usage": Entry(module="keys", attribute="usage", help="Show what the org has used, and what is left."),
    "mcp": Entry(module="mcp", attribute="mcp", help="Speak MCP over stdin and stdout, for clients that start their servers."),
    "pull": Entry(module="pull", attribute="pull", help="Write an integration's skill files for an agent."),
}

#: The commands of operators: they work on the installation itself.
OPERATORS: Mapping[str, Entry] = {
    "init": Entry(module="operate", attribute="init", help="Make the first org and its keys."),
    "serve": Entry(module="serving", attribute="serve", help="Run the gateway."),
    "orgs": Entry(module="orgs", attribute="orgs", help="Make orgs, their members, their keys and their OAuth clients."),
    "catalog": Entry(module="catalog", attribute="catalog", help="Write, import and check integration files."),
    "sandbox": Entry(module="recording", attribute="sandbox", help="Make examples, which test keys are answered from."),
    "vault": Entry(module="vault", attribute="vault", help="Look after the key that seals credentials."),
    "migrate": Entry(module="operate", attribute="migrate", help="Bring the database up to this version."),
    "backup": Entry(module="operate", attribute="backup", help="Write a consistent copy of the database."),
    "restore": Entry(module="operate", attribute="restore", help="Bring a copy back."),
    "copy": Entry(module="operate", attribute="copy", help="Copy everything to another database."),
    "doctor": Entry(module="operate", attribute="doctor", help="Check the installation and say what is wrong."),
}

COMMANDS: Mapping[str, Entry] = {**PEOPLE, **OPERATORS}


class LazyGroup(click.Group):
    """A group that imports a command when it is run, and takes its help line from the table until then."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ["help", *COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return super().get_command(ctx, cmd_name)
        command = getattr(import_module(f"gateway.cli.{entry.module}"), entry.attribute)
        assert isinstance(command, click.Command), cmd_name
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and args[0] not in self.commands and not args[0].startswith("-"):
            raise click.exceptions.NoSuchCommand(args[0], possibilities=[*self.commands, *COMMANDS], ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands for people and agents"):
            formatter.write_dl([("help", "Show this, or the help of a command."), *_lines(PEOPLE)])
        with formatter.section("Commands for operators"):
            formatter.write_dl(_lines(OPERATORS))


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"max_content_width": 100})
@click.pass_context
def skillway(context: click.Context) -> None:
    """Skillway: call third-party services through a gateway that holds the credentials.

    The gateway is at SKILLWAY_URL (http://127.0.0.1:8700 unless you say), the key in SKILLWAY_API_KEY, or both are
    where `skillway login` stored them.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@skillway.command(name="help", short_help="Show this, or the help of a command.")
@click.argument("words", metavar="[COMMAND]...", nargs=-1)
@click.pass_context
def show_help(context: click.Context, words: tuple[str, ...]) -> None:
    """Show the commands, or the help of one."""
    at = context.find_root()
    for word in words:
        command = at.command.get_command(at, word) if isinstance(at.command, click.Group) else None
        if command is None:
            raise click.UsageError(f"There is no command {word!r}.", ctx=at)
        at = click.Context(command, info_name=word, parent=at)
    click.echo(at.get_help())


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and leaves with its exit code."""
    sys.exit(_run(sys.argv[1:] if args is None else list(args)))


def _run(args: list[str]) -> int:
    try:
        code = skillway.main(args, prog_name="skillway", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except CommandFailed as failed:
        output.failure(failed)
        return failed.exit_code
    except click.ClickException as error:
        _show_misuse(error)
        return REFUSED
    except (click.Abort, KeyboardInterrupt):
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        output.discard_stdout()
        return 0


def _lines(entries: Mapping[str, Entry]) -> list[tuple[str, str]]:
    return [(name, entry.help) for name, entry in entries.items()]


def _show_misuse(error: click.ClickException) -> None:
    """What was typed makes no sense: the usage on stderr, and where a machine reads stdout, the same words as JSON."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    message = error.format_message()
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and isinstance(error.ctx.command, click.Group):
        # Its own message is the whole help.
        message = f"A command is missing, one of: {', '.join(error.ctx.command.list_commands(error.ctx))}."
    if not sys.stdout.isatty():
        output.answer(Problem(code="bad_request", message=message, hint=_explained_by(context)).to_json())
    if context is not None:
        print(context.get_usage(), file=sys.stderr)
    print(f"Error: {plain(message)}", file=sys.stderr)
    if hint := _explained_by(context):
        print(f"Hint: {hint}", file=sys.stderr)


def _explained_by(context: click.Context | None) -> str | None:
    return f"`{context.command_path} --help` explains it." if context is not None else None


if __name__ == "__main__":
    main()
