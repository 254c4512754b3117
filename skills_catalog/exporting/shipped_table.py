"""The table of what is shipped: each integration with what it was verified against."""

from __future__ import annotations

from skills_catalog.model import Integration
from skills_catalog.verification.records import Record

HEAD = ("integration", "slug", "actions", "auth methods", "lifecycle", "verified against")


def row_of(integration: Integration, record: Record | None) -> tuple[str, ...]:
    """One integration, cell by cell."""
    return (
        integration.name,
        f"`{integration.slug}`",
        str(len(integration.skills)),
        ", ".join(f"`{method.name}`" for method in integration.auth),
        integration.lifecycle or "",
        "" if record is None else _verified(record),
    )


def _verified(record: Record) -> str:
    about = " ".join(part for part in (_short(record.description), record.version) if part)
    said = f"{about} ({record.kind}), {record.date}: {record.match} of {record.actions} actions match"
    return f"{said}, {record.not_described} not described" if record.not_described else said


def _short(title: str) -> str:
    title = title.replace("|", "/")
    return title if len(title) <= 60 else f"{title[:59]}…"
