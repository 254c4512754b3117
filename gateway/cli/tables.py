"""`skillway catalog table`: what is shipped, as the table of the README."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli import output
from gateway.cli.definitions import files_of, json_option, print_json
from gateway.cli.failures import refused
from skills_catalog.exporting.shipped_table import HEAD, row_of
from skills_catalog.loader import SHIPPED, CatalogError, load_integration
from skills_catalog.verification.records import read_record, record_file


@click.command(short_help="Print the definitions of a folder as a Markdown table.")
@click.argument("folder", type=click.Path(path_type=Path), default=SHIPPED)
@json_option
def table(folder: Path, as_json: bool) -> None:
    """Print the definitions of a folder (the shipped ones) as the Markdown table of the README.

    Each row says what the definition was last held against, from verified/ beside it.

    \b
    skillway catalog table
    """
    try:
        rows = [row_of(load_integration(file), read_record(record_file(file))) for file in files_of(folder)]
    except CatalogError as error:
        raise refused(str(error)) from error
    if as_json:
        print_json({"integrations": [dict(zip(HEAD, row, strict=True)) for row in rows]})
        return
    for line in (HEAD, ["---"] * len(HEAD), *rows):
        output.text(f"| {' | '.join(line)} |")
