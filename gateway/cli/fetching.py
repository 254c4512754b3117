"""Brings a vendor's description: from a file, or from a URL through the one door by which everything goes out."""

from __future__ import annotations

from pathlib import Path

from gateway.cli.failures import refused
from skills_catalog.descriptions.model import Description, DescriptionError
from skills_catalog.descriptions.reading import read_description, read_file


def is_url(spec: str) -> bool:
    return spec.startswith(("https://", "http://"))


def description_of(spec: str) -> Description:
    """The description in a file or behind a URL. Refuses what cannot be read."""
    try:
        if not is_url(spec):
            return read_file(Path(spec))
        # The way out brings the gateway's own modules along, which files do without.
        from gateway.cli.downloading import downloaded

        return read_description(downloaded(spec), spec)
    except DescriptionError as error:
        raise refused(str(error)) from error
