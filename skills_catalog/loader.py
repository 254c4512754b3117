"""Reads integration files into a Catalog; whatever is wrong with them is named by file, line and field."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from skills_catalog.building import build
from skills_catalog.catalog import Catalog
from skills_catalog.mistakes import CatalogError, Mistake
from skills_catalog.model import Integration
from skills_catalog.names import RESERVED_SLUGS, nearest
from skills_catalog.shape import mistakes_of_shape
from skills_catalog.strict_yaml import MAX_BYTES, Document, read

__all__ = [
    "RESERVED_SLUGS",
    "SHIPPED",
    "CatalogError",
    "Mistake",
    "definition_files",
    "load_catalog",
    "load_definition",
    "load_integration",
]

#: The integrations that come with Skillway.
SHIPPED = Path(__file__).parent / "integrations"
#: Files that are remembered as they were read.
_KNOWN = 256
_SUFFIXES = (".yaml", ".yml")


def load_integration(content: Path | str | bytes, *, source: str | None = None) -> Integration:
    """The integration of a file (`Path`) or of its text. Raises `CatalogError` with every mistake found."""
    return load_definition(content, source=source)[0]


def load_definition(content: Path | str | bytes, *, source: str | None = None) -> tuple[Integration, Document]:
    """The integration together with the document it was made of, which knows the line of every part."""
    if isinstance(content, Path):
        source = source or _shown(content)
        content = _content(content, source)
    document = read(content, source or "<text>")
    if mistakes := mistakes_of_shape(document):
        raise CatalogError(mistakes)
    integration, mistakes = build(document)
    if integration is None:
        raise CatalogError(mistakes)
    return integration, document


def definition_files(path: Path) -> list[Path]:
    """The integration files of a folder in the order of their names, or the one file. Raises `CatalogError`."""
    return list(_files(path))


def load_catalog(paths: Iterable[Path], *, only: Collection[str] | None = None) -> Catalog:
    """The catalog of the files and folders; a slug in a later path replaces that of an earlier one.

    `only` keeps these slugs. Raises `CatalogError` with the mistakes of all files together.
    """
    integrations: dict[str, Integration] = {}
    mistakes: list[Mistake] = []
    for path in paths:
        here: dict[str, Integration] = {}
        try:
            files = definition_files(path)
        except CatalogError as error:
            mistakes += error.problems
            continue
        for file in files:
            try:
                source = _shown(file)
                integration = _known(_content(file, source), source)
            except CatalogError as error:
                mistakes += error.problems
                continue
            other = here.setdefault(integration.slug, integration)
            if other is not integration:
                message = f"{integration.slug} is defined in {other.source} already."
                mistakes.append(_mistake(integration.source, message, field="slug"))
        integrations |= here
    if only is not None:
        for slug in sorted(set(only) - set(integrations)):
            # A slug whose file is broken has been named already.
            if not mistakes:
                meant = nearest(slug, integrations)
                hint = f" Did you mean {meant}?" if meant else ""
                mistakes.append(_mistake("catalog", f"There is no integration {slug}.{hint}"))
        integrations = {slug: one for slug, one in integrations.items() if slug in only}
    if mistakes:
        raise CatalogError(mistakes)
    return Catalog(integrations.values())


@lru_cache(maxsize=_KNOWN)
def _known(content: bytes, source: str) -> Integration:
    """What did not change since the last time is not read again; nobody changes an integration."""
    return load_definition(content, source=source)[0]


def _files(path: Path) -> Iterator[Path]:
    # A symbolic link is followed within the folder alone, so that no link makes the loader read another file.
    if not path.exists():
        raise CatalogError([_mistake(_shown(path), "There is no such file or folder.")])
    if not path.is_dir():
        yield path
        return
    root = path.resolve()
    for file in sorted(path.iterdir()):
        if file.suffix not in _SUFFIXES or file.name.startswith("."):
            continue
        real = file.resolve()
        if not real.is_relative_to(root):
            raise CatalogError([_mistake(_shown(file), "A link that leads out of the folder is not followed.")])
        yield real if file.is_symlink() else file


def _content(path: Path, source: str) -> bytes:
    """At most one byte more than a file may have: the reader refuses what is larger."""
    try:
        # Without O_NONBLOCK a FIFO would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CatalogError([_mistake(source, f"Cannot be read: {reason}.")]) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CatalogError([_mistake(source, "Is not a regular file.")])
    with os.fdopen(descriptor, "rb") as file:
        return file.read(MAX_BYTES + 1)


def _shown(path: Path) -> str:
    """The path as a person would write it: relative where the file is below the working folder."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _mistake(file: str, message: str, *, field: str = "") -> Mistake:
    return Mistake(file=file, line=1 if field else 0, field=field, message=message)
