"""What the shipped definitions say of their vendors' webhooks: each vendor's own form, written down again by hand."""

from __future__ import annotations

import base64
import hmac
import io
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from standardwebhooks import Webhook
from svix.webhooks import Webhook as SvixWebhook

from tests.fakes.receiver import WalkingClock
from tests.fakes.upstream import HandClock
from tests.harness import Answer, RunningGateway, gateway

SECRET = "a secret of some length"
KEY = bytes(range(32))
BASED = base64.b64encode(KEY).decode()
CURVE = ec.derive_private_key(int.from_bytes(KEY), ec.SECP256R1())
CURVE_PUBLIC = base64.b64encode(
    CURVE.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()
ED = Ed25519PrivateKey.from_private_bytes(KEY)

Headers = dict[str, str]
#: Headers of a body that a vendor sends to a URL at a time (unix seconds).
Sign = Callable[[bytes, str, int], Headers]


def mac(content: bytes, key: bytes = SECRET.encode(), kind: str = "sha256") -> bytes:
    return hmac.new(key, content, kind).digest()


def based(content: bytes) -> str:
    return base64.b64encode(content).decode()


def standard(library: type[Webhook] | type[SvixWebhook], prefix: str) -> Sign:
    """The form of Standard Webhooks, by the library that these vendors tell their customers to use."""

    def sign(body: bytes, _url: str, at: int) -> Headers:
        signature = library("whsec_" + BASED).sign("msg_1", datetime.fromtimestamp(at, UTC), body.decode())
        # Beside another one, as while the secret is changed.
        return {
            f"{prefix}-id": "msg_1",
            f"{prefix}-timestamp": str(at),
            f"{prefix}-signature": f"v1,{based(b'old')} {signature}",
        }

    return sign


def zoom(body: bytes, _url: str, at: int) -> Headers:
    return {"x-zm-request-timestamp": str(at), "x-zm-signature": "v0=" + mac(f"v0:{at}:".encode() + body).hex()}


def hubspot(body: bytes, url: str, at: int) -> Headers:
    signed = mac(b"POST" + url.encode() + body + str(at * 1000).encode())
    return {"X-HubSpot-Request-Timestamp": str(at * 1000), "X-HubSpot-Signature-v3": based(signed)}


def sendgrid(body: bytes, _url: str, at: int) -> Headers:
    signature = CURVE.sign(str(at).encode() + body, ec.ECDSA(SHA256()))
    return {
        "X-Twilio-Email-Event-Webhook-Timestamp": str(at),
        "X-Twilio-Email-Event-Webhook-Signature": based(signature),
    }


FORM = [("MessageStatus", "delivered"), ("MessageSid", "SM1"), ("Body", "größe & ✓"), ("Empty", "")]


def twilio(_body: bytes, url: str, _at: int) -> Headers:
    text = url + "".join(name + value for name, value in sorted(FORM))
    return {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Twilio-Signature": based(mac(text.encode(), kind="sha1")),
    }


#: Slug -> secret, body, how it is signed, what the event is called.
SENT: dict[str, tuple[str, bytes, Sign, str]] = {
    "zoom": (SECRET, b'{"event":"meeting.started","payload":{}}', zoom, ".meeting.started"),
    "dropbox": (
        SECRET,
        b'{"list_folder":{"accounts":["dbid:1"]}}',
        lambda body, _url, _at: {"X-Dropbox-Signature": mac(body).hex()},
        ".list_folder",
    ),
    "trello": (
        SECRET,
        b'{"action":{"type":"createCard"}}',
        lambda body, url, _at: {"X-Trello-Webhook": based(mac(body + url.encode(), kind="sha1"))},
        ".createCard",
    ),
    "hubspot": (SECRET, b'[{"subscriptionType":"deal.creation"}]', hubspot, ".deal.creation"),
    "twilio": (SECRET, urlencode(FORM).encode(), twilio, ""),
    "airtable": (
        BASED,
        b'{"base":{"id":"app1"},"webhook":{"id":"ach1"}}',
        lambda body, _url, _at: {"X-Airtable-Content-MAC": "hmac-sha256=" + mac(body, KEY).hex()},
        "",
    ),
    "sendgrid": (CURVE_PUBLIC, b'[{"event":"bounce"}]\r\n', sendgrid, ".bounce"),
    "figma": (
        SECRET,
        json.dumps({"event_type": "FILE_COMMENT", "passcode": SECRET}).encode(),
        lambda _body, _url, _at: {},
        ".FILE_COMMENT",
    ),
    "openai": (
        "whsec_" + BASED, b'{"type":"response.completed"}', standard(Webhook, "webhook"), ".response.completed",
    ),
    "resend": ("whsec_" + BASED, b'{"type":"email.sent"}', standard(SvixWebhook, "svix"), ".email.sent"),
    "pipedrive": (
        based(b"ada:lovelace"),
        b'{"meta":{"action":"change","entity":"deal"}}',
        lambda _body, _url, _at: {"Authorization": f"Basic {based(b'ada:lovelace')}"},
        ".change.deal",
    ),
    "outlook_mail": (
        SECRET,
        json.dumps({"value": [{"changeType": "created", "clientState": SECRET}] * 2}).encode(),
        lambda _body, _url, _at: {},
        ".created",
    ),
    "discord": (
        ED.public_key().public_bytes_raw().hex(),
        b'{"type":1,"event":{"type":"APPLICATION_AUTHORIZED"}}',
        lambda body, _url, at: {
            "X-Signature-Ed25519": ED.sign(str(at).encode() + body).hex(), "X-Signature-Timestamp": str(at),
        },
        ".APPLICATION_AUTHORIZED",
    ),
    "xero": (
        SECRET,
        b'{"events":[{"eventCategory":"INVOICE","eventType":"UPDATE"}]}',
        lambda body, _url, _at: {"x-xero-signature": based(mac(body))},
        ".INVOICE.UPDATE",
    ),
}  # fmt: skip


@pytest.fixture
def clock() -> HandClock:
    return WalkingClock()


@pytest.fixture
async def running(tmp_path: Path, clock: HandClock) -> AsyncIterator[RunningGateway]:
    async with gateway(tmp_path, clock=clock) as started:
        yield started


async def hook(running: RunningGateway, slug: str, secret: str | None = None) -> str:
    body = {"integration": slug, **({"secret": secret} if secret else {})}
    answer = await running.ask("POST", "/v1/hooks", body=body)
    assert answer.status == 201, answer.body
    return str(answer.json()["url"])


async def send(running: RunningGateway, url: str, body: bytes, headers: Headers) -> Answer:
    given = {"Content-Type": "application/json", **headers}
    async with running.session.post(url, data=io.BytesIO(body), headers=given) as answer:
        return Answer(status=answer.status, headers=answer.headers, body=await answer.read())


async def told(running: RunningGateway) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await running.ask("GET", "/v1/events?kind=hook")).json()["events"]
    return found


@pytest.mark.parametrize("slug", SENT)
async def test_what_a_vendor_sends_is_taken_and_what_somebody_else_sends_is_not(
    running: RunningGateway, clock: HandClock, slug: str
) -> None:
    secret, body, sign, name = SENT[slug]
    url = await hook(running, slug, secret)
    headers = sign(body, url, int(clock()))
    forged = body.replace(SECRET.encode(), b"guessed") if not headers else body + (b"&x=1" if slug == "twilio" else b" ")
    # A password vouches for whoever sends it, not for what is sent.
    wrongs = [] if slug == "pipedrive" else [await send(running, url, forged, headers)]
    if headers:
        kind = {name: value for name, value in headers.items() if name == "Content-Type"}
        wrongs.append(await send(running, url, body, kind))
    if slug in ("trello", "hubspot", "twilio"):
        # Signed for one URL it is nothing at another.
        wrongs.append(await send(running, await hook(running, slug, secret), body, headers))
    for wrong in wrongs:
        assert (wrong.status, wrong.json()["error"]) == (401, "unauthorized"), wrong.body
    assert await told(running) == []
    taken = await send(running, url, body, headers)
    assert 200 <= taken.status < 300, taken.body
    [event] = await told(running)
    assert event["type"] == f"hook.{slug}{name}"
    # Sent again it counts once.
    assert (await send(running, url, body, headers)).status == taken.status
    assert len(await told(running)) == 1


@pytest.mark.parametrize(("slug", "status"), [("discord", 204), ("twilio", 204), ("xero", 200)])
async def test_vendors_that_expect_no_body_get_none(
    running: RunningGateway, clock: HandClock, slug: str, status: int
) -> None:
    secret, body, sign, _ = SENT[slug]
    url = await hook(running, slug, secret)
    answer = await send(running, url, body, sign(body, url, int(clock())))
    assert (answer.status, answer.body) == (status, b"")
    assert "json" not in answer.headers.get("Content-Type", "")


async def test_messages_without_a_body_are_told_apart_by_their_ids(running: RunningGateway) -> None:
    for slug in ("google_drive", "google_calendar"):
        url = await hook(running, slug, SECRET)

        def headers(number: int, channel: str = "c1") -> Headers:
            return {
                "X-Goog-Channel-Token": SECRET, "X-Goog-Channel-ID": channel, "X-Goog-Message-Number": str(number),
                "X-Goog-Resource-State": "exists",
            }  # fmt: skip

        before = len(await told(running))
        for given in (headers(1), headers(2), headers(2), headers(2, "c2")):
            assert (await send(running, url, b"", given)).status == 200
        assert len(await told(running)) - before == 3
        wrong = await send(running, url, b"", {**headers(9), "X-Goog-Channel-Token": "guessed"})
        assert wrong.status == 401


async def test_slack_and_monday_get_their_challenges_back(running: RunningGateway, clock: HandClock) -> None:
    url, body, at = await hook(running, "slack", SECRET), b'{"type":"url_verification","challenge":"3eZb"}', int(clock())
    signature = "v0=" + mac(f"v0:{at}:".encode() + body).hex()
    answer = await send(running, url, body, {"X-Slack-Signature": signature, "X-Slack-Request-Timestamp": str(at)})
    assert (answer.status, answer.body) == (200, b"3eZb")
    answer = await send(running, await hook(running, "monday"), b'{"challenge":"abc"}', {})
    assert (answer.status, answer.json()) == (200, {"challenge": "abc"})
    assert await told(running) == []


async def test_zoom_gets_its_word_signed(running: RunningGateway, clock: HandClock) -> None:
    url = await hook(running, "zoom", SECRET)
    body = b'{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"}}'
    answer = await send(running, url, body, zoom(body, url, int(clock())))
    signed = mac(b"qgg8vlvZRS6UYooatFL8Aw").hex()
    assert answer.json() == {"plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": signed}
    assert (await send(running, url, body, {"x-zm-signature": "v0=00"})).status == 401
    assert await told(running) == []


async def test_discord_pings(running: RunningGateway, clock: HandClock) -> None:
    secret, _, sign, _ = SENT["discord"]
    url, ping = await hook(running, "discord", secret), b'{"type":0}'
    answer = await send(running, url, ping, sign(ping, url, int(clock())))
    assert (answer.status, answer.body) == (204, b"")
    # What it does on purpose when the URL is saved.
    assert (await send(running, url, ping, {"X-Signature-Ed25519": "00" * 64, "X-Signature-Timestamp": "1"})).status == 401
    assert await told(running) == []


async def test_dropbox_and_trello_look_before_they_send(running: RunningGateway) -> None:
    path = (await hook(running, "dropbox", SECRET)).removeprefix(running.url)
    answer = await running.ask("GET", f"{path}?challenge=abc", key="")
    assert (answer.status, answer.body) == (200, b"abc")
    trello, other = await hook(running, "trello", SECRET), await hook(running, "github", SECRET)
    for url, status in ((trello, 200), (other, 404), (trello + "x", 404)):
        async with running.session.head(url) as looked:
            assert looked.status == status


@pytest.mark.parametrize("slug", ["outlook_mail", "outlook_calendar", "onedrive", "teams"])
async def test_microsoft_graph_validates_the_url_and_is_believed_by_its_client_state(
    running: RunningGateway, slug: str
) -> None:
    url = await hook(running, slug, SECRET)
    token = "Validation: Testing client application reachability for subscription Request-Id: " + "x" * 300
    async with running.session.post(url, params={"validationToken": token}, data=b"") as answer:
        assert (answer.status, await answer.text()) == (200, token)
        assert answer.headers["Content-Type"].startswith("text/plain")
    for states in ([SECRET, "another"], [None], []):
        body = json.dumps({"value": [{"changeType": "updated", "clientState": one} for one in states]}).encode()
        assert (await send(running, url, body, {})).status == 401
    assert await told(running) == []


async def test_asana_says_itself_what_it_signs_with_and_nobody_else_may_afterwards(running: RunningGateway) -> None:
    url = await hook(running, "asana")
    handshake = await send(running, url, b"", {"X-Hook-Secret": SECRET})
    assert (handshake.status, handshake.headers["X-Hook-Secret"]) == (200, SECRET)
    body = b'{"events":[{"action":"changed","resource":{"resource_type":"task"}}]}'
    assert (await send(running, url, body, {"X-Hook-Signature": mac(body).hex()})).status == 200
    assert [event["type"] for event in await told(running)] == ["hook.asana.task.changed"]
    again = await send(running, url, b"", {"X-Hook-Secret": "another"})
    assert again.status == 401 and "X-Hook-Secret" not in again.headers
    [shown] = (await running.ask("GET", "/v1/hooks")).json()["hooks"]
    assert shown["has_secret"] is True


async def test_notion_brings_a_token_that_a_person_types_in_there(running: RunningGateway) -> None:
    url = await hook(running, "notion")
    first = await send(running, url, b'{"verification_token":"secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl"}', {})
    assert first.status == 200
    [event] = await told(running)
    token = event["data"]["payload"]["verification_token"]
    body = b'{"type":"page.created"}'
    signature = "sha256=" + mac(body, token.encode()).hex()
    assert (await send(running, url, body, {"X-Notion-Signature": signature})).status == 200
    assert (await send(running, url, b'{"verification_token":"mine"}', {})).status == 401


async def test_a_public_key_that_is_none_is_refused(running: RunningGateway) -> None:
    other = ED.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for wrong in ("not a key", based(b"neither"), based(other)):
        answer = await running.ask("POST", "/v1/hooks", body={"integration": "sendgrid", "secret": wrong})
        assert (answer.status, answer.json()["error"]) == (400, "bad_request")
