"""`skillway catalog`: the commands on integration files, from the first line to what is published."""

from __future__ import annotations

import click

from gateway.cli.checking import lint
from gateway.cli.importing import import_
from gateway.cli.starting import new
from gateway.cli.tables import table
from gateway.cli.verifying import test
from gateway.cli.versions import diff, lock


@click.group(short_help="Write, import and check integration files.")
def catalog() -> None:
    """Write, import and check integration files.

    Without PATH the shipped integrations and those of ./my-integrations are meant.
    """


for command in (new, import_, lint, test, diff, lock, table):
    catalog.add_command(command)
