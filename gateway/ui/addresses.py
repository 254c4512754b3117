"""Where browsers are sent: to pages of ours, to sign in and back, and away without a word of where they were."""

from __future__ import annotations

import re
from urllib.parse import quote

from aiohttp import web

from gateway.core.errors import Refusal
from gateway.web.context import services

#: The pages of ours that a person may be sent back to, each as a whole: what is not spelled so leads elsewhere.
_OWN = re.compile(
    r"/keys|/approvals(?:/run_[\w-]{1,64})?|/device(?:\?user_code=[A-Za-z-]{1,32})?|/connect/conn_[\w-]{1,64}|/connect/new\?t=[\w-]{1,1024}", re.ASCII
)
HOME = "/keys"


def away(url: str) -> web.Response:
    """Sends the browser to another address, which learns nothing of this one."""
    headers = {"Location": url, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return web.Response(status=303, headers=headers)


def to_page(request: web.Request, path: str) -> web.Response:
    """Sends the browser to a page of ours."""
    return away(services(request).public_url + path)


def to_sign_in(request: web.Request, back: str) -> web.Response:
    """Sends the browser to sign in, and then back to a page of ours."""
    return to_page(request, "/sign-in" + (f"?next={quote(back, safe='')}" if is_own(back) and back != HOME else ""))


def is_own(path: str) -> bool:
    """Whether this is the path of a page of ours, and nothing that a browser could read as another address."""
    return _OWN.fullmatch(path) is not None


def next_of(request: web.Request) -> str:
    """The page of ours that comes after this one. Raises `bad_request` for one that is none of ours."""
    path = request.query.get("next", HOME)
    if not is_own(path):
        raise Refusal("bad_request", "This link leads elsewhere than to a page of this gateway.")
    return path
