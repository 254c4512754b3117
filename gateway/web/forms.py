"""Forms of our own pages, and the check that it was no other site which sent them."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web

from gateway.core.errors import Refusal
from gateway.web.bodies import bad_field, read
from gateway.web.context import services
from gateway.web.operations import text

FORM = "application/x-www-form-urlencoded"
_FORM_LIMIT = 64 * 1024
_MOST_INPUTS = 500


def check_same_origin(request: web.Request) -> None:
    """Raises `forbidden` for what another site made the browser send: the browser says so."""
    own = own_origin(services(request).public_url)
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise Refusal("forbidden", "This form was sent from another site.")
    origin = request.headers.get("Origin")
    # With `no-referrer` a browser calls its own origin null.
    if origin is not None and origin not in (own, "null"):
        raise Refusal("forbidden", "This form was sent from another site.")


async def read_form(request: web.Request) -> list[tuple[str, str]]:
    """The page's own form, as the pairs that it was sent as."""
    check_same_origin(request)
    if request.content_type != FORM and request.can_read_body:
        raise Refusal("unsupported_media_type", "Send the page's own form.")
    return await form_pairs(request)


async def form_pairs(request: web.Request) -> list[tuple[str, str]]:
    """The pairs of a form, whoever sent it."""
    body = await read(request)
    if len(body) > _FORM_LIMIT:
        raise Refusal("payload_too_large", f"The form is larger than {_FORM_LIMIT} bytes.")
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_INPUTS)
    except ValueError:
        raise Refusal("bad_request", "The form is not one that this page makes.") from None


def own_origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def text_input(form: Mapping[str, str], name: str) -> str:
    """A short text that somebody typed. Raises `bad_request` for none, a long one, or one with control characters."""
    typed, field = form.get(name, "").strip(), text(name, "")
    if not field.takes(typed):
        raise bad_field(name, "format", f"The field {name!r} {field.must}.")
    return typed
