"""Renders pages: one layout, escaped by default, under a policy that lets nothing run."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from gateway.core.errors import Refusal

_FOLDER = Path(__file__).parent / "templates"
_STYLES = ("style.css",)


def page(template: str, *, status: int = 200, stays: bool = False, **shown: Any) -> web.Response:
    """An HTML answer made from a template of `templates/`. Forms of a page that `stays` lead to us alone."""
    return html_answer(render(template, **shown), status=status, stays=stays)


def render(template: str, styles: tuple[str, ...] = _STYLES, **shown: Any) -> str:
    return _environment().get_template(template).render({"style": _style(styles), "who": None, **shown})


def html_answer(
    html: str, styles: tuple[str, ...] = _STYLES, *, status: int = 200, stays: bool = False
) -> web.Response:
    """A page that was rendered with these styles."""
    return web.Response(text=html, status=status, content_type="text/html", headers=_headers(styles, stays))


def result(
    title: str, message: str | None = None, *, next: str, status: int = 200, tone: str = "bad", **shown: Any
) -> web.Response:
    """A page that says how something ended, and what to do then."""
    return page(
        "result.html", status=status, title=title, tone=tone, message=message, next=next, **{"account": None, **shown}
    )


def refused(refusal: Refusal, title: str, *, next: str, **shown: Any) -> web.Response:
    """A page that says why there is no other."""
    return result(title, refusal.message, next=refusal.hint or next, status=refusal.status, **shown)


@lru_cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["ticks"] = _with_code
    return environment


def _with_code(text: str) -> Markup:
    """A sentence whose words between backticks are code."""
    pieces = text.split("`")
    marked = (Markup("<code>{}</code>").format(piece) if at % 2 else escape(piece) for at, piece in enumerate(pieces))
    return Markup("").join(marked)


@lru_cache
def _style(styles: tuple[str, ...]) -> str:
    return "\n".join((_FOLDER / name).read_text() for name in styles)


@lru_cache
def _headers(styles: tuple[str, ...], stays: bool) -> dict[str, str]:
    digest = base64.b64encode(hashlib.sha256(_style(styles).encode()).digest()).decode()
    # Where a form's POST is redirected to a provider there is no form-action: browsers hold the redirect against it.
    forms = "; form-action 'self'" if stays else ""
    return {
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'{forms}"
        ),
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    }
