"""Plain Python, the standard library alone: find an action, call it, tell the two kinds of refusal apart.

Needs SKILLWAY_API_KEY, and SKILLWAY_URL where the gateway is elsewhere. A test key needs no account anywhere.
"""

import json
import os
from urllib.error import HTTPError
from urllib.request import Request, urlopen

URL = os.environ.get("SKILLWAY_URL", "http://127.0.0.1:8700")
HEADERS = {"Authorization": f"Bearer {os.environ['SKILLWAY_API_KEY']}", "Content-Type": "application/json"}


def ask(path: str, body: object = None) -> dict:
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(URL + path, data, HEADERS), timeout=60) as answer:  # noqa: S310 - our own address
            return json.load(answer)
    except HTTPError as refusal:
        return json.load(refusal)


found = ask("/v1/skills/search?q=create+issue&limit=1")
print([f"{skill['integration']}.{skill['action']}" for skill in found["skills"]])

body = ask("/v1/github/create_issue", {"params": {"repo": "acme/webapp", "title": "The login page is slow"}})
if "error" in body:  # the gateway has no answer, and says why
    raise SystemExit(f"{body['message']} {body.get('action_url', '')}")
if body["status"] >= 400:  # GitHub answered, and said no
    raise SystemExit(json.dumps(body["data"]))
print(body["data"]["html_url"])
