"""Signatures of upstreams: the vectors that they publish themselves, and every way to be wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks import Webhook

from gateway.core.messages.hook_signatures import Message, NotSigned, key_of, verify
from oauth.secret import Secret
from skills_catalog.loader import SHIPPED, load_catalog

GITHUB = {"header": "X-Hub-Signature-256", "scheme": "sha256={signature}"}
STRIPE = {
    "header": "Stripe-Signature", "scheme": "t={timestamp},v1={signature}", "template": "{timestamp}.{body}",
}  # fmt: skip
OVERTEN = {
    "header": "X-Overten-Signature", "scheme": "sha256={signature}", "timestamp_header": "X-Overten-Timestamp",
    "template": "{timestamp}.{body}",
}  # fmt: skip
SLACK = {
    "header": "X-Slack-Signature", "scheme": "v0={signature}", "template": "v0:{timestamp}:{body}",
    "timestamp_header": "X-Slack-Request-Timestamp",
}  # fmt: skip
STANDARD = {
    "header": "webhook-signature", "scheme": "v1,{signature}", "separator": " ", "encoding": "base64",
    "template": "{id}.{timestamp}.{body}", "id_header": "webhook-id", "timestamp_header": "webhook-timestamp",
    "secret_prefix": "whsec_", "secret_encoding": "base64",
}  # fmt: skip
SHOPIFY = {"header": "X-Shopify-Hmac-Sha256", "scheme": "{signature}", "encoding": "base64"}
GITLAB = {"header": "X-Gitlab-Token", "scheme": "{signature}", "algorithm": "token"}
DISCORD = {
    "header": "X-Signature-Ed25519", "scheme": "{signature}", "template": "{timestamp}{body}",
    "timestamp_header": "X-Signature-Timestamp", "algorithm": "ed25519",
}  # fmt: skip
SQUARE = {
    "header": "x-square-hmacsha256-signature", "scheme": "{signature}", "template": "{url}{body}", "encoding": "base64",
}  # fmt: skip

AT = 1_800_000_000
SECRET = "a secret of some length"
BODY = '{"event": "größe ✓", "n": 1.10}'.encode()
URL = "https://gateway.example/hooks/token"
SEED = bytes(range(32))


def message(body: bytes, **headers: str) -> Message:
    given = {name.replace("_", "-").lower(): [value] for name, value in headers.items()}
    return Message(method="POST", url=URL, headers=given, body=body)


def hexed(content: bytes, secret: str = SECRET, kind: str = "sha256") -> str:
    return hmac.new(secret.encode(), content, kind).hexdigest()


def based(content: bytes, key: bytes = SECRET.encode()) -> str:
    return base64.b64encode(hmac.new(key, content, "sha256").digest()).decode()


def signed(spec: dict[str, Any], secret: str, body: bytes, at: int) -> dict[str, str]:
    """The headers as each of these systems sends them, written down again by hand."""
    stamped = f"{at}.".encode() + body
    if spec is GITHUB:
        return {"X-Hub-Signature-256": "sha256=" + hexed(body)}
    if spec is STRIPE:
        return {"Stripe-Signature": f"t={at},v1={hexed(stamped)},v0={hexed(b'other')}"}
    if spec is OVERTEN:
        return {"X-Overten-Signature": "sha256=" + hexed(stamped), "X-Overten-Timestamp": str(at)}
    if spec is SLACK:
        content = f"v0:{at}:".encode() + body
        return {"X-Slack-Signature": "v0=" + hexed(content), "X-Slack-Request-Timestamp": str(at)}
    if spec is STANDARD:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signature = "v1," + based(f"msg_1.{at}.".encode() + body, key)
        return {"webhook-id": "msg_1", "webhook-timestamp": str(at), "webhook-signature": signature}
    if spec is SHOPIFY:
        return {"X-Shopify-Hmac-Sha256": based(body)}
    if spec is GITLAB:
        return {"X-Gitlab-Token": secret}
    if spec is DISCORD:
        signature = Ed25519PrivateKey.from_private_bytes(SEED).sign(str(at).encode() + body).hex()
        return {"X-Signature-Ed25519": signature, "X-Signature-Timestamp": str(at)}
    assert spec is SQUARE
    return {"x-square-hmacsha256-signature": based(URL.encode() + body)}


STANDARD_SECRET = "whsec_" + base64.b64encode(SEED).decode()
PUBLIC = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw().hex()
SCHEMES = [
    pytest.param(spec, secret, id=name)
    for name, spec, secret in (
        ("github", GITHUB, SECRET),
        ("stripe", STRIPE, SECRET),
        ("overten", OVERTEN, SECRET),
        ("slack", SLACK, SECRET),
        ("standard", STANDARD, STANDARD_SECRET),
        ("shopify", SHOPIFY, SECRET),
        ("gitlab", GITLAB, SECRET),
        ("discord", DISCORD, PUBLIC),
        ("square", SQUARE, SECRET),
    )
]


def judged(spec: dict[str, Any], secret: str, came: Message, now: float = AT) -> str:
    """`ok`, or why not."""
    try:
        verify(spec, Secret(secret), came, now)
    except NotSigned as error:
        return error.reason
    return "ok"


# -------------------------------------------------------------------------------------- vectors published elsewhere


def test_githubs_own_vector() -> None:
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    came = message(b"Hello, World!", X_Hub_Signature_256=signature)
    assert judged(GITHUB, "It's a Secret to Everybody", came) == "ok"


def test_slacks_own_vector() -> None:
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    came = message(
        body,
        X_Slack_Signature="v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        X_Slack_Request_Timestamp="1531420618",
    )
    secret = "8f742231b10e8888abcd99yyyzzz85a5"
    assert judged(SLACK, secret, came, 1531420618) == "ok"
    assert judged(SLACK, secret, came, 1531420618 + 301) == "timestamp_out_of_tolerance"


def test_standard_webhooks_own_vector_and_library() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    came = message(
        b'{"test": 2432232314}',
        webhook_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        webhook_timestamp="1614265330",
        webhook_signature="v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    )
    assert judged(STANDARD, secret, came, 1614265330) == "ok"
    # A list, as while a secret is changed.
    listed = "v1,AAAA v1a,BBBB v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert judged(STANDARD, secret, replace(came, headers={**came.headers, "webhook-signature": [listed]}), 1614265330) == "ok"
    library = Webhook(secret).sign("msg_1", datetime.fromtimestamp(AT, UTC), BODY.decode())
    theirs = message(BODY, webhook_id="msg_1", webhook_timestamp=str(AT), webhook_signature=library)
    assert judged(STANDARD, secret, theirs) == "ok"


def test_overskills_form_as_its_definition_has_it() -> None:
    webhooks = load_catalog([SHIPPED]).integrations["overskill"].webhooks
    assert webhooks is not None
    spec = webhooks["signature"]
    assert isinstance(spec, dict)
    came = message(BODY, X_Overskill_Signature=f"t={AT},v1={hexed(f'{AT}.'.encode() + BODY)}")
    assert judged(spec, SECRET, came) == "ok"
    assert judged(spec, SECRET, came, AT + 301) == "timestamp_out_of_tolerance"


# ------------------------------------------------------------------------------------------------------ every scheme


@pytest.mark.parametrize(("spec", "secret"), SCHEMES)
def test_what_the_upstream_signed_is_taken(spec: dict[str, Any], secret: str) -> None:
    for body in (BODY, b"", b"\x00\xff" * 300):
        assert judged(spec, secret, Message(method="POST", url=URL, headers=lowered(signed(spec, secret, body, AT)), body=body)) == "ok"


@pytest.mark.parametrize(("spec", "secret"), SCHEMES)
def test_each_bit_that_is_flipped_is_refused(spec: dict[str, Any], secret: str) -> None:
    """T167: in the body, in the signature, in whatever else is signed."""
    headers = signed(spec, secret, BODY, AT)
    good = Message(method="POST", url=URL, headers=lowered(headers), body=BODY)
    assert judged(spec, secret, good) == "ok"
    if spec is not GITLAB:
        for at in range(len(BODY) * 8):
            flipped = bytearray(BODY)
            flipped[at // 8] ^= 1 << at % 8
            assert judged(spec, secret, replace(good, body=bytes(flipped))) == "signature_wrong"
    for name, value in headers.items():
        # A signature of another version beside ours is not looked at.
        value = value.partition(",v0=")[0]
        for at in range(len(value) * 8):
            raw = bytearray(value.encode())
            raw[at // 8] ^= 1 << at % 8
            changed = {**headers, name: raw.decode("utf-8", "surrogateescape")}
            came = replace(good, headers=lowered(changed))
            assert judged(spec, secret, came) != "ok", (name, changed[name])


@pytest.mark.parametrize(("spec", "secret"), SCHEMES)
def test_what_is_missing_truncated_doubled_or_somebody_elses_is_refused(spec: dict[str, Any], secret: str) -> None:
    headers = signed(spec, secret, BODY, AT)
    good = Message(method="POST", url=URL, headers=lowered(headers), body=BODY)
    header = spec["header"].lower()
    value = good.headers[header][0].partition(",v0=")[0]
    for wrong in ("", value[:-1], value + "0", value.upper(), value + ",", "=" * 3, "sha1=" + value, value * 2):
        # A list may hold the right one beside others.
        if (wrong in (value, value + ",") and spec is not GITLAB) or (wrong == value * 2 and spec is STRIPE):
            continue
        came = replace(good, headers={**good.headers, header: [wrong]})
        assert judged(spec, secret, came).startswith(("signature_", "timestamp_")), wrong
    for given in ([], [value, value]):
        assert judged(spec, secret, replace(good, headers={**good.headers, header: given})) == "signature_missing"
    other = base64.b64encode(b"o" * 32).decode() if spec is STANDARD else "b" * 64 if spec is DISCORD else "other"
    try:
        assert judged(spec, other, good) == "signature_wrong"
    except ValueError:
        assert spec is DISCORD  # not every 32 bytes are a public key


@pytest.mark.parametrize(("spec", "secret"), [case for case in SCHEMES if "timestamp" in str(case.values[0])])
def test_a_timestamp_is_within_five_minutes_or_refused(spec: dict[str, Any], secret: str) -> None:
    came = Message(method="POST", url=URL, headers=lowered(signed(spec, secret, BODY, AT)), body=BODY)
    for now, verdict in (
        (AT + 300, "ok"), (AT - 300, "ok"),
        (AT + 301, "timestamp_out_of_tolerance"), (AT - 301, "timestamp_out_of_tolerance"),
    ):  # fmt: skip
        assert judged(spec, secret, came, now) == verdict
    assert judged({**spec, "tolerance": 10.0}, secret, came, AT + 11) == "timestamp_out_of_tolerance"


@pytest.mark.parametrize("spelled", ["", "x", "1e9", "-1", "9" * 400, "NaN", "inf", "²", "1800000000.5x", "2027-01-15"])
def test_a_timestamp_that_is_none_is_refused_though_it_is_signed(spelled: str) -> None:
    signature = "sha256=" + hexed(f"{spelled}.".encode() + BODY)
    came = Message(
        method="POST", url=URL, body=BODY,
        headers=lowered({"X-Overten-Signature": signature, "X-Overten-Timestamp": spelled}),
    )  # fmt: skip
    assert judged(OVERTEN, SECRET, came).startswith("timestamp_")


@pytest.mark.parametrize("spelled", [str(AT), str(AT * 1000), "2027-01-15T08:00:00Z", "2027-01-15T09:00:00+01:00"])
def test_a_timestamp_may_be_seconds_milliseconds_or_a_date(spelled: str) -> None:
    signature = "sha256=" + hexed(f"{spelled}.".encode() + BODY)
    headers = lowered({"X-Overten-Signature": signature, "X-Overten-Timestamp": spelled})
    assert judged(OVERTEN, SECRET, Message(method="POST", url=URL, headers=headers, body=BODY)) == "ok"


@pytest.mark.parametrize("algorithm", ["hmac-sha1", "hmac-sha512"])
def test_other_hashes(algorithm: str) -> None:
    spec = {"header": "X-Sig", "scheme": "{signature}", "algorithm": algorithm}
    came = message(BODY, X_Sig=hexed(BODY, kind=algorithm.removeprefix("hmac-")))
    assert judged(spec, SECRET, came) == "ok"
    assert judged({**spec, "algorithm": "hmac-sha256"}, SECRET, came) == "signature_wrong"


def test_only_so_many_signatures_of_a_list_are_tried() -> None:
    listed = ",".join([f"v1={'0' * 64}"] * 1000 + [f"v1={hexed(f'{AT}.'.encode() + BODY)}"])
    assert judged(STRIPE, SECRET, message(BODY, Stripe_Signature=f"t={AT},{listed}")) == "signature_wrong"


@pytest.mark.parametrize(
    ("spec", "secret"),
    [(STANDARD, "whsec_!!!"), (STANDARD, "whsec_"), (DISCORD, "zz"), (DISCORD, "ab" * 31), ({**GITHUB, "secret_encoding": "hex"}, "xyz")],
)
def test_a_secret_that_is_no_key_is_told(spec: dict[str, Any], secret: str) -> None:
    with pytest.raises(ValueError):
        key_of(spec, Secret(secret))


def lowered(headers: dict[str, str]) -> dict[str, list[str]]:
    return {name.lower(): [value] for name, value in headers.items()}


def test_the_hashes_of_this_file_are_not_ours() -> None:
    """So that a mistake of ours is not made twice: one value from another tool."""
    assert hashlib.sha256(b"abc").hexdigest() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hexed(b"what do ya want for nothing?", "Jefe") == (
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )
