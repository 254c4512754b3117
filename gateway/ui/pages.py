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

_FOLDER = Path(__file__).parent / "templates"
_STYLES = ("style.css",)


def page(template: str, *, status: int = 200, **shown: Any) -> web.Response:
    """An HTML answer made from a template of `templates/`."""
    return html_answer(render(template, **shown), status=status)


def render(template: str, styles: tuple[str, ...] = _STYLES, **shown: Any) -> str:
    return _environment().get_template(template).render(style=_style(styles), **shown)


def html_answer(html: str, styles: tuple[str, ...] = _STYLES, *, status: int = 200) -> web.Response:
    """A page that was rendered with these styles."""
    return web.Response(text=html, status=status, content_type="text/html", headers=_headers(styles))


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
def _headers(styles: tuple[str, ...]) -> dict[str, str]:
    digest = base64.b64encode(hashlib.sha256(_style(styles).encode()).digest()).decode()
    return {
        # No form-action: the form's POST is redirected to the provider, and browsers hold that against it.
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; frame-ancestors 'none'"
        ),
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    }
