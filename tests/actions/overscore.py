"""Overscore: the query under a key in its body, the deployment under a session."""

from __future__ import annotations

from tests.actions.case import Case, World, file_part, text_part
from tests.fakes.overscore import Overscore

#: The head of a gzip stream is all that the counterpart looks at.
BUNDLE = b"\x1f\x8b\x08\x00\r\n--\x00\xff\n"
BUNDLE_BASE64 = "H4sIAA0KLS0A/wo="


def prepare(overscore: Overscore) -> World:
    return {"key": overscore.key}


CASES: dict[str, tuple[Case, ...]] = {
    "run_query": (
        Case(
            params={"projectSlug": "acme", "dashboardSlug": "sales-dashboard", "queryName": "revenue_by_month"},
            sent="POST /api/query",
            json={"projectSlug": "acme", "dashboardSlug": "sales-dashboard", "queryName": "revenue_by_month"},
        ),
        Case(
            params={"projectSlug": "acme", "dashboardSlug": "sales-dashboard", "queryName": "broken_orders"},
            sent="POST /api/query",
            json={"projectSlug": "acme", "dashboardSlug": "sales-dashboard", "queryName": "broken_orders"},
            status=500,
        ),
    ),
    "deploy_dashboard": (
        Case(
            params={"projectSlug": "acme", "dashboardSlug": "größe",
                    "bundle": {"filename": 'my "dist".tar.gz', "content_type": "application/gzip",
                               "content": BUNDLE_BASE64}},
            sent="POST /api/deploy",
            parts=(
                text_part("projectSlug", "acme"),
                text_part("dashboardSlug", "größe"),
                file_part("bundle", "my _dist_.tar.gz", "application/gzip", BUNDLE),
            ),
        ),
        # A bare string is the content; the name and type are then ours.
        Case(
            params={"projectSlug": "acme", "dashboardSlug": "sales", "bundle": BUNDLE_BASE64},
            sent="POST /api/deploy",
            parts=(
                text_part("projectSlug", "acme"),
                text_part("dashboardSlug", "sales"),
                file_part("bundle", "bundle", "application/octet-stream", BUNDLE),
            ),
        ),
    ),
}
